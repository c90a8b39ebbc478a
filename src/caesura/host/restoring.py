"""Making a guest of a snapshot: in another process, on another day."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, Never

from caesura.argument_kinds import check_hook
from caesura.host.connect import Imports
from caesura.host.guest import Guest, World
from caesura.host.interruption import Interruptions, interruptions_of
from caesura.host.linking import check_loop, connect
from caesura.host.making import OnRestore
from caesura.host.native_stack import NATIVE_STACK_SIZE
from caesura.host.saving.background import in_background
from caesura.host.saving.references import LoadObject
from caesura.host.settings import DEFAULT_OPTIONS, RECURSION_LIMIT, REFUSE, GuestSettings, ProgramSettings
from caesura.host.snapshot import Snapshot, refuse_what_is_saved, restore_guest
from caesura.host.sources import Source
from caesura.host.wasi.reopening import OnMissing
from caesura.host.wasi.wasi import Wasi
from caesura.options import Options

# In bytes: what a state has besides memories (frames, tables, objects), where memories are limited.
_REST: Final = 256 << 20

# In bytes, as they are and unpacked: snapshots that are read in a millisecond or two, for which a thread is not worth
# while.
_READ_AT_ONCE: Final = 64 << 10
_UNPACKED_AT_ONCE: Final = 1 << 20


async def _read(source: str | os.PathLike[str] | bytes, limit: int | None) -> Snapshot:
    if isinstance(source, bytes) and len(source) <= _READ_AT_ONCE and limit is None:
        from caesura.snapshots.format import unpacked_size

        if unpacked_size(source) <= _UNPACKED_AT_ONCE:
            return Snapshot.load(source)
    return await in_background(lambda: Snapshot.load(source, limit=limit))


async def restore(
    snapshot: Snapshot | str | os.PathLike[str] | bytes,
    imports: Imports | None = None,
    *,
    external: Sequence[str] = (),
    wasi: Wasi | None = None,
    module: Source | None = None,
    load_object: LoadObject | None = None,
    on_missing: OnMissing | None = None,
    on_restore: OnRestore | None = None,
    options: Options = DEFAULT_OPTIONS,
    cache: bool = True,
    shadow_stack_size: int | None = None,
    single_stack: bool | None = None,
    interruptible: bool | Interruptions = False,
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
    limit: int | None = None,
    **others: Never,
) -> Guest:
    """Make a guest that goes on where the one was of which a snapshot was taken.

    `snapshot` is one, or a path or bytes to read it from. `module` is the module that it was taken of, a path or bytes;
    without, it is what the snapshot brings along (`embed=True`), or the file that the guest was loaded from.
    `load_object` makes Python objects of what `save_object` made of them. `on_restore` is called with the guest before
    anything of it runs, and may be a coroutine function.

    `wasi` is what a WASI program sees from now on; its folders have the guest's paths that they had, and lie where you
    want. Files that were open are opened again. For one that is not there any more, or is another one now,
    `on_missing` is called with its record (`caesura.snapshots.state.Descriptor`); it returns the path of the file to be
    opened instead (`record.path` for what is there now), below the same folder, or None: the guest then finds its
    descriptor closed. Without, that is a SnapshotError.

    `guest.pending` has the calls that were suspended. In a WASI command, `await guest.run()` goes on with its program.
    The imports must be those that the guest had, and may be other functions. The other parameters are those of `load`,
    but for `stack_space`, `preempt` and `budget`, which the state has or a guest that has begun does not need;
    `options` are those that the guest was loaded with, and need only be given where a profile was among them.

    `limit` is how many bytes the snapshot may hold, unpacked: with `memory_limit` what that allows and 256 MiB for all
    else, without 4 GiB.

    Raises SnapshotError for bytes that are no snapshot, or one that does not fit the module; UsageError for imports
    that do not fit, files that cannot be read, and limits that the guest exceeds already; and ModuleError for a module
    that cannot be used.
    """
    parameters = {**locals(), "interruptible": bool(interruptible)}
    interruptions = interruptions_of(interruptible)
    program_settings, guest_settings = ProgramSettings.among(parameters), GuestSettings.among(parameters)
    refuse_what_is_saved(others, "restore")
    check_hook("on_restore", on_restore)
    check_loop()
    if limit is None and memory_limit is not None:
        limit = (memories or 1) * memory_limit + _REST
    taken = snapshot if isinstance(snapshot, Snapshot) else await _read(snapshot, limit)
    world = World(connect(imports, wasi, external, taken.state), wasi, guest_settings, interruptions)
    return await restore_guest(
        taken,
        world,
        module,
        program_settings,
        load_object=load_object,
        on_missing=on_missing,
        on_restore=on_restore,
    )
