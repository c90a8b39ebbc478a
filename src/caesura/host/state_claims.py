"""What a module's section of its state claims, compared with the module, before anything of it runs.

Whoever made a module can write anything into the section, and hosts read and set what it names without asking an engine
for types. One that was changed after it was written, by an optimizer, say, still runs, but cannot be saved: another
module would claim the same identity.
"""

from __future__ import annotations

from caesura.abi import (
    HELD_GLOBAL,
    HELD_TABLE,
    START_FUNCTION,
    STATE_CLEAR,
    STATE_DROP_DATA,
    STATE_DROP_ELEMENTS,
    STATE_EXCEPTION,
    STATE_FETCH,
    STATE_FIND,
    STATE_FUNCTIONS,
    STATE_GET,
    STATE_GET_HIGH,
    STATE_GLOBALS,
    STATE_LIST_FUNCTIONS,
    STATE_MAKE_EXCEPTION,
    STATE_MEMORIES,
    STATE_PROBE_DATA,
    STATE_PROBE_ELEMENTS,
    STATE_SET,
    STATE_SIZE,
    STATE_STORE,
    STATE_TABLES,
)
from caesura.errors import UnsupportedModule
from caesura.instrument.state_exports.guest_state import is_held
from caesura.instrument.state_exports.section import digest_without_custom
from caesura.snapshots.section import StateSection
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, TABLE_KIND
from caesura.wasm.hierarchies import top_of
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.types import ANYREF, EXNREF, F32, F64, FUNCREF, I32, I64, V128, make_reference, type_name

# Parameters and results.
_Signature = tuple[tuple[int, ...], tuple[int, ...]]

_NOTHING: _Signature = ((), ())
_BITS = {F32: I32, F64: I64}

# Tables that hold no state: one for each hierarchy of reference types.
_MOST_ADDED_TABLES = 4


def check_state(module: Module, section: StateSection) -> str:
    """Return why the module's state cannot be saved, or "".

    Raises UnsupportedModule if the module does not have what the section tells.
    """
    exports = {item.name: (item.kind, item.index) for item in module.exports}
    functions = {item.name: item.index for item in module.exports if item.kind == FUNCTION_KIND}
    _check_memories(module, section, exports)
    _check_globals(module, section, exports)
    _check_tables(module, section, exports)
    expected: dict[str, _Signature] = {}
    for segment in section.data:
        expected |= {f"{STATE_PROBE_DATA}{segment}": _NOTHING, f"{STATE_DROP_DATA}{segment}": _NOTHING}
    for segment in section.elements:
        expected |= {f"{STATE_PROBE_ELEMENTS}{segment}": _NOTHING, f"{STATE_DROP_ELEMENTS}{segment}": _NOTHING}
    for item in section.globals:
        name = f"{HELD_GLOBAL}{item.index}"
        expected |= _held(name, item.type) if item.declared else _accessors(item.index, item.type)
    for table in section.tables:
        if table.declared:
            expected |= _held(f"{HELD_TABLE}{table.index}", table.type)
    expected |= _exceptions(section)
    if section.functions:
        expected[STATE_LIST_FUNCTIONS] = _NOTHING
    if section.starts:
        expected[START_FUNCTION] = _NOTHING
    for name, signature in expected.items():
        if name not in functions or _signature(module, functions[name]) != signature:
            raise _lie(name)
    if section.instrumented != digest_without_custom(module.data):
        return "the module was changed after its state was made readable: instrument it last, and anew"
    return ""


def _check_memories(module: Module, section: StateSection, exports: dict[str, tuple[int, int]]) -> None:
    imported = {item.index for item in module.imports if item.kind == MEMORY_KIND}
    for memory in section.memories:
        name = f"{STATE_MEMORIES}{memory.index}"
        if exports.get(name) != (MEMORY_KIND, memory.index):
            raise _lie(name)
        limits = module.memories[memory.index]
        has = 1 << limits.page_size_log2, limits.is64, limits.shared, memory.index in imported
        if has != (memory.page_size, memory.wide, memory.shared, memory.imported):
            raise _lie(name)


