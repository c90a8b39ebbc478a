"""Runs cases of old-form exceptions where each form is at home: originals under Node, translations under Wasmtime."""

from __future__ import annotations

from tests.oracle import wasmtime_engine
from tests.oracle.cases import Case
from tests.oracle.node_engine import NodeEngine
from tests.oracle.outcome import Outcome, Schedule

_TRAPPED = "trapped"
"""What stands for a trap: the engines say it in words of their own."""


class TranslatedEngine:
    """Node for originals, Wasmtime for what became of them."""

    def __init__(self, node: NodeEngine) -> None:
        self.node = node

    def run_all(self, case: Case, instrumented: bytes, schedules: list[Schedule]) -> tuple[Outcome, list[Outcome]]:
        """Run the original once under Node, and the translated and instrumented module with each schedule."""
        original, _ = self.node.run_all(case, case.module, [])
        module = wasmtime_engine.compile_module(instrumented)
        runs = [wasmtime_engine.run(case, module, schedule, instrumented=True) for schedule in schedules]
        return _comparable(original), [_comparable(run) for run in runs]


def _comparable(outcome: Outcome) -> Outcome:
    return outcome._replace(trap=_TRAPPED if outcome.trap else "")
