"""Find Binaryen's own `wasm-opt` and run it.

It is, in this order: what the environment variable CAESURA_WASM_OPT names; the first `wasm-opt` on the PATH that is
not this program under another name; `node_modules/.bin/wasm-opt` of npm's package `binaryen`, in the working folder or
one above it. Tool chains are set up by putting this program where they look for `wasm-opt`, so it must not take itself
for the real one: links are resolved, scripts that mention this program or its module are passed over, and a mark in the
environment turns what is left into an error instead of an endless loop.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from caesura.errors import UsageError

VARIABLE: Final = "CAESURA_WASM_OPT"

_MARK: Final = "CAESURA_WASM_OPT_RUNNING"
_FILE_NAMES: Final = ("wasm-opt.exe", "wasm-opt.cmd", "wasm-opt") if os.name == "nt" else ("wasm-opt",)
_HEAD_BYTES: Final = 4096
_OWN_NAMES: Final = (b"caesura-wasm-opt", b"caesura.cli.wasm_opt")


class Failed(Exception):
    """The real wasm-opt failed, and has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def find() -> str:
    """Return the path of the real wasm-opt ("": there is none); raises UsageError for a wrong CAESURA_WASM_OPT."""
    named = os.environ.get(VARIABLE, "")
    if named:
        path = shutil.which(named)
        if path is None:
            raise UsageError(f"{VARIABLE} is '{named}': that is no program that can be run")
        if is_ourselves(Path(path)):
            raise UsageError(f"{VARIABLE} is '{named}': that is caesura-wasm-opt itself, not Binaryen's wasm-opt")
        return path
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += [folder / "node_modules" / ".bin" for folder in (Path.cwd(), *Path.cwd().parents)]
    for folder in folders:
        for file_name in _FILE_NAMES:
            path_in = folder / file_name
            if path_in.is_file() and os.access(path_in, os.X_OK) and not is_ourselves(path_in):
                return str(path_in)
    return ""


def require(purpose: str) -> str:
    """Return the path of the real wasm-opt; raises UsageError, with what it is needed for, where there is none."""
    path = find()
    if not path:
        raise UsageError(
            f"Binaryen's wasm-opt is needed for {purpose}, but was not found: set {VARIABLE} to its path, "
            "put it on the PATH, or install npm's package binaryen"
        )
    return path


def run(path: str, words: list[str]) -> int:
    """Run the real wasm-opt with this program's input and output; return its exit code."""
    if _MARK in os.environ:
        raise UsageError(f"'{path}' is a caesura-wasm-opt too: set {VARIABLE} to the path of Binaryen's wasm-opt")
    sys.stdout.flush()
    try:
        # Descriptors that the shell has opened, for `>(...)`, are on the line by their paths.
        code = subprocess.call([path, *words], env={**os.environ, _MARK: "1"}, close_fds=False)
    except OSError as error:
        raise UsageError(f"cannot run '{path}': {error.strerror}") from error
    return code if code >= 0 else 128 - code


def help_text(path: str) -> str:
    """Return what the real wasm-opt says of its options ("": nothing)."""
    try:
        done = subprocess.run(
            [path, "--help"], capture_output=True, check=False, env={**os.environ, _MARK: "1"}, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise UsageError(f"cannot run '{path}': {error.strerror}") from error
    return done.stdout.decode(errors="replace")


def is_ourselves(path: Path) -> bool:
    """Tell whether a program is this one, perhaps under another name."""
    if path.resolve() == Path(sys.argv[0]).resolve():
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(b"#!") and any(name in head for name in _OWN_NAMES)
