"""The examples of docs/snapshots.md that are whole programs do what they say."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import code_blocks, run_python


def test_a_state_goes_on_as_a_module(tmp_path: Path) -> None:
    (code,) = [block for block in code_blocks("docs/snapshots.md", "python") if "to_wasm" in block]
    assert run_python(code, tmp_path) == "420\n"
