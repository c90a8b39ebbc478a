"""SQLite, in wa-sqlite's synchronous build, is suspended wherever it calls its file system.

The build has no provision for pausing. Instrumented, it runs under the package's glue for asynchronous file systems;
the same build, untouched, gives the results and the database files that every run must equal, byte for byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.support.instrumenting import instrument_file
from tests.support.node import run_driver
from tests.support.paths import npm_file

FAILING = {
    "INSERT INTO items (owner, tag) VALUES (9999, 'nobody')": "FOREIGN KEY constraint failed",
    "SELEC 1": 'near "SELEC": syntax error',
    "SELECT missing FROM items": "no such column: missing",
    "SELECT abs(-9223372036854775807 - 1)": "integer overflow",
    "SELECT json('{')": "malformed JSON",
    "CREATE TABLE items (id)": "table items already exists",
    "INSERT INTO pairs SELECT * FROM pairs ORDER BY b DESC": "UNIQUE constraint failed",
    "END TRANSACTION": "cannot commit - no transaction is active",
}


def sqlite() -> Path:
    """Return the build of SQLite that cannot be suspended."""
    return npm_file("wa-sqlite/dist/wa-sqlite.wasm")


@pytest.fixture(scope="module")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same build, instrumented for the worst case: every import and every indirect call may suspend."""
    return instrument_file(sqlite(), tmp_path_factory.mktemp("sqlite") / "sqlite.wasm")


@pytest.fixture(scope="module")
def expected() -> Any:
    """Return what the build does that cannot be suspended."""
    return run_driver("sqlite.mjs", "synchronous", sqlite(), "files")


def same(run: Any, expected: Any) -> None:
    """Assert that a run gave the expected results and files."""
    for outcome, wanted in zip(run["outcomes"], expected["outcomes"], strict=True):
        assert outcome == wanted
    assert run["files"] == expected["files"]
    assert run["fileCalls"] == expected["fileCalls"]


def test_statements_do_something(expected: Any) -> None:
    """The statements give rows and errors, and two files are left."""
    outcomes = {outcome["sql"]: outcome for outcome in expected["outcomes"]}
    for sql, message in FAILING.items():
        assert message in outcomes[sql]["error"]
    assert outcomes["PRAGMA integrity_check"]["rows"] == [["ok"]]
    assert sum(len(outcome["rows"]) for outcome in expected["outcomes"]) > 100
    assert sorted(expected["files"]) == ["main.db", "other.db"]
    assert expected["suspensions"] == 0


@pytest.mark.parametrize("flags", [(), ("--no-liftoff",)], ids=["tiered", "optimised"])
def test_suspended_at_every_call(instrumented: Path, expected: Any, flags: tuple[str, ...]) -> None:
    """Every call of the file system waits for a timer: thousands of suspensions, and nothing is different."""
    run = run_driver("sqlite.mjs", "instrumented", instrumented, "files", "all", flags=flags)
    same(run, expected)
    assert run["suspensions"] == run["fileCalls"]
    assert run["suspensions"] > 5000


@pytest.mark.parametrize("plan", ["all", "every 7", "share 1 50"])
def test_two_bodies(tmp_path: Path, expected: Any, plan: str) -> None:
    """Resumed in the second bodies of its interpreter and parser, again and again, SQLite does the same."""
    module = instrument_file(sqlite(), tmp_path / "sqlite.wasm", caesura.Options(optimize="speed"))
    run = run_driver("sqlite.mjs", "instrumented", module, "files", plan)
    same(run, expected)
    assert run["suspensions"] > 500


@pytest.mark.parametrize("plan", ["every 2", "every 7", "every 101", "share 1 50", "share 2 10", "share 3 90"])
def test_suspended_at_some_calls(instrumented: Path, expected: Any, plan: str) -> None:
    """Suspended at any subset of the calls, SQLite does the same."""
    run = run_driver("sqlite.mjs", "instrumented", instrumented, "files", plan)
    same(run, expected)
    assert 10 < run["suspensions"] < run["fileCalls"]


def test_slow_virtual_table(instrumented: Path) -> None:
    """SQLite is suspended inside the methods of a virtual table, which call it back, as well as in its file system."""
    wanted = run_driver("sqlite.mjs", "synchronous", sqlite(), "virtual")
    run = run_driver("sqlite.mjs", "instrumented", instrumented, "virtual", "all")
    same(run, wanted)
    assert [outcome["error"] for outcome in run["outcomes"]] == [None] * len(run["outcomes"])
    assert run["suspensions"] > run["fileCalls"] + 500
