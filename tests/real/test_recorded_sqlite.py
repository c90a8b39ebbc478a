"""SQLite is recorded under glue that knows nothing of it, and runs with what was recorded as its list.

The build notes what is on its stack; the hook of `caesura record` reads that. The glue is the package's own,
Emscripten's for Asyncify builds. The build has no names, so the list has hashes of bodies.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import caesura
from tests.support.instrumenting import instrument_file
from tests.support.node import run_driver
from tests.support.paths import REPOSITORY, npm_file

HOOK = REPOSITORY / "src" / "caesura" / "recording" / "record.mjs"


def test_the_list_of_a_recording_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = npm_file("wa-sqlite/dist/wa-sqlite.wasm")
    expected = run_driver("sqlite.mjs", "synchronous", source, "files")
    build = instrument_file(source, tmp_path / "record.wasm", caesura.Options(record=True))
    recording = tmp_path / "recording"
    monkeypatch.setenv("NODE_OPTIONS", f"{os.environ.get('NODE_OPTIONS', '')} --import {HOOK.as_uri()}")
    monkeypatch.setenv("CAESURA_RECORD", str(recording))
    recorded = run_driver("sqlite.mjs", "instrumented", build, "files", "all")
    assert recorded["outcomes"] == expected["outcomes"]

    functions = [json.loads(line)["functions"] for line in recording.read_text().splitlines()]
    entries = sorted({entry for seen in functions for entry in seen})
    # The innermost functions, of which one is on the stack at each suspension, call the imports.
    innermost = {entry for seen in functions for entry, one in seen.items() if len(one.get("stack", ())) == 2}
    counts = [one["count"] for seen in functions for entry, one in seen.items() if entry in innermost]
    assert sum(counts) >= recorded["suspensions"]

    listed = instrument_file(source, tmp_path / "listed.wasm", caesura.Options(only_list=tuple(entries)))
    run = run_driver("sqlite.mjs", "instrumented", listed, "files", "all")
    assert run == recorded
    assert listed.stat().st_size - source.stat().st_size < (build.stat().st_size - source.stat().st_size) / 2

    # The glue says of a function that is missing no more than that it was aborted.
    missing = next(entry for seen in functions for entry, one in seen.items() if len(one.get("stack", ())) == 3)
    short = caesura.Options(only_list=tuple(entry for entry in entries if entry != missing))
    monkeypatch.setenv("CAESURA_RECORD", str(tmp_path / "missing"))
    with pytest.raises(AssertionError, match="Aborted"):
        run_driver("sqlite.mjs", "instrumented", instrument_file(source, listed, short), "files", "all")
    (line,) = (tmp_path / "missing").read_text().splitlines()
    assert json.loads(line)["missing"] == [missing.split("@")[0]]
