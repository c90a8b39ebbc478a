"""`caesura cache`: look after the compiled programs on the disk."""

from __future__ import annotations

import argparse
from typing import Any, Final

_HELP: Final = "look after the cache of compiled programs"

_DESCRIPTION: Final = """\
Programs that `caesura run` and `caesura.load` have instrumented and compiled are kept on the disk.
`caesura cache clear` removes them; what is needed is made again."""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add the sub-command to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "cache",
        help=_HELP,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=["clear"], help="what to do: remove everything")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the sub-command; return its exit code."""
    from caesura.host import cache

    count, size = cache.clear()
    print(f"removed {count} {'entry' if count == 1 else 'entries'}, {size:,} bytes, from {cache.folder()}")
    return 0
