"""Custom sections as wasm-opt treats them: what its strip passes drop, and what it drops without `-g`.

Exports that it would refuse are dropped, too. The code of a module is not looked at; sections that stay are copied byte
for byte.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from caesura.errors import MalformedModule
from caesura.instrument.abi.outdated import is_debug_information
from caesura.wasm.leb128 import encode_name, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import LABEL_NAMES, LOCAL_NAMES, MODULE_NAME
from caesura.wasm.sections import CUSTOM, EXPORT, SectionEdits, encode_custom, read_sections, write_sections

NAMES: Final = "name"
SOURCE_MAP_URL: Final = "sourceMappingURL"

_DWARF_PREFIXES: Final = (".debug", "reloc..debug")


def strip(data: bytes, passes: tuple[str, ...]) -> bytes:
    """Do the strip passes with these names, in order."""
    for name in passes:
        if name == "strip-producers":
            data = _drop(data, ("producers",))
        elif name == "strip-target-features":
            data = _drop(data, ("target_features",))
        elif name == "strip-dwarf":
            data = drop_dwarf(data)
        else:
            assert name in ("strip", "strip-debug"), name
            # As in Binaryen, functions keep their names: whether these are written is `-g`'s business.
            data = _filter_names(drop_dwarf(_drop(data, (SOURCE_MAP_URL,))), dropped=(LOCAL_NAMES, LABEL_NAMES))
    return data


def drop_dwarf(data: bytes) -> bytes:
    """Return the module without DWARF."""
    return _drop(data, _DWARF_PREFIXES)


def drop_debug_information(data: bytes) -> bytes:
    """Return the module without what maps its code to source, or says where to find what does."""
    names = tuple(section.name for section in read_sections(data) if is_debug_information(section))
    return _drop(data, names) if names else data


def drop_source_map_url(data: bytes) -> bytes:
    """Return the module without the URL of a source map."""
    return _drop(data, (SOURCE_MAP_URL,))


def drop_exports(data: bytes, names: Container[str]) -> bytes:
    """Return the module without the exports with these names."""
    module = Module(data)
    kept = [export for export in module.exports if export.name not in names]
    if len(kept) == len(module.exports):
        return data
    edits = SectionEdits()
    edits.replace[EXPORT] = encode_vector(
        [encode_name(export.name) + bytes([export.kind]) + encode_unsigned(export.index) for export in kept]
    )
    return write_sections(data, module.sections, edits)


def drop_names(data: bytes, *, keep_module_name: bool) -> bytes:
    """Return the module without its names, or with its own name alone."""
    return _filter_names(data, kept=(MODULE_NAME,)) if keep_module_name else _drop(data, (NAMES,))


def set_source_map_url(data: bytes, url: str) -> bytes:
    """Return the module with the URL of its source map."""
    raw = url.encode("utf-8", "surrogateescape")
    return drop_source_map_url(data) + encode_custom(SOURCE_MAP_URL, encode_unsigned(len(raw)) + raw)


def _drop(data: bytes, prefixes: tuple[str, ...]) -> bytes:
    """Return the module without the custom sections whose names start so."""
    out = [data[:8]]
    for section in read_sections(data):
        if section.id != CUSTOM or not section.name.startswith(prefixes):
            out.append(data[section.start : section.end])
    return b"".join(out)


def _filter_names(data: bytes, kept: tuple[int, ...] = (), dropped: tuple[int, ...] = ()) -> bytes:
    """Return the module with only the `kept` subsections of its names, or without the `dropped` ones."""
    out = [data[:8]]
    for section in read_sections(data):
        if section.id == CUSTOM and section.name == NAMES:
            payload = _subsections(data[section.payload : section.end], kept, dropped)
            if payload:
                out.append(encode_custom(NAMES, payload))
        else:
            out.append(data[section.start : section.end])
    return b"".join(out)


def _subsections(payload: bytes, kept: tuple[int, ...], dropped: tuple[int, ...]) -> bytes:
    out: list[bytes] = []
    position = 0
    while position < len(payload):
        start = position
        try:
            size, content = read_u32(payload, position + 1)
        except MalformedModule:
            break
        position = content + size
        if payload[start] in kept or (not kept and payload[start] not in dropped):
            out.append(payload[start:position])
    return b"".join(out)
