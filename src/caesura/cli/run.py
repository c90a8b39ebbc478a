"""`caesura run`: run a WebAssembly program."""

from __future__ import annotations

import argparse
import os
from typing import Any, Final

from caesura.cli.exits import WrongUsage
from caesura.cli.files import STANDARD_STREAM, about, read_module
from caesura.cli.programs import (
    add_folders,
    add_limits,
    add_slices,
    limit_cache,
    run_to_end,
    slices_of,
    stopped_in_time,
)
from caesura.cli.run_values import directory, environment, pages, seconds
from caesura.cli.saving import add_save_options, autosave_of, saving_on_signals
from caesura.cli.subcommand import SubCommand

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
  caesura run --save state.caesura --save-on SIGUSR1 program.wasm
      save the program when it gets SIGUSR1, or Ctrl-C, which ends it; `caesura resume state.caesura` goes on
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_folders(parser)
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
    add_limits(parser)
    add_slices(parser)
    add_save_options(parser)
    # One argument for both: argparse would take a `--` from between two.
    parser.add_argument(
        "command",
        metavar="PROGRAM",
        nargs=argparse.PARSER,
        help="the module, binary or text ('-' is standard input); all that follows are the program's arguments",
    )


def _run(arguments: argparse.Namespace) -> int:
    """Run the program; return its exit code."""
    if arguments.command[0] == "--":
        del arguments.command[0]
    if not arguments.command:
        raise WrongUsage("caesura run: expected a PROGRAM")
    timeout = None if arguments.timeout is None else seconds(arguments.timeout)
    return run_to_end(lambda: _execute(arguments, timeout), timeout)


def _execute(arguments: argparse.Namespace, timeout: float | None) -> tuple[int, Any]:
    """Run the program to its end, or until the time is over; return its exit code, and the results of `--invoke`."""
    from caesura.host.command import run_command
    from caesura.host.wasi.pausing import PausingWasi
    from caesura.host.wasi.wasi import Wasi
    from caesura.options import Options

    program, *program_arguments = arguments.command
    autosave = autosave_of(arguments, embed=program == STANDARD_STREAM)
    wasi = (Wasi if autosave is None else PausingWasi)(
        arguments.command,
        environment=environment(arguments.env),
        directories=dict(directory("--dir", text) for text in arguments.dir),
        read_only_directories=dict(directory("--read-only-dir", text) for text in arguments.read_only_dir),
    )
    limit_cache(arguments)
    slices = slices_of(arguments)
    options = None
    if arguments.stack_size is not None:
        options = Options(secondary_memory_maximum=pages(arguments.stack_size))
    with stopped_in_time(timeout, autosave) as stopper, saving_on_signals(autosave, stopper):
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
                autosave=autosave,
                slices=slices,
            )


COMMAND: Final = SubCommand(
    name="run",
    help="run a program",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
