"""The example of docs/lists.md runs, and prints what stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import code_blocks, run_python


def test_what_a_list_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # that the thread waits
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path))
    [code] = code_blocks("docs/lists.md", "python")
    printed = run_python(code, tmp_path)
    assert [printed] == code_blocks("docs/lists.md", "text")
