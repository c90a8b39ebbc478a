"""The options of the transformation on the command line, derived from the fields of `Options`."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from typing import Any, Final

from caesura.analysis.list_text import Sections, read_list
from caesura.cli.exits import WrongUsage
from caesura.cli.files import STANDARD_STREAM
from caesura.cli.messages import say_warning
from caesura.errors import UsageError
from caesura.options import FLAG, LIST, NUMBER, TIMES, Options, flag_of, placeholder_of
from caesura.profiles.reading import read_profile

# The field that is a list, but for the words that stand for one.
_TWO_BODIES: Final = "two_bodies"

# How many sections of lists an error names.
_SECTIONS_SHOWN: Final = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add one argument for each field of `Options`."""
    group = parser.add_argument_group(
        "options of the transformation",
        "A LIST has names with commas between them; '*' in a name stands for any characters; @FILE reads\n"
        "the list from a file, with one name on a line or with commas; comments and sections: docs/options.md.",
    )
    for item in fields(Options):
        kind = item.metadata["kind"]
        settings: dict[str, Any] = {"help": item.metadata["help"].replace("%", "%%")}
        if kind == FLAG:
            settings["action"] = "store_true"
        else:
            settings["metavar"] = placeholder_of(item.metadata)
            if kind in (LIST, TIMES):
                settings.update(action="append", default=[])
            else:
                settings["help"] += f" (default: {item.default})"
                settings["type"] = int if kind == NUMBER else str
                settings["choices"] = item.metadata.get("choices")
        group.add_argument(flag_of(item.name), **settings)
    group.add_argument(
        "--list-section",
        metavar="NAME",
        action="append",
        default=[],
        help="of files with lists, take what stands in this [section] besides what stands before all sections; can be "
        "given more than once (default: the sections whose name matches that of the module's file)",
    )


def is_given(arguments: argparse.Namespace, name: str) -> bool:
    """Tell whether an option that takes one value is on the command line, if only with its default."""
    return getattr(arguments, name) is not None


def read_options(arguments: argparse.Namespace) -> Options:
    """Return the options given on the command line; raises WrongUsage for what makes no sense together."""
    values: dict[str, Any] = {}
    _refuse_unheeded(arguments)
    sections = Sections(arguments.list_section, module_file_name(arguments))
    try:
        for item in fields(Options):
            value = getattr(arguments, item.name)
            if value is None:
                continue
            if item.name == _TWO_BODIES:
                entries = read_list(value, sections)
                if not entries:
                    _warn_of_empty_list(item.name, arguments)
                    continue
                if entries != read_list(value):  # the library takes no sections
                    value = entries
            elif item.metadata["kind"] == TIMES:
                if not value:
                    continue
                value = read_profile(*value)
            elif item.metadata["kind"] == LIST:
                entries = tuple(entry for text in value for entry in read_list(text, sections))
                if value and not entries:
                    _warn_of_empty_list(item.name, arguments)
                value = entries
            values[item.name] = value
        options = Options(**values)
        _check_sections(sections, arguments)
    except UsageError as error:
        raise WrongUsage(str(error)) from error
    if options.propagate_addlist and not options.add_list:
        _warn("--propagate-addlist has no effect without an add-list", arguments)
    return options


def module_file_name(arguments: argparse.Namespace) -> str:
    """Return the name of the module's file (of two the later), without its folder; nothing where it has none."""
    path = str(getattr(arguments, "input", getattr(arguments, "new", STANDARD_STREAM)))
    return "" if path == STANDARD_STREAM else os.path.basename(path)


def _check_sections(sections: Sections, arguments: argparse.Namespace) -> None:
    """Say what is wrong with the sections of lists: one that no file has, a file of which none holds."""
    found = ", ".join([f"[{name}]" for name in list(sections.found)[:_SECTIONS_SHOWN]]) or "none"
    if len(sections.found) > _SECTIONS_SHOWN:
        found += f" and {len(sections.found) - _SECTIONS_SHOWN:,} more"
    for name in sections.missing():
        raise WrongUsage(f"no list has a section [{name}]; the sections in them: {found}")
    for path in sections.unused:
        message = (
            f"the list file '{path}' has sections, but none for this module: name one with --list-section, or let it "
            f"match the name of the module's file; the sections: {found}"
        )
        if arguments.strict:
            raise WrongUsage(message)
        _warn(message, arguments)


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
