"""`caesura inspect`: look into saved states."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Final

from caesura.cli.bases import Bases, add_base
from caesura.cli.exits import WrongUsage
from caesura.cli.files import about, read_module, read_state
from caesura.cli.inspect_text import changes_text, state_text
from caesura.cli.streams import say_result
from caesura.cli.subcommand import SubCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from caesura.inspection.backtrace import Frame
    from caesura.inspection.program import Program
    from caesura.snapshots.state import State
    from caesura.wasm.module import Module

_DESCRIPTION: Final = """\
Show what is in a saved state: suspended calls with their backtraces, what lies in memory, globals, tables, open files,
and how large it all is; or, with --diff, what differs between two states. Nothing of the guest runs.

Backtraces, names, data and the guest's own C stack are known from its module. That is looked for where the guest was
loaded from, and in the state, unless --module says where it is."""

_EXAMPLES: Final = """\
examples:
  caesura inspect state.caesura
  caesura inspect state.caesura --module app.wasm --json | jq '.calls[0].backtrace'
  caesura inspect later.caesura --base earlier.caesura
  caesura inspect --diff earlier.caesura later.caesura
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("states", metavar="STATE", nargs="+", help="the saved state; '-' is standard input")
    parser.add_argument(
        "--diff", action="store_true", help="show what differs between two states, the earlier one first"
    )
    parser.add_argument("--module", metavar="FILE", help="the module of which the guest was, as it was given")
    add_base(parser, "the (first) state")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(arguments: argparse.Namespace) -> int:
    wanted = 2 if arguments.diff else 1
    if len(arguments.states) != wanted:
        what = "--diff compares two states" if arguments.diff else "one state is shown at a time (--diff compares two)"
        raise WrongUsage(f"{what}, and {len(arguments.states)} are given")
    told = _differences(arguments) if arguments.diff else _contents(arguments)
    if arguments.json:
        say_result(json.dumps(told, indent=1))
    else:
        say_result(changes_text(told) if arguments.diff else state_text(told))
    return 0


def _contents(arguments: argparse.Namespace) -> dict[str, object]:
    from caesura.inspection.contents import describe_state
    from caesura.snapshots import container

    (path,) = arguments.states
    data = read_state(path)
    bases = Bases(arguments.base)
    with about(path):
        state = bases.decode(data)
        sections = container.read(data)
    module = _Module(state, arguments.module)
    return describe_state(state, module.original, module.backtraces(state), sections)


def _differences(arguments: argparse.Namespace) -> dict[str, object]:
    from caesura.inspection.changes import describe_changes

    first, second = arguments.states
    data = read_state(first)
    bases = Bases(arguments.base)
    with about(first):
        before = bases.decode(data)
        bases.add(before)
    data = read_state(second)
    with about(second):
        now = bases.decode(data)
    module = _Module(now, arguments.module)
    return describe_changes(before, now, module.original, module.backtraces(before), module.backtraces(now))


class _Module:
    """The module of a state: `original` is it, parsed, if it is there, or the instrumented one.

    A file that is named must be the right one; one that only the state names may have gone or changed. Then it is the
    module that the state brings along, if it does, or there are no backtraces.
    """

    def __init__(self, state: State, path: str | None) -> None:
        self.original: Module | None = None
        self._program: Program | None = None
        self._why_not = "its module is not known: give it with --module"
        self._instrumented = state.module.instrumented
        if path is not None:
            data = read_module(path)
            with about(path):
                self._take(data, state)
            return
        place = state.module.path
        if place and not os.path.isfile(place):  # who wrote that may mean a device, which has no end
            self._why_not = f"its module was loaded from {place!r:.300}, where no file is: give it with --module"
        elif place:
            self._try(lambda: self._take_file(place, state))
        if self._program is None and state.embedded is not None:
            self._try(lambda: self._take_embedded(state))

    def _try(self, take: Callable[[], None]) -> None:
        from caesura.errors import CaesuraError

        try:
            take()
        except CaesuraError as error:
            self._why_not = str(error)

    def _take_file(self, place: str, state: State) -> None:
        data = read_module(place)
        with about(place):
            self._take(data, state)

    def _take(self, data: bytes, state: State) -> None:
        from caesura.host.saved_programs import check_original, saved_program
        from caesura.wasm.module import Module

        check_original(data, state)
        self.original = Module(data)
        self._try(lambda: self._set_program(saved_program(data, state)))

    def _take_embedded(self, state: State) -> None:
        from caesura.host.saved_programs import embedded_program
        from caesura.wasm.module import Module

        self._set_program(embedded_program(state))
        if self.original is None and state.embedded is not None:
            self.original = Module(state.embedded)

    def _set_program(self, program: Program) -> None:
        self._program = program

    def backtraces(self, state: State) -> list[Sequence[Frame] | str]:
        """Return the backtrace of each call of a state, or why there is none."""
        from caesura.errors import SnapshotError
        from caesura.host.saved_programs import state_backtrace

        found: list[Sequence[Frame] | str] = []
        for call in state.calls:
            if self._program is None or state.module.instrumented != self._instrumented:
                found.append(self._why_not if self._program is None else "it is a call of another module")
                continue
            try:
                found.append(state_backtrace(self._program, state, call))
            except SnapshotError as error:
                found.append(str(error))
        return found


COMMAND: Final = SubCommand(
    name="inspect",
    help="look into saved states",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
