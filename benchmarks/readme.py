"""The figures in README.md, as a table and a drawing: what both tools add to real programs, cost, and slow down."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.markdown import table
from benchmarks.plot import Bars, Panel, write_overview
from benchmarks.programs import REAL, WORST
from benchmarks.tables import share, size_rows
from benchmarks.targets import BINARYEN, DEFAULT, NODE, Facts, mean_overhead

_NAMES: Final = [program.name for program in REAL]
_THEIRS: Final = "Binaryen -O1"
_OURS: Final = "caesura, balanced"


@dataclass
class _Block:
    """The lines of the table, the parts of the drawing, and what has to be said below."""

    rows: list[list[str]] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, label: str, values: list[float | None], form: str) -> None:
        """Add a line, with a dash where something was not measured."""
        self.rows.append([label, *("-" if value is None else form.format(value) for value in values)])


def readme_block(facts: Facts, folder: Path) -> str:
    """Return the block, and write its drawing into the folder."""
    block = _Block()
    if facts["size"]:
        _add_size(facts["size"], block)
    if facts["transform"]:
        _add_transform(facts["transform"], block)
    if facts["running"]:
        _add_running(facts["running"], block)
    if not block.rows:
        return "Nothing has been measured.\n"
    measured = (
        f"Measured {_dates(facts)} by `make bench`, with {_versions(facts)}. All figures and the machine are in "
        "[docs/benchmarks.md](docs/benchmarks.md)."
    )
    write_overview(folder / "benchmarks.svg", block.panels)
    return (
        "![Code added, CPU time and running time against Binaryen](docs/benchmarks.svg)\n\n"
        + table(["", *_NAMES], block.rows)
        + "".join(f"\n{note}\n" for note in block.notes)
        + f"\n{textwrap.fill(measured, 120, break_on_hyphens=False)}\n"
    )


def _dates(facts: Facts) -> str:
    dates = sorted({found["date"] for found in facts.values() if found})
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


def _versions(facts: Facts) -> str:
    """Return the versions of both tools, as they call themselves."""
    versions: dict[str, str] = {}
    for found in facts.values():
        versions |= (found or {}).get("versions", {})
    named = {"caesura, compiled": "", "npm binaryen": "npm's Binaryen: ", "native binaryen": "the native one: "}
    return ", ".join(
        f"{words}{versions[name].partition(' (version')[0]}" for name, words in named.items() if name in versions
    )


def _add_size(facts: dict[str, Any], block: _Block) -> None:
    """Add the code that is added in the worst case."""
    found = {row["name"]: row for row in size_rows(facts)}
    rows = [found.get(name) for name in _NAMES]
    theirs = [None if row is None else _added(row, row["modes"][WORST]["binaryen"]["-O1"]) for row in rows]
    ours = [None if row is None else _added(row, row["modes"][WORST]["caesura"][DEFAULT]) for row in rows]
    block.add("code added in the worst case, Binaryen", theirs, "+{:.0f}%")
    block.add("caesura", ours, "+{:.0f}%")
    shares = [None if row is None else share(row, WORST, DEFAULT) for row in rows]
    block.add("as a share of Binaryen's", shares, "**{:.2f}**")
    block.panels.append(Panel("code added, worst case, %", _NAMES, {_THEIRS: theirs, _OURS: ours}, "{:.0f}"))


def _added(row: dict[str, Any], size: int | None) -> float | None:
    return None if size is None else (size / row["original"] - 1) * 100


def _add_transform(facts: dict[str, Any], block: _Block) -> None:
    """Add the CPU time of the transformation; where the native Binaryen refuses a program, npm's counts."""
    found = {program["name"]: program["costs"] for program in facts["programs"]}
    costs = [found.get(name, {}) for name in _NAMES]
    theirs = [_cpu(cost, "native") or _cpu(cost, "npm") for cost in costs]
    ours = [_cpu(cost, "compiled") or _cpu(cost, "interpreted") for cost in costs]
    block.add("CPU seconds to instrument, Binaryen", theirs, "{:.1f}")
    seconds = block.rows[-1]
    block.add("caesura", ours, "{:.2f}")
    times = [None if other is None or own is None else other / own for other, own in zip(theirs, ours, strict=True)]
    block.add("as a share of Binaryen's", times, "**1/{:.0f}**")
    for place, cost in enumerate(costs, start=1):
        if "native" not in cost and "npm" in cost:
            seconds[place] += " (npm's)"
            block.rows[-1][place] += " (npm's)"
            note = f"The native Binaryen does not take {_NAMES[place - 1]}; npm's, which is slower, does."
            block.notes.append(note)
    bars: Bars = {_THEIRS: theirs, _OURS: ours}
    block.panels.append(Panel("CPU seconds to instrument", _NAMES, bars, "{:.3g}", is_logarithmic=True))


def _cpu(costs: dict[str, Any], name: str) -> float | None:
    return float(costs[name]["cpu"]) if name in costs else None


def _add_running(facts: dict[str, Any], block: _Block) -> None:
    """Add the time of programs that are never suspended."""
    theirs = [mean_overhead(facts, name, NODE, BINARYEN) for name in _NAMES]
    ours = [mean_overhead(facts, name, NODE, DEFAULT) for name in _NAMES]
    block.add(f"running time in {NODE}, of the original's, Binaryen", theirs, "{:.2f}")
    block.add("caesura", ours, "**{:.2f}**")
    panel = Panel(f"running time, {NODE}, original = 1", _NAMES, {_THEIRS: theirs, _OURS: ours}, "{:.2f}")
    block.panels.append(panel)
