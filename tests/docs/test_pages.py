"""The example of a host in docs/abi.md runs, and the code in docs/example.md is what the transformation writes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import code_blocks, run_python
from tests.support.engine import assemble


def test_host_for_the_thunk_abi(tmp_path: Path) -> None:
    (code,) = code_blocks("docs/abi.md", "python")
    assert run_python(code, tmp_path) == "30 200 [3, 2, 2, 1, 1]\n"


def test_worked_example(tmp_path: Path) -> None:
    """Instrumenting the first function gives the second, both as `caesura print` prints them."""
    before, after = code_blocks("docs/example.md", "wat")
    declarations = """
      (module
        (type (func (param i32) (result i32)))
        (import "env" "ask" (func $ask (type 0)))
        (memory (export "memory") 1)
        (global $named i32 (i32.const 0))
        (export "bill" (func $bill))
    """
    binary = assemble(declarations + before + ")")
    assert _printed(binary) == before
    instrumented = tmp_path / "instrumented.wasm"
    _caesura(["instrument", "-", "-o", str(instrumented), "--quiet"], binary)
    assert _printed(instrumented.read_bytes()) == after


def _printed(binary: bytes) -> str:
    """Return the text of the function $bill, as it stands in the page."""
    lines = io.StringIO(_caesura(["print", "-"], binary)).readlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("  (func $bill"))
    end = lines.index("  )\n", start)
    return "".join(line[2:] for line in lines[start : end + 1])


def _caesura(arguments: list[str], stdin: bytes) -> str:
    command = [sys.executable, "-m", "caesura", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
