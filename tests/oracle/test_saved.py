"""Saved at any suspension and continued in another process, a program does what it does without.

A thousand states of generated modules, C programs, QuickJS, MicroPython and SQLite, from a fixed seed. More:
`pytest tests/oracle/test_saved.py --saved-points=20000 --oracle-seed=1`.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.oracle.saved.processes import check, search

# Of a hundred states, how many are of each kind.
SHARES = {"generated": 40, "c": 15, "references": 15, "micropython": 10, "quickjs": 10, "sqlite": 10}

# Among so many states some are refused, whatever the seed.
_MANY: Final = 300


@pytest.mark.parametrize("kind", SHARES)
def test_what_was_saved_goes_on_in_another_process(kind: str, pytestconfig: pytest.Config) -> None:
    points = int(pytestconfig.getoption("--saved-points")) * SHARES[kind] // 100
    found = search([kind], points, int(pytestconfig.getoption("--oracle-seed")))
    print(f"{found.states[kind]} states, {found.refusals.total()} refusals: {dict(found.refusals)}")
    assert found.states[kind] >= points
    if kind == "generated" and points >= _MANY:  # some modules have what cannot be saved, and went on all the same
        assert found.refusals.total() > points // 50


def test_a_trap_with_assertions_while_another_call_waits() -> None:
    """In a module that was instrumented elsewhere what assertions note is saved, too; it is no part of its program."""
    assert check("generated", 6167573037133) == 8


def test_a_guard_where_functions_that_were_added_have_two_bodies() -> None:
    """What gives a frame to an import's tail call is no function of the original: a guard does not tell of it."""
    assert check("generated", 292) == 16
