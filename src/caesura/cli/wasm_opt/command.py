"""The command `caesura-wasm-opt`: Binaryen's `wasm-opt` with `--asyncify` done by caesura.

Everything that is not `--asyncify` is left to the real wasm-opt: a line without it is handed over as it is, a line with
it is a `job`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Final

import caesura
from caesura.cli.exits import exit_code
from caesura.cli.files import STANDARD_STREAM, about
from caesura.cli.streams import say_result
from caesura.cli.wasm_opt import arguments, job, real
from caesura.cli.wasm_opt.arguments import parse
from caesura.cli.wasm_opt.known import refuse_unknown
from caesura.cli.wasm_opt.steps import wants_asyncify
from caesura.errors import ModuleError
from caesura.options import Options

PROGRAM: Final = "caesura-wasm-opt"

# The version of Binaryen whose command line this is; told where there is no real wasm-opt to ask.
COMPATIBLE_VERSION: Final = 132

_HELP: Final = f"""\
usage: {PROGRAM} [wasm-opt's options] INFILE -o OUTFILE

Binaryen's wasm-opt, with --asyncify done by caesura: the same result for less code, speed and time.
Takes wasm-opt's command line. Passes other than --asyncify are handed to the real wasm-opt, which is found by the
environment variable {real.VARIABLE}, on the PATH, or in node_modules (npm's package binaryen). Without such
passes it is not needed.

Pass arguments of --asyncify (--pass-arg=KEY or --pass-arg=KEY@VALUE; a list is names with commas, or @FILE):
"""


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return exit_code(PROGRAM, lambda: _run(sys.argv[1:] if words is None else words))


def _run(words: list[str]) -> int:
    if arguments.VERSION in words:
        return _version()
    if arguments.HELP in words or "-h" in words:
        return _help()
    if not any(word.partition("=")[0] == "--asyncify" for word in words):
        return _hand_over(words)
    line = parse(words)
    if not wants_asyncify(line):
        return _hand_over(words)
    refuse_unknown(line)
    with tempfile.TemporaryDirectory(prefix="caesura-") as folder, about(line.input or STANDARD_STREAM, ModuleError):
        try:
            job.run(line, Path(folder))
        except real.Failed as failure:
            return failure.code
    return 0


def _hand_over(words: list[str]) -> int:
    """Run the real wasm-opt for a line without `--asyncify`."""
    return real.run(real.require("passes other than --asyncify"), words)


def _version() -> int:
    """Print the real tool's version first: build systems read it from the first line."""
    path = real.find()
    if path:
        code = real.run(path, [arguments.VERSION])
        if code == 0:
            say_result(f"{PROGRAM} {caesura.__version__}")
        return code
    say_result(f"wasm-opt version {COMPATIBLE_VERSION} ({PROGRAM} {caesura.__version__})")
    return 0


def _help() -> int:
    say_result(_HELP)
    for item in fields(Options):
        if item.metadata["pass_argument"]:
            say_result(f"  {item.metadata['pass_argument']}\n      {item.metadata['help']}")
    say_result("\nOther passes that are done by caesura, if --asyncify is on the line, too:\n")
    for item in fields(Options):
        if "pass_name" in item.metadata:
            say_result(f"  --{item.metadata['pass_name']}\n      {item.metadata['help']}")
    path = real.find()
    if path:
        say_result(f"\nAll other options are those of {path}:\n\n{real.help_text(path)}", end="")
    return 0
