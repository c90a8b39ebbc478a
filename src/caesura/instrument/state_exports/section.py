"""The section that tells hosts what a module's state consists of, types included, which JavaScript cannot see.

Its beginning and its end are numbers and bits, since digests and a long list of functions would be three times as long
as text; between them stands JSON, which every host reads, and which can grow by a field.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from caesura.abi import OWN_PREFIX, SECOND_STATE_VERSION, STATE_VERSION
from caesura.instrument.state_exports.guest_state import GuestState, Origin, is_held
from caesura.instrument.state_exports.held_references import Tag
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, TABLE_KIND
from caesura.wasm.hierarchies import top_of
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import read_sections
from caesura.wasm.types import make_reference, type_name

# Numbers, and references of which any function, or null, is one.
_AT_HAND: Final = (
    "i32",
    "i64",
    "f32",
    "f64",
    "funcref",
    "externref",
    "(ref func)",
    "(ref extern)",
    "anyref",
    "(ref any)",
)


def encode_state_section(
    module: Module,
    instrumented: bytes,
    state: GuestState,
    origin: Origin,
    functions: list[int],
    tags: list[Tag],
    *,
    contract: int,
    starts: bool,
    added_tables: int,
) -> bytes:
    """Return the section's payload. `module` is what was given to this pass, `instrumented` a digest of what it made.

    `functions` are those that the helper lists, ascending, `tags` those of exceptions that are looked into.
    """
    imported = {(item.kind, item.index) for item in module.imports}
    content: dict[str, Any] = {
        "added_tables": added_tables,
        "contract": contract,
        "data": state.data,
        "elements": state.elements,
        "globals": [
            {
                "imported": (GLOBAL_KIND, index) in imported,
                "index": index,
                **_type(module, module.globals[index].type),
            }
            for index in state.globals
        ],
        "imports": origin.imports,
        "memories": [_memory(module, index, imported) for index in state.memories],
        "options": dict(origin.options),
        "parameters": _parameters(module, origin.imports),
        "starts": starts,
        "tables": [_table(module, index, imported) for index in state.tables],
        "unsaved": state.unsaved,
    }
    if state.undropped:
        content["undropped"] = state.undropped
    if uncallable := _uncallable(module):
        content["uncallable"] = uncallable
    held = [item for item in [*content["globals"], *content["tables"]] if "declared" in item]
    if held:
        content["tags"] = [_tag(tag) for tag in tags]
    if state.frames.tables:
        content["frames"] = {"runs": state.frames.has_runs, "tables": state.frames.tables}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    version = SECOND_STATE_VERSION if held else STATE_VERSION
    head = encode_unsigned(version) + origin.original + instrumented + encode_unsigned(len(text))
    return head + text + _bitmap(functions)


def digest_without_custom(data: bytes) -> bytes:
    """Return the SHA-256 digest of a module without its custom sections."""
    digest = hashlib.sha256(data[:8])
    for section in read_sections(data):
        if section.id != sec.CUSTOM:
            digest.update(data[section.start : section.end])
    return digest.digest()


def _parameters(module: Module, imports: list[str]) -> dict[str, list[str]]:
    """Return the parameters' types of the imports of these names."""
    wanted = {*imports}
    types: dict[str, list[str]] = {}
    for item in module.function_imports():
        name = f"{item.module}.{item.name}"
        if name in wanted:
            types[name] = [type_name(kind) for kind in module.function_type(FunctionIndex(item.index)).params]
    return types


def _uncallable(module: Module) -> list[str]:
    """Return the exported functions that take what hosts do not have at hand for a call that goes on, sorted."""
    found = []
    for item in module.exports:
        if item.kind == FUNCTION_KIND and not item.name.startswith(OWN_PREFIX):
            kinds = module.function_type(FunctionIndex(item.index)).params
            if any(type_name(kind) not in _AT_HAND for kind in kinds):
                found.append(item.name)
    return sorted(found)


def _memory(module: Module, index: int, imported: set[tuple[int, int]]) -> dict[str, Any]:
    memory = module.memories[index]
    return {
        "imported": (MEMORY_KIND, index) in imported,
        "index": index,
        "page_size": 1 << memory.page_size_log2,
        "shared": memory.shared,
        "wide": memory.is64,
    }


def _table(module: Module, index: int, imported: set[tuple[int, int]]) -> dict[str, Any]:
    table = module.tables[index]
    return {
        "imported": (TABLE_KIND, index) in imported,
        "index": index,
        **_type(module, table.element),
        "wide": table.limits.is64,
    }


def _type(module: Module, value_type: int) -> dict[str, Any]:
    """Return the type of a global or of a table's elements; of those that are held, what stands above it in its
    hierarchy.
    """
    if not is_held(value_type):
        return {"type": type_name(value_type)}
    top = make_reference(top_of(module, value_type), nullable=True)
    return {"declared": type_name(value_type), "type": type_name(top)}


def _tag(tag: Tag) -> dict[str, Any]:
    if tag.why:
        return {"unsaved": tag.why}
    return {"types": [type_name(kind) for kind in tag.types]}


def _bitmap(functions: list[int]) -> bytes:
    """Return a bit for each function up to the last: whether it is one of those."""
    bits = bytearray(functions[-1] // 8 + 1 if functions else 0)
    for function in functions:
        bits[function >> 3] |= 1 << (function & 7)
    return bytes(bits)
