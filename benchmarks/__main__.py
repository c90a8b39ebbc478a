"""`python -m benchmarks`: run the benchmarks, one part after the other, and write the report.

    python -m benchmarks [--rounds N] [--only PART ...]

Each part writes its own figures (docs/PART.json); the report is made of what there is. A part that fails does not keep
the others from running, and keeps its old figures. The part for JavaScript prints its table: what it prints is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.binaryen import native
from benchmarks.facts import REPOSITORY, caesura_versions, first_line, heading, save, say


@dataclass(frozen=True)
class Part:
    """One part: its command, whether it takes `--rounds`, and whether it prints its figures instead of writing them."""

    command: tuple[str, ...]
    takes_rounds: bool = False
    prints: bool = False


_PYTHON: Final = (sys.executable, "-m")
PARTS: Final = {
    "size": Part((*_PYTHON, "benchmarks.size")),
    "transform": Part((*_PYTHON, "benchmarks.transform"), takes_rounds=True),
    "profile": Part((*_PYTHON, "benchmarks.profile")),
    "running": Part((*_PYTHON, "benchmarks.running"), takes_rounds=True),
    "lists": Part((*_PYTHON, "benchmarks.lists"), takes_rounds=True),
    "host": Part((*_PYTHON, "benchmarks.host")),
    "slices": Part((*_PYTHON, "benchmarks.slices")),
    "snapshots": Part((*_PYTHON, "benchmarks.snapshots")),
    "javascript": Part(("node", "benchmarks/javascript.mjs"), prints=True),
}


def main() -> int:
    """Run the parts and the report; return the exit code."""
    arguments = _arguments()
    names = [name for name in PARTS if not arguments.only or name in arguments.only]
    if "transform" in names and not native():
        say("there is no native wasm-opt: its CPU time and memory are left out (Debian and Ubuntu: package `binaryen`)")
    failed: list[str] = []
    for name in names:
        say(f"\n=== {name} ===\n")
        started = time.monotonic()
        if not _run(name, arguments.rounds):
            failed.append(name)
        say(f"\n{name}: {'FAILED, ' if name in failed else ''}{time.monotonic() - started:.0f} s")
    say("\n=== report ===\n")
    if subprocess.run([*_PYTHON, "benchmarks.report"], cwd=REPOSITORY, check=False).returncode != 0:
        failed.append("report")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure everything (default: 5)")
    parser.add_argument(
        "--only", type=_names, default=[], metavar="PARTS", help=f"run these parts: {', '.join(PARTS)} (default: all)"
    )
    return parser.parse_args()


def _names(text: str) -> list[str]:
    """Return names with commas or spaces between them; raise ArgumentTypeError for one that is no part."""
    names = text.replace(",", " ").split()
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"unknown part '{name}': expected some of {', '.join(PARTS)}")
    return names


def _run(name: str, rounds: int) -> bool:
    """Run a part; return whether it came to its end."""
    part = PARTS[name]
    command = [*part.command, *([f"--rounds={rounds}"] if part.takes_rounds else [])]
    if not part.prints:
        return subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0
    done = subprocess.run(command, cwd=REPOSITORY, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    if done.returncode != 0:
        return False
    versions = {"caesura": next(iter(caesura_versions().values())), "Node": first_line(["node", "--version"])}
    save(name, {**heading(f"make bench ONLY={name}"), "versions": versions, "text": done.stdout})
    return True


if __name__ == "__main__":
    sys.exit(main())
