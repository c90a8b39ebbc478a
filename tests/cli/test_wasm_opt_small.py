"""Modules of a few hundred bytes are no larger than from Binaryen, with the same flags, with names and without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engine import assemble
from tests.support.guests import text_guest
from tests.support.paths import npm_file

ASK = '(import "env" "ask" (func $ask (param i32) (result i32)))'

# As TinyGo's programs: tasks that yield to a scheduler of the guest's own, by imports of module `asyncify`.
TASKS = """(module
  (import "env" "print" (func $print (param i32)))
  (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
  (import "asyncify" "stop_unwind" (func $stop_unwind))
  (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
  (import "asyncify" "stop_rewind" (func $stop_rewind))
  (memory (export "memory") 1)
  (global $state (mut i32) (i32.const 0))
  (func $pause
    (if (global.get $state)
      (then (global.set $state (i32.const 0)) (call $stop_rewind))
      (else (global.set $state (i32.const 1)) (call $start_unwind (i32.const 16)))))
  (func $task (param $times i32)
    (loop $again
      (call $print (local.get $times))
      (call $pause)
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
  (func $step (export "step") (param $times i32) (param $again i32)
    (if (local.get $again) (then (call $start_rewind (i32.const 16))))
    (call $task (local.get $times))
    (if (global.get $state) (then (call $stop_unwind)))))"""

MODULES = {
    "tasks": TASKS,
    "nothing is instrumented": f"""(module {ASK} (memory (export "memory") 1)
      (func $add (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
      (func $twice (export "twice") (param i32) (result i32) (call $add (local.get 0) (local.get 0))))""",
    "a loop": f"""(module {ASK} (memory (export "memory") 1)
      (func $sum (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop
          (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $n))))
          (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))""",
    "a recursion": f"""(module {ASK} (memory (export "memory") 1)
      (func $fib (export "fib") (param $n i32) (result i32)
        (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
          (then (call $ask (local.get $n)))
          (else (i32.add
            (call $fib (i32.sub (local.get $n) (i32.const 1)))
            (call $fib (i32.sub (local.get $n) (i32.const 2))))))))""",
    "floats": """(module (import "env" "sample" (func $sample (param f64) (result f64))) (memory (export "memory") 1)
      (func $mean (export "mean") (param $from f64) (param $to f64) (result f64) (local $sum f64)
        (local.set $sum (call $sample (local.get $from)))
        (local.set $sum (f64.add (local.get $sum) (call $sample (local.get $to))))
        (f64.div (local.get $sum) (f64.const 2))))""",
    "a table": f"""(module {ASK} (memory (export "memory") 1) (table funcref (elem $one $other))
      (type $t (func (param i32) (result i32)))
      (func $one (type $t) (i32.mul (call $ask (local.get 0)) (local.get 0)))
      (func $other (type $t) (i32.const 7))
      (func $pick (export "pick") (param $which i32) (result i32)
        (i32.add (call_indirect (type $t) (i32.const 5) (local.get $which)) (local.get $which))))""",
    "words in memory": f"""(module {ASK} (memory (export "memory") 1) (data (i32.const 1024) "some words\\00")
      (func $length (param $at i32) (result i32) (local $n i32)
        (loop $next
          (if (i32.load8_u (i32.add (local.get $at) (local.get $n)))
            (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $next))))
        (local.get $n))
      (func $main (export "main") (param $at i32) (result i32)
        (drop (call $ask (call $length (local.get $at))))
        (call $length (call $ask (local.get $at)))))""",
}
GUESTS = ("blog", "fetches")


@pytest.mark.parametrize("words", [("-O1", "-g"), ("-O1",)], ids=" ".join)
@pytest.mark.parametrize("name", [*MODULES, *GUESTS])
def test_a_small_module_is_no_larger(
    name: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main").write_bytes(text_guest(name) if name in GUESTS else assemble(MODULES[name]))
    real = str(npm_file(".bin/wasm-opt"))
    monkeypatch.setenv("CAESURA_WASM_OPT", real)
    sizes = []
    for command in ([sys.executable, "-m", "caesura.cli.wasm_opt"], [real]):
        line = [*command, "--asyncify", *words, "main", "--output", "out"]
        subprocess.run(line, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        sizes.append((tmp_path / "out").stat().st_size)
    assert sizes[0] <= sizes[1]
