"""What the report takes from the running half of the benchmarks: its tables and drawings, and the `--optimize` levels.

`benchmarks.running` is imported only where its figures are there.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.tables import OPTIMIZE, table


def running_tables(facts: dict[str, Any]) -> str:
    """Return the tables of running, as their own module writes them."""
    return str(importlib.import_module("benchmarks.running.report").tables(facts))


def write_running_plots(facts: dict[str, Any], folder: Path) -> str:
    """Draw the figures of running, in files of that folder; return the pictures for the page."""
    written: list[Path] = importlib.import_module("benchmarks.running.report").write_plots(facts, folder) or []
    return "".join(f"![{path.stem}]({path.name})\n\n" for path in written)


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
