"""What was measured, as Markdown: a summary with one row for each figure, then tables with every part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.markdown import table
from benchmarks.running.builds import BINARYEN, ORIGINAL, VARIANTS
from benchmarks.running.comparing import Spread

_OTHERS = [variant.name for variant in VARIANTS if variant is not ORIGINAL]
_NONE = "-"


def summary(facts: dict[str, Any]) -> str:
    """Return one table with the overall figures of everything that was measured, and the notes."""
    rows = [
        *([f"{one['program']}, {one['engine']}", *_spreads(one["mean"])] for one in facts.get("run_time", [])),
        *(
            [f"{one['program']}, the slowest part, {one['engine']}", *_slowest(one["overhead"])]
            for one in facts.get("run_time", [])
            if one["program"] == "C programs"
        ),
        *(
            [f"SQLite over asynchronous files, of Binaryen's, {one['engine']}", *_spreads(_with_base(one))]
            for one in facts.get("asynchronous_files", [])
        ),
        *(
            [f"QuickJS recursion {one['state']}, {what}, of the original's, {one['engine']}", *_depth_shares(one, key)]
            for one in facts.get("recursion", [])
            for key, what in (("never", "never suspended"), ("resumed", "every frame resumed once"))
        ),
    ]
    return table(["figure", *_OTHERS], rows) + _notes(facts) if rows else _notes(facts)


def tables(facts: dict[str, Any]) -> str:
    """Return all tables, with what they say."""
    sections = [
        f"## Run time, suspending and engines\n\n{_head(facts)}\n{summary(facts)}",
        *map(_run_time, facts.get("run_time", [])),
        _asynchronous_files(facts.get("asynchronous_files", [])),
        _suspending(facts.get("suspending", [])),
        _compiling(facts.get("compiling", [])),
        _recursion(facts.get("recursion", [])),
        _warming(facts.get("warming", [])),
    ]
    return "\n".join(section for section in sections if section)


_HEAD = """\
Measured on {date} with {machine}, in {rounds} rounds, the variants taking turns in each. Times are
processor time of the thread that runs the program, after V8's compilers have come to rest. A figure is the median over
the rounds, with the least and the greatest. `size`, `balanced` (the default) and `speed` are what `--optimize` says.
Both tools assume that every import and every call through a table may suspend (but for calls that caesura proves not
to), except for PHP, where both have its import list. Run times are multiples of the original's.
"""


def _head(facts: dict[str, Any]) -> str:
    versions = "".join(f"- {name}: {version}\n" for name, version in facts["versions"].items())
    return f"{_HEAD.format(**facts)}\n{versions}"


def _run_time(one: dict[str, Any]) -> str:
    rows = [
        [part, f"{milliseconds[0]:.1f}", *(_ratio(one["overhead"].get(name, {}).get(part)) for name in _OTHERS)]
        for part, milliseconds in one["milliseconds"].items()
    ]
    rows.append(["geometric mean", "", *_spreads(one["mean"])])
    return f"### {one['program']} in {one['engine']}, never suspended\n\n" + table(
        ["part", "original, ms", *_OTHERS], rows
    )


def _asynchronous_files(results: Sequence[dict[str, Any]]) -> str:
    rows = [
        [one["engine"], f"{milliseconds[0]:.1f}", *_spreads(_with_base(one))]
        for one in results
        for milliseconds in one["milliseconds"].values()
    ]
    suspensions = results[0]["suspensions"] if results else 0
    text = f"Total time, as multiples of that of {BINARYEN.name}; SQLite is suspended {suspensions:,} times.\n\n"
    lines = table(["engine", f"{BINARYEN.name}, ms", *_OTHERS], rows)
    return _section("SQLite over asynchronous files", text + lines, rows)


def _suspending(results: Sequence[dict[str, Any]]) -> str:
    rows = []
    for one in results:
        variants = list(one["microseconds"])
        rows += [
            [one["engine"], *part.split(), *(_duration(one["microseconds"][name][part]) for name in variants)]
            for part in one["microseconds"][variants[0]]
        ]
    names = list(results[0]["microseconds"]) if results else []
    sizes: dict[str, dict[str, int]] = next((one["bytes"] for one in results if "bytes" in one), {})
    size_rows = [
        [*part.split(), *(f"{sizes[name][part]:,}" for name in names)] for part in next(iter(sizes.values()), {})
    ]
    text = (
        "Microseconds for one suspension and resumption of the whole stack, through the plain ABI. Small frames hold\n"
        "one value that is used afterwards, large ones seven of four types.\n\n"
        + table(["engine", "frames", "depth", *names], rows, texts=2)
        + "\nBytes of asyncify stack that it takes:\n\n"
        + table(["frames", "depth", *names], size_rows)
    )
    return _section("Suspending and resuming", text, rows)


def _compiling(results: Sequence[dict[str, Any]]) -> str:
    names = list(results[0]["milliseconds"]) if results else []
    rows = [
        [one["program"], one["engine"], *(f"{one['milliseconds'][name][0]:,.0f}" for name in names)] for one in results
    ]
    code_rows = [
        [one["program"], one["engine"], *(f"{one['machine_code'][name] / 1e3:,.0f}" for name in names)]
        for one in results
        if one["machine_code"]
    ]
    text = (
        "Milliseconds of processor time to compile the whole module:\n\n"
        + table(["program", "engine", *names], rows, texts=2)
        + "\nMachine code, thousand bytes (V8's as serialised, with relocations):\n\n"
        + table(["program", "engine", *names], code_rows, texts=2)
    )
    return _section("Compiling", text, rows)


def _recursion(results: Sequence[dict[str, Any]]) -> str:
    names = [variant.name for variant in VARIANTS]
    rows = [
        [one["engine"], one["state"], what, *(_number(one["depth"].get(name, {}).get(key)) for name in names)]
        for one in results
        for key, what in (("never", "never suspended"), ("resumed", "every frame resumed once"))
    ]
    text = "How deep a function of a script can recurse on V8's default stack:\n\n" + table(
        ["engine", "code", "stack", *names], rows, texts=3
    )
    return _section("QuickJS: native stack", text, rows)


def _warming(results: Sequence[dict[str, Any]]) -> str:
    names = list(results[0]["milliseconds"]) if results else []
    rows = [
        [one["program"], one["engine"], *(_duration(one["milliseconds"].get(name), 0) for name in names)]
        for one in results
    ]
    lines = table(["program", "engine", *names], rows, texts=2)
    return _section("Warming up", f"Milliseconds for the first run of all parts in a new process:\n\n{lines}", rows)


def _section(title: str, text: str, rows: Sequence[object]) -> str:
    return f"### {title}\n\n{text}" if rows else ""


def _notes(facts: dict[str, Any]) -> str:
    return "".join(f"\n**{note}**\n" for note in facts.get("notes", []))


def _with_base(one: dict[str, Any]) -> dict[str, Spread]:
    return {**one["mean"], one["base"]: [1.0, 1.0, 1.0]}


def _spreads(figures: dict[str, Spread]) -> list[str]:
    return [_ratio(figures.get(name)) for name in _OTHERS]


def _slowest(overhead: dict[str, dict[str, Spread]]) -> list[str]:
    """Return for each variant the part with the greatest median."""
    cells = []
    for name in _OTHERS:
        parts = overhead.get(name)
        part = max(parts, key=lambda each: overhead[name][each][0]) if parts else ""
        cells.append(f"{_ratio(overhead[name][part])} {part}" if part else _NONE)
    return cells


def _depth_shares(one: dict[str, Any], key: str) -> list[str]:
    original = one["depth"][ORIGINAL.name]["never"]
    depths = [one["depth"].get(name, {}).get(key) for name in _OTHERS]
    return [_NONE if depth is None else f"{depth / original:.2f}" for depth in depths]


def _ratio(figure: Spread | None) -> str:
    if figure is None:
        return _NONE
    median, least, greatest = figure
    return f"{median:.2f}" if least == greatest else f"{median:.2f} ({least:.2f}-{greatest:.2f})"


def _duration(figure: Spread | None, digits: int = 2) -> str:
    if figure is None:
        return _NONE
    median, least, greatest = figure
    return f"{median:,.{digits}f} ({least:,.{digits}f}-{greatest:,.{digits}f})"


def _number(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}"