def _check_globals(module: Module, section: StateSection, exports: dict[str, tuple[int, int]]) -> None:
    for item in section.globals:
        name = f"{STATE_GLOBALS}{item.index}"
        if item.index >= len(module.globals):
            raise _lie(name)
        if not item.declared and exports.get(name) != (GLOBAL_KIND, item.index):
            raise _lie(name)
        entry = module.globals[item.index]
        has = _told(module, entry.type), entry.mutable, item.index < module.imported_globals
        if has != ((item.type, item.declared), True, item.imported):
            raise _lie(name)


def _check_tables(module: Module, section: StateSection, exports: dict[str, tuple[int, int]]) -> None:
    imported = {item.index for item in module.imports if item.kind == TABLE_KIND}
    for table in section.tables:
        name = f"{STATE_TABLES}{table.index}"
        if table.index >= len(module.tables):
            raise _lie(name)
        if not table.declared and exports.get(name) != (TABLE_KIND, table.index):
            raise _lie(name)
        entry = module.tables[table.index]
        has = _told(module, entry.element), entry.limits.is64, table.index in imported
        if has != ((table.type, table.declared), table.wide, table.imported):
            raise _lie(name)
    if section.functions:
        kind, index = exports.get(STATE_FUNCTIONS, (FUNCTION_KIND, 0))
        if kind != TABLE_KIND or module.tables[index].element != FUNCREF or module.tables[index].limits.is64:
            raise _lie(STATE_FUNCTIONS)
        if section.functions[-1] >= len(module.function_types):
            raise _lie(STATE_LIST_FUNCTIONS)
    if section.added_tables > _MOST_ADDED_TABLES:
        raise _lie("tables")


def _told(module: Module, value_type: int) -> tuple[int, str]:
    """Return a type as the section tells it: what stands for it, and itself where it is held."""
    if not is_held(value_type):
        return value_type, ""
    return make_reference(top_of(module, value_type), nullable=True), type_name(value_type)


def _held(name: str, top: int) -> dict[str, _Signature]:
    signatures: dict[str, _Signature] = {
        f"{STATE_SIZE}{name}": ((), (I32,)),
        f"{STATE_FIND}{name}": ((I32,), (I32,)),
        f"{STATE_CLEAR}{name}": ((I32,), (I32,)),
    }
    if top == FUNCREF:
        signatures |= {f"{STATE_FETCH}{name}": ((I32,), (FUNCREF,)), f"{STATE_STORE}{name}": ((I32, FUNCREF), ())}
    elif top == EXNREF:
        signatures |= {f"{STATE_FETCH}{name}": ((I32,), ()), f"{STATE_STORE}{name}": ((I32,), ())}
    elif top == ANYREF:
        signatures |= {f"{STATE_FETCH}{name}": ((I32,), (I32,)), f"{STATE_STORE}{name}": ((I32, I32), ())}
    return signatures


def _exceptions(section: StateSection) -> dict[str, _Signature]:
    signatures: dict[str, _Signature] = {}
    for number, tag in enumerate(section.tags):
        values = (I64,) * sum(2 if kind == V128 else 1 for kind in tag.types)
        signatures[f"{STATE_EXCEPTION}{number}"] = (), (I32, *values)
        if not tag.unsaved:
            signatures[f"{STATE_MAKE_EXCEPTION}{number}"] = values, ()
    return signatures


def _accessors(index: int, value_type: int) -> dict[str, _Signature]:
    if value_type == V128:
        get: _Signature = ((), (I64,))
        return {
            f"{STATE_GET}{index}": get,
            f"{STATE_GET_HIGH}{index}": get,
            f"{STATE_SET}{index}": ((I64, I64), ()),
        }
    if value_type not in _BITS:
        return {}
    bits = _BITS[value_type]
    return {f"{STATE_GET}{index}": ((), (bits,)), f"{STATE_SET}{index}": ((bits,), ())}


def _signature(module: Module, function: int) -> _Signature:
    kind = module.function_type(FunctionIndex(function))
    return kind.params, kind.results


def _lie(name: str) -> UnsupportedModule:
    return UnsupportedModule(
        f"the module does not have what its section asyncify.state says of {name}: it is not instrumented as it says"
    )
