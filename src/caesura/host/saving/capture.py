"""Saving: everything that a guest is, read while none of its code runs; nothing of it changes."""

from __future__ import annotations

from collections.abc import Callable

from caesura.errors import SnapshotError, UsageError
from caesura.host.instance import Instance
from caesura.host.saving.calls import record_calls
from caesura.host.saving.globals import is_number, read_number
from caesura.host.saving.initial_memories import initial_memories
from caesura.host.saving.memories import read_memory
from caesura.host.saving.references import ReferenceSaver, SaveObject
from caesura.host.saving.segments import dropped_data, dropped_elements
from caesura.host.saving.tables import read_global_reference, read_table
from caesura.host.state import CallState
from caesura.snapshots.pages import Run
from caesura.snapshots.state import GlobalState, ModuleIdentity, State, WasiState


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
    if before is not None and before.module.instrumented != saved.instrumented:
        raise UsageError("the base is a snapshot of another module than the guest's")
    references = ReferenceSaver(instance, save_object)
    calls = record_calls(instance, references, waited)
    tables = tuple(read_table(instance, item.index, item.type, references) for item in saved.tables)
    variables = tuple(_read_global(instance, item.index, item.type, references) for item in saved.globals)
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
        dropped_elements=dropped_elements(instance, saved),
        calls=calls,
        area=_area(instance),
        stacks=instance.stacks.resting.saved(list(instance.suspended)),
        wasi=wasi,
        objects=tuple(references.objects),
    )
    return state, None if before is None else {index: changes for index, (_, changes) in memories.items()}


def _area(instance: Instance) -> tuple[int, int] | None:
    """Return where the asyncify stack lies in the guest's own memory, if it does."""
    if instance.unwinder is None or instance.description.has_own_asyncify_memory:
        return None
    return instance.unwinder.area.place


def _read_global(instance: Instance, index: int, kind: int, references: ReferenceSaver) -> GlobalState:
    if is_number(kind):
        return read_number(instance, index, kind)
    return GlobalState(index=index, type=kind, bits=read_global_reference(instance, index, kind, references))
