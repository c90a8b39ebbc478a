"""`caesura run`: run a WebAssembly program."""

from __future__ import annotations

import argparse
import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any, Final

from caesura.cli.cache import size_of
from caesura.cli.exits import ABORTED, INTERRUPTED, TIMED_OUT, WrongUsage
from caesura.cli.files import InFile, about, read_module
from caesura.cli.messages import say, say_error, say_stopped, say_warning
from caesura.cli.run_values import directory, environment, pages, seconds
from caesura.cli.streams import say_result
from caesura.cli.subcommand import SubCommand
from caesura.errors import UsageError

_DESCRIPTION: Final = """\
Run a WebAssembly program: a WASI command, or a module whose functions need nothing or the imports of
`spectest`. The exit code is the program's; 134 if it traps, 124 if the time is over."""

_EXAMPLES: Final = """\
examples:
  caesura run program.wasm first second
  caesura run --dir data::/input --env HOME=/ program.wasm
      the program sees the folder `data` as `/input`
  caesura run --invoke add module.wat 20 22
      call an exported function and print its results
"""

# Operating systems keep eight bits of a program's exit code.
_EXIT_CODES: Final = 0xFF


def _add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="set a variable in the program's environment, or pass on ours",
    )
    parser.add_argument(
        "--invoke", default="", metavar="NAME", help="call this exported function, with ARG as arguments"
    )
    parser.add_argument(
        "--stack-size",
        default=None,
        metavar="BYTES",
        help="suspend the program while it waits, and save up to this much of its stack; K and M multiply",
    )
    parser.add_argument("--timeout", default=None, metavar="SECONDS", help="stop the program after a time")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write compiled programs on the disk")
    parser.add_argument(
        "--cache-limit",
        default=None,
        metavar="BYTES",
        help="how much these may take in all, the least recently used go first; K, M and G multiply (default: what "
        "CAESURA_CACHE_LIMIT says, or 2G)",
    )
    # One argument for both: argparse would take a `--` from between two.
    parser.add_argument(
        "command",
        metavar="PROGRAM",
        nargs=argparse.PARSER,
        help="the module, binary or text ('-' is standard input); all that follows are the program's arguments",
    )


def _run(arguments: argparse.Namespace) -> int:
    """Run the program; return its exit code."""
    _require_engine()
    from caesura.host.errors import GuestTrap

    if arguments.command[0] == "--":
        del arguments.command[0]
    if not arguments.command:
        raise WrongUsage("caesura run: expected a PROGRAM")
    timeout = None if arguments.timeout is None else seconds(arguments.timeout)
    try:
        code, results = _execute(arguments, timeout)
    except TimeoutError:
        say_stopped(_late(timeout))
        return TIMED_OUT
    except InFile as error:
        if not isinstance(error.__cause__, GuestTrap):
            raise
        say_error(str(error))
        for name in error.__cause__.backtrace:
            say(f"  in {name}")
        return ABORTED
    for value in results if isinstance(results, tuple) else () if results is None else (results,):
        say_result(str(value))
    return int(code) & _EXIT_CODES


def _require_engine() -> None:
    try:
        import wasmtime  # noqa: F401
    except ImportError as error:
        raise UsageError("programs can be run only where the package wasmtime is installed") from error


def _execute(arguments: argparse.Namespace, timeout: float | None) -> tuple[int, Any]:
    """Run the program to its end, or until the time is over; return its exit code, and the results of `--invoke`."""
    from caesura.host.command import run_command
    from caesura.host.stopping import stopping
    from caesura.host.wasi import Wasi
    from caesura.options import Options

    program, *program_arguments = arguments.command
    wasi = Wasi(
        arguments.command,
        environment=environment(arguments.env),
        directories=dict(directory("--dir", text) for text in arguments.dir),
        read_only_directories=dict(directory("--read-only-dir", text) for text in arguments.read_only_dir),
    )
    _limit_cache(arguments)
    options = None
    if arguments.stack_size is not None:
        options = Options(secondary_memory_maximum=pages(arguments.stack_size))

    def give_up(reason: BaseException) -> None:
        is_late = isinstance(reason, TimeoutError)
        say_stopped(_late(timeout) if is_late else "interrupted")
        os._exit(TIMED_OUT if is_late else INTERRUPTED)

    with _warning_in_our_style(), stopping(timeout, give_up) as stopper:
        # A file is named and not read: the cache may know what is in it.
        source = program if os.path.isfile(program) else read_module(program)
        with about(program):
            return run_command(
                source,
                wasi,
                invoke=arguments.invoke,
                arguments=program_arguments,
                stopper=stopper,
                options=options,
                cache=not arguments.no_cache,
            )


def _limit_cache(arguments: argparse.Namespace) -> None:
    """Hand the cache's limit on, for processes that compile too; raises UsageError for what is no size."""
    from caesura.host import cache_limit

    if arguments.cache_limit is not None:
        size_of(arguments.cache_limit, "--cache-limit")
        os.environ[cache_limit.VARIABLE] = arguments.cache_limit
    if not arguments.no_cache:
        cache_limit.limit()


@contextlib.contextmanager
def _warning_in_our_style() -> Iterator[None]:
    """Let warnings, as of a cache that cannot be used, be lines like the command's other ones."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say_warning(str(message))
        yield


def _late(timeout: float | None) -> str:
    return f"the program did not end within {timeout:g} second{'' if timeout == 1 else 's'}"


COMMAND: Final = SubCommand(
    name="run",
    help="run a program",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
