"""Decoded bodies: constructs, call sites, immediates and locals, and the call sites that are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caesura.analysis.body import decode_body
from caesura.errors import MalformedModule
from caesura.wasm.indices import LocalIndex
from caesura.wasm.module import Module
from caesura.wasm.types import F32, F64, I32, I64
from tests.analysis.sample import Sample, function_of
from tests.instrument.building import module


def test_constructs_and_call_sites() -> None:
    body = function_of("""
      block
        i32.const 1
        if
          call $wait
        else
          nop
        end
      end
      loop
        br 0
      end""").body()
    assert body.sites == [3]
    assert body.ends == {0: 7, 2: 6, 8: 10}
    assert body.elses == {2: 4}
    assert body.with_sites == {0, 2}


def test_handlers() -> None:
    body = function_of("""
      try
        call $wait
      catch $tag
        nop
      catch_all
      end
      try
        nop
      delegate 0
      try_table (catch $tag 0)
      end""").body()
    assert body.handlers == {0: 2, 6: 8}
    assert body.ends == {0: 5, 6: 8, 9: 10}


def test_immediates_and_positions() -> None:
    sample = function_of(
        "local.get 3 local.tee 2 drop i32.const 7 br_if 0 global.get $g drop", "(local i32 i32 i32 i32)"
    )
    body = sample.body()
    assert body.immediates[:6] == [3, 2, 0, 7, 0, 0]
    assert len(body.positions) == len(body.codes) + 1
    assert bytes(sample.module.data[position] for position in body.positions[:-1]) == bytes(body.codes)


def test_instructions_with_a_prefix() -> None:
    body = function_of("i32.const 0 i32x4.splat drop (memory.copy (i32.const 0) (i32.const 0) (i32.const 0))").body()
    assert body.prefixed == [1, 6]
    assert body.byte_codes == bytes([0x41, 0xFF, 0x1A, 0x41, 0x41, 0x41, 0xFF, 0x0B])


def test_types_of_locals() -> None:
    body = function_of("", "(param i32 i32 i64) (local i64 f32 f32 f64)").body()
    assert [body.local_type(LocalIndex(local)) for local in range(body.local_count)] == [
        I32,
        I32,
        I64,
        I64,
        F32,
        F32,
        F64,
    ]


def test_only_some_calls_through_tables_are_sites() -> None:
    text = """
      (module
        (import "env" "wait" (func $wait))
        (type $procedure (func)) (type $getter (func (result i32)))
        (table $t 2 funcref) (elem (table $t) (i32.const 0) func $wait $get)
        (func $get (result i32) i32.const 1)
        (func $f
          i32.const 0
          call_indirect $t (type $procedure)
          i32.const 1
          call_indirect $t (type $getter)
          drop))"""
    assert Sample(text).body().sites == [1]
    listed = Sample(text)
    listed.lists.add[listed.index("f")] = True
    assert listed.body().sites == [1, 3]
    ignored = Sample(text)
    ignored.lists = replace(ignored.lists, ignore_indirect=True)
    assert ignored.body().sites == []


def test_sites_in_catch_bodies() -> None:
    sample = function_of("""
      try
      catch_all
        call $wait
      end
      call $wait""")
    assert (sample.body().sites, sample.body().catch_sites) == ([4], [2])
    ignoring = decode_body(sample.module, sample.index("f"), sample.suspension, ignore_catch_sites=True)
    assert (ignoring.sites, ignoring.catch_sites) == ([4], [])


def test_tail_calls_that_may_suspend() -> None:
    """They are no call sites, wherever they stand."""
    body = function_of(
        """
      call $wait
      try
      catch_all
      i32.const 0
      return_call_indirect $t
      end
      ref.null $n
      return_call_ref $n
      return_call $wait
      return_call $quiet""",
        others='(type $n (func)) (table $t (export "t") 1 funcref) (func $quiet)',
    ).body()
    assert body.sites == [0]
    assert body.tail_calls == [4, 7, 8]


MALFORMED = {
    "a local": (b"\0\x20\0\x1a\x0b", "local index 0 is out of range; the function has 0"),
    "else in a block": (b"\0\x02\x40\x05\x0b\x0b", "else without if"),
    "catch in a block": (b"\0\x02\x40\x19\x0b\x0b", "catch without try"),
    "locals": (b"\x01\xff\xff\xff\xff\x0f\x7f\x0b", "more than 50000 locals"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies(name: str) -> None:
    code, message = MALFORMED[name]
    sample = function_of("")
    with pytest.raises(MalformedModule, match=message):
        decode_body(Module(module(code)), sample.index("f"), sample.suspension)
