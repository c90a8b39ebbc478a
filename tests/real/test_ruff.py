"""Ruff, a program of Rust that holds JavaScript's values as externrefs, is suspended wherever it calls JavaScript.

Its module comes from npm, made by wasm-bindgen. What it says about some Python sources, with valid and with wrong
options, must equal what it says where nothing is ever suspended, in Node 20 and 24.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.support.instrumenting import instrument_file
from tests.support.node import newer_node, run_driver
from tests.support.paths import npm_file


@pytest.fixture(scope="module")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the module, instrumented for the worst case, for the JavaScript host."""
    source = npm_file("@astral-sh/ruff-wasm-nodejs/ruff_wasm_bg.wasm")
    return instrument_file(source, tmp_path_factory.mktemp("ruff") / "ruff.wasm", caesura.Options(thunks=True))


@pytest.fixture(scope="module")
def expected() -> Any:
    """Return what the package's own module says."""
    return run_driver("ruff.mjs")["results"]


def test_it_says_something(expected: Any) -> None:
    """Diagnoses are objects that the module made in JavaScript; wrong options are errors that it threw."""
    assert [found["code"] for found in expected[0]][:2] == ["E401", "UP035"]
    assert "'c': 927" in expected[6]
    assert sum(isinstance(result, dict) and "thrown" in result for result in expected) >= 4


@pytest.mark.parametrize(("step", "newer"), [(1, False), (1, True), (3, True)], ids=["all", "newer Node", "some"])
def test_it_is_suspended_in_calls_of_javascript(instrumented: Path, expected: Any, step: int, newer: bool) -> None:
    run = run_driver("ruff.mjs", instrumented, str(step), node=newer_node() if newer else None)
    assert run["results"] == expected
    assert run["calls"] > 1000
    assert run["suspensions"] == run["calls"] // step
