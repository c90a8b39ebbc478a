"""Custom sections that are no longer true of an instrumented module: they are dropped, with a warning.

Debug information maps byte offsets to source lines. Of the new code it would name wrong functions and lines, and
nobody would see that they are wrong: DWARF itself, what says where it or a source map lies, relocations that a linker
left behind, and the build id under which debug information is looked up. Only those who insist keep it. A signature,
and a list with an entry for each function, hold for no module but the one that they were made for.

To bring DWARF up to date was left out: its line programs and location lists would have to be written anew, for
functions in which a line's code can stand twice.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm.module import Module
from caesura.wasm.sections import CUSTOM, Section, SectionEdits

_DEBUG_PREFIXES: Final = (".debug", "reloc.")
_DEBUG_NAMES: Final = ("sourceMappingURL", "external_debug_info", "build_id")
_BROKEN_NAMES: Final = ("signature", "signature_delimiter", "compilationHints")

# Names in a warning; how many there are besides is told.
_SHOWN: Final = 4


def is_debug_information(section: Section) -> bool:
    """Tell whether a section maps code to source, or says where to find what does."""
    if section.id != CUSTOM:
        return False
    return section.name.startswith(_DEBUG_PREFIXES) or section.name in _DEBUG_NAMES


def drop_outdated(module: Module, edits: SectionEdits, warnings: list[str], *, keep_dwarf: bool) -> None:
    """Drop what an instrumented module must not keep; debug information stays with `keep_dwarf`."""
    debug = [section for section in module.sections if is_debug_information(section)]
    if not keep_dwarf:
        for section in debug:
            edits.custom[section.name] = None
    if debug:
        what = f"debug information ({_listed(debug)}) describes the code as it was"
        warnings.append(
            f"{what}: it is kept, and names wrong functions and lines"
            if keep_dwarf
            else f"{what}: it is dropped, names are kept (--keep-dwarf keeps it, to name wrong functions and lines)"
        )
    broken = [section for section in module.sections if section.id == CUSTOM and section.name in _BROKEN_NAMES]
    for section in broken:
        edits.custom[section.name] = None
    if broken:
        warnings.append(f"what holds for the module as it was is dropped ({_listed(broken)})")


def _listed(sections: list[Section]) -> str:
    names = list(dict.fromkeys([section.name for section in sections]))
    size = sum(section.end - section.start for section in sections)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}; {size:,} bytes"
