"""Components: the core modules in them, and components again, with everything around as it is.

A component is a header and a sequence of sections, as a module is. A core module in it is a whole section, a component
inside of it is one, too; nothing counts bytes across sections. So core modules can be exchanged without looking at
anything else, as long as the new ones export what the old ones did and import nothing more.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.leb128 import encode_unsigned, read_u32
from caesura.wasm.sections import MAGIC

_HEADER: Final = MAGIC + b"\x0d\x00\x01\x00"

_CORE_MODULE: Final = 1
_COMPONENT: Final = 4

# Components in each other; compilers make two or three.
_DEEPEST: Final = 100


def is_component(data: bytes) -> bool:
    """Tell whether bytes begin like a component in binary form."""
    return data[: len(_HEADER)] == _HEADER


class Component:
    """A component in binary form; `core_modules` has where each core module in it lies, at any depth: (start, end).

    Raises MalformedModule where its sections do not fit.
    """

    def __init__(self, data: bytes) -> None:
        self.core_modules: list[tuple[int, int]] = []
        self._data = data
        self._find(0, len(data), 0)

    def with_core_modules(self, modules: list[bytes]) -> bytes:
        """Return the component with other core modules, as many and in the same order."""
        return self._written(0, len(self._data), modules, 0)[0]

    def _section(self, position: int, end: int) -> tuple[int, int]:
        """Return where the content of a section begins and ends."""
        length, payload = read_u32(self._data, position + 1)
        if payload + length > end:
            raise MalformedModule(f"section of {length} bytes reaches beyond the end of its component", position)
        return payload, payload + length

    def _find(self, start: int, end: int, depth: int) -> None:
        if depth > _DEEPEST:
            raise MalformedModule(f"components stand in each other more than {_DEEPEST} deep", start)
        if self._data[start : start + len(_HEADER)] != _HEADER:
            raise MalformedModule("expected a component, of the version that begins 00 61 73 6d 0d 00 01 00", start)
        position = start + len(_HEADER)
        while position < end:
            kind = self._data[position]
            payload, position = self._section(position, end)
            if kind == _CORE_MODULE:
                self.core_modules.append((payload, position))
            elif kind == _COMPONENT:
                self._find(payload, position, depth + 1)

    def _written(self, start: int, end: int, modules: list[bytes], taken: int) -> tuple[bytes, int]:
        """Return a component between two positions with its core modules, and how many were taken by then."""
        data = self._data
        out = [data[start : start + len(_HEADER)]]
        position = start + len(_HEADER)
        while position < end:
            section = position
            payload, position = self._section(section, end)
            if data[section] == _CORE_MODULE:
                content = modules[taken]
                taken += 1
            elif data[section] == _COMPONENT:
                content, taken = self._written(payload, position, modules, taken)
            else:
                out.append(data[section:position])
                continue
            if content == data[payload:position]:
                out.append(data[section:position])
            else:
                out.append(data[section : section + 1] + encode_unsigned(len(content)) + content)
        return b"".join(out), taken
