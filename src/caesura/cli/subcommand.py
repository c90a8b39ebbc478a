"""What a sub-command is: its words in the help, its arguments, what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caesura.cli.files import STANDARD_STREAM


@dataclass(frozen=True, kw_only=True)
class SubCommand:
    """A sub-command of `caesura`; `run` returns its exit code."""

    name: str
    help: str
    description: str
    epilog: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]

    def add_to(self, commands: argparse._SubParsersAction[Any]) -> None:
        """Add the sub-command to the command line, with the options that all of them have."""
        parser = commands.add_parser(
            self.name,
            help=self.help,
            description=self.description,
            epilog=self.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_arguments(parser)
        parser.add_argument("--debug", action="store_true", help="show a traceback with an error")
        parser.set_defaults(run=self.run, parser=parser)


def add_files(parser: argparse.ArgumentParser, output_help: str) -> None:
    """Add the arguments of a sub-command that reads a module and writes a file."""
    parser.add_argument("input", metavar="IN", help="the module, binary or text; '-' is standard input")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default=STANDARD_STREAM,
        help=f"{output_help}; '-', the default, is standard output",
    )
