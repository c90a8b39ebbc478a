"""How many bytes of code instrumenting adds: caesura's `--optimize` levels against Binaryen's -O1 and -O3.

Each program is instrumented for the worst case (every import may suspend, and every call through a table but those that
caesura proves not to), with a list of the imports that may suspend, and with calls through tables ignored. Sizes are
those of the code section. Binaryen's are of the npm package's output, which is kept (benchmarks/binaryen.py); what is
missing is made first, on all cores.

    python -m benchmarks.size [--only NAME ...] [--patient | --keep-binaryen]

With `--keep-binaryen` its sizes are those of docs/size.json, for programs that are the same as then and the same
Binaryen: its output depends on nothing else, and takes an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from benchmarks.binaryen import NO_ASYNCIFY, npm_output, output_path
from benchmarks.facts import BUILD, REPOSITORY, caesura_versions, heading, load, merge, save, say, show, today
from benchmarks.programs import MODES, REAL, Program, c_programs, code_size, package_version
from benchmarks.running.builds import binaryen_version

OPTIMIZE: Final = ("size", "balanced", "speed")
LEVELS: Final = ("-O1", "-O3")
_LARGE: Final = 5_000_000

Job = tuple[Program, str, str]


def main() -> int:
    """Measure and write docs/size.json."""
    arguments = _arguments()
    programs = [program for program in [*REAL, *c_programs()] if _is_chosen(program, arguments.only)]
    jobs = [(program, level, mode) for program in programs for level in LEVELS for mode in MODES]
    jobs += [(program, "-O1", NO_ASYNCIFY) for program in programs if program.package == "C"]
    old = load("size") or {"programs": [], "c_programs": []}
    if arguments.keep_binaryen:
        entries = [_measured_again(program, old) for program in programs]
    else:
        _make([job for job in jobs if _is_wanted(job, patient=arguments.patient)])
        entries = [_measure(program) for program in programs]
    facts = {
        **heading("make bench ONLY=size"),
        "versions": {**caesura_versions(), "npm binaryen": binaryen_version()},
        "programs": merge(old["programs"], entries, [program.name for program in REAL]),
        "c_programs": merge(old["c_programs"], entries, [program.name for program in c_programs()]),
    }
    save("size", facts)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", action="append", help="measure this program only, or `c` for the C programs")
    parser.add_argument(
        "--patient",
        action="store_true",
        help="make Binaryen's -O3 output of large programs too, which takes about half an hour for each mode of PHP; "
        "else it is taken only where it was made before",
    )
    parser.add_argument(
        "--keep-binaryen",
        action="store_true",
        help="measure caesura's sizes only, and keep Binaryen's of programs that have not changed since",
    )
    return parser.parse_args()


def _is_chosen(program: Program, names: list[str] | None) -> bool:
    return not names or program.file_name in names or (program.package == "C" and "c" in names)


def _is_wanted(job: Job, *, patient: bool) -> bool:
    """Tell whether an output of Binaryen is missing, and worth the time that making it takes."""
    program, level, _ = job
    return not output_path(*job).is_file() and (patient or level == "-O1" or code_size(program.path) < _LARGE)


def _make(jobs: list[Job]) -> None:
    """Make outputs of npm's Binaryen, as many at once as there are cores."""

    def make(job: Job) -> None:
        program, level, mode = job
        npm_output(*job)
        say(f"{program.name}: Binaryen {level}, {mode}: made")

    if jobs:
        say(f"{len(jobs)} outputs of npm's Binaryen are to be made; the largest take a quarter of an hour each")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(make, jobs):
            pass


def _measure(program: Program) -> dict[str, Any]:
    """Return the sizes of a program's code in every mode."""
    optimized = code_size(output_path(program, "-O1", NO_ASYNCIFY)) if program.package == "C" else None
    binaryen: dict[str, dict[str, int | None]] = {}
    for mode in MODES:
        paths = {level: output_path(program, level, mode) for level in LEVELS}
        binaryen[mode] = {level: code_size(path) if path.is_file() else None for level, path in paths.items()}
    return _entry(program, optimized, binaryen)


def _measured_again(program: Program, old: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes of a program's code, Binaryen's as they were measured before."""
    known = [item for item in old["programs"] + old["c_programs"] if item["name"] == program.name]
    version = old.get("versions", {}).get("npm binaryen")
    if not known or known[0]["original"] != code_size(program.path) or version != binaryen_version():
        raise SystemExit(f"{program.name} or Binaryen has changed since docs/size.json was written: measure both")
    return _entry(program, known[0]["optimized"], {mode: known[0]["modes"][mode]["binaryen"] for mode in MODES})


def _entry(program: Program, optimized: int | None, binaryen: dict[str, dict[str, int | None]]) -> dict[str, Any]:
    """Return the sizes of a program's code in every mode; `optimized` is that of Binaryen's output without Asyncify."""
    entry: dict[str, Any] = {
        "name": program.name,
        "package": program.package,
        "version": "" if program.package == "C" else package_version(program),
        "date": today(),
        "original": code_size(program.path),
        "optimized": optimized,
        "modes": {},
    }
    for mode in MODES:
        show(f"{program.name}: caesura, {mode}")
        summaries = {optimize: _instrument(program, mode, optimize) for optimize in OPTIMIZE}
        entry["modes"][mode] = {
            "functions": summaries["balanced"]["functions"],
            "instrumented": summaries["balanced"]["instrumented"],
            "sites": summaries["balanced"]["sites"],
            "caesura": {optimize: summary["code_after"] for optimize, summary in summaries.items()},
            "binaryen": binaryen[mode],
        }
    say(f"{program.name}: sizes measured")
    return entry


def _instrument(program: Program, mode: str, optimize: str) -> dict[str, Any]:
    """Return what caesura says of a run."""
    out = BUILD / f"{program.file_name}.caesura.wasm"
    command = [sys.executable, "-m", "caesura", "instrument", str(program.path), "-o", str(out), "--json"]
    # Numbers stay as a linker padded them: what their shortest forms save is nothing that instrumenting adds.
    command += [f"--optimize={optimize}", "--keep-padding", *program.caesura_arguments(mode)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


if __name__ == "__main__":
    sys.exit(main())
