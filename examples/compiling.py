"""Compile C programs with zig's compiler (PyPI: ziglang), once.

What comes out is kept under a name made of its sources' content and the compiler's arguments. The tests and the
benchmarks compile their programs by this, too.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
BUILD = EXAMPLES.parent / "build" / "examples"


class CompilationFailed(Exception):
    """The compiler refuses a program; its reasons are the message."""


def compile_guest(name: str, *flags: str) -> Path:
    """Return examples/guests/<name>.c compiled for WASI."""
    source = EXAMPLES / "guests" / f"{name}.c"
    return compiled(source, ["cc", "-target", "wasm32-wasi", "-O2", "-s", *flags], BUILD)


def compiled(source: Path, command: Sequence[str], folder: Path, headers: Sequence[Path] = ()) -> Path:
    """Return what a command of zig (`cc` or `build-exe`, with its arguments) makes of a source file, in a folder."""
    key = hashlib.sha256(repr(command).encode())
    for file in (source, *headers):
        key.update(file.read_bytes())
    target = folder / f"{source.stem}-{key.hexdigest()[:16]}.wasm"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    output = ["-o", str(unfinished)] if command[0] == "cc" else [f"-femit-bin={unfinished}"]
    whole = [sys.executable, "-m", "ziglang", *command, str(source), *output]
    done = subprocess.run(whole, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CompilationFailed(f"{source.name} does not compile:\n{done.stderr}")
    unfinished.replace(target)
    return target
