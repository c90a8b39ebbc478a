"""The oracle itself: what it generates is worth running, and it notices what is wrong.

An oracle that passes everything says nothing. So a function that has to be instrumented is left out on purpose, and
nearly every program must fail.
"""

from __future__ import annotations

import random

from tests.oracle import wasmtime_engine
from tests.oracle.cases import Case, make_case
from tests.oracle.generator import Features
from tests.oracle.minimise import draw_parts, minimise
from tests.oracle.outcome import NEVER, Outcome
from tests.oracle.property import ALWAYS_ONCE, Divergence, check, describe_log, judge
from tests.oracle.test_oracle import instrument

WORST = Features(options=False)


def draw_cases(count: int, features: Features) -> list[Case]:
    source = random.Random(1)
    return [make_case(*draw_parts(source), features) for _ in range(count)]


def run_original(case: Case) -> Outcome:
    return wasmtime_engine.run(case, wasmtime_engine.compile_module(case.module), NEVER, instrumented=False)


def test_programs_are_valid_deterministic_and_faultless() -> None:
    for case in draw_cases(100, Features()):
        first = run_original(case)
        judge(first, run_original(case), NEVER)


def test_most_programs_suspend_often_and_few_trap() -> None:
    cases = draw_cases(200, WORST)
    trapped = sum(run_original(case).trap != "" for case in cases)
    unwinds = sorted(check(case, instrument, wasmtime_engine.run_all) for case in cases)
    assert trapped < 30
    assert sum(count > 0 for count in unwinds) > 150
    assert unwinds[100] > 10


def test_a_function_left_out_is_noticed() -> None:
    noticed = suspended = 0
    for case in draw_cases(60, WORST):
        original, results = wasmtime_engine.run_all(case, instrument(case.module, {}), [ALWAYS_ONCE])
        if results[0].unwinds < 2:  # a single one at an entry's end can make no difference
            continue
        suspended += 1
        try:
            broken = instrument(case.module, {"remove_list": ("entry0", "entry1")})
            judge(original, wasmtime_engine.run_all(case, broken, [ALWAYS_ONCE])[1][0], ALWAYS_ONCE)
        except Divergence:
            noticed += 1
    assert suspended > 30
    assert noticed == suspended


def test_cases_survive_being_written() -> None:
    for case in draw_cases(20, Features()):
        assert Case.from_json(case.to_json()) == case


def test_logs_can_be_described() -> None:
    lines = [line for case in draw_cases(20, Features()) for line in describe_log(run_original(case).log)]
    assert any(line.startswith("entry0 returned") for line in lines)
    assert any(line.startswith("ask ") for line in lines)
    assert any(line.startswith("nested ") for line in lines)


def test_shrinking_keeps_the_failure_and_little_else() -> None:
    parts = draw_parts(random.Random(3))
    program, behaviours, _ = minimise(parts, lambda p: 77 in p[0] and len(p[2]) >= 3)
    assert program == b"\x4d"
    assert behaviours == b""
