"""What users give a WASI program to see, checked: arguments, environment and folders. All of it becomes C strings.

Everything here raises UsageError for what is of the wrong kind, or no C program could get.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from caesura.errors import UsageError

Folder = str | os.PathLike[str]


def checked_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a program's arguments."""
    if isinstance(arguments, str | bytes) or not isinstance(arguments, Sequence):
        raise UsageError(
            f"arguments is {arguments!r:.100}: expected a sequence of texts, such as ('program', 'argument')"
        )
    return [_checked_text("argument", text) for text in arguments]


def checked_environment(environment: Mapping[str, str] | None) -> dict[str, str]:
    """Return environment variables by name."""
    if environment is None:
        return {}
    if not isinstance(environment, Mapping):
        raise UsageError(f"environment is {environment!r:.100}: expected a mapping from names to texts")
    checked: dict[str, str] = {}
    for name, value in environment.items():
        if "=" in _checked_text("environment variable", name) or not name:
            raise UsageError(f"the environment variable {name!a} cannot be given to the guest: it is no name")
        checked[name] = _checked_text(f"value of {name}", value)
    return checked


def checked_folders(what: str, folders: Mapping[str, Folder] | None) -> list[tuple[str, str]]:
    """Return folders, each its path for the guest and the host's; in errors they are `what`."""
    if folders is None:
        return []
    if not isinstance(folders, Mapping):
        raise UsageError(f"{what} is {folders!r:.100}: expected a mapping from the guest's paths to the host's")
    checked: list[tuple[str, str]] = []
    for inside, outside in folders.items():
        if not isinstance(outside, str | os.PathLike):
            raise UsageError(f"the folder given for {inside!r:.100} is {outside!r:.100}: expected a path")
        checked.append((_checked_text("path", inside), os.fspath(outside)))
    return checked


def _checked_text(what: str, text: object) -> str:
    """Return a text that becomes a C string."""
    if not isinstance(text, str):
        raise UsageError(
            f"the {what} {text!r:.100} cannot be given to the guest: expected text, not {type(text).__name__}"
        )
    try:
        if "\0" not in text:
            text.encode()
            return text
        reason = "it has a zero character in it"
    except UnicodeEncodeError:
        reason = "it is not Unicode"
    raise UsageError(f"the {what} {text!a} cannot be given to the guest: {reason}")
