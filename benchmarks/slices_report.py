"""The results of the time slices' benchmark: as JSON, and as the table in docs/slices.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from benchmarks.markdown import put_into, table

MARK: Final = "benchmarks"


def write_results(folder: Path | None, facts: dict[str, Any]) -> str:
    """Write the results into a folder, if any; return the table. Raises ValueError if slices.md has no place for it."""
    text = costs(facts)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "benchmarks-slices.json").write_text(json.dumps(facts, indent=2) + "\n")
        page = folder / "slices.md"
        if page.is_file():
            put_into(page, MARK, text)
    return text


def costs(facts: dict[str, Any]) -> str:
    """Return the table of costs, and what it was measured with."""
    guests = f"{facts['guests']:,}"
    slice_ms = f"{facts['time_slice'] * 1000:g}"
    rows = [
        (
            f"delay of timers while half of {guests} guests loop for ever, 99th percentile, in slices of {slice_ms} ms",
            f"{facts['late_99']:.2f}",
            "2",
        ),
        ("the same, median", f"{facts['late_median']:.2f}", ""),
        (
            f"throughput of {guests} computing guests, of the same work one after the other without slices",
            f"{facts['one_by_one_s'] / facts['at_once_s']:.2f}",
            "0.9",
        ),
        (f"a pause and resumption at a depth of {facts['depth']}", f"{facts['pause_us']:.1f} us", "15 us"),
        ("`await call` of a guest with slices", f"{facts['sliced_us']:.1f} us", ""),
        ("the same without", f"{facts['plain_us']:.1f} us", ""),
        ("`call_nowait` of a guest with slices", f"{facts['sliced_nowait_us']:.1f} us", ""),
        ("the same without", f"{facts['plain_nowait_us']:.1f} us", ""),
    ]
    versions = "; ".join(facts["versions"].values())
    return f"{versions}.\n\n" + table(["what", "measured", "to reach"], rows)
