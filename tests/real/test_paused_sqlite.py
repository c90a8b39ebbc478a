"""SQLite pauses by itself, at random counts: results, files and fuel equal those of a run that is never paused.

Results and files equal those of the untouched build, too, and the fuel is the same in two versions of Node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.support.instrumenting import instrument_file
from tests.support.node import newer_node, run_driver
from tests.support.paths import npm_file


def source() -> Path:
    return npm_file("wa-sqlite/dist/wa-sqlite.wasm")


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the build with pause points, and a memory for what they save."""
    options = caesura.Options(preempt="fuel", in_secondary_memory=True, secondary_memory_size=64)
    return instrument_file(source(), tmp_path_factory.mktemp("paused") / "sqlite.wasm", options)


@pytest.fixture(scope="module")
def expected(paused: Path) -> Any:
    """Return what the statements give, and use, where nothing ever pauses."""
    run = run_driver("paused_sqlite.mjs", paused, "0", "0", node=newer_node())
    original = run_driver("paused_sqlite.mjs", source(), "0", "0")
    assert (run["outcomes"], run["files"]) == (original["outcomes"], original["files"])
    assert run["pauses"] == 0
    assert run["used"] > 1000
    return run


@pytest.mark.parametrize(("largest", "seed"), [(20_000, 1), (3_000_000, 2)])
def test_pausing_changes_neither_results_nor_fuel(paused: Path, expected: Any, largest: int, seed: int) -> None:
    run = run_driver("paused_sqlite.mjs", paused, str(largest), str(seed), node=newer_node())
    assert run.pop("pauses") > expected["used"] // (2 * largest)
    assert run == {name: value for name, value in expected.items() if name != "pauses"}


def test_fuel_is_the_same_in_another_engine(expected: Any, tmp_path: Path) -> None:
    module = instrument_file(source(), tmp_path / "sqlite.wasm", caesura.Options(preempt="fuel"))
    assert run_driver("paused_sqlite.mjs", module, "0", "0") == expected
