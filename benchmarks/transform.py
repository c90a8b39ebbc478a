"""What the transformation adds to real programs, and what it costs, against Binaryen's Asyncify.

Everything may suspend: all imports and all calls through tables, the default of both tools. Sizes are of the code
section, against the npm package `binaryen` (`wasm-opt -O1 --asyncify`), which is Binaryen compiled to WebAssembly:
only its output counts, and is kept in `build/benchmarks`. CPU time and memory are of whole processes, against a native
`wasm-opt`: the one that CAESURA_BENCH_WASM_OPT names, or the first on the path. All are run in turn, several rounds,
and medians are kept; what takes longer than 20 s runs once.

Run `python -m benchmarks.transform` or `make bench`. Writes docs/benchmarks.md, .json and .svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.measure import CommandFailed, Cost, median, run
from benchmarks.plot import write_plot
from benchmarks.programs import PROGRAMS, REPOSITORY, Program, code_size
from benchmarks.report import write_report

BUILD = REPOSITORY / "build" / "benchmarks"
NPM_WASM_OPT = REPOSITORY / "node_modules" / "binaryen" / "bin" / "wasm-opt"
WASM_OPT_FLAGS = ("-O1", "--asyncify", "--all-features")
LONG = 20.0


@dataclass
class Result:
    """The figures of one program. A cost that is missing was not measured; `native_refusal` says why it was not."""

    name: str
    package: str
    original: int
    caesura: int
    binaryen: int | None = None
    native: int | None = None
    native_refusal: str = ""
    costs: dict[str, Cost] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Tools:
    """The tools' versions, and how to run them."""

    native: str
    versions: dict[str, str]
    environments: dict[str, dict[str, str]]


def main() -> int:
    """Measure and write the results."""
    arguments = _arguments()
    BUILD.mkdir(parents=True, exist_ok=True)
    tools = _tools()
    for name, version in tools.versions.items():
        print(f"{name}: {version}", flush=True)
    chosen = [program for program in PROGRAMS if not arguments.only or program.name.lower() in arguments.only]
    results = [_measure(program, tools, arguments.rounds) for program in chosen]
    facts = {
        "versions": tools.versions,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "rounds": arguments.rounds,
        "programs": [asdict(result) for result in results],
    }
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(facts, indent=2) + "\n")
    write_plot(folder / "benchmarks.svg", facts)
    print("\n" + write_report(folder / "benchmarks.md", facts))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transform", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often to run each tool (default: 5)")
    parser.add_argument(
        "--only",
        action="append",
        choices=[program.name.lower() for program in PROGRAMS],
        help="measure only this program; npm's binaryen takes a quarter of an hour for PHP the first time",
    )
    parser.add_argument("--output", default=str(REPOSITORY / "docs"), help="the folder for the results (default: docs)")
    return parser.parse_args()


def _tools() -> Tools:
    """Find the tools; caesura runs compiled where it is installed so, and interpreted from the sources."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    sources = {**clean, "PYTHONPATH": str(REPOSITORY / "src")}
    versions = {"npm binaryen": _first_line([str(NPM_WASM_OPT), "--version"], clean)}
    native = os.environ.get("CAESURA_BENCH_WASM_OPT") or shutil.which("wasm-opt") or ""
    if native:
        versions["native binaryen"] = _first_line([native, "--version"], clean)
    environments: dict[str, dict[str, str]] = {}
    for form, environment in (("compiled", clean), ("interpreted", sources)):
        version = _first_line([sys.executable, "-m", "caesura", "--version"], environment)
        if f"({form})" in version:
            environments[form] = environment
            versions[f"caesura, {form}"] = version
    return Tools(native, versions, environments)


def _first_line(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, cwd=BUILD, check=True, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


def _measure(program: Program, tools: Tools, rounds: int) -> Result:
    """Run all tools on one program, in turn."""
    out = BUILD / f"{program.name}.caesura.wasm"
    native_out = BUILD / f"{program.name}.native.wasm"
    commands: dict[str, tuple[list[str], dict[str, str] | None]] = {}
    for form, environment in tools.environments.items():
        caesura = [sys.executable, "-m", "caesura", "instrument", str(program.path), "-o", str(out), "--quiet"]
        commands[form] = ([*caesura, *program.caesura_arguments], environment)
    if tools.native:
        commands["native"] = ([tools.native, *WASM_OPT_FLAGS, str(program.path), "-o", str(native_out)], None)
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    refusal = ""
    for turn in range(rounds):
        for name, (command, variables) in commands.items():
            is_done = (costs[name] and costs[name][0].seconds > LONG) or (name == "native" and refusal)
            if is_done:
                continue
            print(f"\r{program.name}: round {turn + 1} of {rounds}, {name}\x1b[K", end="", flush=True)
            try:
                costs[name].append(run(command, variables))
            except CommandFailed as error:
                if name != "native":
                    raise
                refusal = str(error)
    print(f"\r{program.name}: npm binaryen\x1b[K", end="", flush=True)
    result = Result(program.name, program.package, code_size(program.path), code_size(out), native_refusal=refusal)
    result.binaryen = code_size(_npm_output(program, tools.versions["npm binaryen"]))
    print(f"\r{program.name}: done\x1b[K", flush=True)
    result.costs = {name: median(runs) for name, runs in costs.items() if runs}
    result.rounds = {name: len(runs) for name, runs in costs.items() if runs}
    if "native" in result.costs:
        result.native = code_size(native_out)
    return result


def _npm_output(program: Program, version: str) -> Path:
    """Return what npm's Binaryen makes of a program; made once."""
    key = "".join(character if character.isalnum() else "-" for character in version + "".join(WASM_OPT_FLAGS))
    out = BUILD / f"{program.name}.{key}.wasm"
    if not out.is_file() or out.stat().st_mtime < program.path.stat().st_mtime:
        new = out.with_suffix(".new")
        run([str(NPM_WASM_OPT), *WASM_OPT_FLAGS, str(program.path), "-o", str(new)])
        new.replace(out)
    return out


if __name__ == "__main__":
    sys.exit(main())
