"""The features that a module may use, as Binaryen counts them.

Instrumented code is smallest if helper functions return several values (multivalue). The tools that come behind refuse
such functions unless they are told of the feature, and tool chains tell each tool exactly what their compiler used. So
the output keeps to what is on: by the last option of the command line that says so, or else by the section in which
compilers note what they used. Binaryen itself takes such results to pieces, more with each tool that reads and writes
the module; so where one is known to come, there are none.
"""

from __future__ import annotations

from typing import Final

from caesura.cli.wasm_opt.arguments import CommandLine
from caesura.errors import MalformedModule
from caesura.wasm.leb128 import read_u32
from caesura.wasm.sections import CUSTOM, read_sections

MULTIVALUE: Final = "multivalue"
REFERENCE_TYPES: Final = "reference-types"
MULTIMEMORY: Final = "multimemory"
MUTABLE_GLOBALS: Final = "mutable-globals"

_ALL_ON: Final = "--all-features"
_ALL_OFF: Final = "--mvp-features"
_SECTION: Final = "target_features"
_USED: Final = ord("+")


def is_on(feature: str, line: CommandLine, data: bytes) -> bool:
    """Tell whether a feature is on, for a module in the binary format (b"" for what is not)."""
    for item in reversed(line.arguments):
        if item.name == f"--enable-{feature}" or item.name == _ALL_ON:
            return True
        if item.name == f"--disable-{feature}" or item.name == _ALL_OFF:
            return False
    return feature.encode() in _noted(data)


def _noted(data: bytes) -> set[bytes]:
    """Return the features that the module says it uses; one with a broken note says nothing."""
    found: set[bytes] = set()
    for section in read_sections(data) if data else ():
        if section.id != CUSTOM or section.name != _SECTION:
            continue
        try:
            count, position = read_u32(data, section.payload)
            for _ in range(count):
                prefix = data[position]
                size, start = read_u32(data, position + 1)
                position = start + size
                if prefix == _USED:
                    found.add(data[start:position])
        except (IndexError, MalformedModule):
            return set()
    return found
