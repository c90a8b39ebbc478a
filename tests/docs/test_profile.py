"""docs/profile.md: the program is profiled, and the function that takes the time gets two bodies."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import code_blocks, run_python

PAGE = "docs/profile.md"
PROGRAMS = {
    "zig": [sys.executable, "-m", "ziglang"],
    "node": ["node", "--no-warnings"],
    "caesura": [sys.executable, "-m", "caesura"],
}


def test_profile(tmp_path: Path) -> None:
    (source,) = code_blocks(PAGE, "c")
    (script,) = code_blocks(PAGE, "js")
    (commands,) = code_blocks(PAGE, "console")
    (library,) = code_blocks(PAGE, "python")
    (tmp_path / "collatz.c").write_text(source)
    (tmp_path / "run.mjs").write_text(script)
    for line in commands.splitlines():
        program, *arguments = shlex.split(line.removeprefix("$ "))
        command = [*PROGRAMS[program], *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr.replace("caesura: warning: debug information", "")
    assert b"asyncify_resume:collatz" in (tmp_path / "pausable.wasm").read_bytes()
    assert run_python(library, tmp_path) == "collatz True\n"
