"""`caesura to-wasm`: make one module of a saved state."""

from __future__ import annotations

import argparse
from typing import Final

from caesura.cli.bases import Bases, add_base
from caesura.cli.exits import WrongUsage
from caesura.cli.files import (
    STANDARD_STREAM,
    about,
    check_output_name,
    goes_to_terminal,
    read_module,
    read_state,
    write_output,
)
from caesura.cli.subcommand import SubCommand

_DESCRIPTION: Final = """\
Make one WebAssembly module of a saved state, which any engine runs with nothing of caesura's. Its export `resume` goes
on with the suspended call: it takes what the host function returns in which the call waits, and returns what the
export does that was called. For several calls there are `resume:0`, `resume:1` and so on.

The module of which the guest was is looked for where the guest was loaded from, unless the state brings it along or
--module says where it is."""

_EXAMPLES: Final = """\
examples:
  caesura to-wasm state.caesura -o continued.wasm
  caesura to-wasm later.caesura --base earlier.caesura --module app.wasm -o continued.wasm
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("state", metavar="STATE", help="the saved state; '-' is standard input")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default=STANDARD_STREAM,
        help="where the module goes; '-', the default, is standard output",
    )
    parser.add_argument("--module", metavar="FILE", help="the module of which the guest was, as it was given")
    add_base(parser, "this one")


def _run(arguments: argparse.Namespace) -> int:
    from caesura.host.snapshot import Snapshot

    check_output_name(arguments.output)
    if goes_to_terminal(arguments.output):
        raise WrongUsage("a binary module is not for a terminal: name a file with -o, or redirect standard output")
    bases = Bases(arguments.base)
    data = read_state(arguments.state)
    module = None if arguments.module is None else read_module(arguments.module)
    with about(arguments.state):
        made = Snapshot(bases.decode(data)).to_wasm(module=module)
    write_output(arguments.output, [made])
    return 0


COMMAND: Final = SubCommand(
    name="to-wasm",
    help="make a module of a saved state",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
