"""What the specification's test suite taught, in scripts of the project's own: nothing is refused, all comes out right.

Each script runs with its modules as they are, instrumented, and with a suspension at every entry and loop head; in
Wasmtime, and in the newest Node that the tests have.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.engines import Engine, WasmtimeEngine
from tests.spec.node_engine import NodeEngine
from tests.spec.running import INSTRUMENTED, ORIGINAL, RESUMED, SUSPENDED, Variant, run

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.wast"))


@pytest.mark.parametrize("engine", [WasmtimeEngine, NodeEngine], ids=["Wasmtime", "Node"])
@pytest.mark.parametrize("variant", [ORIGINAL, INSTRUMENTED, SUSPENDED, RESUMED], ids=lambda variant: variant.label)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_scripts(script: Path, variant: Variant, engine: type[Engine]) -> None:
    result = run(script, variant, engine())
    assert result.assertions and result.modules
    assert not result.refused
    assert {place: trouble for place, trouble in result.assertions.items() if trouble} == {}
    assert (result.suspensions > 0) == variant.points
