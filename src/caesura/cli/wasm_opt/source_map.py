"""Carry a source map through the transformation.

A source map of a module maps byte offsets in the file to places in source files. Functions that were not rewritten
only move. In a rewritten function the old instructions are found again in the new code: both bodies are walked
together, and each old instruction that a mapping names is paired with the next equal new instruction, within a window,
so that what was added or moved is passed over. That is not exact where equal instructions stand close together, but
lines come out right, also in functions with two bodies (the first is mapped). To let the transformation record offsets
was rejected: every rewritten instruction would pay for what few builds use.
"""

from __future__ import annotations

import json
from typing import Any, Final

from caesura.errors import MalformedModule, UsageError
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.shortest import shorten_code

_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_WINDOW: Final = 48

# One mapping: offset in the module, then source, line, column and name (-1: none); no source at all is an empty tuple.
Mapping = tuple[int, tuple[int, ...]]


def carry(text: str, before: bytes, after: bytes) -> str:
    """Return a source map of module `before` as one of `after`; raises UsageError for what is no source map."""
    try:
        document: Any = json.loads(text)
        mappings = decode_mappings(document["mappings"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise UsageError("the input source map is not a source map: expected a JSON object with mappings") from None
    document["mappings"] = encode_mappings(_move(mappings, Module(before), Module(after)))
    return json.dumps(document, separators=(",", ":"))


def empty() -> str:
    """Return a source map that maps nothing."""
    return json.dumps({"version": 3, "sources": [], "names": [], "mappings": ""}, separators=(",", ":"))


def decode_mappings(text: str) -> list[Mapping]:
    """Decode the mappings; all of a module's stand in one line."""
    out: list[Mapping] = []
    offset = 0
    place = [0, 0, 0, 0]
    for segment in text.partition(";")[0].split(","):
        if not segment:
            continue
        numbers = _decode_numbers(segment)
        offset += numbers[0]
        for index, number in enumerate(numbers[1:]):
            place[index] += number
        out.append((offset, tuple(place[: len(numbers) - 1])))
    return out


def _decode_numbers(segment: str) -> list[int]:
    numbers: list[int] = []
    value = 0
    shift = 0
    for character in segment:
        digit = _VALUES[character]
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            numbers.append(-(value >> 1) if value & 1 else value >> 1)
            value = 0
            shift = 0
    return numbers


def encode_mappings(mappings: list[Mapping]) -> str:
    """Encode mappings in one line."""
    out: list[str] = []
    offset = 0
    place = [0, 0, 0, 0]
    for position, target in mappings:
        text = _encode_number(position - offset)
        offset = position
        for index, number in enumerate(target):
            text += _encode_number(number - place[index])
            place[index] = number
        out.append(text)
    return ",".join(out)


def _encode_number(number: int) -> str:
    value = (-number << 1) | 1 if number < 0 else number << 1
    text = ""
    while True:
        digit = value & 31
        value >>= 5
        if not value:
            return text + _DIGITS[digit]
        text += _DIGITS[digit | 32]


def _move(mappings: list[Mapping], before: Module, after: Module) -> list[Mapping]:
    """Return the mappings at their new offsets, in order; those outside of functions are dropped."""
    mappings = sorted(mappings, key=lambda mapping: mapping[0])
    out: list[Mapping] = []
    index = 0
    for own in range(len(before.body_starts)):
        start, end = before.body_starts[own], before.body_ends[own]
        while index < len(mappings) and mappings[index][0] < start:
            index += 1
        wanted: list[Mapping] = []
        while index < len(mappings) and mappings[index][0] < end:
            wanted.append(mappings[index])
            index += 1
        if not wanted:
            continue
        new_start, new_end = after.body_starts[own], after.body_ends[own]
        if before.data[start:end] == after.data[new_start:new_end]:
            out.extend((offset - start + new_start, place) for offset, place in wanted)
        else:
            old = _instructions(before.data, start, end)
            new = _instructions(after.data, new_start, new_end)
            out.extend(_pair(wanted, old, new, new_start))
    return out


def _instructions(data: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
    """Return the offset and the bytes, with the shortest numbers, of each instruction of a body."""
    count, position = read_u32(data, start)
    for _ in range(count):
        _, position = read_u32(data, position)
        _, position = read_u32(data, position)  # a type: one number, or the byte before a heap type
        if data[position - 1] in (0x63, 0x64):
            _, position = read_u32(data, position)
    out: list[tuple[int, bytes]] = []
    while position < end:
        try:
            code, behind = read_opcode(data, position)
            _, behind = read_immediates(data, behind, code)
        except MalformedModule:
            break
        out.append((position, shorten_code(data[position:behind])))
        position = behind
    return out


def _pair(
    wanted: list[Mapping], old: list[tuple[int, bytes]], new: list[tuple[int, bytes]], new_start: int
) -> list[Mapping]:
    """Map the wanted old offsets of one function to new ones, never backwards."""
    out: list[Mapping] = [(new_start, wanted[0][1])]
    at = 0
    index = 0
    for offset, code in old:
        found = at
        while found < len(new) and found < at + _WINDOW and new[found][1] != code:
            found += 1
        if found == len(new) or new[found][1] != code:
            continue
        at = found + 1
        passed: list[Mapping] = []
        while index < len(wanted) and wanted[index][0] <= offset:
            passed.append(wanted[index])
            index += 1
        # Of what the instruction and those lost before it are mapped to, the latest holds.
        out.extend((new[found][0], place) for position, place in passed if position == passed[-1][0])
    return out
