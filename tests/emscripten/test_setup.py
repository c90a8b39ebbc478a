"""The lines of docs/drop-in.md set Emscripten up, as a reader would type them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import caesura
from tests.docs.pages import code_blocks
from tests.emscripten.toolchain import PROGRAMS, build


def test_documented_lines_set_it_up(tmp_path: Path) -> None:
    two_lines, debian = code_blocks("docs/drop-in.md", "sh")
    assert len(two_lines.splitlines()) == 2
    command = tmp_path / "bin" / "caesura-wasm-opt"
    command.parent.mkdir()
    package = Path(caesura.__file__).parents[1]
    command.write_text(
        f"#!{sys.executable}\nimport sys\n\nsys.path.insert(0, {str(package)!r})\n"
        "from caesura.cli.wasm_opt import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    emcc = shutil.which("emcc")
    assert emcc is not None
    script = (
        f"set -eu\nBINARYEN=$(em-config BINARYEN_ROOT)\n{two_lines}{debian}emcc -sASYNCIFY -O2 timers.c -o program.js\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    shutil.copy(PROGRAMS / "timers.c", tmp_path)
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "program.wasm").read_bytes() == build("timers.c", "-sASYNCIFY", "-O2").module
