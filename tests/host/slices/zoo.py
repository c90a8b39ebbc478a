"""Hostile programs: each computes, grows, recurses or calls for ever, in its own way. WAT by name, and what ends it.

The export `run` never ends by itself, or only by a trap that is its own (a stack overflow, say). `host` and `wait` are
imports: `host(x)` calls `callback(x)` of the guest if it exports that, `wait(x)` waits a moment and does the same.
"""

from __future__ import annotations

from typing import Final

_IMPORTS: Final = """
  (import "env" "host" (func $host (param i32) (result i32)))
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1 100)
"""

# By name: the module's fields.
ZOO: Final[dict[str, str]] = {
    "an empty loop": '(func (export "run") (loop (br 0)))',
    "a loop in a loop in a loop": """(func (export "run")
      (loop $a (loop $b (loop $c (br_if $c (i32.load (i32.const 0))) (br_if $b (i32.load (i32.const 4))) (br $a)))))""",
    "a loop behind a block's end": """(func (export "run") (local i32)
      (loop $again (block (br_if 0 (i32.and (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 7)))
        (local.set 0 (i32.const 0))) (br $again)))""",
    "a loop by br_table": """(func (export "run") (local i32)
      (loop $again (block $a (block $b (br_table $a $b $again (i32.and (local.get 0) (i32.const 3)))))
        (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br $again)))""",
    "a loop with results and operands": """(func (export "run") (result i64)
      (i64.add (i64.const 1) (loop $again (result i64) (br $again))))""",
    "a loop with parameters": """(func (export "run") (i32.const 5) (loop $again (param i32) (br $again)))""",
    "a loop with stores": """(func (export "run") (local i32)
      (loop (i32.store (i32.and (local.tee 0 (i32.add (local.get 0) (i32.const 8))) (i32.const 65528)) (local.get 0))
        (br 0)))""",
    "a loop in a then": """(func (export "run") (if (i32.eqz (i32.load (i32.const 0))) (then (loop (br 0)))))""",
    "a loop in a try": """(tag $t) (func (export "run")
      (block (try_table (catch $t 0) (loop (br 0)))))""",
    "recursion": """(func $down (param i32) (result i32) (i32.add (call $down (local.get 0)) (i32.const 1)))
      (func (export "run") (loop (drop (call $two (i32.const 40))) (br 0)))
      (func $two (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
        (else (i32.add (call $two (i32.sub (local.get 0) (i32.const 1)))
          (call $two (i32.sub (local.get 0) (i32.const 1)))))))""",
    "recursion without a loop": """(func (export "run") (drop (call $two (i32.const 60))))
      (func $two (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
        (else (i32.add (call $two (i32.sub (local.get 0) (i32.const 1)))
          (call $two (i32.sub (local.get 0) (i32.const 1)))))))""",
    "mutual recursion through a table": """(table 2 funcref) (elem (i32.const 0) $one $other)
      (type $f (func (param i32)))
      (func (export "run") (call $one (i32.const 60)))
      (func $one (param i32) (if (local.get 0) (then
        (call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1))
        (call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
      (func $other (param i32) (if (local.get 0) (then
        (call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))
        (call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))))""",
    "recursion by references": """(type $f (func (param i32))) (elem declare func $one)
      (func (export "run") (call $one (i32.const 60)))
      (func $one (type $f) (if (local.get 0) (then
        (call_ref $f (i32.sub (local.get 0) (i32.const 1)) (ref.func $one))
        (call_ref $f (i32.sub (local.get 0) (i32.const 1)) (ref.func $one)))))""",
    "a chain of calls that doubles": "".join(
        f"(func $f{number} (call $f{number + 1}) (call $f{number + 1}))" for number in range(60)
    )
    + '(func $f60) (func (export "run") (call $f0))',
    "tail calls": '(func $again (export "run") (return_call $again))',
    "tail calls between two": """(func $one (export "run") (return_call $other)) (func $other (return_call $one))""",
    "tail calls through a table": """(table 1 funcref) (elem (i32.const 0) $again) (type $f (func))
      (func $again (export "run") (return_call_indirect (type $f) (i32.const 0)))""",
    "tail calls by references": """(type $f (func)) (elem declare func $again)
      (func $again (export "run") (type $f) (return_call_ref $f (ref.func $again)))""",
    "exceptions as a loop": """(tag $t) (func (export "run")
      (loop $again (block $caught (try_table (catch $t $caught) (throw $t))) (br $again)))""",
    "exceptions through calls": """(tag $t (param i32)) (func $throw (param i32) (throw $t (local.get 0)))
      (func (export "run") (local i32)
        (loop $again (block $caught (result i32)
          (try_table (catch $t $caught) (call $throw (local.get 0))) (i32.const 0))
          (local.set 0) (br $again)))""",
    "recursion that works on its way back": """(func $down (param i32)
        (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))
          (memory.fill (i32.const 0) (i32.const 0) (i32.shl (memory.size) (i32.const 16))))))
      (func (export "run") (drop (memory.grow (i32.const 90))) (call $down (i32.const 3000)))""",
    "growing a memory": """(func (export "run") (loop (drop (memory.grow (i32.const 1))) (br 0)))""",
    "growing a table": """(table $t 1 funcref)
      (func (export "run") (loop (drop (table.grow $t (ref.null func) (i32.const 1))) (br 0)))""",
    "filling a memory": """(func (export "run") (loop
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0)))""",
    "copying a memory": """(func (export "run") (loop
      (memory.copy (i32.const 0) (i32.const 8) (i32.const 65000)) (br 0)))""",
    "filling a memory again and again, without a loop": f"""(func (export "run")
      (drop (memory.grow (i32.const 90)))
      {"(memory.fill (i32.const 0) (i32.const 0) (i32.shl (memory.size) (i32.const 16)))" * 800})""",
    "filling a table": """(table $t 1000 funcref) (func (export "run") (loop
      (table.fill $t (i32.const 0) (ref.null func) (i32.const 1000)) (br 0)))""",
    "calling the host": '(func (export "run") (loop (drop (call $host (i32.const 0))) (br 0)))',
    "waiting again and again": '(func (export "run") (loop (drop (call $wait (i32.const 0))) (br 0)))',
    "called back by the host": """(func (export "run") (loop (drop (call $host (i32.const 1))) (br 0)))
      (func (export "callback") (param i32) (result i32) (local.get 0))""",
    "called back by one that waits": """(func (export "run") (loop (drop (call $wait (i32.const 1))) (br 0)))
      (func (export "callback") (param i32) (result i32) (local.get 0))""",
    "computing in a callback that waits": """(func (export "run") (drop (call $wait (i32.const 1))))
      (func (export "callback") (param i32) (result i32) (loop (br 0)) (local.get 0))""",
    "computing with all kinds of values": """(func (export "run") (local f64 f32 v128 i64 funcref)
      (loop (local.set 0 (f64.sqrt (f64.add (local.get 0) (f64.const 1)))) (local.set 1 (f32.demote_f64 (local.get 0)))
        (local.set 2 (i32x4.splat (i32.trunc_sat_f32_s (local.get 1))))
        (local.set 3 (i64x2.extract_lane 0 (local.get 2)))
        (br 0)))""",
}

