"""What caesura is to reach, next to what was measured: the one page on which a figure that is missed cannot hide.

Targets are limits set before the work; everything measured is read from the figures in docs/. What has not been
measured is said to be so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.markdown import table
from benchmarks.programs import WORST
from benchmarks.tables import share, share_of_asyncify, size_rows

NODE: Final = "Node 20"
DEFAULT: Final = "balanced"
FASTEST: Final = "speed"
BINARYEN: Final = "Binaryen -O1"

Facts = dict[str, dict[str, Any] | None]


@dataclass(frozen=True)
class Measured:
    """What was measured: as text, Binaryen's in the same run, and whether it is enough."""

    text: str
    binaryen: str
    is_enough: bool


@dataclass(frozen=True)
class Target:
    """What is to be reached, in words, and how it is found in the figures (None: not measured)."""

    what: str
    limit: str
    find: Callable[[Facts], Measured | None]


def targets_table(facts: Facts) -> str:
    """Return all targets with what was measured."""
    rows = []
    for target in TARGETS:
        found = target.find(facts)
        cells = ["not measured", "", ""] if found is None else [found.text, found.binaryen, _verdict(found)]
        rows.append([target.what, target.limit, *cells])
    return table(["", "reach at least", "measured", "Binaryen, same run", "reached"], rows)


def _verdict(found: Measured) -> str:
    return "yes" if found.is_enough else "**no**"


def mean_overhead(facts: dict[str, Any], program: str, engine: str, variant: str) -> float | None:
    """Return the mean time of a variant as a multiple of the original's, where it was measured."""
    for entry in facts.get("run_time", []):
        if entry["program"] == program and entry["engine"] == engine and variant in entry["mean"]:
            return float(entry["mean"][variant][0])
    return None


def _run_time(program: str, limit: float) -> Callable[[Facts], Measured | None]:
    """Return how to find the mean overhead of a program in Node 20."""

    def find(facts: Facts) -> Measured | None:
        running = facts["running"] or {}
        ours = mean_overhead(running, program, NODE, DEFAULT)
        if ours is None:
            return None
        binaryen = mean_overhead(running, program, NODE, BINARYEN)
        fastest = mean_overhead(running, program, NODE, FASTEST)
        text = f"{ours:.2f}" if fastest is None else f"{ours:.2f} (`{FASTEST}` {fastest:.2f})"
        return Measured(text, "-" if binaryen is None else f"{binaryen:.2f}", ours <= limit)

    return find


def _c_programs(mean_limit: float, limit: float) -> Callable[[Facts], Measured | None]:
    """Return how to find the C programs' overheads in Node 20 and Wasmtime: the means, and the worst of all."""

    def find(facts: Facts) -> Measured | None:
        entries = [
            entry
            for entry in (facts["running"] or {}).get("run_time", [])
            if entry["program"] == "C programs" and (entry["engine"] == NODE or entry["engine"].startswith("Wasmtime"))
        ]
        if len(entries) < 2:
            return None
        means = [entry["mean"][DEFAULT][0] for entry in entries]
        worst, name = max((values[0], name) for entry in entries for name, values in entry["overhead"][DEFAULT].items())
        text = ", ".join(f"{entry['engine']} {mean:.2f}" for entry, mean in zip(entries, means, strict=True))
        binaryen = ", ".join(f"{entry['mean'][BINARYEN][0]:.2f}" for entry in entries if BINARYEN in entry["mean"])
        is_enough = max(means) <= mean_limit and worst <= limit
        return Measured(f"{text}; worst {worst:.2f} ({name})", binaryen, is_enough)

    return find


def _size(optimize: str, limit: float) -> Callable[[Facts], Measured | None]:
    """Return how to find the code added in the worst case, as shares of Binaryen's."""

    def find(facts: Facts) -> Measured | None:
        if facts["size"] is None:
            return None
        rows = size_rows(facts["size"])
        shares = {row["name"]: share(row, WORST, optimize) for row in rows}
        known = {name: value for name, value in shares.items() if value is not None}
        texts = [f"{name} {value:.2f}" for name, value in known.items()]
        alone = share_of_asyncify(rows[-1], WORST, optimize)
        if rows[-1]["name"] in known and alone is not None:  # the C programs, which Binaryen optimizes on the way
            texts[-1] += f" ({alone:.2f} of Asyncify alone)"
        return Measured(", ".join(texts), "1", max(known.values(), default=math.inf) <= limit)

    return find


