"""What a module exports, asked by name or by index."""

from __future__ import annotations

from caesura.abi import ASYNCIFY_MEMORY, STATE_PREFIX
from caesura.wasm.definitions import MEMORY_KIND
from caesura.wasm.module import Module


def guest_memory(module: Module, *, instrumented: bool) -> str:
    """Return the name of the exported memory that is the guest's own, or "" if there is none."""
    exports = [item.name for item in module.exports if item.kind == MEMORY_KIND]
    names = [name for name in exports if not name.startswith(STATE_PREFIX)]
    if instrumented and ASYNCIFY_MEMORY in names:
        names.remove(ASYNCIFY_MEMORY)
    return "memory" if "memory" in names else names[0] if names else ""


def exported_index(module: Module, kind: int, name: str) -> int | None:
    """Return the index of what is exported under a name, or None."""
    return next((item.index for item in module.exports if item.kind == kind and item.name == name), None)


def export_name(module: Module, kind: int, index: int) -> str:
    """Return the first name under which something is exported, or ""; those of the state do not count."""
    names = (item.name for item in module.exports if item.kind == kind and item.index == index)
    return next((name for name in names if not name.startswith(STATE_PREFIX)), "")