# These cannot be suspended where they compute: their host function is no coroutine. They are stopped.
STOPPED: Final[dict[str, str]] = {
    "computing in a callback": """(func (export "run") (drop (call $host (i32.const 1))))
      (func (export "callback") (param i32) (result i32) (loop (br 0)) (local.get 0))""",
    "recursion in callbacks": """(func (export "run") (loop (drop (call $host (i32.const 1))) (br 0)))
      (func (export "callback") (param i32) (result i32)
        (loop (drop (call $host (i32.const 1))) (br 0)) (local.get 0))""",
    "callbacks that double": """(func (export "run") (drop (call $host (i32.const 60))))
      (func (export "callback") (param i32) (result i32)
        (drop (call $host (i32.sub (local.get 0) (i32.const 1))))
        (drop (call $host (i32.sub (local.get 0) (i32.const 1)))) (local.get 0))""",
    "callbacks that double, through a table": """(table 1 funcref) (elem (i32.const 0) $host)
      (type $f (func (param i32) (result i32)))
      (func (export "run") (drop (call $host (i32.const 60))))
      (func $double (param i32) (result i32)
        (drop (call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
        (return_call_indirect (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
      (func (export "callback") (param i32) (result i32) (call $double (local.get 0)))""",
}


def module(fields: str) -> bytes:
    """Return the text of a module."""
    return f"(module {_IMPORTS} {fields})".encode()
