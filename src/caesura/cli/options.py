"""The options of the transformation on the command line, derived from the fields of `Options`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from caesura.cli.messages import say_warning
from caesura.errors import UsageError
from caesura.instrument.lists import read_list
from caesura.instrument.options import FLAG, LIST, NUMBER, Options, flag_of, placeholder_of


class WrongUsage(UsageError):
    """The command line itself is wrong."""


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
                settings["default"] = item.default
                settings["help"] += f" (default: {item.default})"
                settings["type"] = int if kind == NUMBER else str
                settings["choices"] = item.metadata.get("choices")
        group.add_argument(flag_of(item.name), **settings)


def read_options(arguments: argparse.Namespace) -> Options:
    """Return the options given on the command line."""
    values: dict[str, Any] = {}
    try:
        for item in fields(Options):
            value = getattr(arguments, item.name)
            if item.metadata["kind"] == LIST:
                entries = tuple(entry for text in value for entry in read_list(text))
                if value and not entries:
                    say_warning(f"the list given with {flag_of(item.name)} is empty, which is as if it were not given")
                value = entries
            values[item.name] = value
        return Options(**values)
    except UsageError as error:
        raise WrongUsage(str(error)) from error
