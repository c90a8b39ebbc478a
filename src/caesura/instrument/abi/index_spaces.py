"""What the transformation adds to a module's index spaces: types, functions and globals, behind the existing ones.

Adding at the end keeps every index in untouched code valid. A type that the module has already is used again.
"""

from __future__ import annotations

from caesura.wasm.definitions import FUNCTION_TYPE
from caesura.wasm.leb128 import encode_unsigned, encode_vector
from caesura.wasm.module import Module
from caesura.wasm.types import encode_value_type, type_name


class AddedTypes:
    """Types that are added to the module's own, and which function types of these serve as they are."""

    def __init__(self, module: Module) -> None:
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._count = len(module.types)
        self.added: list[bytes] = []
        for first, count in module.recursion_groups:
            definition = module.types[first]
            if count != 1 or definition.kind != FUNCTION_TYPE or definition.supertypes or not definition.final:
                continue
            key = (definition.params, definition.results)
            if key not in self._known:
                self._known[key] = first

    def index_of(self, params: tuple[int, ...], results: tuple[int, ...]) -> int:
        """Return the index of a function type, adding it where the module has none."""
        key = (params, results)
        if key not in self._known:
            self._known[key] = self.add(b"\x60" + _encode_types(params) + _encode_types(results))
        return self._known[key]

    def add(self, definition: bytes) -> int:
        """Add a type, in its encoding, and return its index."""
        self.added.append(definition)
        self._count += 1
        return self._count - 1


def _encode_types(types: tuple[int, ...]) -> bytes:
    return encode_unsigned(len(types)) + b"".join([encode_value_type(value_type) for value_type in types])


class AddedFunctions:
    """Functions added to a module: their indices, types, bodies and names."""

    def __init__(self, module: Module, types: AddedTypes) -> None:
        self.types = types
        self._next = len(module.function_types)
        self.type_indices: list[int] = []
        self.bodies: list[bytes] = []
        self.names: list[tuple[int, str]] = []

    def add(
        self, name: str, params: tuple[int, ...], results: tuple[int, ...], local_types: list[int], code: bytes
    ) -> int:
        """Add a function (its code without the final `end`) and return its index."""
        return self.add_of_type(name, self.types.index_of(params, results), local_types, code)

    def add_of_type(self, name: str, type_index: int, local_types: list[int], code: bytes) -> int:
        """Add a function of a type that the module has already."""
        declarations = [b"\x01" + encode_value_type(local_type) for local_type in local_types]
        return self.add_body(name, type_index, encode_vector(declarations) + code + b"\x0b")

    def replace(self, index: int, code: bytes) -> None:
        """Give an added function without locals other code (without the final `end`)."""
        body = encode_vector([]) + code + b"\x0b"
        self.bodies[index - self._next] = encode_unsigned(len(body)) + body

    def replace_body(self, index: int, body: bytes) -> None:
        """Give an added function another body: locals, code and final `end`."""
        self.bodies[index - self._next] = encode_unsigned(len(body)) + body

    def add_body(self, name: str, type_index: int, body: bytes) -> int:
        """Add a function with a whole body: locals, code and final `end`."""
        index = self._next
        self._next += 1
        self.type_indices.append(type_index)
        self.bodies.append(encode_unsigned(len(body)) + body)
        self.names.append((index, name))
        return index


class GlobalPool:
    """Mutable globals through which values are handed over, from one body of a function to the other or from its cold
    arm to a loop; shared by all functions. No code of the guest runs in between, so one set per type serves everybody.
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._known: dict[tuple[int, int], int] = {}
        self.types: list[int] = []
        self.names: list[tuple[int, str]] = []

    def add(self, value_type: int, name: str) -> int:
        """Return a new global of its own, which nothing else is handed over in; it may do without a name."""
        self.types.append(value_type)
        self.names.append((self._next, name))
        self._next += 1
        return self._next - 1

    def indices(self, types: list[int]) -> list[int]:
        """Return a global for each of some values, given their types."""
        used: dict[int, int] = {}
        result: list[int] = []
        for value_type in types:
            place = used.get(value_type, 0)
            used[value_type] = place + 1
            key = (value_type, place)
            if key not in self._known:
                self._known[key] = self.add(value_type, f"asyncify_handoff_{type_name(value_type)}_{place}")
            result.append(self._known[key])
        return result
