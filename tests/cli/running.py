"""Running the `caesura` command in a process of its own, as users do, and modules to run it on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wasmtime import wat2wasm

TEXT: Final = """
(module
  (import "env" "sleep" (func $sleep (param i32)))
  (import "env" "now" (func $now (result i32)))
  (memory (export "memory") 1)
  (func $clock (export "clock") (result i32) call $now)
  (func $inner (param i32) local.get 0 call $sleep)
  (func $outer (export "run") i32.const 5 call $inner i32.const 6 call $inner)
  (func $add (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
"""

MODULE: Final = bytes(wat2wasm(TEXT))


@dataclass(frozen=True)
class Done:
    """A run of the command that is over."""

    code: int
    out: bytes
    err: str

    def error_line(self) -> str:
        """Return the one line that a failed run must have printed."""
        assert self.out == b""
        assert self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("caesura: error: "), self.err
        return self.err.removeprefix("caesura: error: ").rstrip("\n")


def caesura_command(
    *arguments: str | Path,
    stdin: bytes = b"",
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    limit: Callable[[], None] | None = None,
) -> Done:
    """Run `caesura` with arguments; `limit` is called in the new process before it starts."""
    done = subprocess.run(
        [sys.executable, "-m", "caesura", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        preexec_fn=limit,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())
