"""The pages with figures say what was measured, and the parts that measure and fit do what they say.

The committed pages must be what the report makes of the committed figures; `python -m benchmarks.report` brings them up
to date. (Drawings are not compared: their bytes depend on the version of matplotlib.)
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from benchmarks.facts import DOCS, REPOSITORY, load, merge
from benchmarks.growth import fits
from benchmarks.markdown import block
from benchmarks.measure import CommandFailed, run
from benchmarks.profile import STEPS, profile_tables
from benchmarks.programs import MODES, code_size
from benchmarks.readme import readme_block
from benchmarks.report import PARTS, page
from benchmarks.snapshots_report import figures, fleet_costs
from benchmarks.tables import size_rows, size_table

SOURCES: Final = REPOSITORY / "src"


def test_pages_say_what_was_measured(tmp_path: Path) -> None:
    facts = {part: load(part) for part in PARTS}
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == page(facts, tmp_path)
    assert block(REPOSITORY / "README.md", "benchmarks") == readme_block(facts, tmp_path)
    profile = load("profile")
    assert profile is not None
    assert block(DOCS / "measurements.md", "profile") == profile_tables(profile)
    snapshots = load("snapshots")
    assert snapshots is not None
    assert block(DOCS / "snapshots.md", "snapshots") == figures(snapshots)
    assert block(DOCS / "fleet.md", "fleet") == fleet_costs(snapshots)


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    nothing = dict.fromkeys(PARTS)
    assert page(nothing, tmp_path).count("not measured") > len(PARTS)
    assert readme_block(nothing, tmp_path) == "Nothing has been measured.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_is_missing_is_a_dash() -> None:
    mode = {"functions": 2, "instrumented": 1, "sites": 3}
    modes = {name: {**mode, "caesura": {"balanced": 1500}, "binaryen": {"-O1": 2000, "-O3": None}} for name in MODES}
    program = {"name": "P", "original": 1000, "optimized": 900, "modes": modes}
    facts = {"programs": [program], "c_programs": [{**program, "name": "a"}, {**program, "name": "b"}]}
    row, total = size_rows(facts)
    assert row is program
    assert (total["original"], total["modes"]["worst"]["binaryen"]) == (2000, {"-O1": 4000, "-O3": None})
    assert "| P, worst | 1 of 2 | 3 | 1,000 | 1,000 (+100.0%) | - | 500 (+50.0%) | 0.50 | - | 0.45 |" in size_table(
        facts
    )


def test_growth_is_fitted() -> None:
    """Two programs on a line of exponent 1.5 above a start of half a second."""
    programs = [{"code": 0, "costs": {"compiled": {"cpu": 0.5}}}]
    programs += [{"code": code, "costs": {"compiled": {"cpu": 0.5 + (code / 1e6) ** 1.5}}} for code in (10**6, 10**7)]
    fit = fits(programs)["compiled"]
    assert (fit["exponent"], fit["points"], fit["start"]) == (1.5, 2, 0.5)
    assert math.isclose(fit["factor"] * 1e6**1.5, 1)


def test_entries_of_one_run_leave_the_others() -> None:
    old = [{"name": "a", "x": 1}, {"name": "b", "x": 1}, {"name": "gone", "x": 1}]
    assert merge(old, [{"name": "b", "x": 2}], ["b", "a", "c"]) == [{"name": "b", "x": 2}, {"name": "a", "x": 1}]


def test_costs_are_those_of_the_command() -> None:
    """A command that fills 200 MB has used them; the memory of this process does not count."""
    ballast = bytes(500_000_000)
    assert 200e6 < run([sys.executable, "-c", "bytes(b'1') * 200_000_000"]).memory < 300e6
    assert run([sys.executable, "-S", "-c", ""]).memory < 30e6 < len(ballast)
    with pytest.raises(CommandFailed, match="cannot do this"):
        run([sys.executable, "-c", "raise SystemExit('cannot do this')"])


def test_code_size(tmp_path: Path) -> None:
    header = b"\0asm\x01\0\0\0"
    code = b"\x0a\x81\x01" + bytes(129)
    path = tmp_path / "module.wasm"
    path.write_bytes(header + b"\x01\x01\0" + code + b"\x00\x02\x01x")
    assert code_size(path) == 129
    path.write_bytes(header)
    assert code_size(path) == 0


def test_profile_knows_its_steps() -> None:
    """Every function that is called a step exists, so that none of them is silently empty."""
    for functions in STEPS.values():
        for function in functions:
            module, _, name = function.partition(".")
            (file,) = [
                file
                for room in ("wasm", "analysis", "instrument")
                for file in (SOURCES / "caesura" / room).rglob(f"{module}.py")
            ]
            found: object = importlib.import_module(".".join(file.relative_to(SOURCES).with_suffix("").parts))
            for part in name.split("."):
                found = getattr(found, part)


@pytest.mark.parametrize("part", ["sizes", "forks", "processes", "unsaved"])
def test_what_saved_states_cost_is_measured(part: str) -> None:
    command = [sys.executable, "-m", "benchmarks.snapshots", "--quick", "--part", part]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)
    known = load("snapshots")
    assert known is not None and found.keys() <= known.keys()
    if part == "sizes":
        assert found["whole_bytes"] <= 50_000 and found["change_bytes"] <= 1_000
    if part == "unsaved":
        assert found["functions"] > 1_000 and found["changed_functions"] == 0
