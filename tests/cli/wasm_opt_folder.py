"""Running caesura-wasm-opt in a folder with a module.

The real wasm-opt is that of npm's package binaryen. What is handed to it is seen through a stand-in that writes down
its arguments and then runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from wasmtime import wat2wasm

from caesura import Options, instrument
from tests.support.paths import npm_file

TEXT = """
(module $example
  (import "env" "sleep" (func $sleep (param i32)))
  (import "env" "now" (func $now (result i32)))
  (memory (export "memory") 1)
  (func $clock (export "clock") (result i32) call $now)
  (func $inner (param $value i32) local.get 0 call $sleep)
  (func $outer (export "run") i32.const 5 call $inner i32.const 6 call $inner)
  (func $add (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
"""
MODULE = bytes(wat2wasm(TEXT))
INSTRUMENTED = instrument(MODULE, Options(no_multivalue=True)).module


@dataclass(frozen=True)
class Done:
    """A run of the command that is over, and what it handed to the real wasm-opt."""

    code: int
    out: bytes
    err: str
    handed: list[list[str]]


class Folder:
    """A folder with a module in it, where the command is run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "in.wasm").write_bytes(MODULE)
        self._log = path / "handed.txt"
        self._real = path / "real-wasm-opt"
        self._real.write_text(
            f"#!{sys.executable}\nimport json, subprocess, sys\n"
            f"open({str(self._log)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            f"sys.exit(subprocess.call([{str(npm_file('.bin/wasm-opt'))!r}, *sys.argv[1:]]))\n"
        )
        self._real.chmod(0o755)

    def run(self, *arguments: str, stdin: bytes = b"", real: str | None = None) -> Done:
        """Run the command; `real` names another wasm-opt than the stand-in ("": none to be found)."""
        environment = {**os.environ, "CAESURA_WASM_OPT": str(self._real) if real is None else real}
        if real == "":
            environment["PATH"] = ""
        done = subprocess.run(
            [sys.executable, "-m", "caesura.cli.wasm_opt", *arguments],
            cwd=self.path,
            env=environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        handed = [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.is_file() else []
        self._log.unlink(missing_ok=True)
        return Done(done.returncode, done.stdout, done.stderr.decode(), handed)

    def module(self, *arguments: str, real: str | None = None) -> bytes:
        """Run the command on the module with an output file; return that."""
        done = self.run("in.wasm", "-o", "out.wasm", *arguments, real=real)
        assert (done.code, done.err) == (0, ""), done
        return (self.path / "out.wasm").read_bytes()
