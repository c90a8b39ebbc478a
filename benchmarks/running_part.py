"""What the report takes from the running half of the benchmarks: tables, drawings, and the `--optimize` levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks.markdown import table
from benchmarks.running.plots import write_plots
from benchmarks.running.tables import tables
from benchmarks.tables import OPTIMIZE

_TITLES: Final = {
    "running": "Time of programs that are never suspended, as multiples of the originals'",
    "suspending": "Microseconds to suspend and resume, by the depth of the stack",
    "recursion": "How deep scripts recurse in QuickJS",
}


def running_section(facts: dict[str, Any], folder: Path) -> str:
    """Return the tables of running, and their drawings, which are written into the folder."""
    pictures = "".join(f"![{_TITLES[path.stem]}]({path.name})\n\n" for path in write_plots(facts, folder))
    head, _, rest = tables(facts).partition("\n\n")
    return f"{head}\n\n{pictures}{rest}"


def running_optimize_table(facts: dict[str, Any]) -> str:
    """Return the time that programs take at each level of `--optimize`, as multiples of the originals'."""
    levels = [*OPTIMIZE, "Binaryen -O1"]
    rows = [
        [
            f"{entry['program']}, {entry['engine']}",
            *[_spread(entry["mean"][level]) if level in entry["mean"] else "-" for level in levels],
        ]
        for entry in facts.get("run_time", [])
    ]
    head = ["program, engine", *[f"`{level}`" for level in OPTIMIZE], "Binaryen -O1"]
    words = "Running time without any suspension, the original's being 1 (median, least to most over the rounds):\n\n"
    return words + table(head, rows) if rows else ""


def _spread(values: list[float]) -> str:
    median, least, most = values
    return f"{median:.2f} ({least:.2f} to {most:.2f})"
