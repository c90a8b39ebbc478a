"""Saving: everything that a guest is, read while none of its code runs; nothing of it changes."""

from __future__ import annotations

import struct
from collections.abc import Callable

from caesura.errors import SnapshotError, UsageError
from caesura.host.instance import Instance
from caesura.host.saving.calls import record_calls
from caesura.host.saving.exceptions import ExceptionSaver
from caesura.host.saving.globals import is_number, read_number
from caesura.host.saving.held import Held
from caesura.host.saving.initial_memories import initial_memories
from caesura.host.saving.live import EVERYWHERE, Live, live_places
from caesura.host.saving.memories import read_memory
from caesura.host.saving.references import ReferenceSaver, SaveObject
from caesura.host.saving.segments import dropped_data, dropped_elements
from caesura.host.saving.tables import read_global_reference, read_table
from caesura.host.state import CallState
from caesura.snapshots.pages import Run
from caesura.snapshots.section import StateGlobal, StateTable
from caesura.snapshots.state import GlobalState, ModuleIdentity, State, TableState, WasiState


def check_savable(instance: Instance) -> None:
    """Raise UsageError while a guest's code runs, or is entered or left."""
    instance.check()
    if instance.store.depth or instance.moving is not None:
        raise UsageError(
            "the guest's code is running, so that there is a stack which is no data yet: take a snapshot where it "
            "waits. A host function that the guest has called is such a place once it has waited itself "
            "(await asyncio.sleep(0))"
        )


def capture(
    instance: Instance,
    *,
    path: str,
    wasi: WasiState | None,
    waited: Callable[[CallState], int] | None = None,
    before: State | None = None,
    save_object: SaveObject | None = None,
) -> tuple[State, dict[int, tuple[Run, ...]] | None]:
    """Return what a guest is, and if it is known what it was `before`, what has changed in its memories since.

    `path` is where its module was loaded from, `wasi` what it has open, `waited` tells for how many nanoseconds a call
    has slept. Raises UsageError while its code runs and for a `before` of another module, SnapshotError for what cannot
    be saved.
    """
    check_savable(instance)
    saved = instance.description.state()
    if saved is None:
        raise SnapshotError(f"the guest cannot be saved: {instance.description.why_unsaved}")
    if saved.unsaved:
        raise SnapshotError(f"the guest cannot be saved: it has {', '.join(saved.unsaved)}")
    dropped = dropped_elements(instance, saved)
    for index in saved.undropped:
        if index not in dropped:
            raise SnapshotError(
                f"the guest cannot be saved before it drops element segment {index}, which has structures or arrays "
                "that can change"
            )
    if before is not None and before.module.instrumented != saved.instrumented:
        raise UsageError("the base is a snapshot of another module than the guest's")
    references = ReferenceSaver(instance, save_object)
    calls = record_calls(instance, references, waited)
    exceptions = ExceptionSaver(instance, saved.tags)
    live = live_places(saved, calls)
    tables = tuple(
        _read_table(instance, item, references, exceptions, live.get(item.index, EVERYWHERE)) for item in saved.tables
    )
    variables = tuple(_read_global(instance, item, references, exceptions) for item in saved.globals)
    known = {} if before is None else {memory.index: memory for memory in before.memories}
    initial = initial_memories(instance.program, saved)
    memories = {
        item.index: read_memory(
            instance, item.index, item.page_size, known.get(item.index), initial.get(item.index, ())
        )
        for item in saved.memories
    }
    state = State(
        module=ModuleIdentity(
            original=saved.original,
            instrumented=saved.instrumented,
            contract=saved.contract,
            imports=saved.imports,
            options=saved.options,
            path=path,
        ),
        memories=tuple(memory for memory, _ in memories.values()),
        globals=variables,
        tables=tables,
        dropped_data=dropped_data(instance, saved),
        dropped_elements=dropped,
        calls=calls,
        area=_area(instance),
        stacks=instance.stacks.resting.saved(list(instance.suspended)),
        wasi=wasi,
        objects=tuple(references.objects),
        exceptions=exceptions.exceptions,
    )
    return state, None if before is None else {index: changes for index, (_, changes) in memories.items()}


def _area(instance: Instance) -> tuple[int, int] | None:
    """Return where the asyncify stack lies in the guest's own memory, if it does."""
    if instance.unwinder is None or instance.description.has_own_asyncify_memory:
        return None
    return instance.unwinder.area.place


def _read_table(
    instance: Instance, item: StateTable, references: ReferenceSaver, exceptions: ExceptionSaver, live: Live
) -> TableState:
    if not item.declared:
        return read_table(instance, item.index, item.type, references, live)
    numbers = Held(instance, item).read(references, exceptions, live)
    return TableState(index=item.index, type=item.type, elements=struct.pack(f"<{len(numbers)}I", *numbers))


def _read_global(
    instance: Instance, item: StateGlobal, references: ReferenceSaver, exceptions: ExceptionSaver
) -> GlobalState:
    index, kind = item.index, item.type
    if is_number(kind):
        return read_number(instance, index, kind)
    if not item.declared:
        return GlobalState(index=index, type=kind, bits=read_global_reference(instance, index, kind, references))
    [number] = Held(instance, item).read(references, exceptions)
    return GlobalState(index=index, type=kind, bits=number)
