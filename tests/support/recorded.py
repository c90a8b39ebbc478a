"""What an instance with the option `record` has noted, read as any host can read it."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import wasmtime

from caesura.abi import RECORD_CHANGED, RECORD_SECTION, RECORDED
from caesura.wasm.module import Module

_HALF: Final = 0xFFFF_FFFF


class Noted(NamedTuple):
    """How often a function was on the stack, and what it called when that was noted first; None: not known."""

    times: int
    called: str | None


def entries_of(binary: bytes) -> list[Any]:
    """Return what the numbers of a module stand for."""
    module = Module(binary)
    section = module.custom_section(RECORD_SECTION)
    assert section is not None
    entries = json.loads(module.data[section.payload : section.end])
    assert isinstance(entries, list)
    return entries


def noted(binary: bytes, store: wasmtime.Store, exports: Any) -> dict[str, Noted]:
    """Return what was noted, by the functions' entries."""
    entries = entries_of(binary)
    read = exports[RECORDED]
    found: dict[str, Noted] = {}
    for number, entry in enumerate(entries):
        value = read(store, number)
        if value:
            assert isinstance(entry, str)
            called = (value >> 32) - 1 & _HALF
            named = entries[called] if called != _HALF else None
            found[entry] = Noted(value & _HALF, named["import"] if isinstance(named, dict) else named)
    for number in (-1, len(entries), 2**31 - 1):
        assert read(store, number) == 0
    return found


def has_changed(store: wasmtime.Store, exports: Any) -> bool:
    """Return whether a function was noted for the first time since this was asked, and ask for the next one."""
    cell = exports[RECORD_CHANGED]
    changed = cell.value(store)
    cell.set_value(store, 0)
    return bool(changed)
