"""A whole module with its old-form exceptions in the new form; what Binaryen's `--translate-to-exnref` does.

Wasmtime runs the new form only, and browsers are to give up the old one. Functions without old-form exceptions, and all
sections that do not speak of the others, stay byte for byte. Names of locals and of everything else stay; names of
labels go in translated functions, whose labels are others; hints of branches follow their branches.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import read_calls
from caesura.analysis.limits import check_entries
from caesura.errors import NO_OFFSET, MalformedModule, UnsupportedModule
from caesura.instrument.abi.index_spaces import AddedTypes
from caesura.instrument.abi.metadata import FEATURES, add_features, keep_hints
from caesura.instrument.exceptions.constructs import find_constructs, has_old_form
from caesura.instrument.exceptions.copied import Places
from caesura.instrument.exceptions.translation import Translation
from caesura.wasm import sections as sec
from caesura.wasm.indices import OwnFunction
from caesura.wasm.leb128 import encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import drop_labels
from caesura.wasm.sections import CODE_METADATA, CUSTOM, SectionEdits, write_sections

_NAMES: Final = "name"


class Translated:
    """`module` is what is left to work on, `original` the one that was given: the same if it had no old form.

    `places` says, by own function, where the instructions of translated functions are.
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


def unchanged(module: Module) -> Translated:
    """Return a module as one that had nothing to be translated."""
    return Translated(module, module, {})


def translate_to_exnref(module: Module) -> Translated:
    """Return a module without old-form exceptions.

    One with code that cannot be read is returned as it is: whoever works on it next, or the engine, says what is wrong.
    Raises MalformedModule for anything else that is wrong in a module with old-form exceptions, and UnsupportedModule
    where a function or the module would be larger than engines allow; offsets are those of the module that is given.
    """
    with_old_form: list[OwnFunction] = []
    try:
        for number in range(len(module.body_starts)):
            if has_old_form(module, OwnFunction(number)):
                with_old_form.append(OwnFunction(number))
    except (MalformedModule, IndexError, KeyError):
        return unchanged(module)
    if not with_old_form:
        return unchanged(module)
    read_calls(module)  # what is malformed is refused before anything is made of it
    types = AddedTypes(module)
    translations: dict[int, Translation] = {}
    for own in with_old_form:
        translations[own] = _translate(module, own, types)
    return _assemble(module, translations, types)


def _translate(module: Module, own: OwnFunction, types: AddedTypes) -> Translation:
    function = f"function {module.function_of(own)}"
    try:
        translation = Translation(module, own, find_constructs(module, own), types)
        translation.run()
    except MalformedModule as error:
        raise MalformedModule(error.reason, error.offset, function) from None
    except UnsupportedModule as error:
        raise UnsupportedModule(error.reason, error.offset, function, error.kind) from None
    except (IndexError, KeyError):
        raise MalformedModule("this is not valid code", module.body_starts[own], function) from None
    return translation


def _assemble(module: Module, translations: dict[int, Translation], types: AddedTypes) -> Translated:
    edits = SectionEdits()
    check_entries(len(module.types) + len(types.added), len(module.types), "types")
    for definition in types.added:
        edits.append(sec.TYPE, definition)
    edits.pieces[sec.CODE] = _code(module, translations)
    places: dict[int, Places] = {own: translation.places for own, translation in translations.items()}
    is_multivalue = any(translation.is_multivalue for translation in translations.values())
    _write_metadata(module, places, edits, is_multivalue=is_multivalue)
    return Translated(module, Module(write_sections(module.data, module.sections, edits)), places)


def _code(module: Module, translations: dict[int, Translation]) -> list[bytes]:
    """Return the payload of the code section, in pieces."""
    section = module.section(sec.CODE)
    if section is None:
        return [encode_unsigned(0)]
    data = module.data
    copied = section.payload
    out: list[bytes] = []
    behind = read_u32(data, copied)[1]  # the body before, with its size field in front
    for own in range(len(module.body_starts)):
        if own in translations:
            body = translations[own].body
            out += [data[copied:behind], encode_unsigned(len(body)), body]
            copied = module.body_ends[own]
        behind = module.body_ends[own]
    out.append(data[copied : section.end])
    return out


def _write_metadata(module: Module, places: dict[int, Places], edits: SectionEdits, *, is_multivalue: bool) -> None:
    data = module.data
    untouched = [b""] * len(module.body_starts)
    for section in module.sections:
        if section.id != CUSTOM:
            continue
        payload = data[section.payload : section.end]
        if section.name == _NAMES:
            edits.custom[section.name] = drop_labels(payload, {module.imported_functions + own for own in places})
        elif section.name == FEATURES:
            needed = ["exception-handling", "reference-types"]
            edits.custom[section.name] = add_features(payload, [*needed, "multivalue"] if is_multivalue else needed)
        elif section.name.startswith(CODE_METADATA):
            edits.custom[section.name] = keep_hints(module, section.payload, section.end, untouched, places)
