"""`caesura resume`: go on with a program that was saved."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from caesura.cli.exits import WrongUsage
from caesura.cli.files import STANDARD_STREAM, InFile, about, read_module
from caesura.cli.programs import (
    add_folders,
    add_limits,
    add_slices,
    limit_cache,
    run_to_end,
    slices_of,
    stopped_in_time,
)
from caesura.cli.run_values import directory, seconds
from caesura.cli.saving import add_save_options, autosave_of, saving_on_signals
from caesura.cli.subcommand import SubCommand
from caesura.errors import SnapshotError

if TYPE_CHECKING:
    from caesura.host.wasi.pausing import PausingWasi
    from caesura.snapshots.state import State, WasiState

_DESCRIPTION: Final = """\
Go on with a program that `caesura run --save` has saved: with its arguments, its environment, the folders that it
had, and the files that it had open. The exit code is the program's. The state says which folders of this
system its program may use: of one that a stranger made, say with --dir where they are to lie."""

_EXAMPLES: Final = """\
examples:
  caesura resume state.caesura
  caesura resume --dir copy::/input --save state.caesura state.caesura
      what the program knows as `/input` is the folder `copy` now; Ctrl-C saves the program again
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_folders(parser)
    parser.add_argument(
        "--module", default=None, metavar="FILE", help="the program's module, if it lies elsewhere than it did"
    )
    parser.add_argument(
        "--other-files",
        action="store_true",
        help="where a file that was open has been replaced, or the folder copied, open what is there now",
    )
    add_limits(parser)
    add_slices(parser)
    add_save_options(parser)
    parser.add_argument("state", metavar="STATE", help="the file that the program was saved to")


def _run(arguments: argparse.Namespace) -> int:
    """Go on with the program; return its exit code."""
    timeout = None if arguments.timeout is None else seconds(arguments.timeout)
    return run_to_end(lambda: _execute(arguments, timeout), timeout)


def _execute(arguments: argparse.Namespace, timeout: float | None) -> tuple[int, Any]:
    from caesura.host.command import resume_command
    from caesura.host.snapshot import Snapshot

    if arguments.state == STANDARD_STREAM:
        raise WrongUsage("standard input is the program's: name the file that it was saved to")
    folders = [
        *((*directory("--dir", text), True) for text in arguments.dir),
        *((*directory("--read-only-dir", text), False) for text in arguments.read_only_dir),
    ]
    with about(arguments.state):
        snapshot = Snapshot.load(arguments.state)
        if snapshot.state.wasi is None:
            raise SnapshotError("it was no program with WASI that was saved: use caesura.restore")
        wasi = _wasi(snapshot.state.wasi, folders)
    module = None if arguments.module is None else read_module(arguments.module)
    limit_cache(arguments)
    slices = slices_of(arguments)
    autosave = autosave_of(arguments, embed=snapshot.state.embedded is not None)
    stopping = stopped_in_time(timeout, autosave)
    fitting = _naming_the_module(arguments.module, module, snapshot.state)
    with stopping as stopper, saving_on_signals(autosave, stopper), fitting, about(arguments.state):
        return resume_command(
            snapshot,
            wasi,
            module=module,
            stopper=stopper,
            cache=not arguments.no_cache,
            autosave=autosave,
            other_files=arguments.other_files,
            slices=slices,
        )


@contextmanager
def _naming_the_module(path: str | None, module: bytes | None, state: State) -> Iterator[None]:
    """Name the module that was given in errors, where it is another one than the state's."""
    try:
        yield
    except InFile:
        if path is not None and module is not None:
            from caesura.host.saved_programs import check_original

            with about(path):
                check_original(module, state)
        raise


def _wasi(state: WasiState, given: list[tuple[str, str, bool]]) -> PausingWasi:
    """Return what the program sees of the world: what it saw, but for the folders that are given instead."""
    from caesura.host.wasi.pausing import PausingWasi

    instead = {inside for inside, _, _ in given}
    folders = [item for item in state.folders if item[0] not in instead] + given
    return PausingWasi(
        state.arguments,
        environment=state.environment,
        directories={inside: outside for inside, outside, writable in folders if writable},
        read_only_directories={inside: outside for inside, outside, writable in folders if not writable},
    )


COMMAND: Final = SubCommand(
    name="resume",
    help="go on with a program that was saved",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
