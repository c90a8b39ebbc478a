"""The results of the benchmark of saved states: as JSON, and as the tables in docs/snapshots.md and docs/fleet.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from benchmarks.markdown import put_into, table

# In each page, the mark of its table.
_HEAD: Final = ("what", "measured", "to reach")


def write_results(folder: Path, facts: dict[str, Any]) -> str:
    """Write the results into a folder; return what a terminal shows. Raises ValueError for pages without a place."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "snapshots.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    tables = {"snapshots": figures(facts), "fleet": fleet_costs(facts)}
    for name, text in tables.items():
        page = folder / f"{name}.md"
        if page.is_file():
            put_into(page, name, text)
    return "\n".join(tables.values())


def figures(facts: dict[str, Any]) -> str:
    """Return the table of what saved states cost."""

    def ms(*names: str) -> str:
        return f"{sum(facts[name] for name in names):.2g} ms"

    def kilobytes(name: str) -> str:
        return f"{facts[name] / 1e3:.1f} KB"

    def parts(first: str, second: str) -> str:
        return f"{facts[first] + facts[second]:.0f} ms ({facts[first]:.1f} + {facts[second]:.1f})"

    rows = [
        ("MicroPython paused in a call, twenty calls deep: the whole state", kilobytes("whole_bytes"), "50 KB"),
        ("... what has changed since the last question of a script", kilobytes("change_bytes"), "1 KB"),
        (
            "QuickJS of `quickjs-wasi`, in a comparator in a generator: the whole state",
            kilobytes("quickjs_bytes"),
            f"{kilobytes('quickjs_own_bytes')}, the package's own",
        ),
        ("fork of MicroPython, each of 1,000", ms("fork_ms"), "0.5 ms"),
        ("... resident memory of each", kilobytes("fork_bytes"), "40 KB"),
        ("fork of a guest with 64 MiB, each of 100", ms("large_fork_ms"), "1 ms"),
        ("... resident memory of each", kilobytes("large_fork_bytes"), "nothing copied"),
        ("restore MicroPython in a process that has the module", ms("restore_ms"), "1 ms"),
        ("... from bytes", ms("restore_bytes_ms"), ""),
        ("... in a new process, from its start until the guest has run on", f"{facts['process_ms']:.0f} ms", "250 ms"),
        ("... of that, after `import asyncio, wasmtime`", f"{facts['process_ours_ms']:.0f} ms", "50 ms"),
        ("... in Node 24, from bytes", ms("javascript_restore_ms"), "5 ms"),
        (
            f"... in Node {facts['older_node']:.0f}, which takes it with exceptions in their older form",
            ms("older_javascript_restore_ms"),
            "5 ms",
        ),
        (
            "snapshot of a guest with 64 MiB, a quarter of it used: whole (taken + as bytes)",
            parts("large_pause_ms", "large_bytes_ms"),
            "60 ms",
        ),
        (
            "... change of 1%, scattered over single pages (taken + as bytes)",
            parts("large_change_pause_ms", "large_change_bytes_ms"),
            "10 ms",
        ),
        (
            "one of its forks, of which 1% has changed: taken whole, and as a change of what it was forked from",
            f"{ms('fork_pause_ms')}, {ms('fork_change_pause_ms')}",
            "",
        ),
        (
            f"functions of MicroPython, of {facts['functions']:,}, with other code because it can be saved",
            f"{facts['changed_functions']:.0f}",
            "0",
        ),
    ]
    return _versions(facts) + table(_HEAD, rows)


def fleet_costs(facts: dict[str, Any]) -> str:
    """Return the table of what a guest costs that goes from machine to machine."""
    rows = [
        ("what goes to another machine", f"{facts['pickled_bytes'] / 1e3:.1f} KB"),
        ("making that of a snapshot", f"{facts['pickle_ms']:.2g} ms"),
        ("making a snapshot of that", f"{facts['unpickle_ms']:.2g} ms"),
        ("making a guest of that, in a process that has the module", f"{facts['restore_ms']:.2g} ms"),
        ("a step of Dask's that hands a snapshot on", f"{facts['empty_step_ms']:.1f} ms"),
        ("a step that restores the guest and saves it again", f"{facts['step_ms']:.1f} ms"),
    ]
    intro = "MicroPython, twenty calls deep in a script; two workers in one machine, whose steps overlap. "
    return intro + _versions(facts) + table(("what", "measured"), rows)


def _versions(facts: dict[str, Any]) -> str:
    versions = "; ".join(facts["versions"].values())
    return f"{versions}. {facts['machine']}. Processor time, the least of {facts['rounds']} rounds or more.\n\n"
