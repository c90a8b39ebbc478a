"""Fuzz the asyncio host, each case in a process of its own; print a line for each failure and totals."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.running import count, run_case
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run; return 1 if a case failed, or if too few were worth anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=f"some of {', '.join(TARGETS)} (all)")
    parser.add_argument("--runs", type=int, default=10_000, help="cases of all targets together (10000)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    arguments = parser.parse_args()
    runs = -(-arguments.runs // len(arguments.targets))
    well = True
    for name in arguments.targets:
        target = TARGETS[name]
        outcomes = []
        for seed in range(arguments.seed, arguments.seed + runs):
            outcome = run_case(target.case, seed)
            outcomes.append(outcome)
            if outcome.failure:
                well = False
                print(f"{name} {seed}: {outcome.summary}\n{outcome.failure}", flush=True)
        used = sum(not outcome.summary.startswith("refused") for outcome in outcomes)
        print(f"{name}: {used} of {runs} guests used, {count(outcomes)}", flush=True)
        well = well and used * 100 >= target.used * runs
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
