"""With random lists a suspension works, or is refused before anything has changed (see `guarding`).

Some hundred generated modules, under Node 20 with exceptions in their old form and under a newer one with the new form.
More: `pytest tests/oracle/test_guard.py --oracle-examples=20000`, of which each of the four tests runs a quarter.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.oracle.generator import Features
from tests.oracle.guarding import Counts, check_guard, draw_case
from tests.oracle.node_engine import NodeEngine
from tests.oracle.test_oracle import NODE_FEATURES, instrument_and_tell

OLD = NODE_FEATURES._replace(options=False)
NEW = Features(canonical_nans=False, memory64=False, multiple_memories=False, wide_arithmetic=False, options=False)
PORTION = 16
"""The part of the examples of a run that stands for all: Node takes longer than Wasmtime."""


@pytest.fixture(scope="module", params=["old exceptions", "new exceptions"])
def engine(request: pytest.FixtureRequest) -> Iterator[NodeEngine]:
    """A Node process for the tests of this module, one after the other."""
    with NodeEngine(is_newer=request.param == "new exceptions") as node:
        yield node


@pytest.mark.parametrize("tail_calls", [False, True])
def test_a_suspension_works_or_is_refused(pytestconfig: pytest.Config, engine: NodeEngine, tail_calls: bool) -> None:
    examples = int(pytestconfig.getoption("--oracle-examples"))
    examples = examples // 4 if examples > 2000 else examples // PORTION
    features = (OLD if engine.legacy else NEW)._replace(tail_calls=tail_calls)
    seed = int(pytestconfig.getoption("--oracle-seed"))
    counts = Counts()
    for number in range(examples):
        source = random.Random(f"{seed} {tail_calls} {engine.legacy} {number}")
        case = draw_case(source, features)
        try:
            check_guard(case, instrument_and_tell, engine, counts, tail_calls=tail_calls)
        except Exception as error:
            error.add_note(f"seed {seed}, number {number}, options {case.options}")
            raise
    # Of a few modules many can be of one kind.
    least = examples // 4 if examples >= 100 else 0
    assert counts.worked > least
    assert counts.refused > least
