"""What a list brings: code and running time of SQLite and QuickJS, instrumented for the worst case, for a list of the
imports that may suspend, and by a recorded list.

What the tests of both programs do is recorded (`caesura record`) under the JavaScript of their packages, which suspends
them at every call that it can; nothing is suspended where time is measured. The modules of a program take turns in one
process (benchmarks/running).

    python -m benchmarks.lists [--rounds N] [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.facts import BUILD, REPOSITORY, caesura_versions, heading, save, say, show
from benchmarks.markdown import table
from benchmarks.programs import IMPORT_LIST, REAL, WORST, Program, code_size, package_version
from benchmarks.running.comparing import overheads
from benchmarks.running.engines import nodes
from benchmarks.running.session import LEAST_MILLISECONDS, QUICK_MILLISECONDS

RECORDED: Final = "recorded list"
RECORDED_FOR_SPEED: Final = "recorded list, speed"
_ORIGINAL: Final = "original"
_FOLDER: Final = BUILD / "lists"
_DRIVERS: Final = REPOSITORY / "tests" / "real" / "node"
# How much of what benchmarks.running measures is run; the ratios are the same.
_SCALE: Final = 0.25
_QUICK_SCALE: Final = 0.02


@dataclass(frozen=True)
class _Recorded:
    """A program, what its tests' driver is told to suspend all that it can, and what measures its running time."""

    program: Program
    driver: tuple[str, ...]
    runner: str


_RECORDED: Final = (
    _Recorded(REAL[0], ("sqlite.mjs", "instrumented", "{module}", "files", "all"), "sqlite"),
    _Recorded(REAL[1], ("quickjs.mjs", "instrumented", "{module}", "100", "0"), "quickjs"),
)


def main() -> int:
    """Measure and write docs/lists.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lists", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure running time (default: 5)")
    parser.add_argument("--quick", action="store_true", help="run everything for a moment only, and write nothing")
    arguments = parser.parse_args()
    _FOLDER.mkdir(parents=True, exist_ok=True)
    programs = [_measure(recorded, arguments.rounds, quick=arguments.quick) for recorded in _RECORDED]
    versions = {**caesura_versions(), "Node": " and ".join(engine.version for engine in nodes())}
    facts = {**heading("make bench ONLY=lists"), "versions": versions, "rounds": arguments.rounds, "programs": programs}
    if arguments.quick:
        say(lists_table(facts))
    else:
        save("lists", facts)
    return 0


def lists_table(facts: dict[str, Any]) -> str:
    """Return a line for each program and mode: what is instrumented, what is added, and how long it runs."""
    rows: list[list[str]] = []
    engines = list(facts["programs"][0]["time"])
    for program in facts["programs"]:
        for mode, sizes in program["modes"].items():
            added = sizes["code"] - program["original"]
            rows.append(
                [
                    f"{program['name']}, {mode}",
                    f"{sizes['instrumented']:,} of {sizes['functions']:,}",
                    f"{sizes['sites']:,}",
                    f"{added:,} ({added / program['original']:+.1%})",
                    *[_spread(program["time"][engine][mode]) for engine in engines],
                ]
            )
    return table(
        ["program, mode", "functions", "sites", "added code", *[f"time, {engine}" for engine in engines]], rows
    )


def _measure(recorded: _Recorded, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Return what each way to instrument a program adds to it, and how long it runs."""
    program = recorded.program
    modes: dict[str, Any] = {}
    files = {_ORIGINAL: str(program.path)}
    flags = {mode: program.caesura_arguments(mode) for mode in (WORST, IMPORT_LIST)}
    flags[RECORDED] = ["--only-list", f"@{_record(recorded)}"]
    flags[RECORDED_FOR_SPEED] = [*flags[RECORDED], "--optimize=speed"]
    for mode, arguments in flags.items():
        show(f"{program.name}: {mode}")
        path = _FOLDER / f"{program.file_name}.{mode.replace(',', '').replace(' ', '-')}.wasm"
        summary = _instrument(program, path, arguments)
        modes[mode] = {key: summary[key] for key in ("functions", "instrumented", "sites")}
        modes[mode]["code"] = summary["code_after"]
        files[mode] = str(path)
    request = {
        "scale": _QUICK_SCALE if quick else _SCALE,
        "leastMilliseconds": QUICK_MILLISECONDS if quick else LEAST_MILLISECONDS,
        "files": files,
    }
    time: dict[str, Any] = {}
    for engine in nodes():
        taken: list[Any] = []
        for turn in range(rounds):
            show(f"{program.name} in {engine.name}: round {turn + 1} of {rounds}")
            taken.append(engine.run(recorded.runner, request))
        time[engine.name] = overheads(taken, _ORIGINAL)["mean"]
    say(f"{program.name}: measured")
    return {
        "name": program.name,
        "version": package_version(program),
        "original": code_size(program.path),
        "modes": modes,
        "time": time,
    }


def _record(recorded: _Recorded) -> Path:
    """Return the list that a run of the tests' driver gives."""
    program = recorded.program
    show(f"{program.name}: recording")
    module, out = _FOLDER / f"{program.file_name}.recording.wasm", _FOLDER / f"{program.file_name}.txt"
    _instrument(program, module, ["--record"])
    name, *words = recorded.driver
    command = ["node", str(_DRIVERS / name), *[word.format(module=module) for word in words]]
    arguments = ["record", "-o", str(out), "--module", str(program.path), "--quiet", "--", *command]
    subprocess.run([sys.executable, "-m", "caesura", *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    return out


def _instrument(program: Program, path: Path, arguments: list[str]) -> dict[str, Any]:
    """Return what caesura says of a run. Numbers stay as a linker padded them, which are nothing that it adds."""
    command = [sys.executable, "-m", "caesura", "instrument", str(program.path), "-o", str(path), "--json"]
    command += ["--keep-padding", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def _spread(values: list[float]) -> str:
    median, least, most = values
    return f"{median:.2f} ({least:.2f} to {most:.2f})"


if __name__ == "__main__":
    sys.exit(main())
