"""What a saved state leaves out, since the module makes it, is put into the file that its guests share, by a thread.

It lies in the first guest's memory before anything else is put there. To read and to write 100 MB takes a tenth of a
second, in which the event loop runs on: Python's lock is held for a mebibyte of it at most. Nobody else has the guest
meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import wasmtime

from caesura.abi import STATE_MEMORIES
from caesura.host import native
from caesura.host.instance import Instance
from caesura.host.saving.background import background
from caesura.host.saving.memories import MemoryImage
from caesura.host.starting import in_lane_of_guest
from caesura.wasm.definitions import MEMORY_KIND

# In bytes: so much is written in a millisecond or two, for which a thread is not worth while.
_FILLED_AT_ONCE: Final = 4 << 20


async def fill_images(images: Sequence[MemoryImage], instance: Instance, exported: wasmtime.Instance) -> None:
    """Take what images lack, if that is much, from an instance that Wasmtime has just made; little `put_into` takes.

    Who is cancelled meanwhile raises CancelledError when it is over.
    """
    if sum(image.missing for image in images) <= _FILLED_AT_ONCE:
        return
    store = instance.store.wasmtime_store
    imported = sum(item.kind == MEMORY_KIND for item in instance.description.imports)
    found: list[tuple[MemoryImage, int, int]] = []
    for image in images:
        if image.index < imported or not image.missing:  # others may let that grow, and move it
            continue
        try:
            memory = native.export_of(store, exported, f"{STATE_MEMORIES}{image.index}")
        except KeyError:  # a state that does not fit the module, as is found out when it is put back
            return
        if isinstance(memory, wasmtime.Memory):
            cell = native.MemoryCell(instance.store.context, memory)
            found.append((image, cell.base(), cell.size()))

    def work() -> None:
        for image, base, size in found:
            if image.missing:
                image.add_initial(base, size)

    await in_lane_of_guest(instance, background(), work)