def _transformation(limit: float) -> Callable[[Facts], Measured | None]:
    """Return how to find the compiled form's CPU time as a share of the native Binaryen's, on the real programs."""

    def find(facts: Facts) -> Measured | None:
        if facts["transform"] is None:
            return None
        times = {
            program["name"]: program["costs"]["native"]["cpu"] / program["costs"]["compiled"]["cpu"]
            for program in facts["transform"]["programs"]
            if program["code"] >= 100_000 and {"native", "compiled"} <= program["costs"].keys()
        }
        if not times:
            return None
        return Measured(
            ", ".join(f"{name} 1/{value:.0f}" for name, value in times.items()), "1", min(times.values()) >= limit
        )

    return find


def _asynchronous_files(limit: float) -> Callable[[Facts], Measured | None]:
    """Return how to find the total time of SQLite over asynchronous files as a share of Binaryen's."""

    def find(facts: Facts) -> Measured | None:
        for entry in (facts["running"] or {}).get("asynchronous_files", []):
            if entry["engine"] == NODE and entry["base"] == BINARYEN and DEFAULT in entry["mean"]:
                share_of_time = entry["mean"][DEFAULT][0]
                return Measured(f"{share_of_time:.2f}", "1", share_of_time <= limit)
        return None

    return find


def _recursion(never: float, resumed: float) -> Callable[[Facts], Measured | None]:
    """Return how to find QuickJS's recursion depth after tier-up, never suspended and with every frame resumed once."""

    def find(facts: Facts) -> Measured | None:
        for entry in (facts["running"] or {}).get("recursion", []):
            if entry["engine"] == NODE and entry["state"] == "after tier-up" and DEFAULT in entry["depth"]:
                original = entry["depth"]["original"]["never"]
                ours, theirs = (
                    [entry["depth"][variant][key] / original for key in ("never", "resumed")]
                    if variant in entry["depth"]
                    else []
                    for variant in (DEFAULT, BINARYEN)
                )
                is_enough = ours[0] >= never and ours[1] >= resumed
                return Measured(_listed(ours, " / "), _listed(theirs, " / "), is_enough)
        return None

    return find


def _suspending(limits: dict[int, float]) -> Callable[[Facts], Measured | None]:
    """Return how to find the microseconds of a suspension and resumption at some depths."""

    def find(facts: Facts) -> Measured | None:
        for entry in (facts["running"] or {}).get("suspending", []):
            if entry["engine"] == NODE and DEFAULT in entry["microseconds"]:
                ours, theirs = (
                    [entry["microseconds"].get(variant, {}).get(f"small {depth}", [math.nan])[0] for depth in limits]
                    for variant in (DEFAULT, BINARYEN)
                )
                is_enough = all(value <= limit for value, limit in zip(ours, limits.values(), strict=True))
                return Measured(_listed(ours, " / "), _listed(theirs, " / "), is_enough)
        return None

    return find


def _listed(values: list[float], between: str) -> str:
    return between.join(f"{value:.2f}" for value in values)


TARGETS: Final = (
    Target("SQLite in memory, Node 20, time of the original's", "1.12", _run_time("SQLite", 1.12)),
    Target("SQLite over an asynchronous VFS, Node 20, total time of Binaryen's", "0.45", _asynchronous_files(0.45)),
    Target("QuickJS, Node 20, time of the original's", "1.12", _run_time("QuickJS", 1.12)),
    Target("PHP with its import list, Node 20, time of the original's", "1.08", _run_time("PHP", 1.08)),
    Target("C programs, geometric mean, Node 20 and Wasmtime; each program", "1.04; 1.10", _c_programs(1.04, 1.10)),
    Target("code added in the worst case, `balanced`, of Binaryen's -O1", "0.35", _size("balanced", 0.35)),
    Target("the same, `size`", "0.28", _size("size", 0.28)),
    Target("CPU time of the transformation, of Binaryen's", "1/30", _transformation(30)),
    Target(
        "QuickJS recursion depth after tier-up, Node 20, of the original's: never suspended / every frame resumed once",
        "0.75 / 0.35",
        _recursion(0.75, 0.35),
    ),
    Target(
        "suspend and resume at depth 10 / 1000, Node 20, microseconds", "0.5 / 6", _suspending({10: 0.5, 1000: 6.0})
    ),
)
