"""Custom sections that describe the module: names, used features, branch hints and other metadata of code.

Names are extended and features that the output newly uses are declared. Names of labels, and metadata of instructions,
are dropped for rewritten functions: their labels and offsets are others now. But hints of branches follow their
branches, and what is said of a function as a whole stays. All sections of code metadata have one format (WebAssembly
tool conventions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from caesura.errors import MalformedModule
from caesura.instrument.abi.kept_branches import KeptBranch
from caesura.wasm.leb128 import encode_name, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.moved import Moved
from caesura.wasm.names import NewNames, drop_labels, extend_names
from caesura.wasm.sections import CODE_METADATA, CUSTOM, SectionEdits, read_name

FEATURES: Final = "target_features"
BRANCH_HINTS: Final = "metadata.code.branch_hint"

# A hint: its size, and whether the branch is likely to be taken.
_UNLIKELY: Final = b"\1\0"
_LIKELY: Final = b"\1\1"
_OPPOSITE: Final = {_UNLIKELY: _LIKELY, _LIKELY: _UNLIKELY}
_USED: Final = 0x2B

# Where metadata of a function as a whole stands.
_WHOLE_FUNCTION: Final = 0


def write_metadata(
    module: Module,
    features: list[str],
    bodies: list[bytes],
    moved: dict[int, Moved],
    branches: dict[int, dict[int, KeptBranch]],
    new_names: NewNames,
    edits: SectionEdits,
    *,
    always_named: bool,
) -> None:
    """Bring the custom sections of a module up to date.

    `features` are those that the output uses (the section is extended, never created), `bodies` the new bodies, empty
    for functions that stay, `moved` says by own index where instructions are in bodies in which all are the same, and
    only numbers became shorter, or other functions are called. `branches` says by own index where branches of the
    others are. A name section is created only if `always_named`.
    """
    section = module.custom_section("name")
    if section is not None or always_named:
        payload = b"" if section is None else module.data[section.payload : section.end]
        rewritten = {module.imported_functions + own for own in range(len(bodies)) if bodies[own]}
        payload = drop_labels(payload, rewritten)
        edits.custom["name"] = extend_names(payload, new_names)
    section = module.custom_section(FEATURES)
    if section is not None:
        edits.custom[FEATURES] = add_features(module.data[section.payload : section.end], features)
    for section in module.sections:
        if section.id == CUSTOM and section.name.startswith(CODE_METADATA):
            followed = branches if section.name == BRANCH_HINTS else {}
            edits.custom[section.name] = keep_hints(module, section.payload, section.end, bodies, moved, followed)


def add_features(payload: bytes, features: list[str]) -> bytes:
    """Return the features with those that are used now; one of these that was forbidden is no longer."""
    entries: list[bytes] = []
    missing = features.copy()
    try:
        count, position = read_u32(payload, 0)
        for _ in range(count):
            start = position
            name, position = read_name(payload, position + 1, len(payload))
            prefix = payload[start]
            if name in missing:
                missing.remove(name)
                prefix = _USED
            entries.append(bytes([prefix]) + payload[start + 1 : position])
    except MalformedModule:
        return payload  # a custom section never makes a module invalid
    entries += [bytes([_USED]) + encode_name(feature) for feature in missing]
    return encode_vector(entries) + payload[position:]


def keep_hints(
    module: Module,
    start: int,
    end: int,
    bodies: list[bytes],
    moved: Mapping[int, Moved],
    branches: dict[int, dict[int, KeptBranch]],
) -> bytes:
    """Return a section of code metadata, data[start:end], without that of instructions in rewritten functions.

    These have a new body in `bodies`, by own index, but are not in `moved`, where instructions are the same in other
    places. Of rewritten functions the hints of `branches` are kept.
    """
    data = module.data
    kept: list[bytes] = []
    try:
        count, position = read_u32(data, start)
        for _ in range(count):
            function, position = read_u32(data, position)
            number, position = read_u32(data, position)
            own = function - module.imported_functions
            is_rewritten = own < 0 or own >= len(bodies) or (len(bodies[own]) > 0 and own not in moved)
            hints: list[bytes] = []
            for _ in range(number):
                hint = position
                offset, behind = read_u32(data, position)
                size, position = read_u32(data, behind)
                position += size
                if position > end:
                    return encode_unsigned(0)
                if not is_rewritten or offset == _WHOLE_FUNCTION:
                    place = moved[own].place(offset) if own in moved and offset != _WHOLE_FUNCTION else offset
                    number_of_place = data[hint:behind] if place == offset else encode_unsigned(place)
                    hints.append(number_of_place + data[behind:position])
                elif own in branches and offset in branches[own]:
                    branch = branches[own][offset]
                    hint_of_branch = data[behind:position]
                    if branch.is_opposite:
                        hint_of_branch = _OPPOSITE.get(hint_of_branch, b"")
                    if hint_of_branch:
                        hints.append(encode_unsigned(branch.place) + hint_of_branch)
            if hints:
                kept.append(encode_unsigned(function) + encode_vector(hints))
    except MalformedModule:
        return encode_unsigned(0)
    if position != end:
        return encode_unsigned(0)
    return encode_vector(kept)
