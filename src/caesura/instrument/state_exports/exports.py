"""The pass itself: exports of all that is state, helpers for what exports do not show, the section; no start function.

The start function becomes an export that hosts call, so that a restored instance, whose state is that of an older one,
does not run it again.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    START_FUNCTION,
    STATE_FUNCTIONS,
    STATE_GLOBALS,
    STATE_MEMORIES,
    STATE_SECTION,
    STATE_TABLES,
)
from caesura.analysis.limits import MAXIMUM_TABLES, check_entries
from caesura.errors import UnsupportedModule
from caesura.instrument.abi.metadata import FEATURES, add_features
from caesura.instrument.state_exports.guest_state import (
    Bounds,
    GuestState,
    Origin,
    contract_of,
    find_guest_state,
    is_held,
)
from caesura.instrument.state_exports.held_references import (
    add_exceptions,
    add_held_global,
    add_held_table,
    find_tags,
)
from caesura.instrument.state_exports.helpers import Helpers
from caesura.instrument.state_exports.referenced import referenced_functions
from caesura.instrument.state_exports.section import digest_without_custom, encode_state_section
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, TABLE_KIND
from caesura.wasm.hierarchies import top_of
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, encode_custom, write_sections
from caesura.wasm.segments import read_element_segments
from caesura.wasm.types import EXN, FUNC, is_number

# The kind of UnsupportedModule for a module that only its state cannot be made readable of.
STATE_KIND: Final = "state"

# An export: its name, kind and index.
_Export = tuple[str, int, int]


def add_state_exports(module: Module, origin: Origin, bounds: Bounds) -> bytes:
    """Return a finished module with what makes its state readable and settable.

    Raises UnsupportedModule where it exports something under these names already, or would have too many of something.
    """
    segments = read_element_segments(module)
    state = find_guest_state(module, bounds, segments)
    edits = SectionEdits()
    helpers = Helpers(module, segments, edits)
    for index in state.globals:
        if is_held(module.globals[index].type):
            add_held_global(module, helpers, index)
        else:
            helpers.access_bits(index)
    for index in state.tables:
        if is_held(module.tables[index].element):
            add_held_table(module, helpers, index)
    tops = [top_of(module, kind) for kind in _references(module, state)]
    tags = find_tags(module) if EXN in tops else []
    add_exceptions(helpers, tags)
    for segment in state.data:
        helpers.probe_data(segment)
    for segment in state.elements:
        helpers.probe_elements(segment)
    functions = referenced_functions(module, segments) if FUNC in tops else []
    if functions:
        helpers.list_functions(functions)
    helpers.finish()
    exports = _exports(module, state, helpers)
    if functions:
        exports.append((STATE_FUNCTIONS, TABLE_KIND, helpers.functions_table))
    starts = module.start is not None
    if module.start is not None:
        edits.dropped.add(sec.START)
        exports.append((START_FUNCTION, FUNCTION_KIND, module.start))
    _check(module, exports, helpers)
    for name, kind, index in exports:
        edits.append(sec.EXPORT, encode_name(name) + bytes([kind]) + encode_unsigned(index))
    _declare_features(module, state, helpers, edits)
    edits.custom[STATE_SECTION] = None
    made = write_sections(module.data, module.sections, edits)
    payload = encode_state_section(
        module,
        digest_without_custom(made),
        state,
        origin,
        functions,
        tags,
        contract=contract_of(module),
        starts=starts or any(item.name == START_FUNCTION for item in module.exports),
        added_tables=helpers.tables,
    )
    return made + encode_custom(STATE_SECTION, payload)


def _references(module: Module, state: GuestState) -> list[int]:
    """Return the types of the tables and globals with references that are state."""
    types = [module.tables[index].element for index in state.tables]
    return types + [module.globals[index].type for index in state.globals if not is_number(module.globals[index].type)]


def _exports(module: Module, state: GuestState, helpers: Helpers) -> list[_Export]:
    exports = [(f"{STATE_MEMORIES}{index}", MEMORY_KIND, index) for index in state.memories]
    exports += [
        (f"{STATE_GLOBALS}{index}", GLOBAL_KIND, index)
        for index in state.globals
        if not is_held(module.globals[index].type)
    ]
    exports += [
        (f"{STATE_TABLES}{index}", TABLE_KIND, index)
        for index in state.tables
        if not is_held(module.tables[index].element)
    ]
    exports += [(name, FUNCTION_KIND, index) for name, index in helpers.exports]
    return exports


def _check(module: Module, exports: list[_Export], helpers: Helpers) -> None:
    """Raise UnsupportedModule where names are taken, or there would be too many of something."""
    taken = {item.name for item in module.exports}
    for name, _, _ in exports:
        if name in taken:
            raise UnsupportedModule(
                f"the module exports {name} already, which is what an export to be added is called", kind=STATE_KIND
            )
    functions, types = helpers.counts()
    try:
        check_entries(len(module.exports) + len(exports), len(module.exports), "exports")
        check_entries(len(module.function_types) + functions, len(module.function_types), "functions")
        check_entries(len(module.types) + types, len(module.types), "types")
    except UnsupportedModule as error:
        raise UnsupportedModule(error.reason, kind=STATE_KIND) from None
    tables = len(module.tables)
    if tables + helpers.tables > MAXIMUM_TABLES >= tables:
        raise UnsupportedModule(
            f"with what makes its state readable, the module would have {tables + helpers.tables} tables; engines "
            f"allow {MAXIMUM_TABLES}",
            kind=STATE_KIND,
        )


def _declare_features(module: Module, state: GuestState, helpers: Helpers, edits: SectionEdits) -> None:
    """Extend the section of used features, if there is one."""
    section = module.custom_section(FEATURES)
    features = ["mutable-globals"] if state.globals else []
    features += ["reference-types", "bulk-memory"] if helpers.tables else []
    for value_type in _references(module, state):
        if is_held(value_type):
            features += ["reference-types", "bulk-memory", "multivalue", "gc"]
            break
    if section is not None:
        edits.custom[FEATURES] = add_features(module.data[section.payload : section.end], features)
