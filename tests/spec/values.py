"""Constants of scripts, as arguments and as expected results.

Numbers and vectors are encoded by a parser of the text format: all constants of a script are initializers of globals in
one module of text. What only scripts have, references that the host gives, and results of which only the kind is asked
for, is read here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import wasmtime

from caesura.wasm import instructions as table
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.leb128 import encode_signed
from caesura.wasm.module import Module
from caesura.wasm.types import EXTERN, encode_heap_type, heap_of
from tests.spec.reading import Node, Script

_LANES: Final = {b"i8x16": 1, b"i16x8": 2, b"i32x4": 4, b"i64x2": 8, b"f32x4": 4, b"f64x2": 8}
_SIZES: Final = {
    table.IMMEDIATE_I32: 4,
    table.IMMEDIATE_I64: 8,
    table.IMMEDIATE_F32: 4,
    table.IMMEDIATE_F64: 8,
    table.IMMEDIATE_V128: 16,
}
_NANS: Final = (b"nan:canonical", b"nan:arithmetic")

# What kinds of references these stand for, by the numbers of `driver.RUNTIME`.
_KINDS: Final = {
    b"ref.null": (1,),
    b"ref.i31": (2,),
    b"ref.struct": (4,),
    b"ref.array": (8,),
    b"ref.eq": (2, 4, 8),
    b"ref.any": (2, 4, 8, 16),
    b"ref.extern": (2, 4, 8, 16),
    b"ref.host": (16,),
    b"ref.func": (32,),
    b"ref.exn": (64,),
}


@dataclass(frozen=True)
class Constant:
    """An argument: code of a number or vector, or a reference of the host's (`host`), or null (neither)."""

    number: bytes = b""
    host: int = -1

    def code(self, value_type: int) -> bytes:
        """Return code that gives the constant for a parameter of a type."""
        if self.number:
            return self.number
        if self.host < 0:
            return b"\xd0" + encode_heap_type(heap_of(value_type))
        code = b"\x41" + encode_signed(self.host) + b"\x25\x00"  # table.get
        if heap_of(value_type) != EXTERN:
            code += b"\xfb\x1a"  # any.convert_extern
        return code if value_type & 2 else code + b"\xd4"  # ref.as_non_null


class Constants:
    """All constants of a script, encoded."""

    def __init__(self, script: Script) -> None:
        self._script = script
        nodes: dict[bytes, Node] = {}
        for command in script.commands:
            _gather(script, command, nodes)
        self._codes: dict[bytes, bytes] = {}
        if nodes:
            self._encode(nodes)

    def _encode(self, nodes: dict[bytes, Node]) -> None:
        lines = []
        for text, node in nodes.items():
            value_type = node.head.split(b".")[0]
            for nan in _NANS:
                text = text.replace(nan, b"nan")
            lines.append(b"(global " + value_type + b" " + text + b")")
        binary = bytes(wasmtime.wat2wasm(b"(module\n" + b"\n".join(lines) + b")"))
        for text, entry in zip(nodes, Module(binary).globals, strict=True):
            self._codes[text] = binary[entry.init_start : entry.init_end - 1]

    def argument(self, node: Node) -> Constant:
        """Return an argument."""
        text = self._script.source(node)
        if text in self._codes:
            return Constant(number=self._codes[text])
        if node.head == b"ref.null":
            return Constant()
        if node.head in (b"ref.extern", b"ref.host"):
            return Constant(host=int(node.items[1].atom, 0))
        raise ValueError(f"line {self._script.line(node)}: {text!r} is no argument that the runner knows")

    def fits(self, node: Node, value: bytes) -> bool:
        """Tell whether a result, as a driver stored it, is what a script expects."""
        if node.head == b"either":
            return any(self.fits(one, value) for one in node.items[1:])
        if node.head in _KINDS:
            kind, number = struct.unpack("<II", value[:8])
            is_of_kind = kind in _KINDS[node.head]
            if node.head in (b"ref.null",) or len(node.items) == 1:
                return is_of_kind
            return is_of_kind and number == int(node.items[1].atom, 0)
        text = self._script.source(node)
        if text not in self._codes:
            raise ValueError(f"line {self._script.line(node)}: {text!r} is no result that the runner knows")
        return _fits_number(node, _value(self._codes[text]), value)


def _gather(script: Script, node: Node, found: dict[bytes, Node]) -> None:
    if node.head in (b"module", b"assert_invalid", b"assert_malformed"):
        return
    if node.head in (b"i32.const", b"i64.const", b"f32.const", b"f64.const", b"v128.const"):
        found.setdefault(script.source(node), node)
        return
    for item in node.items:
        _gather(script, item, found)


def _value(code: bytes) -> bytes:
    """Return the value of a constant's code as a driver stores it."""
    opcode, position = read_opcode(code, 0)
    number = read_immediates(code, position, opcode)[0][0]
    size = _SIZES[table.IMMEDIATES[opcode]]
    return (number % (1 << 8 * size)).to_bytes(size, "little")


def _fits_number(node: Node, expected: bytes, value: bytes) -> bool:
    if node.head == b"v128.const":
        width = _LANES[node.items[1].atom]
        lanes = [item.atom for item in node.items[2:]]
    else:
        width = len(expected)
        lanes = [node.items[1].atom]
    for lane, word in enumerate(lanes):
        here = slice(lane * width, (lane + 1) * width)
        if word in _NANS:
            if not _is_nan(value[here], canonical=word == b"nan:canonical"):
                return False
        elif value[here] != expected[here]:
            return False
    return True


def _is_nan(value: bytes, *, canonical: bool) -> bool:
    bits = int.from_bytes(value, "little")
    fraction = 23 if len(value) == 4 else 52
    payload = bits & ((1 << fraction) - 1)
    exponent = bits >> fraction & ((1 << (8 * len(value) - 1 - fraction)) - 1)
    quiet = 1 << (fraction - 1)
    is_nan = exponent == (1 << (8 * len(value) - 1 - fraction)) - 1 and payload & quiet != 0
    return is_nan and (not canonical or payload == quiet)
