"""What is in a saved state, as JSON has it: for `caesura inspect`, and for programs that read its output.

Numbers are exact: globals have their bits in hexadecimal besides their values, since JSON has neither NaN nor integers
of 64 bits that every reader keeps.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from caesura.inspection.backtrace import Frame, shown_value
from caesura.inspection.memory_map import KINDS, regions_of
from caesura.snapshots.compression import DEFLATE, STORED, ZSTD
from caesura.snapshots.container import SECTION_NAMES, Section
from caesura.snapshots.differences import initial_ranges
from caesura.snapshots.state import NULL, CallRecord, Descriptor, GlobalState, State, TableState, WasiState
from caesura.wasm import types as t
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, GLOBAL_NAMES, Names

Json = dict[str, Any]

_FORMATS: Final = {t.I32: ("<I", "<i"), t.I64: ("<Q", "<q"), t.F32: ("<I", "<f"), t.F64: ("<Q", "<d")}
_CODECS: Final = {STORED: "stored", ZSTD: "zstd", DEFLATE: "deflate"}
_WIDTHS: Final = {t.I32: 8, t.I64: 16, t.F32: 8, t.F64: 16, t.V128: 32}


def describe_state(
    state: State, module: Module | None, backtraces: Sequence[Sequence[Frame] | str], sections: Mapping[int, Section]
) -> Json:
    """Return what is in a state.

    `module` is the one that was given, if that is there. `backtraces` are the calls', or why there is none; `sections`
    those of the file.
    """
    names = names_of(module)
    return {
        "module": _module(state),
        "calls": [describe_call(call, trace, names) for call, trace in zip(state.calls, backtraces, strict=True)],
        "memories": [_memory(state, place, module) for place in range(len(state.memories))],
        "globals": [describe_global(item, names) for item in state.globals],
        "tables": [_table(table) for table in state.tables],
        "dropped": {"data": list(state.dropped_data), "elements": list(state.dropped_elements)},
        "objects": [len(content) for content in state.objects],
        "exceptions": [
            {"tag": one.tag, "values": [_value(kind, bits, names) for kind, bits in one.values]}
            for one in state.exceptions
        ],
        "wasi": _wasi(state),
        "sections": [
            {
                "name": SECTION_NAMES[section.kind],
                "codec": _CODECS[section.codec],
                "stored": len(section.stored),
                "size": section.size,
            }
            for section in sections.values()
        ],
    }


class ModuleNames:
    """The names that a module gives to its globals and functions, by index."""

    def __init__(self, globals_: Mapping[int, str], functions: Mapping[int, str]) -> None:
        self.globals: Final = globals_
        self.functions: Final = functions


def names_of(module: Module | None) -> ModuleNames:
    """Return the names that a module gives."""
    section = None if module is None else module.custom_section("name")
    if module is None or section is None:
        return ModuleNames({}, {})
    maps = Names(module.data[section.payload : section.end]).maps
    return ModuleNames(maps[GLOBAL_NAMES], maps[FUNCTION_NAMES])


def _module(state: State) -> Json:
    identity = state.module
    return {
        "original": identity.original.hex(),
        "instrumented": identity.instrumented.hex(),
        "path": identity.path,
        "imports": list(identity.imports),
        "options": dict(identity.options),
        "contract": identity.contract,
        "embedded": None if state.embedded is None else len(state.embedded),
    }


def describe_call(call: CallRecord, trace: Sequence[Frame] | str, names: ModuleNames) -> Json:
    """Return what there is to say of a suspended call; `trace` is its backtrace, or why there is none."""
    return {
        "export": call.export,
        "function": call.function,
        "arguments": [_value(kind, bits, names) for kind, bits in call.arguments],
        "mode": call.mode,
        "waited": call.waited,
        "frames": len(call.frames),
        "stack": call.stack,
        "stack_pointer": call.stack_pointer,
        "backtrace": None if isinstance(trace, str) else [_frame(frame) for frame in trace],
        "why_no_backtrace": trace if isinstance(trace, str) else "",
    }


def _frame(frame: Frame) -> Json:
    return {
        "function": frame.function,
        "index": frame.index,
        "offset": frame.offset,
        "file": frame.file,
        "line": frame.line,
        "column": frame.column,
        "certain": frame.certain,
        "variables": [
            {
                "index": one.index,
                "name": one.name,
                "type": one.type,
                "parameter": one.is_parameter,
                "value": shown_value(one.value),
            }
            for one in frame.variables
        ],
    }


def _memory(state: State, place: int, module: Module | None) -> Json:
    memory = state.memories[place]
    regions = regions_of(memory, state, module)
    initial = sum(end - start for start, end in initial_ranges(memory))
    kinds: dict[str, Json] = {}
    for kind in KINDS:
        own = [region for region in regions if region.kind == kind]
        if own:
            kinds[kind] = {
                "size": sum(region.end - region.start for region in own),
                "used": sum(region.used for region in own),
            }
    return {
        "index": memory.index,
        "size": memory.size,
        "page_size": memory.page_size,
        "used": sum(len(content) for _, content in memory.runs) + initial,
        "initial": initial,
        "kinds": kinds,
        "regions": [
            {"kind": region.kind, "start": region.start, "end": region.end, "used": region.used} for region in regions
        ],
    }


def describe_global(item: GlobalState, names: ModuleNames) -> Json:
    """Return what a global holds."""
    return {"index": item.index, "name": names.globals.get(item.index, ""), **_value(item.type, item.bits, names)}


def _value(kind: int, bits: int, names: ModuleNames) -> Json:
    """Return a value: its type, its bits, and how it is written."""
    told: Json = {"type": t.type_name(kind)}
    if kind in _WIDTHS:
        told["bits"] = f"{bits:#0{_WIDTHS[kind] + 2}x}"
    if kind in _FORMATS:
        unsigned, layout = _FORMATS[kind]
        told["value"] = shown_value(struct.unpack(layout, struct.pack(unsigned, bits))[0])
    elif kind == t.V128:
        told["value"] = told["bits"]
    elif bits == NULL:
        told["value"] = "null"
    elif kind == t.FUNCREF:
        told["value"] = names.functions.get(bits, f"function {bits}")
    elif kind == t.ANYREF:
        told["value"] = f"number {bits}"
    else:
        told["value"] = f"{'exception' if kind == t.EXNREF else 'object'} {bits}"
    return told


def elements_of(table: TableState) -> tuple[int, ...]:
    """Return the elements of a table."""
    return struct.unpack(f"<{len(table.elements) // 4}I", table.elements)


def _table(table: TableState) -> Json:
    elements = elements_of(table)
    return {
        "index": table.index,
        "type": t.type_name(table.type),
        "size": len(elements),
        "null": elements.count(NULL),
    }


def _wasi(state: State) -> Json | None:
    wasi = state.wasi
    if wasi is None:
        return None
    return {
        "arguments": list(wasi.arguments),
        "environment": dict(wasi.environment),
        "folders": describe_folders(wasi),
        "descriptors": [describe_descriptor(item) for item in wasi.descriptors],
        "monotonic": wasi.monotonic,
    }


def describe_folders(wasi: WasiState | None) -> list[Json]:
    """Return the folders that a WASI program was given, in the order by which descriptors name them."""
    folders = () if wasi is None else wasi.folders
    return [{"guest": guest, "host": host, "writable": writable} for guest, host, writable in folders]


def describe_descriptor(item: Descriptor) -> Json:
    """Return what an open descriptor is."""
    return {
        "number": item.number,
        "kind": item.kind,
        "path": item.path,
        "below": item.below,
        "flags": item.flags,
        "rights": item.rights,
        "offset": item.offset,
    }
