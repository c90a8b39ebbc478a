"""A whole module, some of whose functions were written anew before anything else looked at it.

Other functions, and all sections that do not speak of these, stay byte for byte. Names of locals and of everything else
stay; names of labels go in functions that are new, whose labels are others; hints of branches follow their branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from caesura.errors import NO_OFFSET
from caesura.instrument.abi.metadata import FEATURES, add_features, keep_hints
from caesura.instrument.copied_code import Places
from caesura.wasm import sections as sec
from caesura.wasm.leb128 import encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import drop_labels
from caesura.wasm.sections import CODE_METADATA, CUSTOM, SectionEdits, write_sections

_NAMES: Final = "name"


class NewBody:
    """The new body of a function, without size field, and where its instructions are."""

    def __init__(self, code: bytes, places: Places) -> None:
        self.code: Final = code
        self.places: Final = places


class CopiedModule:
    """`module` is what is left to work on, `original` the one that it was made of: the same if nothing was to be done.

    `places` says, by own function, where the instructions of functions are that were written anew.
    """

    def __init__(self, original: Module, module: Module, places: dict[int, Places]) -> None:
        self.original = original
        self.module = module
        self.places = places

    def original_offset(self, own: int, offset: int) -> int:
        """Return where an offset in the body of an own function lies in the original (NO_OFFSET: nowhere)."""
        if self.original is self.module or offset == NO_OFFSET or own >= len(self.original.body_starts):
            return offset
        place = offset - self.module.body_starts[own]
        if own in self.places:
            place = self.places[own].old(place)
        return self.original.body_starts[own] + place


def unchanged(module: Module) -> CopiedModule:
    """Return a module as one in which nothing was to be done."""
    return CopiedModule(module, module, {})


def write_copied(
    module: Module, bodies: Mapping[int, NewBody], edits: SectionEdits, features: list[str]
) -> CopiedModule:
    """Return a module with new bodies for some own functions, and with the edits.

    `features` are those that the module newly uses.
    """
    places: dict[int, Places] = {own: body.places for own, body in bodies.items()}
    edits.pieces[sec.CODE] = _code(module, bodies)
    _write_metadata(module, places, edits, features)
    return CopiedModule(module, Module(write_sections(module.data, module.sections, edits)), places)


def _code(module: Module, bodies: Mapping[int, NewBody]) -> list[bytes]:
    """Return the payload of the code section, in pieces."""
    section = module.section(sec.CODE)
    if section is None:
        return [encode_unsigned(0)]
    data = module.data
    copied = section.payload
    out: list[bytes] = []
    behind = read_u32(data, copied)[1]  # the body before, with its size field in front
    for own in range(len(module.body_starts)):
        if own in bodies:
            body = bodies[own].code
            out += [data[copied:behind], encode_unsigned(len(body)), body]
            copied = module.body_ends[own]
        behind = module.body_ends[own]
    out.append(data[copied : section.end])
    return out


def _write_metadata(module: Module, places: dict[int, Places], edits: SectionEdits, features: list[str]) -> None:
    data = module.data
    untouched = [b""] * len(module.body_starts)
    for section in module.sections:
        if section.id != CUSTOM:
            continue
        payload = data[section.payload : section.end]
        if section.name == _NAMES:
            edits.custom[section.name] = drop_labels(payload, {module.imported_functions + own for own in places})
        elif section.name == FEATURES:
            edits.custom[section.name] = add_features(payload, features)
        elif section.name.startswith(CODE_METADATA):
            edits.custom[section.name] = keep_hints(module, section.payload, section.end, untouched, places, {})
