"""The results as a page of Markdown tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_HEAD = """\
# Benchmarks

Written by `make bench`. Every import and every call through a table may suspend. Sizes are bytes of the code section.
Binaryen's output is that of the npm package; its time and memory are those of a native build, where that takes the
input. Time is CPU time, memory the peak, both of the whole process, medians of up to {rounds} rounds.

{versions}
- Machine: {machine}

![Code added and CPU time, compared with Binaryen](benchmarks.svg)

"""


def write_report(path: Path, facts: dict[str, Any]) -> str:
    """Write the page; return its tables."""
    versions = "\n".join(f"- {name}: {version}" for name, version in facts["versions"].items())
    tables = f"## Size\n\n{_size_table(facts['programs'])}\n## Cost\n\n{_cost_table(facts['programs'])}"
    path.write_text(_HEAD.format(rounds=facts["rounds"], versions=versions, machine=facts["machine"]) + tables)
    return tables


def _size_table(programs: list[dict[str, Any]]) -> str:
    lines = [
        "| program | original | Binaryen | caesura | added, of what Binaryen adds |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for program in programs:
        original = program["original"]
        lines.append(
            f"| {program['name']} | {original:,} | {_grown(program['binaryen'], original)} "
            f"| {_grown(program['caesura'], original)} "
            f"| {(program['caesura'] - original) / (program['binaryen'] - original):.2f} |"
        )
    return "\n".join(lines) + "\n"


def _grown(size: int, original: int) -> str:
    return f"{size:,} ({(size - original) / original:+.0%})"


def _cost_table(programs: list[dict[str, Any]]) -> str:
    lines = [
        "| program | Binaryen, native | caesura, compiled | interpreted | time, memory: compiled | interpreted |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    notes: list[str] = []
    for program in programs:
        costs = program["costs"]
        native = costs.get("native")
        cells = [_cost(costs.get(name)) for name in ("native", "compiled", "interpreted")]
        ratios = [_ratio(native, costs.get(name)) for name in ("compiled", "interpreted")]
        lines.append(f"| {program['name']} | {' | '.join([*cells, *ratios])} |")
        if program["native_refusal"]:
            notes.append(f"The native Binaryen does not take {program['name']}: {program['native_refusal']}")
    return "\n".join([*lines, "", *notes]) + ("\n" if notes else "")


def _cost(cost: dict[str, float] | None) -> str:
    return f"{cost['seconds']:.2f} s, {cost['memory'] / 1e6:.0f} MB" if cost else "-"


def _ratio(native: dict[str, float] | None, cost: dict[str, float] | None) -> str:
    if native is None or cost is None:
        return "-"
    return f"1/{native['seconds'] / cost['seconds']:.0f}, 1/{native['memory'] / cost['memory']:.1f}"
