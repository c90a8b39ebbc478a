"""A C++ program that throws through functions which a list leaves out is guarded: lists are by names as in the source.

Destructors and handlers call the host. What is thrown passes the functions of the guard, and those that catch it can be
suspended again; where a function is left out a host that looks does not suspend, and one that does not is refused.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import caesura
from tests.support.guests import CPP_FLAGS
from tests.support.node import newer_node, run_driver
from tests.support.paths import GUESTS

CALLS = json.dumps([("run", n) for n in range(16)] + [("pass", n) for n in range(8)])


@functools.cache
def program(*, old_form: bool) -> bytes:
    """Return the program with its names, mangled as the compiler made them."""
    zig = [sys.executable, "-m", "ziglang"]
    flags = [flag for flag in CPP_FLAGS if flag != "-s" and not flag.startswith("-Wl,")]
    form = ["-mllvm", f"-wasm-use-legacy-eh={int(old_form)}"]
    source = GUESTS / "cpp" / "throwing.cpp"
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            [*zig, "c++", *flags, *form, "-O2", "-c", str(source), "-o", "throwing.o"],
            [*zig, "wasm-ld", "throwing.o", "--no-entry", "--no-demangle", "--allow-undefined", "-o", "throwing.wasm"],
        ):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (Path(folder) / "throwing.wasm").read_bytes()


def suspending(binary: bytes) -> list[str]:
    """Return the names of the functions that may suspend."""
    return [function.name for function in caesura.instrument(binary).functions if function.instrumented]


@pytest.mark.parametrize("left_out", ["(anonymous namespace)::guarded(int)", "(anonymous namespace)::risky(int)"])
@pytest.mark.parametrize("old_form", [True, False], ids=["old form", "new form"])
def test_exceptions_pass_what_a_list_leaves_out(tmp_path: Path, old_form: bool, left_out: str) -> None:
    binary = program(old_form=old_form)
    node = None if old_form else newer_node()
    original, instrumented = tmp_path / "original.wasm", tmp_path / "instrumented.wasm"
    original.write_bytes(binary)
    wanted = run_driver("plain.mjs", original, "0", CALLS, node=node)
    assert "an exception" in wanted["results"]
    options = caesura.Options(remove_list=(left_out,), strict=True)
    instrumented.write_bytes(caesura.instrument(binary, options).module)
    for step in (1, 2, 3):
        got = run_driver("plain.mjs", instrumented, str(step), CALLS, node=node)
        assert got["suspensions"] + got["refused"] == len(wanted["log"]) // step
        assert got["suspensions"] > got["refused"] // 4 > 0
        assert {**got, "suspensions": 0, "refused": 0} == wanted


def test_a_list_by_names_as_in_the_source_is_whole() -> None:
    """With all that may suspend on the list, by such names, nothing is refused."""
    binary = program(old_form=False)
    mangled = suspending(binary)
    assert any(name.startswith("_ZN") for name in mangled)
    sources = ["(anonymous namespace)::*", "run", "pass"]
    both = [caesura.instrument(binary, caesura.Options(only_list=names, strict=True)) for names in (mangled, sources)]
    assert {one.name for one in both[1].functions if one.instrumented} >= set(mangled)


def test_a_host_that_does_not_look_is_refused(tmp_path: Path) -> None:
    module = tmp_path / "guarded.wasm"
    options = caesura.Options(remove_list=("(anonymous namespace)::guarded(int)",))
    module.write_bytes(caesura.instrument(program(old_form=True), options).module)
    driver = tmp_path / "driver.mjs"
    driver.write_text("""
      import { readFileSync } from "node:fs";
      const never = () => 0;
      const ask = () => {
        new Int32Array(exports.memory.buffer).set([32776, 49152], 32768 >> 2);
        exports.asyncify_start_unwind(32768);
      };
      const module = new WebAssembly.Module(readFileSync(process.argv[2]));
      const { exports } = new WebAssembly.Instance(module, { env: { ask, tell: never, fail: never } });
      exports.run(1);
    """)
    done = subprocess.run(["node", driver, module], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    stack = done.stderr[done.stderr.index("RuntimeError: unreachable") :].splitlines()
    assert "asyncify_not_instrumented (wasm:" in stack[1]
    assert "guarded" in done.stderr
