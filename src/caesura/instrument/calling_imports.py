"""Functions that do nothing but call an import: they stand in tables in its place, in modules with pause points.

Behind a call that comes back from the host stands a look whether to pause (`analysis.unlooked_ways`). A call through a
table may be one of the host whenever an import of its type lies in some table, so looks would stand behind hundreds of
calls for a few imports: 300 in SQLite, 7% of the code that is added. With these functions in the imports' places a look
in each of them does, and calls through tables are calls of the module's own functions.

That goes for imports that element segments put into tables by their indices, as C programs do. Where there are
references of other kinds, by `ref.func` in code, say, or where an import is exported again, which a host can make a
reference of, calls through tables and references are looked behind.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.builtins import takes_no_time
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.constant import referenced_functions
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.immediates import skip_locals
from caesura.wasm.leb128 import encode_unsigned, encode_vector
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.segments import DECLARED, ElementSegment, encode_element_segment, read_element_segments

_REF_FUNC: Final = b"\xd2"


def put_calling_functions(module: Module) -> Module:
    """Return the module with such functions, the last ones of its own, in the places of imports in element segments."""
    segments = read_element_segments(module)
    imports = _imports_by_index(module, segments)
    if not imports:
        return module
    edits = SectionEdits()
    redirected: dict[int, int] = {}
    for function in imports:
        redirected[function] = len(module.function_types) + len(redirected)
        edits.append(sec.FUNCTION, encode_unsigned(module.function_types[function]))
        body = _calling(module, function)
        edits.append(sec.CODE, encode_unsigned(len(body)) + body)
    edits.replace[sec.ELEMENT] = encode_vector([_with_others(module, segment, redirected) for segment in segments])
    return Module(write_sections(module.data, module.sections, edits))


def _imports_by_index(module: Module, segments: list[ElementSegment]) -> list[int]:
    """Return the imports that nothing but indices in element segments refers to, ascending."""
    found: dict[int, bool] = {}
    for segment in segments:
        if segment.mode != DECLARED:
            for function in segment.functions:
                if function < module.imported_functions:
                    found[function] = True
    others = _referenced_otherwise(module, segments) if found else {}
    items = module.function_imports()
    return [
        function
        for function in sorted(found)
        if function not in others and not takes_no_time(items[function].module, items[function].name)
    ]


def _referenced_otherwise(module: Module, segments: list[ElementSegment]) -> dict[int, bool]:
    """Return the imports that may be referred to in other ways."""
    others: dict[int, bool] = {}
    for export in module.exports:
        if export.kind == FUNCTION_KIND:
            others[export.index] = True
    expressions = [(item.init_start, item.init_end) for item in module.globals]
    expressions += [(table.init_start, table.init_end) for table in module.tables]
    for segment in segments:
        expressions += segment.expressions
        if segment.mode == DECLARED:
            for function in segment.functions:
                others[function] = True
    for start, end in expressions:
        for function in referenced_functions(module.data, start, end):
            others[function] = True
    section = module.section(sec.CODE)
    if section is not None and module.data.find(_REF_FUNC, section.payload, section.end) >= 0:
        for own in module.own_functions():
            for function in referenced_functions(
                module.data, skip_locals(module.data, module.body_starts[own]), module.body_ends[own]
            ):
                others[function] = True
    return others


def _calling(module: Module, function: int) -> bytes:
    """Return the body, without size field, of a function that calls an import."""
    params = len(module.types[module.function_types[function]].params)
    arguments = b"".join([c.LOCAL_GET + encode_unsigned(param) for param in range(params)])
    return b"\0" + arguments + c.CALL + encode_unsigned(function) + c.END


def _with_others(module: Module, segment: ElementSegment, redirected: dict[int, int]) -> bytes:
    """Return a segment, encoded, with other functions in the places of some."""
    data = module.data
    functions = [redirected.get(function, function) for function in segment.functions]
    expressions = [data[start:end] for start, end in segment.expressions]
    return encode_element_segment(segment, data[segment.offset_start : segment.offset_end], functions, expressions)
