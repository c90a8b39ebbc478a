"""Modules that are small, or whose every part is, and that take long to instrument, to compile or to connect.

Each is what somebody could upload who wants a server to stand still. They import "env" "wait", which may suspend.
"""

from __future__ import annotations

from typing import Final

import wasmtime

from caesura.wasm.leb128 import encode_unsigned

_DATA_SECTION: Final = 11
_PAGE_SIZE: Final = 1 << 16

# As many values as functions may take, and as many as they may return.
_MOST_VALUES: Final = 1_000


def many_exports(count: int) -> bytes:
    """Return a module with so many exports, as DuckDB's main module is."""
    functions = "".join(
        f'(func (export "_ZN6duckdb{number:06}ScalarFunctionSet") (drop (call $wait (i32.const {number}))))'
        for number in range(count)
    )
    return _assemble(f'(import "env" "wait" (func $wait (param i32) (result i32))) {functions}')


def many_imports(count: int) -> bytes:
    """Return a module that imports the same function so many times."""
    imports = '(import "env" "wait" (func (param i32) (result i32)))' * count
    return _assemble(f'{imports} (func (export "f") (param i32) (result i32) (call {count - 1} (local.get 0)))')


def much_data(size: int) -> bytes:
    """Return a module that puts so many bytes into its memory, from address 0 on: 0 to 255, again and again."""
    pages = -(-size // _PAGE_SIZE)
    module = _assemble(
        f'(import "env" "wait" (func (param i32) (result i32))) (memory (export "memory") {pages})'
        '(func (export "f") (param i32) (result i32) (call 0 (local.get 0)))'
    )
    return module + _data(size)


def saved_data(size: int) -> bytes:
    """Return a module with so many bytes of memory, which asks once."""
    pages = -(-size // _PAGE_SIZE)
    return _assemble(
        f'(import "env" "ask" (func $ask (result i32))) (memory (export "memory") {pages})'
        '(func (export "run") (result i32) (call $ask))'
    )


def copied_data(size: int) -> bytes:
    """Return a module with such data for a memory that it imports, which must be copied for each guest."""
    pages = -(-size // _PAGE_SIZE)
    module = _assemble(
        f'(import "env" "wait" (func (param i32) (result i32))) (import "env" "memory" (memory {pages}))'
        '(func (export "f") (param i32) (result i32) (call 0 (local.get 0)))'
    )
    return module + _data(size)


def large_array(size: int) -> bytes:
    """Return a module that begins with an array of so many bytes."""
    return _assemble(
        '(import "env" "wait" (func (param i32) (result i32))) (type $bytes (array (mut i8)))'
        f"(global (ref $bytes) (array.new $bytes (i32.const 1) (i32.const {size})))"
        '(func (export "f") (param i32) (result i32) (call 0 (local.get 0)))'
    )


def filled_table(size: int) -> bytes:
    """Return a module that begins with a table of so many elements, none of which is null."""
    return _assemble(
        f'(import "env" "wait" (func $wait (param i32) (result i32))) (table {size} funcref (ref.func $wait))'
        '(func (export "f") (param i32) (result i32) (call 0 (local.get 0)))'
    )


def _data(size: int) -> bytes:
    """Return a section with one active segment, at address 0: 0 to 255, again and again."""
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    segments = b"\x01\x00\x41\x00\x0b" + encode_unsigned(size) + data
    return bytes([_DATA_SECTION]) + encode_unsigned(len(segments)) + segments


def small_and_slow() -> dict[str, bytes]:
    """Return modules of at most 16 KiB that would hold Python's lock for tens of milliseconds to many seconds."""
    values = "i32 " * _MOST_VALUES
    many = f"(type $many (func (param {values}) (result {values})))"
    all_values = " ".join(f"(local.get {number})" for number in range(_MOST_VALUES))
    operands = 5_000
    lone = '(import "env" "wait" (func $wait (param i32) (result i32)))'
    short = '(type $none (func)) (import "env" "wait" (func $wait (type $none)))'
    locals_ = f"(func (local {'i32 ' * 50_000}))"
    made = {
        "calls that pass and return 1,000 values": (
            f'{many} (import "env" "wait" (func $wait (type $many)))'
            f'(func (export "f") (type $many) {all_values} {"call $wait " * operands})'
        ),
        "loops that take and leave 1,000 values": (
            f'{many} (import "env" "wait" (func $wait (type $many)))'
            f'(func (export "f") (type $many) {all_values} {"loop (type $many) call $wait " * 1_500} {"end " * 1_500})'
        ),
        "branches with 1,000 values": (
            f'{many} (import "env" "wait" (func $wait (type $many)))'
            f'(func (export "f") (type $many) {all_values} {"block (type $many) " * 400}'
            f"{'i32.const 0 br_if 0 call $wait ' * 1_500} {'end ' * 400})"
        ),
        "results that stay on the stack": (
            f'(import "env" "wait" (func $wait (result i32)))'
            f'(func (export "f") (result i32) {"call $wait " * operands} {"i32.add " * (operands - 1)})'
        ),
        "100 locals that live across 7,000 calls": (
            f'{short} (func (export "f") (local {"i32 " * 100})'
            f"{' '.join(f'(local.set {number} (i32.const 0))' for number in range(100))} {'call $wait ' * 7_000}"
            f"{' '.join(f'(drop (local.get {number}))' for number in range(100))})"
        ),
        "50,000 locals in each of 10 functions": (
            f'{lone} (func (export "f") (drop (call $wait (i32.const 0)))) {locals_ * 10}'
        ),
        "2,000 functions with a call": f'{short} {"(func (call $wait))" * 1_900} (func (export "f") (call $wait))',
    }
    return {name: _assemble(text) for name, text in made.items()}


def _assemble(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))
