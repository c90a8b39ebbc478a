"""PHP pauses by itself, at random counts: what scripts print, and the fuel, equal those of a run that is never paused.

What they print equals that of the untouched build, too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.__main__ import installed_environment
from tests.real.php import build
from tests.real.php.build import SOURCE
from tests.support.node import newer_node, run_driver
from tests.support.paths import REPOSITORY


@pytest.fixture(scope="module")
def paused() -> Path:
    """Return the build with pause points, and a memory for what they save.

    The installed package makes it, since the interpreted one takes minutes; it is kept until that changes.
    """
    command = [sys.executable, str(Path(build.__file__)), "paused"]
    subprocess.run(command, check=True, cwd=REPOSITORY, env=installed_environment())
    return build.PAUSED


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
