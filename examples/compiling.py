"""Compile the C programs of the examples with zig's compiler (PyPI: ziglang), once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

GUESTS = Path(__file__).resolve().parent / "guests"


def compile_guest(name: str, *flags: str) -> Path:
    """Return examples/guests/<name>.c compiled for WASI."""
    source = GUESTS / f"{name}.c"
    key = hashlib.sha256(source.read_bytes() + repr(flags).encode()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"caesura-example-{name}-{key}.wasm"
    if not target.exists():
        unfinished = target.with_suffix(".tmp")
        command = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-O2", "-s", *flags]
        subprocess.run([*command, str(source), "-o", str(unfinished)], check=True)
        unfinished.replace(target)
    return target
