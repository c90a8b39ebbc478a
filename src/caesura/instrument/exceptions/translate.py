"""A whole module with its old-form exceptions in the new form; what Binaryen's `--translate-to-exnref` does.

Wasmtime runs the new form only, and browsers are to give up the old one. Functions without old-form exceptions stay
byte for byte.
"""

from __future__ import annotations

from caesura.analysis.calls import read_calls
from caesura.analysis.limits import check_entries
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.abi.index_spaces import AddedTypes
from caesura.instrument.copied_module import CopiedModule, NewBody, unchanged, write_copied
from caesura.instrument.exceptions.constructs import find_constructs, has_old_form
from caesura.instrument.exceptions.translation import Translation
from caesura.wasm import sections as sec
from caesura.wasm.indices import OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits


def translate_to_exnref(module: Module) -> CopiedModule:
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


def _assemble(module: Module, translations: dict[int, Translation], types: AddedTypes) -> CopiedModule:
    edits = SectionEdits()
    check_entries(len(module.types) + len(types.added), len(module.types), "types")
    for definition in types.added:
        edits.append(sec.TYPE, definition)
    bodies = {own: NewBody(translation.body, translation.places) for own, translation in translations.items()}
    features = ["exception-handling", "reference-types"]
    if any(translation.is_multivalue for translation in translations.values()):
        features.append("multivalue")
    return write_copied(module, bodies, edits, features)
