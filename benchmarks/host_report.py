"""The results of the host's benchmarks: as JSON, and as the table of costs in docs/host.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from benchmarks.markdown import put_into, table

MARK: Final = "benchmarks"


def write_results(folder: Path | None, facts: dict[str, Any]) -> str:
    """Write the results into a folder, if any; return what a terminal shows.

    Raises ValueError if the folder's host.md has no place for the table.
    """
    text = costs(facts)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "benchmarks-host.json").write_text(json.dumps(facts, indent=2) + "\n")
        page = folder / "host.md"
        if page.is_file():
            put_into(page, MARK, text)
    return f"{json.dumps(facts, indent=2)}\n\n{text}"


def costs(facts: dict[str, Any]) -> str:
    """Return the table of costs, and what it was measured with."""

    def time(name: str) -> str:
        return f"{facts[name]:.1f} us"

    def ratio(name: str, other: str) -> str:
        return f"{facts[name] / facts[other]:.2f}"

    rows = [
        ("bare `await asyncio.sleep(0)` in a coroutine", time("bare_await_us"), ""),
        ("suspend and resume, above the bare await", time("suspension_us"), "15 us"),
        (f"the same, {facts['public_api_of']}, through wasmtime-py's public API", time("public_api_us"), ""),
        ("suspend and resume a program with a C stack", time("suspension_with_c_stack_us"), ""),
        ("a call of one that is suspended once", time("call_with_one_suspension_us"), ""),
        ("a call through wasmtime-py", time("wasmtime_call_us"), ""),
        ("the same with `call_nowait`", time("call_nowait_us"), ""),
        ("the same with `await call`", time("call_us"), ""),
        ("... of a function that may suspend", time("call_that_may_suspend_us"), ""),
        ("... in a program with a C stack", time("call_that_may_suspend_with_c_stack_us"), ""),
        (
            "the dearest of these, of wasmtime-py's",
            ratio("call_that_may_suspend_with_c_stack_us", "wasmtime_call_us"),
            "1.3",
        ),
        (f"load and suspend one guest of {facts['guests']:,}", f"{facts['load_and_suspend_us']:.0f} us", ""),
        ("resident memory of each, all suspended", f"{facts['bytes_per_guest'] / 1e3:.1f} KB", "150 KB"),
        (
            f"resident memory of each of {facts['calls_in_one_guest']:,} calls suspended in one guest",
            f"{facts['bytes_per_call'] / 1e3:.1f} KB",
            "",
        ),
        (
            f"growth of a process over {facts['suspensions']:,} suspensions, after as many",
            f"{facts['growth_bytes'] / 1e3:.0f} KB",
            "0",
        ),
    ]
    versions = "; ".join(facts["versions"].values())
    return f"{versions}. Medians of {facts['rounds']} rounds.\n\n" + table(["what", "measured", "to reach"], rows)
