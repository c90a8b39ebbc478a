"""Rust programs for tests, by a compiler that `tests/guests/rust/setup.sh` installs where it may."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import GUESTS

TARGET = "wasm32-unknown-unknown"


@functools.cache
def rust_compiler() -> Path | None:
    """Return a compiler on the path that has Rust's library for WebAssembly: not every one has."""
    for folder in os.get_exec_path():
        rustc = Path(folder) / "rustc"
        if not os.access(rustc, os.X_OK):
            continue
        done = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=False, timeout=60)
        library = Path(done.stdout.strip()) / "lib" / "rustlib" / TARGET / "lib"
        if done.returncode == 0 and any(library.glob("*.rlib")):
            return rustc
    return None


@functools.cache
def rust_program(name: str, folder: Path, *flags: str) -> bytes:
    """Return a program of `tests/guests/rust` with the names that the compiler gave its functions.

    Skips the test where no compiler makes WebAssembly.
    """
    rustc = rust_compiler()
    if rustc is None:
        pytest.skip("no rustc on the path makes WebAssembly (sh tests/guests/rust/setup.sh installs one)")
    output = folder / f"{name}.wasm"
    options = ["--edition", "2021", "--crate-type", "cdylib", "--target", TARGET, "-C", "opt-level=2"]
    source = GUESTS / "rust" / f"{name}.rs"
    command = [str(rustc), *options, "-C", "panic=abort", *flags, "-o", str(output), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return output.read_bytes()
