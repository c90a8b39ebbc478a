"""What the choice of second bodies brings where it is hard: statements prepared anew, generators, deep recursion.

SQLite's parser, QuickJS's generators and PHP's functions that call themselves, each in a dozen workloads, in Node 20,
never suspended, as multiples of what the original takes. Some workloads are kept aside: nothing was chosen by them, so
they say whether a choice serves what it was not made for. Nothing is written; the table is printed.

    python -m benchmarks.second_bodies [--rounds 5] [--only sqlite] [--part NAME] [--with NAME=FILE]

`--with` measures another output beside, such as one of another choice. PHP is instrumented for its import list.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.markdown import table
from benchmarks.programs import code_size
from benchmarks.running.builds import DEFAULT, ORIGINAL, Input, NotBuilt
from benchmarks.running.comparing import Round, overheads
from benchmarks.running.engines import Engine, RunnerFailed, usual_node
from benchmarks.running.inputs import PHP, QUICKJS, SQLITE
from benchmarks.running.session import Session

KEPT_ASIDE: Final = "KEPT_ASIDE"


@dataclass(frozen=True)
class Work:
    """A program, the runner that measures it, and a collection: its file, and the name of what is not kept aside."""

    source: Input
    runner: str
    collection: str
    workloads: str

    def measure(self, files: dict[str, str], workloads: str, parts: list[str], engine: Engine) -> Round:
        """Return the times of one round, nothing if none of the parts is among these workloads."""
        request = {"scale": 1, "leastMilliseconds": LEAST_MILLISECONDS, "files": files}
        request |= {"collection": f"./{self.collection}.mjs", "set": workloads, "only": parts}
        return dict(engine.run(self.runner, request))


WORK: Final = {
    "sqlite": Work(SQLITE, "sqlite_anew", "sqlite_anew_statements", "STATEMENTS"),
    "quickjs": Work(QUICKJS, "quickjs", "quickjs_generators", "PROGRAMS"),
    "php": Work(PHP, "php", "php_recursion", "SCRIPTS"),
}
LEAST_MILLISECONDS: Final = 200


def main() -> int:
    """Measure and print the table."""
    arguments = _arguments()
    try:
        for name in arguments.only or list(WORK):
            _measure(name, arguments)
    except (NotBuilt, RunnerFailed) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(name: str, arguments: argparse.Namespace) -> None:
    """Measure one program and print its table."""
    work = WORK[name]
    engine = usual_node()
    session = Session(arguments.rounds)
    files = session.files(work.source, (ORIGINAL, DEFAULT)) | dict(arguments.also)
    original = code_size(Path(files[ORIGINAL.name]))
    added = {variant: code_size(Path(file)) - original for variant, file in files.items() if variant != ORIGINAL.name}
    rows = [["bytes of code added", "", *(f"{count:,}" for count in added.values())]]
    for workloads in (work.workloads, KEPT_ASIDE):
        rounds = []
        for turn in range(arguments.rounds):
            session.say(f"{name}, {workloads}: round {turn + 1} of {arguments.rounds}")
            rounds.append(work.measure(files, workloads, arguments.part, engine))
        if rounds[0][ORIGINAL.name]:
            rows += _rows(overheads(rounds, ORIGINAL.name), "kept aside" if workloads == KEPT_ASIDE else "")
    print(f"{name} in {engine.name}, {arguments.rounds} rounds\n")
    print(table(["workload", "", *added], rows, 2))


def _rows(result: dict[str, Any], remark: str) -> list[list[str]]:
    """Return a row for each workload, and one for their mean."""
    overhead = result["overhead"]
    parts = list(result["milliseconds"])
    rows = [[part, remark, *(_shown(overhead[variant][part]) for variant in overhead)] for part in parts]
    return [*rows, ["geometric mean", remark, *(_shown(result["mean"][variant]) for variant in overhead)]]


def _shown(figure: list[float]) -> str:
    return f"{figure[0]:.3f} ({figure[1]:.2f}-{figure[2]:.2f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.second_bodies", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often to run everything (default: 5)")
    parser.add_argument("--only", action="append", choices=list(WORK), help="measure only this program")
    parser.add_argument("--part", action="append", default=[], help="measure only this workload")
    parser.add_argument(
        "--with", dest="also", action="append", default=[], type=_also, metavar="NAME=FILE", help="another output"
    )
    return parser.parse_args()


def _also(text: str) -> tuple[str, str]:
    name, _, file = text.partition("=")
    path = Path(file).resolve()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{file} is no file")
    return name, str(path)


if __name__ == "__main__":
    sys.exit(main())
