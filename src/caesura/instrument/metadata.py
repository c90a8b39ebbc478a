"""Custom sections that describe the module: names, used features, branch hints.

Names are extended and features that the output newly uses are declared. Names of labels and branch hints are dropped
for rewritten functions: their labels and offsets are others now.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.instrument.tables import FunctionTable
from caesura.wasm.leb128 import encode_name, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, NewNames, drop_labels, extend_names
from caesura.wasm.sections import SectionEdits, read_name

_FEATURES: Final = "target_features"
_BRANCH_HINTS: Final = "metadata.code.branch_hint"
_USED: Final = b"+"


def write_metadata(
    module: Module,
    features: list[str],
    bodies: list[bytes],
    functions: FunctionTable,
    new_names: NewNames,
    always_named: bool,
    edits: SectionEdits,
) -> None:
    """Bring the custom sections of a module up to date.

    `features` are those that the output uses (the section is extended, never created), `bodies` the new bodies, empty
    for functions that stay. A name section is created only if `always_named`.
    """
    section = module.custom_section("name")
    if section is not None or always_named:
        for index, name in functions.names:
            new_names.add(FUNCTION_NAMES, index, name)
        payload = b"" if section is None else module.data[section.payload : section.end]
        rewritten = {module.imported_functions + own for own in range(len(bodies)) if bodies[own]}
        payload = drop_labels(payload, rewritten)
        edits.custom["name"] = extend_names(payload, new_names)
    section = module.custom_section(_FEATURES)
    if section is not None:
        edits.custom[_FEATURES] = _add_features(module.data[section.payload : section.end], features)
    section = module.custom_section(_BRANCH_HINTS)
    if section is not None:
        edits.custom[_BRANCH_HINTS] = _keep_hints(module, section.payload, section.end, bodies)


def _add_features(payload: bytes, features: list[str]) -> bytes:
    try:
        known: set[str] = set()
        count, position = read_u32(payload, 0)
        start = position
        for _ in range(count):
            name, position = read_name(payload, position + 1, len(payload))
            known.add(name)
    except MalformedModule:
        return payload  # a custom section never makes a module invalid
    added = [_USED + encode_name(feature) for feature in features if feature not in known]
    return encode_unsigned(count + len(added)) + payload[start:position] + b"".join(added) + payload[position:]


def _keep_hints(module: Module, start: int, end: int, bodies: list[bytes]) -> bytes:
    """Return the branch hints of the functions that stay as they are."""
    data = module.data
    kept: list[bytes] = []
    try:
        count, position = read_u32(data, start)
        for _ in range(count):
            entry = position
            function, position = read_u32(data, position)
            hints, position = read_u32(data, position)
            for _ in range(hints):
                _, position = read_u32(data, position)
                size, position = read_u32(data, position)
                position += size
            own = function - module.imported_functions
            if 0 <= own < len(bodies) and not bodies[own]:
                kept.append(data[entry:position])
    except MalformedModule:
        return encode_unsigned(0)
    if position != end:
        return encode_unsigned(0)
    return encode_unsigned(len(kept)) + b"".join(kept)
