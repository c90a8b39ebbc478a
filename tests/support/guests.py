"""Building the guests of the tests: C programs with zig's compiler, modules from the text format.

A compiled guest is kept in the build folder under a name made of its content and the compiler's arguments, so that it
is compiled once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.engine import assemble
from tests.support.paths import BUILD, GUESTS

C_FLAGS: Final = ("-target", "wasm32-wasi", "-O2", "-Wall", "-Werror", "-s")


def text_guest(name: str) -> bytes:
    """Return the binary form of tests/guests/wat/<name>.wat."""
    return assemble((GUESTS / "wat" / f"{name}.wat").read_text())


def c_guest(name: str, *flags: str) -> bytes:
    """Return tests/guests/c/<name>.c compiled for WASI, with further compiler flags."""
    source = GUESTS / "c" / f"{name}.c"
    headers = sorted((GUESTS / "c").glob("*.h"))
    arguments = [*C_FLAGS, *flags]
    key = hashlib.sha256(repr(arguments).encode())
    for file in (source, *headers):
        key.update(file.read_bytes())
    target = BUILD / "guests" / f"{name}-{key.hexdigest()[:16]}.wasm"
    if not target.is_file():
        _compile(source, target, arguments)
    return target.read_bytes()


def compiled(text: str, *arguments: str) -> bytes:
    """Return a C program given as text, compiled with these arguments and no others."""
    key = hashlib.sha256(repr((text, arguments)).encode()).hexdigest()[:16]
    source = BUILD / "guests" / f"text-{key}.c"
    target = source.with_suffix(".wasm")
    if not target.is_file():
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        _compile(source, target, list(arguments))
    return target.read_bytes()


def _compile(source: Path, target: Path, arguments: list[str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    command = [sys.executable, "-m", "ziglang", "cc", *arguments, str(source), "-o", str(unfinished)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{source.name} does not compile:\n{done.stderr}")
    unfinished.replace(target)
