"""The demo: SQLite, compiled without any thought of pausing, is suspended and resumed thousands of times in mid-query.

Instruments the build of SQLite in the npm package wa-sqlite that cannot be suspended, and runs it in Node on a file
system whose every method waits for a timer. Needs the npm packages of the repository and Node 20 or later.
Run it as `python examples/sqlite_demo/run.py`, or `make demo`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import caesura

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
SQLITE = REPOSITORY / "node_modules" / "wa-sqlite" / "dist" / "wa-sqlite.wasm"
TARGET = REPOSITORY / "build" / "demo" / "wa-sqlite.caesura.wasm"

TERMINAL = sys.stdout.isatty()
COLOURS = TERMINAL and "NO_COLOR" not in os.environ
BAR = 30


def paint(code: str, text: str) -> str:
    """Return the text in a colour, where there are colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if COLOURS else text


def head(text: str) -> None:
    """Print the headline of a part."""
    print(f"\n{paint('1;36', text)}\n")


def fact(name: str, value: str) -> None:
    """Print one line of facts."""
    print(f"  {paint('2', f'{name:<14}')}{value}")


def show_progress(phase: str, done: int, total: int) -> None:
    """Draw a progress bar over the current line."""
    if TERMINAL:
        filled = BAR * done // max(total, 1)
        print(f"\r  {'█' * filled}{'░' * (BAR - filled)} {phase}\x1b[K", end="", flush=True)


def clear_progress() -> None:
    """Remove the progress bar."""
    if TERMINAL:
        print("\r\x1b[K", end="", flush=True)


def instrument() -> None:
    """Instrument SQLite for the worst case, in which every import and every indirect call may suspend, and say so."""
    head("1. Instrument SQLite")
    fact("module", str(SQLITE.relative_to(REPOSITORY)))
    result = caesura.instrument(SQLITE.read_bytes(), caesura.Options(), show_progress)
    clear_progress()
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(result.module)
    growth = 100 * (result.bytes_after - result.bytes_before) / result.bytes_before
    fact(
        "functions",
        f"{result.instrumented:,} of {len(result.functions):,} instrumented, {result.sites:,} call sites",
    )
    fact("bytes", f"{result.bytes_before:,} before, {result.bytes_after:,} after (+{growth:.0f} %)")
    fact("seconds", f"{result.seconds:.2f}")


def run(node: str) -> dict[str, Any]:
    """Run the demo's JavaScript, show its steps as they come, and return what it says at its end."""
    head("2. Run it in Node, on files that answer only after a timer")
    command = [node, str(HERE / "demo.mjs"), str(SQLITE), str(TARGET)]
    print(f"  {paint('2', ' ' * 44 + 'suspensions')}")
    shown: list[dict[str, Any]] = []
    end: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "end":
                end = event
            else:
                print(f"  {event['title']:<44}{event['suspensions']:>11,}", flush=True)
                if "rows" in event:
                    shown.append(event)
    if process.returncode != 0 or not end:
        sys.exit(f"\nnode ended with {process.returncode} before the demo was over")
    for event in shown:
        head(f"   {event['title']}:")
        table(event["columns"], event["rows"])
    return end


def table(columns: list[str], rows: list[list[Any]]) -> None:
    """Print the result of a query."""
    cells = [[f"{cell:,.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [columns, *cells]
    for number, line in enumerate(lines):
        text = "   ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print(f"     {paint('2', text) if number == 0 else text}")


def summary(end: dict[str, Any]) -> bool:
    """Print what happened, and return whether it is what should happen."""
    head("3. What happened")
    busiest = sorted(end["byMethod"].items(), key=lambda item: -item[1])[:4]
    fact("suspensions", f"{end['suspensions']:,} in {end['seconds']:.2f} s, all survived")
    fact("", ", ".join(f"{name} {count:,}" for name, count in busiest) + ", ...")
    fact("event loop", f"free throughout: another timer of the same Node ran {end['beats']:,} times meanwhile")
    for name, same in (("results", end["sameResults"]), ("database file", end["sameFile"])):
        size = f"{end['rows']:,} rows" if name == "results" else f"{end['fileBytes']:,} bytes"
        verdict = paint("1;32", "equal to") if same else paint("1;31", "DIFFERENT from")
        fact(name, f"{size}, {verdict} those of the build that cannot be suspended (SQLite {end['version']})")
    print()
    return bool(end["sameResults"] and end["sameFile"] and end["suspensions"] > 1000)


def main() -> int:
    """Run the demo."""
    node = shutil.which("node")
    if node is None:
        sys.exit("the demo needs Node 20 or later on the path")
    if not SQLITE.is_file():
        sys.exit(f"the demo needs the npm packages: run `npm ci --ignore-scripts` in {REPOSITORY}")
    print(paint("1", "caesura: SQLite, suspended in mid-query"))
    instrument()
    return 0 if summary(run(node)) else 1


if __name__ == "__main__":
    sys.exit(main())
