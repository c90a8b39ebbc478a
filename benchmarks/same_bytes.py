"""Whether two states of the transformation give the same bytes: for changes that are to alter nothing but the code.

Every benchmark program is instrumented at all three `--optimize` levels, with and without thunks, for the worst case,
with a list of the imports that may suspend, with calls through tables ignored, and with an only-list of most of the
functions that the worst case instruments; the small programs also with the options that change what is added to a
module. Of each output the first run keeps a digest, and the second compares. A program that is refused keeps what the
refusal says instead: that must stay the same as well.

    python -m benchmarks.same_bytes --write FILE      before the change
    python -m benchmarks.same_bytes FILE              after it: prints what differs, and exits with 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import caesura
from benchmarks.facts import caesura_versions, say, show
from benchmarks.programs import IGNORE_INDIRECT, IMPORT_LIST, LARGE, REAL, WORST, Program, c_programs, fetch_large
from benchmarks.size import OPTIMIZE

_ONLY_LIST: Final = "only-list"

# Every so many functions of the worst case one is not on the only-list.
_LEFT_OUT: Final = 7

# What changes that which is added to a module; tried with the small programs.
_ADDITIONS: Final[dict[str, dict[str, Any]]] = {
    "asserts": {"asserts": True},
    "no multivalue": {"no_multivalue": True},
    "own memory": {"in_secondary_memory": True},
    "own memory, thunks": {"in_secondary_memory": True, "thunks": True},
    "exported globals": {"export_globals": True},
    "imported globals": {"import_globals": True},
    "padding": {"keep_padding": True},
    "two bodies": {"two_bodies": "all"},
}


def main() -> int:
    """Write the digests, or compare with those that were written."""
    arguments = _arguments()
    found = {name: digest for program in _programs(arguments.only) for name, digest in _digests(program)}
    if arguments.write:
        arguments.file.write_text(json.dumps({"caesura": caesura_versions(), "digests": found}, indent=1) + "\n")
        say(f"{len(found)} digests written to {arguments.file}")
        return 0
    before: dict[str, str] = json.loads(arguments.file.read_text())["digests"]
    differing = [name for name, digest in found.items() if before.get(name) != digest]
    for name in differing:
        say(f"differs: {name}: {before.get(name, 'nothing')} before, {found[name]} now")
    say(f"{len(found) - len(differing)} of {len(found)} outputs are the same")
    return 1 if differing else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_bytes", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="where the digests are kept")
    parser.add_argument("--write", action="store_true", help="write the file instead of comparing with it")
    parser.add_argument("--only", action="append", help="instrument this program only, or `c` for the C programs")
    return parser.parse_args()


def _programs(names: list[str] | None) -> list[Program]:
    fetch_large()
    esbuild = LARGE[0]
    programs = [*REAL, esbuild, *c_programs()]
    return [
        program
        for program in programs
        if not names or program.file_name in names or (program.package == "C" and "c" in names)
    ]


def _digests(program: Program) -> Iterator[tuple[str, str]]:
    """Give a name and a digest for each output of a program."""
    module = program.path.read_bytes()
    for variant, options in _variants(program, module):
        name = f"{program.name}, {variant}"
        show(name)
        try:
            output = caesura.instrument(module, options).module
        except caesura.ModuleError as error:
            yield name, f"refused: {error}"
        else:
            yield name, f"{len(output)} {hashlib.sha256(output).hexdigest()[:24]}"
    say(f"{program.name}: instrumented")


def _variants(program: Program, module: bytes) -> Iterator[tuple[str, caesura.Options]]:
    """Give a name and the options for each way in which a program is instrumented."""
    worst = caesura.Options(ignore_unwind_from_catch=program.ignore_unwind_from_catch)
    modes = {
        WORST: worst,
        IMPORT_LIST: replace(worst, imports=program.imports),
        IGNORE_INDIRECT: replace(worst, ignore_indirect=True),
        _ONLY_LIST: replace(worst, only_list=_most_functions(module, worst)),
    }
    for mode, options in modes.items():
        for level in OPTIMIZE:
            for thunks in (False, True):
                name = f"{mode}, {level}, {'thunks' if thunks else 'plain'}"
                yield name, replace(options, optimize=level, thunks=thunks)
    if program.package == "C":
        for name, fields in _ADDITIONS.items():
            yield name, replace(worst, **fields)


def _most_functions(module: bytes, options: caesura.Options) -> list[str]:
    """Return an only-list: the instrumented functions but every seventh."""
    functions = [item for item in caesura.instrument(module, options).functions if item.instrumented]
    return [item.name or str(item.index) for place, item in enumerate(functions) if place % _LEFT_OUT]


if __name__ == "__main__":
    sys.exit(main())
