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
)
from caesura.instrument.state_exports.helpers import Helpers
from caesura.instrument.state_exports.referenced import referenced_functions
from caesura.instrument.state_exports.section import digest_without_custom, encode_state_section
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, TABLE_KIND
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, encode_custom, write_sections
from caesura.wasm.segments import ElementSegment, read_element_segments
from caesura.wasm.types import FUNCREF

# The kind of UnsupportedModule for a module that only its state cannot be made readable of.
STATE_KIND: Final = "state"

# An export: its name, kind and index.
_Export = tuple[str, int, int]

_KINDS: Final = ((STATE_MEMORIES, MEMORY_KIND), (STATE_GLOBALS, GLOBAL_KIND), (STATE_TABLES, TABLE_KIND))


def add_state_exports(module: Module, origin: Origin, bounds: Bounds) -> bytes:
    """Return a finished module with what makes its state readable and settable.

    Raises UnsupportedModule where it exports something under these names already, or would have too many of something.
    """
    segments = read_element_segments(module)
    state = find_guest_state(module, bounds, segments)
    edits = SectionEdits()
    helpers = Helpers(module, segments, edits)
    for index in state.globals:
        helpers.access_bits(index)
    for segment in state.data:
        helpers.probe_data(segment)
    for segment in state.elements:
        helpers.probe_elements(segment)
    functions = _list_functions(module, state, segments, helpers)
    helpers.finish()
    exports = _exports(state, helpers)
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
        contract=contract_of(module),
        starts=starts or any(item.name == START_FUNCTION for item in module.exports),
        added_tables=helpers.tables,
    )
    return made + encode_custom(STATE_SECTION, payload)


def _list_functions(module: Module, state: GuestState, segments: list[ElementSegment], helpers: Helpers) -> list[int]:
    """Add what lists functions, if references to some can be in the state, and return them."""
    types = [module.tables[index].element for index in state.tables]
    types += [module.globals[index].type for index in state.globals]
    functions = referenced_functions(module, segments) if FUNCREF in types else []
    if functions:
        helpers.list_functions(functions)
    return functions


def _exports(state: GuestState, helpers: Helpers) -> list[_Export]:
    exports: list[_Export] = []
    indices = (state.memories, state.globals, state.tables)
    for place in range(len(_KINDS)):
        prefix, kind = _KINDS[place]
        exports += [(f"{prefix}{index}", kind, index) for index in indices[place]]
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
    if section is not None:
        edits.custom[FEATURES] = add_features(module.data[section.payload : section.end], features)
