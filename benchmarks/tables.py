"""The figures of size and transformation as Markdown tables."""

from __future__ import annotations

import math
from typing import Any, Final

from benchmarks.markdown import table
from benchmarks.programs import MODES, WORST

OPTIMIZE: Final = ("size", "balanced", "speed")


def size_rows(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the programs' sizes, with all C programs as one program whose code is theirs together."""
    rows = list(facts["programs"])
    programs = facts["c_programs"]
    if programs:
        total: dict[str, Any] = {
            "name": f"C ({len(programs)} programs)",
            "original": sum(program["original"] for program in programs),
            "optimized": sum(program["optimized"] for program in programs),
            "modes": {mode: _sum([program["modes"][mode] for program in programs]) for mode in MODES},
        }
        rows.append(total)
    return rows


def _sum(modes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums of what was counted in one mode; a size that is missing once is missing in the sum."""
    total: dict[str, Any] = {key: sum(mode[key] for mode in modes) for key in ("functions", "instrumented", "sites")}
    for tool in ("caesura", "binaryen"):
        sizes = {level: [mode[tool][level] for mode in modes] for level in modes[0][tool]}
        total[tool] = {level: None if None in found else sum(found) for level, found in sizes.items()}
    return total


def share(row: dict[str, Any], mode: str, optimize: str, level: str = "-O1") -> float | None:
    """Return the code that caesura adds as a share of what Binaryen adds, where that is known and not negative."""
    sizes = row["modes"][mode]
    other = sizes["binaryen"][level]
    if other is None or other <= row["original"]:
        return None
    return float((sizes["caesura"][optimize] - row["original"]) / (other - row["original"]))


def share_of_asyncify(row: dict[str, Any], mode: str, optimize: str) -> float | None:
    """Return the code that caesura adds as a share of what Asyncify itself adds to a program that -O1 has optimized.

    That is known of the C programs only.
    """
    sizes = row["modes"][mode]
    optimized, other = row["optimized"], sizes["binaryen"]["-O1"]
    if optimized is None or other is None or other <= optimized:
        return None
    return float((sizes["caesura"][optimize] - row["original"]) / (other - optimized))


def size_table(facts: dict[str, Any]) -> str:
    """Return a table with a line for each program and mode: what each tool adds, and caesura's share of Binaryen's."""
    head = ["program, mode", "functions", "sites", "code", "Binaryen -O1", "-O3", "caesura", "of -O1", "of -O3"]
    head.append("of Asyncify alone")
    rows: list[list[str]] = []
    for row in size_rows(facts):
        for mode in MODES:
            sizes = row["modes"][mode]
            rows.append(
                [
                    f"{row['name']}, {mode}",
                    f"{sizes['instrumented']:,} of {sizes['functions']:,}",
                    f"{sizes['sites']:,}",
                    f"{row['original']:,}",
                    *[_added(sizes["binaryen"][level], row["original"]) for level in ("-O1", "-O3")],
                    _added(sizes["caesura"]["balanced"], row["original"]),
                    *[_ratio(share(row, mode, "balanced", level)) for level in ("-O1", "-O3")],
                    _ratio(share_of_asyncify(row, mode, "balanced")),
                ]
            )
    return table(head, rows)


def c_size_table(facts: dict[str, Any]) -> str:
    """Return what is added to each C program in the worst case."""
    rows = []
    for program in facts["c_programs"]:
        sizes = program["modes"][WORST]
        shares = [share(program, WORST, "balanced"), share_of_asyncify(program, WORST, "balanced")]
        added = [_added(size, program["original"]) for size in (sizes["binaryen"]["-O1"], sizes["caesura"]["balanced"])]
        rows.append([program["name"], f"{sizes['sites']:,}", f"{program['original']:,}", *added, *map(_ratio, shares)])
    return table(["program", "sites", "code", "Binaryen -O1", "caesura", "of -O1", "of Asyncify alone"], rows)


def optimize_size_table(facts: dict[str, Any]) -> str:
    """Return what each level of `--optimize` adds in the worst case, and its share of Binaryen's -O1."""
    rows = []
    for row in size_rows(facts):
        sizes = row["modes"][WORST]["caesura"]
        cells = [f"{_percent(sizes[level], row['original'])}, {_ratio(share(row, WORST, level))}" for level in OPTIMIZE]
        binaryen = _percent(row["modes"][WORST]["binaryen"]["-O1"], row["original"])
        rows.append([row["name"], f"{row['original']:,}", *cells, binaryen])
    head = ["program", "code", *[f"`{level}`, of Binaryen's" for level in OPTIMIZE], "Binaryen -O1"]
    return table(head, rows)


def transform_table(facts: dict[str, Any]) -> str:
    """Return the cost of the transformation for each program and tool, and caesura's share of the native Binaryen's."""
    head = ["program", "code, MB", "caesura, compiled", "interpreted", "Binaryen, native", "CPU: compiled"]
    head += ["interpreted", "memory: compiled", "Binaryen, npm"]
    rows: list[list[str]] = []
    for program in _with_mean_of_c(facts["programs"]):
        costs = program["costs"]
        cells = [_cost(costs.get(name)) for name in ("compiled", "interpreted", "native")]
        cells += [_fraction(costs, name, "cpu") for name in ("compiled", "interpreted")]
        cells += [_fraction(costs, "compiled", "memory"), _cost(costs.get("npm"), with_wall=False)]
        code = f"{program['code'] / 1e6:.3f}" if program["code"] < 1e5 else f"{program['code'] / 1e6:.2f}"
        rows.append([program["name"], code, *cells])
    notes = [
        f"The native Binaryen does not take {program['name']}: {program['refusals']['native']}.\n"
        for program in facts["programs"]
        if "native" in program["refusals"]
    ]
    return table(head, rows) + "".join(f"\n{note}" for note in notes)


def _with_mean_of_c(programs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the programs with one in place of all C programs, whose code and costs are their means."""
    small = [program for program in programs if program["package"] == "C"]
    if not small:
        return programs
    costs: dict[str, Any] = {}
    for name in small[0]["costs"]:
        found = [program["costs"][name] for program in small if name in program["costs"]]
        costs[name] = {key: math.fsum(cost[key] for cost in found) / len(found) for key in found[0]}
    mean = {
        "name": f"C, mean of {len(small)} programs",
        "code": round(math.fsum(program["code"] for program in small) / len(small)),
        "costs": costs,
        "refusals": {},
    }
    first = programs.index(small[0])
    return [*programs[:first], mean, *(program for program in programs[first:] if program["package"] != "C")]


def _cost(cost: dict[str, Any] | None, *, with_wall: bool = True) -> str:
    """Return CPU seconds with their spread, wall seconds and memory."""
    if cost is None:
        return "-"
    spread = ""
    if cost["rounds"] > 1:
        away = max(cost["cpu_most"] - cost["cpu"], cost["cpu"] - cost["cpu_least"]) / cost["cpu"]
        spread = f" ±{away:.0%}"
    wall = f", {_seconds(cost['wall'])} s" if with_wall else ""
    return f"{_seconds(cost['cpu'])} s{spread}{wall}, {cost['memory'] / 1e6:.0f} MB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}"


def _fraction(costs: dict[str, Any], name: str, what: str) -> str:
    """Return a cost as one over how many times it fits into the native Binaryen's."""
    if "native" not in costs or name not in costs:
        return "-"
    times = costs["native"][what] / costs[name][what]
    return f"{1 / times:.1f}" if times < 1 else f"1/{times:.0f}" if times >= 10 else f"1/{times:.1f}"


def growth_table(facts: dict[str, Any]) -> str:
    """Return the fitted growth of each tool."""
    names = {"compiled": "caesura, compiled", "interpreted": "caesura, interpreted", "native": "Binaryen, native"}
    rows = [
        [
            label,
            f"{fit['points']}",
            f"{fit['exponent']:.2f}",
            f"{fit['seconds_per_megabyte']:.3f}",
            f"{fit['least_seconds_per_megabyte']:.3f} to {fit['most_seconds_per_megabyte']:.3f}",
            f"{fit['start']:.2f}",
        ]
        for name, label in names.items()
        if (fit := facts["fits"].get(name))
    ]
    return table(["", "programs", "exponent", "CPU s per MB of code", "least to most", "start, s"], rows)


def shapes_text(facts: dict[str, Any]) -> str:
    """Return how time grows for the extreme modules: the steepest ones, and how many there are."""
    shapes = sorted(facts["shapes"], key=lambda shape: -shape["exponent"])
    if not shapes:
        return ""
    mean = math.fsum(shape["exponent"] for shape in shapes) / len(shapes)
    rows = [
        [shape["name"], f"{shape['bytes']:,}", f"{shape['cpu']:.3f}", f"{shape['exponent']:.2f}"]
        for shape in shapes[:5]
    ]
    return (
        f"Of {len(shapes)} modules in which one construct is repeated thousands of times, as in\n"
        "tests/instrument/test_extremes.py, the exponents are "
        f"{mean:.2f} in the mean; these are the steepest:\n\n"
        + table(["module", "bytes", "CPU s", "exponent from a quarter to the whole"], rows)
    )


def _added(size: int | None, original: int) -> str:
    return "-" if size is None else f"{size - original:,} ({_percent(size, original)})"


def _percent(size: int | None, original: int) -> str:
    return "-" if size is None else f"{(size - original) / original:+.1%}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
