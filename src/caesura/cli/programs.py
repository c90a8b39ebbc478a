"""What `caesura run` and `caesura resume` have in common: options, how a program ends, and what it is stopped by."""

from __future__ import annotations

import argparse
import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from caesura.cli.cache import size_of
from caesura.cli.exits import ABORTED, INTERRUPTED, TIMED_OUT, WrongUsage
from caesura.cli.files import InFile
from caesura.cli.messages import say, say_error, say_stopped, say_warning
from caesura.cli.run_values import seconds, units
from caesura.cli.streams import say_result
from caesura.errors import UsageError

if TYPE_CHECKING:
    from caesura.host.autosave import Autosave
    from caesura.host.command import Slices
    from caesura.host.stopping import Stopper

# Operating systems keep eight bits of a program's exit code.
_EXIT_CODES: Final = 0xFF


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options that give a program folders."""
    parser.add_argument(
        "--dir",
        action="append",
        default=[],
        metavar="HOST[::GUEST]",
        help="let the program use a folder, under the same name or another",
    )
    parser.add_argument(
        "--read-only-dir",
        action="append",
        default=[],
        metavar="HOST[::GUEST]",
        help="the same, but the program can change nothing in it",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options about time and the cache."""
    parser.add_argument("--timeout", default=None, metavar="SECONDS", help="stop the program after a time")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write compiled programs on the disk")
    parser.add_argument(
        "--cache-limit",
        default=None,
        metavar="BYTES",
        help="how much these may take in all, the least recently used go first; K, M and G multiply (default: what "
        "CAESURA_CACHE_LIMIT says, or 2G)",
    )


def add_slices(parser: argparse.ArgumentParser) -> None:
    """Add the options about time slices and budgets."""
    parser.add_argument(
        "--time-slice",
        default=None,
        metavar="SECONDS",
        help="suspend the program for a moment after so much time, again and again: then it can be saved while it "
        "computes",
    )
    parser.add_argument(
        "--cpu",
        default=None,
        metavar="SECONDS",
        help="stop the program when it has taken so much processor time; with --save it is saved then",
    )
    parser.add_argument(
        "--fuel", default=None, metavar="UNITS", help="the same for a count that is the same on every machine"
    )


def slices_of(arguments: argparse.Namespace) -> Slices:
    """Return what these options say."""
    from caesura.host.command import Slices
    from caesura.host.settings import LEAST_TIME_SLICE, MOST_TIME_SLICE
    from caesura.host.slices.budget import Budget

    time_slice = None if arguments.time_slice is None else seconds(arguments.time_slice, "--time-slice")
    if time_slice is not None and not LEAST_TIME_SLICE <= time_slice <= MOST_TIME_SLICE:
        bounds = f"{LEAST_TIME_SLICE:g} to {MOST_TIME_SLICE:g}"
        raise WrongUsage(f"--time-slice {arguments.time_slice}: expected seconds, {bounds}")
    cpu = None if arguments.cpu is None else seconds(arguments.cpu, "--cpu")
    fuel = None if arguments.fuel is None else units(arguments.fuel)
    return Slices(time_slice, None if cpu is None and fuel is None else Budget(cpu=cpu, fuel=fuel))


def run_to_end(execute: Callable[[], tuple[int, Any]], timeout: float | None) -> int:
    """Run a program, which returns its exit code and what the function returns that was called; print that.

    Returns the command's exit code.
    """
    _require_engine()
    from caesura.host.errors import GuestTrap
    from caesura.host.pending import BudgetExhausted

    try:
        code, results = execute()
    except TimeoutError:
        say_stopped(_late(timeout))
        return TIMED_OUT
    except InFile as error:
        if isinstance(error.__cause__, BudgetExhausted):
            say_stopped(f"the program has used up its budget, {error.__cause__.exhausted}")
            return TIMED_OUT
        if not isinstance(error.__cause__, GuestTrap):
            raise
        say_error(str(error))
        for name in error.__cause__.backtrace:
            say(f"  in {name}")
        return ABORTED
    for value in results if isinstance(results, tuple) else () if results is None else (results,):
        say_result(str(value))
    return int(code) & _EXIT_CODES


@contextlib.contextmanager
def stopped_in_time(timeout: float | None, autosave: Autosave | None) -> Iterator[Stopper]:
    """Stop a program when its time is over or a signal arrives; those that save it are not meant."""
    from caesura.cli.saving import handled_signals
    from caesura.host.stopping import stopping

    def give_up(reason: BaseException) -> None:
        is_late = isinstance(reason, TimeoutError)
        say_stopped(_late(timeout) if is_late else "interrupted")
        os._exit(TIMED_OUT if is_late else INTERRUPTED)

    with _warning_in_our_style(), stopping(timeout, give_up, handled_signals(autosave)) as stopper:
        yield stopper


def limit_cache(arguments: argparse.Namespace) -> None:
    """Hand the cache's limit on, for processes that compile too; raises UsageError for what is no size."""
    from caesura.host import cache_limit

    if arguments.cache_limit is not None:
        size_of(arguments.cache_limit, "--cache-limit")
        os.environ[cache_limit.VARIABLE] = arguments.cache_limit
    if not arguments.no_cache:
        cache_limit.limit()


def _require_engine() -> None:
    try:
        import wasmtime  # noqa: F401
    except ImportError as error:
        raise UsageError("programs can be run only where the package wasmtime is installed") from error


@contextlib.contextmanager
def _warning_in_our_style() -> Iterator[None]:
    """Let warnings, as of a cache that cannot be used, be lines like the command's other ones."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say_warning(str(message))
        yield


def _late(timeout: float | None) -> str:
    return f"the program did not end within {timeout:g} second{'' if timeout == 1 else 's'}"
