"""The running benchmarks run: all variants of a program do the same, and where they do not, that is an error.

Real engines and both tools, for a moment each; what the figures are is no matter here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wasmtime import Engine, Func, FuncType, Instance, Module, Store

from benchmarks.running.builds import ORIGINAL, VARIANTS
from benchmarks.running.comparing import overheads
from benchmarks.running.engines import RunnerFailed, usual_node, wasmtime
from benchmarks.running.inputs import C_PROGRAMS, QUICKJS, c_program
from benchmarks.running.placements import PLACEMENTS, placed
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

OTHERS = {variant.name for variant in VARIANTS} - {ORIGINAL.name}


def run(folder: Path, *parts: str) -> tuple[dict[str, Any], str]:
    """Run parts of the benchmarks for a moment; return the facts that they wrote, and what they printed."""
    command = [sys.executable, "-m", "benchmarks.running", "--quick", "--rounds=1", f"--output={folder}"]
    command += [f"--only={part}" for part in parts]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "running.json").read_text()), done.stdout


def test_c_programs_and_suspensions(tmp_path: Path) -> None:
    """The C programs run in three engines, in all variants, with the same results; so does the one that suspends."""
    facts, printed = run(tmp_path, "c", "suspending")
    assert len(facts["run_time"]) == len(facts["suspending"]) == 3
    for one in facts["run_time"]:
        assert set(one["milliseconds"]) == set(C_PROGRAMS)
        assert set(one["mean"]) == OTHERS
        assert all(set(parts) == set(C_PROGRAMS) for parts in one["overhead"].values())
    for one in facts["suspending"]:
        assert set(one["microseconds"]) < OTHERS
    sizes = facts["suspending"][0]["bytes"]["balanced"]
    assert 0 < sizes["small 1"] < sizes["small 10"] < sizes["large 10"] < sizes["large 1000"]
    assert "### C programs in Wasmtime" in printed and "NOT MEASURED" not in printed
    assert "QUICK" in printed
    drawings = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert drawings == ["running.svg", "suspending.svg"]


def test_recursion() -> None:
    """The original can recurse thousands of times in QuickJS, in the code that V8 makes first."""
    request = {"file": str(QUICKJS.path), "suspends": False, "warmingRuns": 0}
    assert usual_node().run("recursion", request, "--liftoff-only")["never"] > 1000


@pytest.mark.parametrize("engine", [usual_node(), wasmtime()], ids=lambda engine: str(engine.name))
def test_different_results_are_an_error(engine: Any) -> None:
    """A variant that computes something else ends the run, with both results."""
    files = {
        "original": {"program": str(c_program("fannkuch").path)},
        "wrong": {"program": str(c_program("nbody").path)},
    }
    taken = engine.run("guests", {"scale": 0.01, "leastMilliseconds": 1, "files": files})
    with pytest.raises(RunnerFailed, match=r"'program' gives different results:\n  original: .*\n  wrong: "):
        overheads([taken], "original")


def test_machine_code() -> None:
    """Wasmtime's machine code is found in its image."""
    cost = wasmtime().run("compiling", {"file": str(c_program("nbody").path)})
    assert 100 < cost["machineCode"] < 1_000_000
    assert cost["milliseconds"] > 0


def test_a_runner_that_fails_is_an_error(tmp_path: Path) -> None:
    """What a runner says when it fails is in the error."""
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(b"\0asm")
    with pytest.raises(RunnerFailed, match=r"(?s)compiling ended with 1 in Node.*CompileError"):
        usual_node().run("compiling", {"file": str(broken)})


def test_placements() -> None:
    """All placements of a program differ, are valid, and have the same results; the first is the program itself."""
    binary = c_program("interpreter").path.read_bytes()
    copies = placed(binary)
    assert len(copies) == len(set(copies)) == PLACEMENTS
    assert copies[0] == binary
    machine = Engine()
    outcomes = set()
    for copy in copies:
        store = Store(machine)
        pause = Func(store, FuncType([], []), lambda: None)
        exports: Any = Instance(store, Module(machine, copy), [pause]).exports(store)
        exports["_initialize"](store)
        outcomes.add(exports["run"](store, 2))
    assert len(outcomes) == 1
