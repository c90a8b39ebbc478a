"""The examples run and print what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from wasmtime import wat2wasm

import caesura
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

EXPECTED = {
    "fetch_in_a_loop": "round 10 of 10\n385\nexit code 0\n",
    "generator": "123 132 213 231 312 321\n",
    "plugin_with_timeout": "Hello, Ada!\n(no answer for user 3)\nHello, Grace!\n",
    "many_guests": "in one thread, each suspended while it waited.\n",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs(name: str) -> None:
    arguments = ["--guests", "20"] if name == "many_guests" else []
    command = [sys.executable, "-m", f"examples.{name}", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(EXPECTED[name])
    assert done.stderr == ""


def test_hot_functions(tmp_path: Path) -> None:
    """A profile of a real run names the function that takes the time, and the list is taken."""
    text = """
      (module
        (import "env" "sleep" (func $sleep))
        (func $hot (param $rounds i32) (result i32) (local $sum i32)
          (if (i32.eqz (local.get $rounds)) (then (call $sleep)))
          (loop
            (local.set $sum (i32.rotl (i32.add (local.get $sum) (i32.const 99)) (local.get $rounds)))
            (br_if 0 (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
          (call $sleep)
          (local.get $sum))
        (func $cold (result i32) (call $sleep) (call $hot (i32.const 1)))
        (func (export "run") (result i32) (i32.add (call $cold) (call $hot (i32.const 300000000)))))"""
    (tmp_path / "guest.wasm").write_bytes(wat2wasm(text))
    (tmp_path / "run.mjs").write_text("""
        import { readFileSync } from "node:fs";
        const module = new WebAssembly.Module(readFileSync("guest.wasm"));
        new WebAssembly.Instance(module, { env: { sleep() {} } }).exports.run();
    """)
    record = ["node", "--cpu-prof", "--cpu-prof-name=run.cpuprofile", "run.mjs"]
    subprocess.run(record, cwd=tmp_path, check=True, timeout=120)
    command = [sys.executable, "-m", "examples.hot_functions", str(tmp_path / "run.cpuprofile")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "hot\n"
    hot = tmp_path / "hot.txt"
    hot.write_text(done.stdout)
    output = caesura.instrument((tmp_path / "guest.wasm").read_bytes(), caesura.Options(two_bodies=f"@{hot}")).module
    assert b"asyncify_resume:hot" in output and b"asyncify_resume:cold" not in output
    hot.write_text("{}")
    assert subprocess.run([*command[:-1], str(hot)], cwd=REPOSITORY, capture_output=True, check=False).returncode == 1
