"""PHP pauses by itself, at random counts: what scripts print, and the fuel, equal those of a run that is never paused.

What they print equals that of the untouched build, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.real.php.build import SOURCE
from tests.support.instrumenting import instrument_file
from tests.support.node import newer_node, run_driver

pytestmark = pytest.mark.one_form  # interpreted, instrumenting takes a minute


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the build with pause points, and a memory for what they save."""
    options = caesura.Options(preempt="fuel", ignore_imports=True, in_secondary_memory=True, secondary_memory_size=64)
    return instrument_file(SOURCE, tmp_path_factory.mktemp("paused") / "php.wasm", options)


@pytest.fixture(scope="module")
def expected(paused: Path) -> Any:
    """Return what the scripts print, and use, where nothing ever pauses."""
    scripts = run_driver("paused_php.mjs", paused, "0", "0", node=newer_node())
    original = run_driver("paused_php.mjs", SOURCE, "0", "0")
    assert {name: script["outcome"] for name, script in scripts.items()} == {
        name: script["outcome"] for name, script in original.items()
    }
    assert all(script["pauses"] == 0 and script["used"] > 1000 for script in scripts.values())
    return scripts


@pytest.mark.parametrize(("largest", "seed"), [(20_000, 1), (1_000_000, 2)])
def test_pausing_changes_neither_results_nor_fuel(paused: Path, expected: Any, largest: int, seed: int) -> None:
    scripts = run_driver("paused_php.mjs", paused, str(largest), str(seed), node=newer_node())
    pauses = sum(script.pop("pauses") for script in scripts.values())
    assert scripts == {
        name: {"outcome": script["outcome"], "used": script["used"]} for name, script in expected.items()
    }
    assert pauses > sum(script["used"] for script in scripts.values()) // (2 * largest)
