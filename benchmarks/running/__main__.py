"""The running half of the benchmarks: measure everything, or what `--only` names, and write running.json.

`python -m benchmarks.running [--rounds 5] [--only NAME] [--quick] [--cached] [--output docs]`. The tables are printed,
and the drawings written next to the facts.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.facts import processor
from benchmarks.running.asynchronous_files import measure_asynchronous_files
from benchmarks.running.builds import BUILD, REPOSITORY, NotBuilt, binaryen_version, caesura_version
from benchmarks.running.engine_costs import measure_compiling, measure_recursion, measure_warming
from benchmarks.running.engines import RunnerFailed, current_node, usual_node, wasmtime
from benchmarks.running.plots import write_plots
from benchmarks.running.run_time import measure_c_programs, measure_php, measure_quickjs, measure_sqlite
from benchmarks.running.session import Session
from benchmarks.running.suspending import measure_suspending
from benchmarks.running.tables import tables

PARTS: Final[dict[str, Callable[[Session], dict[str, Any]]]] = {
    "sqlite": measure_sqlite,
    "quickjs": measure_quickjs,
    "php": measure_php,
    "c": measure_c_programs,
    "files": measure_asynchronous_files,
    "suspending": measure_suspending,
    "compiling": measure_compiling,
    "recursion": measure_recursion,
    "warming": measure_warming,
}


def main() -> int:
    """Measure and write the results."""
    arguments = _arguments()
    try:
        facts = measure(arguments.only or list(PARTS), Session(arguments.rounds, arguments.quick, arguments.cached))
    except (NotBuilt, RunnerFailed) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    is_partial = arguments.only or arguments.quick
    folder = Path(arguments.output) if arguments.output else BUILD if is_partial else REPOSITORY / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "running.json").write_text(written(facts))
    write_plots(facts, folder)
    print(tables(facts))
    return 0


def measure(parts: list[str], session: Session) -> dict[str, Any]:
    """Return the facts of a run: what was measured with, and the results of the named parts."""
    facts: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "versions": {
            "caesura": caesura_version(),
            "npm binaryen": binaryen_version(),
            "Node": f"{usual_node().version} and {current_node().version}",
            "Wasmtime": wasmtime().version,
        },
        "machine": f"{processor()}, {platform.system()}",
        "rounds": session.rounds,
        "notes": session.notes,
        "seconds": {},
    }
    if session.is_quick:
        session.notes.append("QUICK: this run only shows that everything works; its figures mean nothing.")
    for part in parts:
        begun = time.monotonic()
        for key, results in PARTS[part](session).items():
            facts.setdefault(key, []).extend(results)
        facts["seconds"][part] = round(time.monotonic() - begun)
    return facts


def written(facts: dict[str, Any]) -> str:
    """Return facts as JSON with a line for each figure."""
    lines = json.dumps(facts, indent=1)
    return re.sub(r"\[\s+([-\d.e+,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.running", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often to run everything (default: 5)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="measure only this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="run everything for a moment only, to see that it works")
    parser.add_argument(
        "--cached",
        action="store_true",
        help="leave out what npm's Binaryen makes of PHP, unless it is in build/benchmarks: it takes half an hour",
    )
    parser.add_argument("--output", help="the folder for the results (default: docs; of a part, build/benchmarks)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
