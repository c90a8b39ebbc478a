"""What a module that notes which functions are on the stack claims: what hosts read, and what numbers stand for.

Most such modules are instrumented here. Those that were elsewhere may claim anything, and numbers are read without
Wasmtime's checks: so it is compared once, as everything else is (see `claims`).
"""

from __future__ import annotations

import json
from typing import Final

from caesura.abi import RECORD_CHANGED, RECORD_SECTION, RECORDED
from caesura.errors import UnsupportedModule
from caesura.host.exported import exported_index
from caesura.wasm import types as t
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

# Wasmtime takes no more functions than that.
_MOST_ENTRIES: Final = 2_000_000


def record_entries(module: Module) -> str:
    """Return the section that says what the numbers stand for, as text; "" for a module that notes nothing.

    Raises UnsupportedModule for one that is not what it claims to be.
    """
    function = exported_index(module, FUNCTION_KIND, RECORDED)
    changed = exported_index(module, GLOBAL_KIND, RECORD_CHANGED)
    section = module.custom_section(RECORD_SECTION)
    if function is None and changed is None and section is None:
        return ""
    if function is None or changed is None or section is None:
        raise _refusal(f"it has only some of {RECORDED}, {RECORD_CHANGED} and the section {RECORD_SECTION}")
    kind = module.function_type(FunctionIndex(function))
    cell = module.globals[changed]
    if kind.params != (t.I32,) or kind.results != (t.I64,) or cell.type != t.I32 or not cell.mutable:
        raise _refusal(f"{RECORDED} or {RECORD_CHANGED} is of another type than it should be")
    try:
        text = module.data[section.payload : section.end].decode()
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"the section {RECORD_SECTION} is no JSON text") from error
    if not isinstance(entries, list) or len(entries) > _MOST_ENTRIES or not all(_is_entry(entry) for entry in entries):
        raise _refusal(f"the section {RECORD_SECTION} is no list of names and imports")
    return text


def _is_entry(entry: object) -> bool:
    return isinstance(entry, str) or (isinstance(entry, dict) and isinstance(entry.get("import"), str))


def _refusal(reason: str) -> UnsupportedModule:
    return UnsupportedModule(
        f"the module says that it records suspensions, but {reason}: it is not instrumented as it says"
    )
