"""Compile the C programs of the examples with zig's compiler (PyPI: ziglang), once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

GUESTS = Path(__file__).resolve().parent / "guests"
BUILD = Path(__file__).resolve().parents[1] / "build" / "examples"


def compile_guest(name: str, *flags: str) -> Path:
    """Return examples/guests/<name>.c compiled for WASI."""
    source = GUESTS / f"{name}.c"
    key = hashlib.sha256(source.read_bytes() + repr(flags).encode()).hexdigest()[:16]
    target = BUILD / f"{name}-{key}.wasm"
    if not target.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}.tmp")
        command = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-O2", "-s", *flags]
        subprocess.run([*command, str(source), "-o", str(unfinished)], check=True)
        unfinished.replace(target)
    return target
