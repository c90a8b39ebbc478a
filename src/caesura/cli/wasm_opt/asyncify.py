"""The pass arguments of Binaryen's Asyncify pass, as options of the transformation.

Which arguments there are, and what they mean, is data of `Options`; here stand the spellings: old names, flags, and
values that are files. An argument that looks like one of these and is not known is ignored, as in Binaryen, since build
scripts carry misspelt ones; but not silently, because a misspelt list shows only as a guest that cannot resume. As in
Binaryen, the last of several arguments with the same name counts, wherever it stands, and an old name only where the
new one is missing or empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Final

from caesura.analysis.list_text import read_list
from caesura.errors import UsageError
from caesura.options import FLAG, LIST, NUMBER, Options, flag_of

PREFIX: Final = "asyncify-"

_OLD_NAMES: Final = {
    "asyncify-blacklist": "asyncify-removelist",
    "asyncify-whitelist": "asyncify-onlylist",
    "asyncify-relocatable": "asyncify-import-globals",
}

# Binaryen looks at this flag's value: an empty one is a flag that was not given.
_FLAG_WITH_VALUE: Final = "asyncify-ignore-imports"

_IMPORTS: Final = "asyncify-imports"
_SECONDARY_MEMORY: Final = "asyncify-in-secondary-memory"
_SECONDARY_MEMORY_SIZE: Final = "asyncify-secondary-memory-size"

# How similar (from 0 to 1) a key is to one of Asyncify's arguments if it is a misspelt one, and not another pass's.
_MISSPELT: Final = 0.9


def read_options(pass_arguments: list[str], warn: Callable[[str], None]) -> Options:
    """Return the options that `--pass-arg` values (KEY or KEY@VALUE) ask for; others than Asyncify's are skipped.

    `warn` is called with a message for each that looks like one of Asyncify's and is none.
    """
    known = {str(item.metadata["pass_argument"]): item for item in fields(Options) if item.metadata["pass_argument"]}
    given: dict[str, str] = {}
    for text in pass_arguments:
        key, separator, value = text.partition("@")
        if key in known or key in _OLD_NAMES:
            given[key] = value if separator else "1"
            continue
        closest = get_close_matches(key, [*known, *_OLD_NAMES], 1, 0.0 if key.startswith(PREFIX) else _MISSPELT)
        if closest:
            warn(f"unknown pass argument '{key}' is ignored: did you mean '{closest[0]}'?")
    for old, new in _OLD_NAMES.items():
        if old in given and not given.get(new):
            given[new] = given[old]
        given.pop(old, None)
    if _SECONDARY_MEMORY not in given:
        given.pop(_SECONDARY_MEMORY_SIZE, None)  # nobody looks at it then
    values: dict[str, Any] = {}
    for key, value in given.items():
        item = known[key]
        kind = item.metadata["kind"]
        if kind == FLAG:
            values[item.name] = value != "" or key != _FLAG_WITH_VALUE
        elif kind == LIST:
            # Binaryen knows of brackets in names of functions, not of imports, and compares bytes.
            values[item.name] = read_list(value, brackets=key != _IMPORTS, as_binaryen=True)
        elif kind == NUMBER:
            values[item.name] = _number(key, value)
        else:
            values[item.name] = value
    return Options(**values, plain_lists=True)


def in_words_of_pass_arguments(message: str) -> str:
    """Return a message about options of `caesura instrument` as one about pass arguments."""
    for item in fields(Options):
        if item.metadata["pass_argument"]:
            argument = f"--pass-arg={item.metadata['pass_argument']}"
            if item.metadata["kind"] != FLAG:
                message = message.replace(f"{flag_of(item.name)} ", f"{argument}@")
            message = message.replace(flag_of(item.name), argument)
    # Binaryen names a memory here, be there one of this name or not, and build systems may look for its words.
    return message.replace("asyncify-memory@NAME", "asyncify-memory@memory")


def _number(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"the value of pass argument '{key}' is '{value}': expected a number") from None
