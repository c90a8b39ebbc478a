"""A long search by hand: `python -m tests.oracle --seconds 600 [--seed N] [--node | --translated | --pauses ABI]`.

Draws modules at random until the time is over, shrinks each distinct failure, and prints it; with `--keep` it is
written to the regressions, which the tests replay.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests.oracle import wasmtime_engine
from tests.oracle.cases import REGRESSIONS, make_case
from tests.oracle.generator import Features
from tests.oracle.minimise import Parts, draw_parts, failure, minimise
from tests.oracle.node_engine import NodeEngine
from tests.oracle.property import RunAll, check
from tests.oracle.test_oracle import NODE_FEATURES, TRANSLATED_FEATURES, instrument
from tests.oracle.translated_engine import TranslatedEngine


def main() -> int:
    """Search, and return how many distinct failures there were (at most 100)."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to search (60)")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFFFFFF, help="the random seed (the time)")
    parser.add_argument("--node", action="store_true", help="old-form exceptions under Node instead of Wasmtime")
    parser.add_argument(
        "--translated", action="store_true", help="old-form exceptions under Node against new ones under Wasmtime"
    )
    parser.add_argument("--pauses", choices=("plain", "thunks"), help="guests that pause by themselves, driven so")
    parser.add_argument(
        "--keep", type=Path, nargs="?", const=REGRESSIONS, help="write failures to the regressions, or to a folder"
    )
    parser.add_argument("--distinct", type=int, default=5, help="end after so many distinct failures (5)")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    if arguments.translated:
        with NodeEngine() as engine:
            return search(arguments, TRANSLATED_FEATURES, TranslatedEngine(engine).run_all)
    if arguments.node:
        with NodeEngine() as engine:
            return search(arguments, NODE_FEATURES, engine.run_all)
    features = Features(pauses=arguments.pauses is not None, thunks=arguments.pauses == "thunks")
    return search(arguments, features, wasmtime_engine.run_all)


def search(arguments: argparse.Namespace, features: Features, run_all: RunAll) -> int:
    """Search until the time is over."""
    source = random.Random(arguments.seed)
    found: Counter[str] = Counter()
    end = time.monotonic() + arguments.seconds
    shown = time.monotonic()
    done = 0
    while time.monotonic() < end and len(found) < arguments.distinct:
        parts = draw_parts(source)
        wrong = failure(parts, features, instrument, run_all)
        done += 1
        if wrong:
            found[wrong] += 1
            if found[wrong] == 1:
                report(parts, features, run_all, arguments.keep)
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"{done} modules, {sum(found.values())} failures", flush=True)
    print(f"{done} modules, {sum(found.values())} failures, {len(found)} distinct")
    return min(len(found), 100)


def report(parts: Parts, features: Features, run_all: RunAll, keep: Path | None) -> None:
    """Shrink a failure and print it."""
    kind = failure(parts, features, instrument, run_all).partition(":")[0]
    small = minimise(parts, lambda p: failure(p, features, instrument, run_all).startswith(kind))
    case = make_case(*small, features)
    try:
        check(case, instrument, run_all)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    print(f"options {case.options}, behaviours {case.behaviours.hex()}, {len(case.module)} bytes")
    print(f"kept as {case.save(keep)}" if keep else case.to_json(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
