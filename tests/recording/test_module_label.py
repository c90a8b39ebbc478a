"""What lines call a module is the same, whoever computes it, for the module as it was and for what was made of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import wasmtime

import caesura
from caesura.recording.completing import complete_entries
from caesura.recording.environment import recording_environment
from caesura.recording.module_label import module_label
from caesura.recording.recorded import Recording, read_recording
from caesura.wasm.module import Module
from tests.support.paths import REPOSITORY

GUEST = (REPOSITORY / "js" / "test" / "guests" / "recorded.wat").read_text()
PROGRAM = REPOSITORY / "js" / "test" / "support" / "recorded.mjs"


def record(original: bytes, path: Path) -> bytes:
    """Run a recording build of the guest under Node, without JSPI; return the recording."""
    build = caesura.instrument(original, caesura.Options(record=True, imports=("env.ask",))).module
    path.with_suffix(".wasm").write_bytes(build)
    environment = recording_environment(str(path))
    done = subprocess.run(["node", PROGRAM, path.with_suffix(".wasm"), "foreign"], env=environment, check=False)
    assert done.returncode == 0
    assert module_label(Module(build)) == module_label(Module(original))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('"unused"', '"\u00fcn\u00fcsed \U0001f600\\n\\"\\00"'),
        ("(module", "(module $name"),
        ("(module", f"(module ${'n' * 200}"),
    ],
)
def test_javascript_gives_the_same(tmp_path: Path, old: str, new: str) -> None:
    original = bytes(wasmtime.wat2wasm(GUEST.replace(old, new, 1)))
    lines = record(original, tmp_path / "recording").splitlines()
    assert {json.loads(line)["module"] for line in lines} == {module_label(Module(original))}


def test_indices_of_other_modules_are_not_completed() -> None:
    original = bytes(wasmtime.wat2wasm(GUEST))
    seen = {"count": 1, "import": "env.ask", "stack": ["env.ask", "#5", "#6 (other)"]}
    other = {"count": 1, "import": "env.ask", "stack": [f"#5 ({module_label(Module(original))})", "#6"]}
    lines = [
        {"caesura_record": 1, "module": module_label(Module(original)), "functions": {"#5": seen}},
        {"caesura_record": 1, "module": "other", "functions": {"#6": other}},
        {"caesura_record": 1, "functions": {"#2": seen}},
    ]
    recording = Recording()
    read_recording(os.linesep.join(map(json.dumps, lines)).encode(), "file", recording)
    complete_entries(recording, original)
    unnamed, named = sorted(recording.functions.keys() - {"#6"})
    assert unnamed.startswith("#5@")
    assert named.startswith("odd: ")
    assert recording.functions["#6"].stack[0].startswith("#5@")
