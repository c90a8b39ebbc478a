"""Snapshots of guests: from data to guests again, one (`restore`) or many (`fork`).

What a snapshot is as data stands below (`saving.snapshot_data`). Guests are made one after the other, in the thread
that they belong to, and the event loop runs on in between. Making them in several threads was rejected: a guest belongs
to the thread that has made it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Never

from caesura.argument_kinds import check_hook, check_kind
from caesura.errors import UsageError
from caesura.host.connect import Imports
from caesura.host.guest import Guest, World
from caesura.host.linking import Origin, check_loop, connect, module_of_state, obtain_saved_program
from caesura.host.making import OnRestore, make_guest_again
from caesura.host.native_stack import NATIVE_STACK_SIZE
from caesura.host.program import LinkedProgram
from caesura.host.saving.putting_back import check_fits
from caesura.host.saving.references import LoadObject
from caesura.host.saving.snapshot_data import SnapshotData
from caesura.host.settings import DEFAULT_OPTIONS, RECURSION_LIMIT, REFUSE, GuestSettings, ProgramSettings
from caesura.host.sources import Source
from caesura.host.wasi.reopening import OnMissing
from caesura.host.wasi.wasi import Wasi
from caesura.options import Options

if TYPE_CHECKING:
    from caesura.inspection.backtrace import Frame

# Seconds after which others get the event loop's turn while guests are made.
_TURN: Final = 0.005


class Snapshot(SnapshotData):
    """Everything that a guest is at one moment, as data: made by `guest.snapshot`, or read from a file.

    `restore` and `fork` make guests of it, in this process or another, and `bytes(snapshot)` is what a file holds. It
    can be copied and pickled, and belongs to no guest and to no thread.
    """

    def backtraces(self, module: Source | None = None) -> list[list[Frame]]:
        """Return the frames of each suspended call, innermost first, as `PendingCall.backtrace` does.

        `module` is the module that the snapshot was taken of, as for `restore`. Raises UsageError for one that cannot
        be read or is another one, SnapshotError where this caesura instruments it otherwise than the one that took the
        snapshot, and UnsupportedModule for one that was instrumented elsewhere without `frame_layouts`.
        """
        from caesura.host.saved_programs import state_backtraces  # with the transformation

        return state_backtraces(self._state, module or self._module)

    async def fork(
        self,
        count: int,
        imports: Imports | Callable[[int], Imports] | None = None,
        *,
        external: Sequence[str] = (),
        wasi: Wasi | Callable[[int], Wasi] | None = None,
        module: Source | None = None,
        load_object: LoadObject | None = None,
        on_missing: OnMissing | None = None,
        on_restore: OnRestore | None = None,
        options: Options = DEFAULT_OPTIONS,
        cache: bool = True,
        shadow_stack_size: int | None = None,
        single_stack: bool | None = None,
        interruptible: bool = False,
        accept_instrumented: bool = True,
        recursion_limit: int = RECURSION_LIMIT,
        memory_limit: int | None = None,
        table_limit: int | None = None,
        memories: int | None = None,
        tables: int | None = None,
        instances: int | None = None,
        suspended_calls: int | None = None,
        when_unsuspendable: str = REFUSE,
        time_slice: float | int | None = None,
        weight: float | int = 1.0,
        priority: int = 0,
        memory_reservation: int | None = None,
        native_stack_size: int = NATIVE_STACK_SIZE,
        **others: Never,
    ) -> list[Guest]:
        """Make so many guests that go on from here, in this process; they share the memory that they do not change.

        Other tasks get their turn meanwhile; if this fails or is cancelled, all of them are closed.

        `imports` and `wasi` may be functions of the guest's number, from 0, that give each its own. The other
        parameters, and the errors, are those of `restore`.
        """
        program_settings, settings = ProgramSettings.among(locals()), GuestSettings.among(locals())
        refuse_what_is_saved(others, "fork")
        check_kind("count", count, int)
        check_hook("on_restore", on_restore)
        if count < 0:
            raise UsageError(f"count is {count}: expected how many guests to make")
        check_loop()
        saved = await self.saved_guest(load_object, on_missing, often=count > 1)
        guests: list[Guest] = []
        shared = None if callable(imports) or wasi is not None else connect(imports, None, external, self._state)
        programs: dict[tuple[object, ...], tuple[LinkedProgram, Origin]] = {}
        turn = time.monotonic()
        try:
            for number in range(count):
                own_wasi = wasi(number) if callable(wasi) else wasi
                connections = shared or connect(
                    imports(number) if callable(imports) else imports, own_wasi, external, self._state
                )
                key = connections.provided, connections.import_list, own_wasi is None
                if key not in programs:
                    programs[key] = await obtain_saved_program(
                        self._state, module or self.module, connections, program_settings, wasi=own_wasi is not None
                    )
                    check_fits(programs[key][0].description, self._state)
                program, origin = programs[key]
                world = World(connections, own_wasi, settings)
                guests.append(await make_guest_again(program, world, origin, saved, on_restore))
                if time.monotonic() - turn > _TURN:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
        except BaseException:
            await _close_in_turns(guests)
            raise
        return guests

    def to_wasm(self, *, module: Source | None = None) -> bytes:
        """Return one module that begins where the guest was, for any engine, with nothing of caesura's.

        Its export `resume` goes on with the suspended call: it takes what the host function returns in which the call
        waits, and returns what the export does. For several calls there are `resume:0` and so on, in the order of
        `guest.pending`. `module` is as in `restore`; to instrument it stops the thread meanwhile.

        Raises SnapshotError for what no module can begin with, and what `restore` raises.
        """
        from caesura.snapshots.to_wasm import to_wasm

        return to_wasm(self._state, module_of_state(self._state, module or self.module))


# Parameters of `load` that guests have no use for which go on, and why.
_SAVED: Final = {
    "stack_space": "the asyncify stack lies where it did when the guest was saved",
    "preempt": "the guest's code is that of the state, with its pause points or without; time_slice=SECONDS is for one "
    "that has some",
    "budget": "it bounds what begins a guest, and this one has begun: a call takes one when it goes on, "
    "`await call.aresume(budget=...)`",
}


def refuse_what_is_saved(given: Iterable[str], here: str) -> None:
    """Raise for parameters that `restore` and `fork` do not take: UsageError if `load` does."""
    for name in given:
        if name in _SAVED:
            raise UsageError(f"{name} belongs to load, not to {here}: {_SAVED[name]}")
        raise TypeError(f"{here}() got an unexpected keyword argument '{name}'")


async def _close_in_turns(guests: list[Guest]) -> None:
    """Close guests that nobody else has, while others get the event loop's turn; all of them, whoever is cancelled."""
    turn = time.monotonic()
    try:
        while guests:
            guests.pop().close()
            if time.monotonic() - turn > _TURN:
                await asyncio.sleep(0)
                turn = time.monotonic()
    finally:
        for guest in guests:
            guest.close()


async def restore_guest(
    snapshot: Snapshot,
    world: World,
    module: Source | None,
    settings: ProgramSettings,
    *,
    load_object: LoadObject | None,
    on_missing: OnMissing | None,
    on_restore: OnRestore | None,
) -> Guest:
    """Make a guest that goes on from a snapshot."""
    program, origin = await obtain_saved_program(
        snapshot.state, module or snapshot.module, world.connections, settings, wasi=world.wasi is not None
    )
    check_fits(program.description, snapshot.state)
    saved = await snapshot.saved_guest(load_object, on_missing, often=False)
    return await make_guest_again(program, world, origin, saved, on_restore)
