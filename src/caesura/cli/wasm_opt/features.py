"""The features that a module may use, as Binaryen counts them.

Instrumented code is smallest if helper functions return several values (multivalue). The tools that come behind refuse
such functions unless they are told of the feature, and tool chains tell each tool exactly what their compiler used. So
the output keeps to what is on: by the last option of the command line that says so, or else by the section in which
compilers note what they used. Binaryen itself takes such results to pieces, more with each tool that reads and writes
the module; so where one is known to come, there are none.

Globals at which hosts look, such as the one that says that a guest cannot be suspended now, are mutable and exported,
which is a feature, too. All engines have it, and wasm-opt where a line says nothing, so they are left out only where
one says that it is off: then nobody sees a suspension coming that is refused, and the module traps.
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
        if _says_off(item.name, feature):
            return False
    return feature.encode() in _noted(data)


def is_off(feature: str, line: CommandLine) -> bool:
    """Tell whether the command line says that a feature is off."""
    return any(_says_off(item.name, feature) for item in line.arguments) and not is_on(feature, line, b"")


def _says_off(name: str, feature: str) -> bool:
    return name in (f"--disable-{feature}", _ALL_OFF)


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
