"""Every instruction of the table, one by one, against an independent implementation.

For each row a module is written as text around the instruction: operands of the types that the table says, then the
instruction. wat2wasm knows the text name and the opcode; the engine knows the signature. Then caesura decodes the
bytes, encodes them again, prints the module and reads it back, and the typing probe is put behind every instruction.
Instructions whose operands take more than a constant have their text below.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest
import wasmtime

from caesura.wasm import instructions as table
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.instructions import Instruction
from caesura.wasm.module import Module
from caesura.wasm.print_module import print_module
from caesura.wasm.stack_typing import check_function
from tests.support.encoding import encode_instruction

_SURROUNDINGS = """
  (type $pair (struct (field $first (mut i32)) (field $small (mut i8)) (field $any (mut anyref))))
  (type $simple (struct (field i64)))
  (type $numbers (array (mut i32)))
  (type $bytes (array (mut i8)))
  (type $functions (array (mut funcref)))
  (type $callee (func (param i32) (result i64)))
  (memory $memory 1)
  (memory $memory64 i64 1)
  (table $table 10 funcref)
  (table $table64 i64 10 externref)
  (global $global (mut f32) (f32.const 0))
  (tag $tag (param i32))
  (elem $elements funcref (ref.func $callee))
  (elem $externals externref (ref.null extern))
  (data $data "bytes")
  (func $callee (type $callee) (i64.const 0))
