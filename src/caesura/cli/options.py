"""The options of the transformation on the command line, derived from the fields of `Options`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any, Final

from caesura.analysis.lists import read_list
from caesura.cli.exits import WrongUsage
from caesura.cli.messages import say_warning
from caesura.errors import UsageError
from caesura.options import FLAG, LIST, NUMBER, Options, flag_of, placeholder_of

# The field that is a list, but for the words that stand for one.
_TWO_BODIES: Final = "two_bodies"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add one argument for each field of `Options`."""
    group = parser.add_argument_group(
        "options of the transformation",
        "A LIST has names with commas between them; '*' in a name stands for any characters; @FILE reads\n"
        "the list from a file, with one name on a line or with commas.",
    )
    for item in fields(Options):
        kind = item.metadata["kind"]
        settings: dict[str, Any] = {"help": item.metadata["help"].replace("%", "%%")}
        if kind == FLAG:
            settings["action"] = "store_true"
        else:
            settings["metavar"] = placeholder_of(item.metadata)
            if kind == LIST:
                settings.update(action="append", default=[])
            else:
                settings["help"] += f" (default: {item.default})"
                settings["type"] = int if kind == NUMBER else str
                settings["choices"] = item.metadata.get("choices")
        group.add_argument(flag_of(item.name), **settings)


def is_given(arguments: argparse.Namespace, name: str) -> bool:
    """Tell whether an option that takes one value is on the command line, if only with its default."""
    return getattr(arguments, name) is not None


def read_options(arguments: argparse.Namespace) -> Options:
    """Return the options given on the command line; raises WrongUsage for what makes no sense together."""
    values: dict[str, Any] = {}
    _refuse_unheeded(arguments)
    try:
        for item in fields(Options):
            value = getattr(arguments, item.name)
            if value is None:
                continue
            if item.name == _TWO_BODIES and not read_list(value):
                _warn_of_empty_list(item.name, arguments)
                continue
            if item.metadata["kind"] == LIST:
                entries = tuple(entry for text in value for entry in read_list(text))
                if value and not entries:
                    _warn_of_empty_list(item.name, arguments)
                value = entries
            values[item.name] = value
        options = Options(**values)
    except UsageError as error:
        raise WrongUsage(str(error)) from error
    if options.propagate_addlist and not options.add_list:
        _warn("--propagate-addlist has no effect without an add-list", arguments)
    return options


def _warn(message: str, arguments: argparse.Namespace) -> None:
    if not getattr(arguments, "quiet", False):
        say_warning(message)


def _warn_of_empty_list(name: str, arguments: argparse.Namespace) -> None:
    _warn(f"the list given with {flag_of(name)} is empty, which is as if it were not given", arguments)


def _refuse_unheeded(arguments: argparse.Namespace) -> None:
    """Raise WrongUsage for options that nobody would look at, about a memory that there is not or that cannot grow."""
    if arguments.in_secondary_memory:
        if is_given(arguments, "memory"):
            raise WrongUsage("--memory excludes --in-secondary-memory: the stacks are in one of the two memories")
        if is_given(arguments, "secondary_memory_maximum") and not arguments.thunks:
            raise WrongUsage("--secondary-memory-maximum is for --thunks: nothing else lets that memory grow")
        return
    for name in ("secondary_memory_size", "secondary_memory_maximum"):
        if is_given(arguments, name):
            raise WrongUsage(f"{flag_of(name)} is for the memory that --in-secondary-memory adds: give that too")
