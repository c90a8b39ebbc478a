"""Modules with a runtime of their own, references, tail calls, pause points: the graph says what is instrumented."""

from __future__ import annotations

from typing import Any

import pytest

from caesura.errors import CaesuraError
from caesura.explaining.document import describe_module
from caesura.explaining.dominators import NOTHING
from caesura.explaining.explanation import explain
from caesura.options import Options
from tests.support.engine import assemble

TEXT = """(module
  %s (import "env" "x" (func $x))
  (memory (export "memory") 1) (type $t (func)) (table 2 funcref) (elem (i32.const 0) func $sleep $c)
  (func $sleep %s) (func $c (call $sleep))
  (func $d (export "d") (call $c) (call_indirect (type $t) (i32.const 0)))
  (func $main (export "main") (call $d) %s) (func $above (export "above") (call $main))
  (func $loops (export "loops") (loop $l (br $l)))
  (func $tail (export "tail") (return_call $x))
  (func $ref (export "ref") (param (ref null $t)) (call_ref $t (local.get 0))))"""

IMPORTS = """(import "asyncify" "start_unwind" (func $start (param i32)))
  (import "asyncify" "stop_unwind" (func $stop))"""

PLAIN = assemble(TEXT % ("", "", ""))
RUNTIME = assemble(TEXT % (IMPORTS, "(call $start (i32.const 16))", "(call $stop)"))

EVERYWHERE: list[dict[str, Any]] = [
    {},
    {"ignore_indirect": True},
    {"thunks": True, "linked": True},
    {"import_globals": True},
    {"ignore_imports": True, "add_list": ["d"]},
    {"ignore_imports": True, "add_list": ["d"], "propagate_addlist": True},
    {"remove_list": ["c", "main"]},
    {"only_list": ["d", "*e*"]},
]
PAUSING: list[dict[str, Any]] = [{"preempt": "fuel"}, {"preempt": "fuel", "ignore_imports": True}]


@pytest.mark.parametrize("number", range(len(EVERYWHERE + PAUSING)))
def test_what_is_reached_is_what_is_instrumented(number: int) -> None:
    options = Options(**(EVERYWHERE + PAUSING)[number])
    for module in (PLAIN,) if options.preempt != "none" or options.thunks else (PLAIN, RUNTIME):
        explanation = explain(module, options)
        for own, report in enumerate(explanation.reports):
            reached = explanation.nearest[explanation.graph.stands(explanation.first + own)] != NOTHING
            assert reached == report.instrumented or "it has no call that may suspend" in report.reason, report
        document = describe_module(explanation, module, options)
        tops = [node["frees"]["functions"] for node in document["tree"] if node["parent"] is None]
        assert sum(tops) == document["module"]["instrumented"]


def test_the_runtime_and_pause_points_are_causes() -> None:
    causes = [cause.name for _, cause in explain(RUNTIME, Options(ignore_imports=True)).causes()]
    assert "the guest's own runtime in sleep" in causes
    causes = [cause.name for _, cause in explain(PLAIN, Options(ignore_imports=True, preempt="fuel")).causes()]
    assert "pause points" in causes


def test_malformed_modules_are_refused() -> None:
    """Whatever is cut off or changed, a module is explained or refused by an error of the user's."""
    refused = 0
    for size in range(len(PLAIN)):
        changed = PLAIN[:size] + bytes([PLAIN[size] ^ 0x15]) + PLAIN[size + 1 :]
        for module in (PLAIN[:size], changed):
            try:
                explanation = explain(module, Options())
            except CaesuraError:
                refused += 1
            else:
                describe_module(explanation, module, Options())
    assert refused > len(PLAIN)