"""

_CONSTANTS = {
    "i32": "i32.const 0",
    "i64": "i64.const 0",
    "f32": "f32.const 0",
    "f64": "f64.const 0",
    "v128": "v128.const i64x2 0 0",
    "addr": "i32.const 0",
    "eqref": "ref.null eq",
    "arrayref": "ref.null array",
    "i31ref": "ref.null i31",
}

_IMMEDIATES = {
    "": "",
    "memarg": "",
    "memarg lane": "0",
    "lane": "0",
    "lanes16": "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
    "i32": "-7",
    "i64": "-7",
    "f32": "0x1.5p-3",
    "f64": "-0x1.5p-300",
    "v128": "i32x4 1 2 3 4",
    "byte": "",
    "memory": "",
    "memory memory": "",
    "data memory": "$data",
    "elem table": "$elements",
    "data": "$data",
    "elem": "$elements",
    "table": "$table",
    "table table": "",
}

# (code or name, body of a function). Locals: $i i32, $f f32, $fr funcref, $any anyref.
_BODIES: list[tuple[int | str, str]] = [
    ("unreachable", "unreachable"),
    ("block", "i32.const 1 block (param i32) (result i32 i64) i64.const 0 end drop drop"),
    ("block", "block end block (result (ref $pair)) struct.new_default $pair end drop"),
    ("loop", "i32.const 1 loop (param i32) local.get $i br_if 1 drop end"),
    ("if", "local.get $i if (result f32) f32.const 1 else f32.const 2 end drop"),
    ("else", "local.get $i if else end"),
    ("end", "block end"),
    ("br", "block (result i32) i64.const 0 i32.const 1 br 0 end drop"),
    ("br_if", "block (result i32) i32.const 1 local.get $i br_if 0 end drop"),
    ("br_table", "block block block local.get $i br_table 0 1 2 end end end"),
    ("return", "return"),
    ("call", "i32.const 0 call $callee drop"),
    ("call_indirect", "i32.const 0 i32.const 0 call_indirect (type $callee) drop"),
    ("call_ref", "i32.const 0 ref.func $callee call_ref $callee drop"),
    ("drop", "ref.null any drop"),
    (0x1B, "f32.const 0 f32.const 1 local.get $i select drop"),
    (0x1C, "local.get $fr ref.func $callee local.get $i select (result funcref) drop"),
    ("throw", "i32.const 0 throw $tag"),
    ("throw_ref", "ref.null exn throw_ref"),
    (
        "try_table",
        """
        block (result i32) block block (result exnref) block (result i32 exnref)
        try_table (catch $tag 3) (catch_all 2) (catch_all_ref 1) (catch_ref $tag 0) end return
        end drop drop return end drop return end i32.const 0 end drop
        """,
    ),
    ("local.get", "local.get $any drop"),
    ("local.set", "ref.null none local.set $any"),
    ("local.tee", "ref.null none local.tee $any drop"),
    ("global.get", "global.get $global drop"),
    ("global.set", "f32.const 0 global.set $global"),
    ("table.get", "i32.const 0 table.get $table drop i64.const 0 table.get $table64 drop"),
    (
        "table.set",
        "i32.const 0 ref.func $callee table.set $table i64.const 0 ref.null extern table.set $table64",
    ),
    ("table.grow", "ref.null func i32.const 0 table.grow $table drop"),
    ("table.grow", "ref.null extern i64.const 0 table.grow $table64 drop"),
    ("table.size", "table.size $table drop table.size $table64 drop"),
    ("table.fill", "i32.const 0 ref.null func i32.const 0 table.fill $table"),
    ("table.fill", "i64.const 0 ref.null extern i64.const 0 table.fill $table64"),
    ("table.init", "i64.const 0 i32.const 0 i32.const 0 table.init $table64 $externals"),
    ("table.copy", "i64.const 0 i64.const 0 i64.const 0 table.copy $table64 $table64"),
    ("memory.size", "memory.size $memory64 drop"),
    ("memory.grow", "i64.const 0 memory.grow $memory64 drop"),
    ("memory.fill", "i64.const 0 i32.const 0 i64.const 0 memory.fill $memory64"),
    ("memory.init", "i64.const 0 i32.const 0 i32.const 0 memory.init $memory64 $data"),
    ("memory.copy", "i64.const 0 i32.const 0 i32.const 0 memory.copy $memory64 $memory"),
    ("memory.copy", "i32.const 0 i64.const 0 i32.const 0 memory.copy $memory $memory64"),
    ("memory.copy", "i64.const 0 i64.const 0 i64.const 0 memory.copy $memory64 $memory64"),
    ("i32.load", "i64.const 0 i32.load $memory64 offset=0x100000000 align=1 drop"),
    ("ref.null", "ref.null $pair drop ref.null noextern drop ref.null exn drop"),
    ("ref.is_null", "ref.null $pair ref.is_null drop"),
    ("ref.func", "ref.func $callee drop"),
    ("ref.as_non_null", "ref.null $pair ref.as_non_null drop"),
    ("br_on_null", "block ref.null $pair br_on_null 0 drop end"),
    (
        "br_on_null",
        "block (result i32) i32.const 1 ref.null $pair br_on_null 0 struct.get $pair $first drop end drop",
    ),
    ("br_on_non_null", "block (result (ref $pair)) ref.null $pair br_on_non_null 0 return end drop"),
    ("struct.new", "i32.const 0 i32.const 0 ref.null any struct.new $pair drop"),
    ("struct.new_default", "struct.new_default $pair drop"),
    ("struct.get", "ref.null $pair struct.get $pair $any drop ref.null $simple struct.get $simple 0 drop"),
    ("struct.get_s", "ref.null $pair struct.get_s $pair $small drop"),
    ("struct.get_u", "ref.null $pair struct.get_u $pair $small drop"),
    ("struct.set", "ref.null $pair i32.const 0 struct.set $pair $small"),
    ("array.new", "i32.const 0 i32.const 0 array.new $bytes drop"),
    ("array.new_default", "i32.const 0 array.new_default $functions drop"),
    ("array.new_fixed", "i32.const 0 i32.const 0 i32.const 0 array.new_fixed $numbers 3 drop"),
    ("array.new_data", "i32.const 0 i32.const 0 array.new_data $bytes $data drop"),
    ("array.new_elem", "i32.const 0 i32.const 0 array.new_elem $functions $elements drop"),
    ("array.get", "ref.null $functions i32.const 0 array.get $functions drop"),
    ("array.get_s", "ref.null $bytes i32.const 0 array.get_s $bytes drop"),
    ("array.get_u", "ref.null $bytes i32.const 0 array.get_u $bytes drop"),
    ("array.set", "ref.null $functions i32.const 0 ref.func $callee array.set $functions"),
    ("array.fill", "ref.null $bytes i32.const 0 i32.const 0 i32.const 0 array.fill $bytes"),
    (
        "array.copy",
        "ref.null $bytes i32.const 0 ref.null $bytes i32.const 0 i32.const 0 array.copy $bytes $bytes",
    ),
    ("array.init_data", "ref.null $bytes i32.const 0 i32.const 0 i32.const 0 array.init_data $bytes $data"),
    (
        "array.init_elem",
        "ref.null $functions i32.const 0 i32.const 0 i32.const 0 array.init_elem $functions $elements",
    ),
    (0x114, "local.get $any ref.test (ref $pair) drop"),
    (0x115, "local.get $any ref.test (ref null eq) drop"),
    (0x116, "local.get $any ref.cast (ref $pair) drop"),
    (0x117, "local.get $any ref.cast (ref null struct) drop"),
    (
        "br_on_cast",
        "block (result (ref $pair)) local.get $any br_on_cast 0 anyref (ref $pair) drop return end drop",
    ),
    (
        "br_on_cast",
        "block (result eqref) local.get $any br_on_cast 0 anyref eqref ref.is_null drop return end drop",
    ),
    (
        "br_on_cast_fail",
        """
        block (result anyref) local.get $any br_on_cast_fail 0 anyref (ref $pair)
        struct.get $pair 0 drop return end drop
        """,
    ),
    (
        "br_on_cast_fail",
        "block (result (ref any)) local.get $any br_on_cast_fail 0 anyref eqref drop return end drop",
    ),
    ("any.convert_extern", "ref.null extern any.convert_extern drop"),
    (
        "any.convert_extern",
        "ref.null extern ref.as_non_null any.convert_extern extern.convert_any any.convert_extern drop",
    ),
    ("extern.convert_any", "local.get $any extern.convert_any drop"),
]

# Tail calls need a function with the callee's results.
_TAIL_CALLS = [
    ("return_call", "i32.const 0 return_call $callee"),
    ("return_call_indirect", "i32.const 0 i32.const 0 return_call_indirect (type $callee)"),
    ("return_call_ref", "i32.const 0 ref.func $callee return_call_ref $callee"),
]

# The engine does not know the legacy form; Node does.
_LEGACY = [
    ("try", "try (result i32) i32.const 1 catch $tag catch_all i32.const 2 end drop"),
    ("catch", "try i32.const 1 drop catch $tag drop end"),
    ("rethrow", "try nop catch $tag block (param i32) rethrow 1 end catch_all rethrow 0 end"),
    ("delegate", "try try i32.const 1 throw $tag delegate 0 catch $tag drop end try delegate 0"),
    ("catch_all", "try nop catch_all end"),
]


def _code(instruction: int | str) -> int:
    return table.CODE_BY_NAME[instruction] if isinstance(instruction, str) else instruction


def _module(body: str, results: str = "") -> str:
    own_locals = "(local $i i32) (local $f f32) (local $fr funcref) (local $any anyref)"
    return f"(module {_SURROUNDINGS} (func $tested {results} {own_locals} {body}))"


def _plain_body(row: Instruction) -> str:
    operands = [_CONSTANTS[one] for one in row.params.split()]
    drops = ["drop"] * len(row.results.split())
    return "\n".join([*operands, f"{row.name} {_IMMEDIATES[row.immediates]}", *drops])


def _is_plain(row: Instruction) -> bool:
    return not {"?", "*", "ref"} & set((row.params + " " + row.results).split())


_PLAIN = [row for row in table.ROWS if _is_plain(row)]
_ALL_BODIES = [(row.code, _plain_body(row), "") for row in _PLAIN]
_ALL_BODIES += [(_code(instruction), body, "") for instruction, body in _BODIES]
_ALL_BODIES += [(_code(instruction), body, "(result i64)") for instruction, body in _TAIL_CALLS]


def _check_tools(code: int, binary: bytes) -> None:
    """Decode, encode, type, print and read back a module whose last function has the instruction."""
    module = Module(binary)
    data = module.data
    _, position = read_locals(data, module.body_starts[-1])
    seen = set()
    while position < module.body_ends[-1]:
        start = position
        found, position = read_opcode(data, position)
        immediates, position = read_immediates(data, position, found)
        assert encode_instruction(found, immediates) == data[start:position]
        seen.add(found)
    assert code in seen
    check_function(module, FunctionIndex(len(module.function_types) - 1))
    assert bytes(wasmtime.wat2wasm(print_module(binary))) == binary


def test_every_instruction_is_tested() -> None:
    tested = {code for code, _, _ in _ALL_BODIES} | {_code(instruction) for instruction, _ in _LEGACY}
    assert tested == {row.code for row in table.ROWS}


@pytest.mark.parametrize(
    ("code", "body", "results"),
    _ALL_BODIES,
    ids=[f"{code:03x}-{table.NAMES[code]}" for code, _, _ in _ALL_BODIES],
)
def test_instruction(
    code: int,
    body: str,
    results: str,
    validate: Callable[[bytes], None],
    with_probes: Callable[[bytes], bytes],
) -> None:
    binary = bytes(wasmtime.wat2wasm(_module(body, results)))
    validate(binary)
    _check_tools(code, binary)
    validate(with_probes(binary))


@pytest.mark.parametrize(("name", "body"), _LEGACY)
def test_legacy_exception_instruction(
    name: str, body: str, with_probes: Callable[[bytes], bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Node 20 knows no multi-memory by default, nor the final form of exceptions, hence the small module.
    binary = bytes(wasmtime.wat2wasm(f"(module (tag $tag (param i32)) (func $tested {body}))"))
    _check_tools(table.CODE_BY_NAME[name], binary)
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    file = tmp_path_factory.mktemp("legacy") / "module.wasm"
    file.write_bytes(with_probes(binary))
    script = "new WebAssembly.Module(require('fs').readFileSync(process.argv[1]))"
    subprocess.run([node, "-e", script, str(file)], check=True)


@pytest.mark.parametrize(
    "row", [row for row in _PLAIN if row.immediates.startswith("memarg")], ids=lambda row: row.name
)
def test_address_type_follows_the_memory(
    row: Instruction, validate: Callable[[bytes], None], with_probes: Callable[[bytes], bytes]
) -> None:
    """The same instruction on a 64-bit memory, by an explicit index, with an offset and an alignment."""
    operands = [_CONSTANTS["i64" if one == "addr" else one] for one in row.params.split()]
    lane = " 0" if row.immediates.endswith("lane") else ""
    drops = ["drop"] * len(row.results.split())
    body = "\n".join([*operands, f"{row.name} $memory64 offset=70000{lane}", *drops])
    binary = bytes(wasmtime.wat2wasm(_module(body)))
    validate(binary)
    _check_tools(row.code, binary)
    validate(with_probes(binary))
