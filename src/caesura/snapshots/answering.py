"""Imports that answer for themselves once, where a module follows the plain ABI (docs/abi.md).

There a call that is rewound calls its import again, and whoever is called ends the rewinding and returns what the
import has to return. No host does that for a module that goes on by itself. So the import in which a call waits is
called through a function of the module: where it is told so, it ends the rewinding and returns what stands in globals,
or calls the import then; else it calls the import, which may suspend the guest again. All calls and references of the
import become those of that function.

To let hosts end the rewinding was rejected: they would be hosts of ours, and no others.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import GET_STATE, START_REWIND, STOP_REWIND
from caesura.analysis.instrumented import asyncify_exports, state_global
from caesura.errors import SnapshotError
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import I32, encode_value_type

# What the first global of an import says: its results stand in the others; or it is to be called.
_ANSWER: Final = 1
_CALL: Final = 2

_REFERRING: Final = (op.CALL, op.RETURN_CALL, op.REF_FUNC)


class Answering:
    """The imports that answer for themselves: `redirected` are the functions by which they are called, by import.

    The first of these has index `first`. Imports of one group are the same function, imported more than once. Raises
    SnapshotError for a module without the plain ABI's functions.
    """

    def __init__(self, module: Module, groups: list[list[FunctionIndex]], first: int) -> None:
        self._module: Final = module
        functions = {item.name: item.index for item in module.exports if item.kind == FUNCTION_KIND}
        names = asyncify_exports(module) if groups else {}  # these may have been shortened
        self._functions: Final = {name: functions[exported] for name, exported in names.items()}
        self._state: Final = state_global(module) if names else None
        if groups and (not names or (self._state is None and GET_STATE not in names)):
            raise SnapshotError(
                "the module has suspended calls, and is not instrumented for that in a way that is known"
            )
        imports = [index for group in groups for index in group]
        self.redirected: Final[dict[int, int]] = {index: first + place for place, index in enumerate(imports)}
        self._globals: Final[dict[int, list[int]]] = {}
        self._types: Final[list[int]] = []
        for group in groups:
            begin = len(module.globals) + len(self._types)
            self._types.extend([I32, *self._results(group[0])])
            for index in group:
                self._globals[index] = [*range(begin, len(module.globals) + len(self._types))]

    def globals(self) -> list[bytes]:
        """Return the entries of the globals that are added."""
        return [encode_value_type(kind) + b"\x01" + c.zero_constant(kind) + c.END for kind in self._types]

    def answer(self, index: int) -> bytes:
        """Return the code that gives an import what the function's parameters are."""
        flag, *results = self._globals[index]
        code = b"".join(
            c.LOCAL_GET + encode_unsigned(place) + c.GLOBAL_SET + encode_unsigned(one)
            for place, one in enumerate(results)
        )
        return code + _constant(_ANSWER) + c.GLOBAL_SET + encode_unsigned(flag)

    def call_again(self, index: int) -> bytes:
        """Return the code by which an import is called again, once."""
        return _constant(_CALL) + c.GLOBAL_SET + encode_unsigned(self._globals[index][0])

    def start_rewind(self) -> bytes:
        """Return the call that begins to rewind, the data structure's address being on the stack."""
        return c.CALL + encode_unsigned(self._functions[START_REWIND])

    def is_normal(self) -> bytes:
        """Return the code that tells whether nothing unwinds."""
        if self._state is not None:
            return c.GLOBAL_GET + encode_unsigned(self._state) + c.I32_EQZ
        return c.CALL + encode_unsigned(self._functions[GET_STATE]) + c.I32_EQZ

    def write(self, edits: SectionEdits) -> None:
        """Add the functions, and let all code call these."""
        module = self._module
        if not self.redirected:
            return
        bodies = []
        for own in module.own_functions():
            body = module.data[module.body_starts[own] : module.body_ends[own]]
            start = skip_locals(body, 0)
            changed = body[:start] + self.redirect(body[start:])
            bodies.append(encode_unsigned(len(changed)) + changed)
        edits.replace[sec.CODE] = encode_vector(bodies)
        for section in module.sections:
            if section.id == sec.CUSTOM and section.name.startswith(sec.CODE_METADATA):
                edits.custom[section.name] = None  # what it says of places in code is only advice, and they have moved

    def add_functions(self, edits: SectionEdits) -> None:
        """Add the functions, behind all others."""
        for index in self.redirected:
            edits.append(sec.FUNCTION, encode_unsigned(self._module.function_types[index]))
            code = encode_vector([]) + self._code(index) + c.END
            edits.append(sec.CODE, encode_unsigned(len(code)) + code)

    def redirect(self, code: bytes) -> bytes:
        """Return instructions in which these imports are called and referred to by their functions."""
        if not self.redirected:
            return code
        out: list[bytes] = []
        copied = position = 0
        while position < len(code):
            opcode, start, position = read_instruction(code, position)
            if opcode in _REFERRING:
                function = read_u32(code, start)[0]
                if function in self.redirected:
                    out += [code[copied:start], encode_unsigned(self.redirected[function])]
                    copied = position
        return b"".join([*out, code[copied:]])

    def _code(self, index: int) -> bytes:
        flag, *results = self._globals[index]
        number = encode_unsigned(flag)
        again = c.GLOBAL_GET + number + _constant(_CALL) + c.I32_EQ
        code = c.GLOBAL_GET + number + c.IF_EMPTY + c.CALL + encode_unsigned(self._functions[STOP_REWIND])
        code += again + _constant(0) + c.GLOBAL_SET + number + c.I32_EQZ + c.IF_EMPTY
        code += b"".join(c.GLOBAL_GET + encode_unsigned(one) for one in results) + c.RETURN + c.END + c.END
        params = len(self._module.function_type(FunctionIndex(index)).params)
        code += b"".join(c.LOCAL_GET + encode_unsigned(place) for place in range(params))
        return code + c.CALL + encode_unsigned(index)

    def _results(self, index: int) -> tuple[int, ...]:
        """Return the types of what an import is given; references are not, which hosts would have to keep for it."""
        results = self._module.function_type(FunctionIndex(index)).results
        return results if all(kind in c.ZERO for kind in results) else ()


def _constant(value: int) -> bytes:
    return c.CONST_I32 + encode_signed(value)
