"""The instruction table is consistent in itself; that it is true, `test_every_instruction` shows."""

from __future__ import annotations

from caesura.wasm import encoded, opcodes
from caesura.wasm import instructions as table
from caesura.wasm.alignment import NATURAL_ALIGNMENT, NO_ACCESS
from caesura.wasm.decode import read_opcode
from caesura.wasm.types import I32, I64, V128


def test_every_code_has_one_row() -> None:
    codes = [row.code for row in table.ROWS]
    assert len(codes) == len(set(codes)) == 575


def test_only_the_known_pairs_share_a_text_name() -> None:
    names = [row.name for row in table.ROWS]
    assert sorted({name for name in names if names.count(name) > 1}) == ["ref.cast", "ref.test", "select"]


def test_named_codes_agree_with_the_table() -> None:
    for constant, opcode in vars(opcodes).items():
        if not isinstance(opcode, int):
            continue
        expected = constant.lower().removesuffix("_typed").removesuffix("_null")
        actual = table.NAMES[opcode].replace(".", "_").removesuffix("_null")
        assert expected in (actual, actual.removesuffix("_non")), constant


def test_lists_agree_with_the_rows() -> None:
    for row in table.ROWS:
        assert table.NAMES[row.code] == row.name
        assert table.IMMEDIATES[row.code] >= 0
        assert (table.POPS[row.code] == table.VARIABLE) == (row.params == "*")
        if row.effect == "control":
            assert row.flow, row.name
        elif row.effect != "call":
            assert not row.flow, row.name


def test_signatures_of_a_few_instructions() -> None:
    by_name = table.CODE_BY_NAME
    assert table.POPS[by_name["i32.add"]] == 2
    assert table.RESULTS[by_name["i32.add"]] == (I32,)
    assert table.RESULTS[by_name["v128.load"]] == (V128,)
    assert table.RESULTS[by_name["i32.store"]] == ()
    assert table.RESULTS[by_name["i64.add128"]] == (I64, I64)
    assert table.RESULTS[by_name["memory.size"]] == (table.ADDRESS,)
    assert table.POPS[by_name["call"]] == table.VARIABLE
    assert table.POPS[0x17] == table.VARIABLE
    assert table.IMMEDIATES[0x17] == table.NO_INSTRUCTION


def test_effects_of_a_few_instructions() -> None:
    expected = {
        "i32.add": table.PURE,
        "f64.div": table.PURE,
        "i32.div_s": table.TRAPPING,
        "i32.trunc_f32_s": table.TRAPPING,
        "i32.trunc_sat_f32_s": table.PURE,
        "global.get": table.READ,
        "i32.load": table.READ_TRAPPING,
        "i32.atomic.load": table.EFFECT,
        "local.tee": table.LOCAL,
        "return_call_ref": table.CALL,
        "br_on_cast": table.CONTROL,
        "struct.new": table.EFFECT,
        "ref.cast": table.TRAPPING,
    }
    for name, effect in expected.items():
        assert table.EFFECTS[table.CODE_BY_NAME[name]] == effect, name


def test_control_flow_of_a_few_instructions() -> None:
    expected = {
        "i32.add": table.FLOW_NEXT,
        "call": table.FLOW_NEXT,
        "if": table.FLOW_IF,
        "try_table": table.FLOW_TRY,
        "catch_all": table.FLOW_CATCH,
        "br": table.FLOW_BRANCH,
        "br_if": table.FLOW_BRANCH_IF,
        "br_on_cast_fail": table.FLOW_BRANCH_ON,
        "return_call_indirect": table.FLOW_RETURN,
        "rethrow": table.FLOW_RAISE,
    }
    for name, flow in expected.items():
        assert table.FLOWS[table.CODE_BY_NAME[name]] == flow, name


def test_encoded_instructions_agree_with_the_table() -> None:
    for constant, code in vars(encoded).items():
        if constant.startswith("_") or not isinstance(code, bytes):
            continue
        type_first = constant.replace("CONST_I", "I").replace("_EMPTY", "").replace("EMPTY_", "")
        name = table.NAMES[read_opcode(code, 0)[0]].replace(".", "_").removesuffix("_const").upper()
        assert type_first in (name, f"{name}_I32"), constant


def test_natural_alignments() -> None:
    expected = {
        "i32.load": 2,
        "i64.load": 3,
        "i64.load32_u": 2,
        "i32.store8": 0,
        "f64.store": 3,
        "v128.load": 4,
        "v128.load8x8_s": 3,
        "v128.load32x2_u": 3,
        "v128.load16_splat": 1,
        "v128.load64_zero": 3,
        "v128.store32_lane": 2,
        "memory.atomic.notify": 2,
        "memory.atomic.wait64": 3,
        "i64.atomic.rmw16.cmpxchg_u": 1,
        "i64.atomic.rmw.xchg": 3,
        "i32.add": NO_ACCESS,
    }
    for name, exponent in expected.items():
        assert NATURAL_ALIGNMENT[table.CODE_BY_NAME[name]] == exponent, name
