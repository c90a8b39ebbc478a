"""QuickJS pauses by itself, at random counts, in the middle of whatever it does.

Results and fuel used equal those of a run that is never paused; the fuel is the same in two versions of Node, one of
which never pauses.
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
def source() -> Path:
    return npm_file("@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm")


@pytest.fixture(scope="module")
def paused(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the build with pause points, and a memory for what they save."""
    options = caesura.Options(preempt="fuel", in_secondary_memory=True, secondary_memory_size=64)
    return instrument_file(source, tmp_path_factory.mktemp("paused") / "quickjs.wasm", options)


@pytest.fixture(scope="module")
def expected(paused: Path) -> Any:
    """Return what the programs give, and use, where nothing ever pauses."""
    programs = run_driver("paused_quickjs.mjs", paused, "0", "0", node=newer_node())
    assert all(program["pauses"] == 0 and program["used"] > 1000 for program in programs.values())
    return programs


@pytest.mark.parametrize(("largest", "seed"), [(20_000, 1), (200_000, 2), (3_000_000, 3)])
def test_pausing_changes_neither_results_nor_fuel(paused: Path, expected: Any, largest: int, seed: int) -> None:
    programs = run_driver("paused_quickjs.mjs", paused, str(largest), str(seed), node=newer_node())
    for name, program in programs.items():
        assert program["outcome"] == expected[name]["outcome"], name
        assert program["used"] == expected[name]["used"], name
    assert sum(program["pauses"] for program in programs.values()) > sum(
        program["used"] for program in programs.values()
    ) // (2 * largest)


def test_fuel_is_the_same_in_another_engine(source: Path, expected: Any, tmp_path: Path) -> None:
    module = instrument_file(source, tmp_path / "quickjs.wasm", caesura.Options(preempt="fuel"))
    programs = run_driver("paused_quickjs.mjs", module, "0", "0")
    assert programs == expected
