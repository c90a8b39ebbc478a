"""What the transformation costs: CPU time, wall clock and peak memory, over programs from 20 KB to 66 MB of code.

Everything may suspend: all imports and all calls through tables, the default of both tools. Costs are of whole
processes: of caesura in its compiled and its interpreted form, and of a native Binaryen (benchmarks/binaryen.py) with
`-O1 --asyncify`. All are run in turn, several rounds; medians count. What takes longer than 20 s runs once, and
Binaryen is not run on programs of more than 20 MB. An empty module shows what starting takes, which is taken off before
the growth is fitted (benchmarks/growth.py).

    python -m benchmarks.transform [--rounds N] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from benchmarks import binaryen
from benchmarks.facts import BUILD, caesura_versions, first_line, forms, heading, load, merge, save, say, show, today
from benchmarks.growth import fits, measure_shapes
from benchmarks.measure import CommandFailed, Cost, run, summary
from benchmarks.programs import LARGE, REAL, WORST, Program, c_programs, code_size, fetch_large
from benchmarks.running.builds import binaryen_version

LONG: Final = 20.0
NATIVE_LIMIT: Final = 20_000_000
EMPTY: Final = "nothing"

Command = tuple[list[str], dict[str, str] | None]


def main() -> int:
    """Measure and write docs/transform.json."""
    arguments = _arguments()
    fetch_large()
    programs = [_empty(), *c_programs(), *REAL, *LARGE]
    chosen = [program for program in programs if not arguments.only or program.file_name in arguments.only]
    old = load("transform") or {"programs": [], "shapes": []}
    entries = [_measure(program, arguments.rounds) for program in chosen]
    merged = merge(old["programs"], entries, [program.name for program in programs])
    facts = {
        **heading("make bench ONLY=transform"),
        "versions": {**caesura_versions(), **_binaryen_versions()},
        "rounds": arguments.rounds,
        "programs": merged,
        "fits": fits(merged),
        "shapes": old["shapes"] if arguments.only else measure_shapes(),
    }
    save("transform", facts)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transform", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often to run each tool (default: 5)")
    parser.add_argument("--only", action="append", help="measure this program only")
    return parser.parse_args()


def _binaryen_versions() -> dict[str, str]:
    native = binaryen.native()
    versions = {"npm binaryen": binaryen_version()}
    return {**versions, "native binaryen": first_line([native, "--version"])} if native else versions


def _empty() -> Program:
    """Return a module with nothing in it: what is measured then is a tool's start."""
    path = BUILD / "empty.wasm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0asm\x01\0\0\0")
    return Program(EMPTY, "", path, ())


def _measure(program: Program, rounds: int) -> dict[str, Any]:
    """Run all tools on one program, in turn."""
    commands = _commands(program)
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    refusals: dict[str, str] = {}
    for turn in range(rounds):
        for name, (command, environment) in commands.items():
            if name in refusals or (costs[name] and costs[name][0].cpu > LONG):
                continue
            show(f"{program.name}: round {turn + 1} of {rounds}, {name}")
            try:
                costs[name].append(run(command, environment))
            except CommandFailed as error:
                if name != "native":
                    raise
                refusals[name] = str(error)
    entry: dict[str, Any] = {
        "name": program.name,
        "package": program.package,
        "date": today(),
        "code": code_size(program.path),
        "costs": {name: summary(runs) for name, runs in costs.items() if runs},
        "refusals": refusals,
    }
    npm = binaryen.npm_cost(program, "-O1", WORST)
    say(f"{program.name}: " + ", ".join(f"{name} {cost['cpu']:.2f} s" for name, cost in entry["costs"].items()))
    return {**entry, "costs": {**entry["costs"], "npm": {**npm, "rounds": 1}}} if npm else entry


def _commands(program: Program) -> dict[str, Command]:
    """Return the command of each tool that is there, and its environment."""
    folder = BUILD / "transform"
    folder.mkdir(parents=True, exist_ok=True)
    source = str(program.path)
    commands: dict[str, Command] = {}
    for form, environment in forms().items():
        command = [sys.executable, "-m", "caesura", "instrument", source, "-o", str(folder / "caesura.wasm"), "--quiet"]
        commands[form] = ([*command, *program.caesura_arguments(WORST)], environment)
    native = binaryen.native()
    if native and code_size(program.path) < NATIVE_LIMIT:
        flags = binaryen.arguments(program, "-O1", WORST)
        commands["native"] = ([native, *flags, source, "-o", str(folder / "native.wasm")], None)
    return commands


if __name__ == "__main__":
    sys.exit(main())
