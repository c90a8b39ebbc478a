"""SQLite and QuickJS, recorded under the JavaScript of their packages, run as they did with nothing but the list
instrumented.

What their tests do is recorded in a Node without JSPI. The modules have no names, so the lists know functions by their
bodies.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.analysis.list_text import read_list
from tests.real.test_quickjs import outcomes
from tests.real.test_sqlite import same, sqlite
from tests.support.instrumenting import instrument, instrument_file
from tests.support.node import run_driver
from tests.support.paths import DRIVERS, REPOSITORY, npm_file

QUICKJS = "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm"
ENTRY = re.compile(r"#\d+@[0-9a-f]{16}")


def record(folder: Path, original: Path, driver: str, *arguments: str) -> tuple[Path, Any]:
    """Return the list that a driver's run gives, and what the driver prints."""
    module = instrument_file(original, folder / "recording.wasm", caesura.Options(record=True))
    out = folder / "list.txt"
    command = ["node", str(DRIVERS / driver), "instrumented", str(module), *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "caesura", "record", "-o", out, "--module", original, "--", *command],
        check=True,
        capture_output=True,
        cwd=REPOSITORY,
    )
    return out, json.loads(done.stdout)


def listed(folder: Path, original: Path, out: Path) -> tuple[Path, int]:
    """Return the module that is instrumented by a list, and how many bytes were added to it."""
    module = instrument_file(original, folder / "listed.wasm", caesura.Options(only_list=read_list(f"@{out}")))
    return module, module.stat().st_size - original.stat().st_size


def assert_commented(out: Path) -> None:
    """Every entry has a comment with the import that it waited in, and an example."""
    _, _, body = out.read_text().partition("\n\n")
    lines = body.splitlines()
    assert all(ENTRY.fullmatch(line) for line in lines[1::2])
    assert all(re.match(r"# (once|[\d,]+\+ times), from a\.\S+: a\.\S+ <- .*#\d+$", line) for line in lines[0::2])


@pytest.mark.parametrize("again", ["all", "share 1 50"])
def test_sqlite(tmp_path: Path, again: str) -> None:
    expected = run_driver("sqlite.mjs", "synchronous", sqlite(), "files")
    out, run = record(tmp_path, sqlite(), "sqlite.mjs", "files", "all")
    same(run, expected)
    assert_commented(out)
    module, added = listed(tmp_path, sqlite(), out)
    assert added < (len(instrument(sqlite().read_bytes())) - sqlite().stat().st_size) // 3
    suspended = run_driver("sqlite.mjs", "instrumented", module, "files", again)
    same(suspended, expected)
    assert suspended["suspensions"] > 500


def test_quickjs(tmp_path: Path) -> None:
    original = npm_file(QUICKJS)
    expected = run_driver("quickjs.mjs", "synchronous")["scripts"]
    out, run = record(tmp_path, original, "quickjs.mjs", "100", "0")
    assert outcomes(run["scripts"]) == outcomes(expected)
    assert_commented(out)
    module, added = listed(tmp_path, original, out)
    assert added < (len(instrument(original.read_bytes())) - original.stat().st_size) // 2
    again = run_driver("quickjs.mjs", "instrumented", module, "100", "0")
    assert outcomes(again["scripts"]) == outcomes(expected)
