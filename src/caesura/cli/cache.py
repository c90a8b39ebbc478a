"""`caesura cache`: look after the compiled programs on the disk."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from caesura.cli.exits import WrongUsage
from caesura.cli.streams import say_result
from caesura.cli.subcommand import SubCommand
from caesura.cli.summary import counted
from caesura.errors import UsageError

_DESCRIPTION: Final = """\
Programs that `caesura run` and `caesura.load` have instrumented and compiled are kept on the disk, in the folder that
the environment variable CAESURA_CACHE_DIR names, or the user's cache folder. They may take as many bytes as
CAESURA_CACHE_LIMIT says (2G where it says nothing); then those that have not been used for longest go. What is needed
again is made again."""

_ACTIONS: Final = """\
actions:
  show    print where the cache lies, what it holds and what it may hold (the default)
  trim    remove what has not been used for longest, until the rest is within the limit
  clear   remove everything
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["show", "trim", "clear"], default="show", help="what to do")
    parser.add_argument(
        "--limit", metavar="BYTES", help="the limit to trim to, instead of the usual one; K, M, G multiply"
    )


def _run(arguments: argparse.Namespace) -> int:
    from caesura.host import cache, cache_limit

    if arguments.limit is not None and arguments.action != "trim":
        raise WrongUsage(f"--limit is for `caesura cache trim`; {cache_limit.VARIABLE} sets the limit of the cache")
    place = cache.folder()
    _check_folder(place)
    failures: list[OSError] = []
    if arguments.action == "clear":
        say_result(f"removed {_amount(*cache_limit.clear(place, failures))}, from {place}")
        _check_removed(failures)
        return 0
    most = cache_limit.limit() if arguments.limit is None else size_of(arguments.limit, "--limit")
    if arguments.action == "trim":
        removed = cache_limit.trim(place, most, failures=failures)
        say_result(f"removed {_amount(*removed)}, from {place}; {_amount(*cache_limit.contents(place))} left")
        _check_removed(failures)
        return 0
    say_result(f"folder: {place}\nholds:  {_amount(*cache_limit.contents(place))}\nlimit:  {counted(most, 'byte')}")
    return 0


def _check_folder(place: Path) -> None:
    """Raise UsageError for what is there and cannot be read, or is no folder; there may be nothing yet."""
    try:
        with os.scandir(place):
            pass
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(
            f"cannot read the cache folder {place}: {error.strerror}; CAESURA_CACHE_DIR names another"
        ) from error


def _check_removed(failures: list[OSError]) -> None:
    """Raise UsageError if an entry could not be removed."""
    if failures:
        others = f" (nor {counted(len(failures) - 1, 'other')})" if len(failures) > 1 else ""
        raise UsageError(f"cannot remove {failures[0].filename}{others}: {failures[0].strerror}")


def size_of(text: str, option: str) -> int:
    """Return a size that an option gives."""
    from caesura.host import cache_limit

    try:
        return cache_limit.parse_size(text, option)
    except UsageError as error:
        raise WrongUsage(str(error)) from error


def _amount(count: int, size: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}, {counted(size, 'byte')}"


COMMAND: Final = SubCommand(
    name="cache",
    help="look after the cache of compiled programs",
    description=_DESCRIPTION,
    epilog=_ACTIONS,
    add_arguments=_add_arguments,
    run=_run,
)
