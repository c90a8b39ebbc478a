"""What the memories of a module hold in a new instance, from its data segments: states leave out what is still so.

An engine makes them, so one is asked, once for each module: an instance takes a tenth of a millisecond. Its start
function is the host's to call (`drivable`), so nothing of it runs. To keep a copy of each guest's memory from its start
was rejected, since guests that are never saved would pay for it, and to read the segments, since most programs are
loaded compiled, without a module that could be read. Memories that a module imports are somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from weakref import WeakKeyDictionary

import wasmtime

from caesura.abi import STATE_MEMORIES
from caesura.host import native
from caesura.host.program import LinkedProgram
from caesura.host.saving.touched import touched_parts
from caesura.snapshots.pages import Run, split_runs_at
from caesura.snapshots.section import StateSection

Initial = Mapping[int, tuple[Run, ...]]

_known: Final = WeakKeyDictionary[wasmtime.Module, Initial]()


def initial_memories(program: LinkedProgram, saved: StateSection) -> Initial:
    """Return the runs of the memories of a new instance, by index; of none where they are not the module's own."""
    found = _known.get(program.module)
    if found is None:
        try:
            found = _known[program.module] = _read(program, saved) if saved.memories else {}
        except wasmtime.WasmtimeError:  # there is no room for another instance: then nothing is left out
            return {}
    return found


def _read(program: LinkedProgram, saved: StateSection) -> Initial:
    made = program.instantiate_alone()
    if made is None:
        return {}
    store, instance = made
    context = native.address_of(store._context())
    found: dict[int, tuple[Run, ...]] = {}
    for item in saved.memories:
        memory = native.export_of(store, instance, f"{STATE_MEMORIES}{item.index}")
        if isinstance(memory, wasmtime.Memory):
            cell = native.MemoryCell(context, memory)
            base, size = cell.base(), cell.size()
            found[item.index] = split_runs_at(base, size, touched_parts(base, size))
    return found
