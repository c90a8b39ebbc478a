"""Runs a folder of scripts: `python -m tests.spec FOLDER`.

The folder is a checkout of the suite, of which the scripts at the top are run, or any other with scripts. Each script
is run with its modules as they are, instrumented, and with suspensions at every entry and loop head; what differs is
listed, with the line in the script. The exit code is 1 where a module was refused or an assertion differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.spec.engines import Engine, WasmtimeEngine
from tests.spec.node_engine import NodeEngine
from tests.spec.running import INSTRUMENTED, ORIGINAL, RESUMED, SUSPENDED, Result, Variant, run

_VARIANTS: Final = (INSTRUMENTED, SUSPENDED, RESUMED)


def main(arguments: list[str]) -> int:
    """Run the scripts of a folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.spec", description="Run scripts of the specification.")
    parser.add_argument("folder", type=Path, help="a folder with scripts, such as a checkout of the suite")
    parser.add_argument("--node", action="store_true", help="run them under Node 24 instead of Wasmtime")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="run the scripts of this name")
    options = parser.parse_args(arguments)
    scripts = sorted(options.folder.glob("*.wast"))
    if options.only:
        scripts = [script for script in scripts if script.stem in options.only]
    if not scripts:
        print(f"{options.folder} has no such scripts", file=sys.stderr)
        return 2
    engine: Callable[[], Engine] = NodeEngine if options.node else WasmtimeEngine
    totals = {variant.label: Total(variant) for variant in (ORIGINAL, *_VARIANTS)}
    for script in scripts:
        original = run(script, ORIGINAL, engine())
        totals[ORIGINAL.label].add(script, original, original)
        for variant in _VARIANTS:
            totals[variant.label].add(script, original, run(script, variant, engine()))
    for total in totals.values():
        print(total.summary())
    return 1 if any(totals[variant.label].is_wrong() for variant in _VARIANTS) else 0


class Total:
    """What became of all scripts in one variant."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        self._modules = 0
        self._refused = 0
        self._assertions = 0
        self._wrong = 0
        self._suspensions = 0

    def add(self, script: Path, original: Result, result: Result) -> None:
        """Count a script's result, and print what differs from its modules as they are."""
        self._modules += result.modules
        self._suspensions += result.suspensions
        self._refused += len(result.refused)
        for line, reason in result.refused:
            print(f"{script.name}:{line}: {self._variant.label}: refused: {reason}")
        for (line, place), trouble in result.assertions.items():
            lacking = original.assertions.get((line, place), "")
            if lacking and result is not original:
                continue
            self._assertions += 1
            ending = result.endings.get((line, place), "")
            usual = original.endings.get((line, place), "")
            if not trouble and ending != usual:
                trouble = f"ended with '{ending}'; with modules as they are: '{usual}'"
            if trouble:
                self._wrong += 1
                print(f"{script.name}:{line}: {self._variant.label}: {trouble}")
        sys.stdout.flush()

    def is_wrong(self) -> bool:
        """Tell whether a module was refused or an assertion failed."""
        return self._refused > 0 or self._wrong > 0

    def summary(self) -> str:
        """Return the counts in a line."""
        return (
            f"{self._variant.label}: {self._modules} modules, {self._refused} refused; {self._assertions} assertions, "
            f"{self._wrong} wrong; {self._suspensions} suspensions"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
