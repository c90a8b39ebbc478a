"""The command `caesura-wasm-opt`: Binaryen's `wasm-opt` with `--asyncify` done by caesura.

Everything that is not `--asyncify` is left to the real wasm-opt: a line without it is handed over as it is, and of one
with it the passes before and behind it (`steps`). Between the two runs names are always kept, because lists
name functions; whether they are written in the end is, as in wasm-opt, a matter of `-g`. DWARF does not survive the
transformation, as it would point into the old code; a source map does (`source_map`).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

import caesura
from caesura.abi import ASYNCIFY_MODULE
from caesura.cli.collector import paused_collector
from caesura.cli.files import STANDARD_STREAM, about, is_ordinary, read_file, write_output
from caesura.cli.messages import one_line, say, say_last
from caesura.cli.streams import ReaderGone, end_quietly
from caesura.cli.streams import say as say_result
from caesura.cli.wasm_opt import arguments, features, real, source_map
from caesura.cli.wasm_opt import sections as custom
from caesura.cli.wasm_opt.arguments import CommandLine, parse
from caesura.cli.wasm_opt.asyncify import read_options
from caesura.cli.wasm_opt.known import refuse_unknown
from caesura.cli.wasm_opt.steps import Run, divide, optimize_choice, wants_asyncify
from caesura.cli.wasm_opt.verbose import decisions
from caesura.errors import CaesuraError, InternalError, MalformedModule, ModuleError, UnsupportedModule, UsageError
from caesura.options import FLAG, Options, flag_of
from caesura.report import Instrumented
from caesura.wasm.module import Module

PROGRAM: Final = "caesura-wasm-opt"

# The version of Binaryen whose command line this is; told where there is no real wasm-opt to ask.
COMPATIBLE_VERSION: Final = 132

_MAGIC: Final = b"\0asm"

_HELP: Final = f"""\
usage: {PROGRAM} [wasm-opt's options] INFILE -o OUTFILE

Binaryen's wasm-opt, with --asyncify done by caesura: the same result for less code, speed and time.
Takes wasm-opt's command line. Passes other than --asyncify are handed to the real wasm-opt, which is found by the
environment variable {real.VARIABLE}, on the PATH, or in node_modules (npm's package binaryen). Without such
passes it is not needed.

Pass arguments of --asyncify (--pass-arg=KEY or --pass-arg=KEY@VALUE; a list is names with commas, or @FILE):
"""


class _Failed(Exception):
    """The real wasm-opt failed, and has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main(words: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        return end_quietly(lambda: _run(sys.argv[1:] if words is None else words))
    except UsageError as error:
        return _fail(str(error), 1)


def _run(words: list[str]) -> int:
    try:
        return _main(words)
    except ReaderGone:
        raise
    except _Failed as failure:
        return failure.code
    except KeyboardInterrupt:
        say_last(f"{PROGRAM}: error: interrupted")
        return 130
    except CaesuraError as error:
        return _fail(str(error), 1)
    except MemoryError:
        return _fail("there is not enough memory", 1)
    except Exception as error:
        return _fail(str(InternalError(f"unexpected {type(error).__name__}: {error}")), 1)


def _fail(message: str, code: int) -> int:
    if os.environ.get("CAESURA_DEBUG", "") not in ("", "0"):
        traceback.print_exc()
    say(f"{PROGRAM}: error: {message}")
    return code


def _main(words: list[str]) -> int:
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
        _Job(line, Path(folder)).run()
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
    path = real.find()
    if path:
        say_result(f"\nAll other options are those of {path}:\n\n{real.help_text(path)}", end="")
    return 0


class _Job:
    """One command line with `--asyncify`."""

    def __init__(self, line: CommandLine, folder: Path) -> None:
        self._line = line
        self._folder = folder
        given = [item.value for item in line.arguments if item.kind == arguments.PASS_ARGUMENT]
        self._options = replace(read_options(given, self._warn), optimize=optimize_choice(line))
        self._names = line.has(arguments.DEBUG_INFO)
        self._quiet = line.has(arguments.QUIET)
        self._output = line.value(arguments.OUTPUT)
        self._map: str | None = None
        self._given = b""

    def run(self) -> None:
        """Read, do what the line says, write."""
        line = self._line
        data = self._given = read_file(line.input or STANDARD_STREAM)
        is_text = data[: len(_MAGIC)] != _MAGIC
        steps = divide(line, self._options, is_text, _has_own_runtime(data, is_text))
        multivalue = features.is_on(features.MULTIVALUE, line, b"" if is_text else data) and not steps.second.needed
        self._options = replace(self._options, no_multivalue=not multivalue)
        if not is_text and not self._names:
            data = custom.drop_dwarf(data)
        if line.has(arguments.INPUT_SOURCE_MAP):
            text = _read_text(line.value(arguments.INPUT_SOURCE_MAP))
            self._map = text if line.has(arguments.OUTPUT_SOURCE_MAP) else None
        data = self._first_run(steps.first, data)
        data = self._drop_debug_information(data)
        with paused_collector():
            result = self._instrument(data)
        self._tell(data, result)
        if self._map is not None:
            with about(line.value(arguments.INPUT_SOURCE_MAP)):
                self._map = source_map.carry(self._map, data, result.module)
        self._second_run(steps.second, result.module)

    def _instrument(self, data: bytes) -> Instrumented:
        """Instrument a module; what is refused is told with the names that options have here."""
        try:
            return caesura.instrument(data, self._options)
        except UsageError as error:
            raise UsageError(_with_pass_arguments(str(error))) from error
        except UnsupportedModule as error:
            if self._options.verbose:
                for refusal in error.refusals:
                    say(f"refused: {_with_pass_arguments(str(refusal))}")
            with about(self._line.input or STANDARD_STREAM):
                raise UsageError(_with_pass_arguments(str(error))) from error

    def _drop_debug_information(self, data: bytes) -> bytes:
        if self._line.has(arguments.OUTPUT_SOURCE_MAP):
            data = custom.drop_source_map_url(data)  # a new one is made
        without = custom.drop_debug_information(data)
        if len(without) < len(data):
            self._warn("debug information (DWARF) describes the code before --asyncify: it is dropped (names are kept)")
        return without

    def _first_run(self, step: Run, data: bytes) -> bytes:
        if not step.needed:
            return custom.strip(data, step.strips)
        words = [*step.words, "-g"]  # lists name functions
        target = self._folder / "first.wasm"
        new_map = self._folder / "first.map"
        if self._map is not None:
            words += [*self._input_map(), f"{arguments.OUTPUT_SOURCE_MAP}={new_map}"]
        self._real(words, data, target)
        if self._map is not None:
            self._map = _read_text(str(new_map))
        return target.read_bytes()

    def _second_run(self, step: Run, data: bytes) -> None:
        line = self._line
        map_file = line.value(arguments.OUTPUT_SOURCE_MAP)
        if step.needed:
            words = [*step.words, *self._new_features()]
            if self._names:
                words.append("-g")
            for name in (arguments.EMIT_TEXT, arguments.EMIT_MODULE_NAMES):
                if line.has(name):
                    words.append(name)
            if map_file:
                words += [*self._input_map(), f"{arguments.OUTPUT_SOURCE_MAP}={map_file}"]
                words.append(f"{arguments.OUTPUT_SOURCE_MAP_URL}={line.value(arguments.OUTPUT_SOURCE_MAP_URL)}")
            if self._output and not is_ordinary(self._output):
                # Builds of the real tool cannot write to pipes.
                self._real(words, data, self._folder / "output")
                _write(self._output, (self._folder / "output").read_bytes())
            else:
                self._real(words, data, self._output)
            return
        data = custom.strip(data, step.strips)
        if not self._names:
            data = custom.drop_names(data, line.has(arguments.EMIT_MODULE_NAMES))
        if map_file:
            if line.value(arguments.OUTPUT_SOURCE_MAP_URL):
                data = custom.set_source_map_url(data, line.value(arguments.OUTPUT_SOURCE_MAP_URL))
            text = source_map.empty() if self._map is None else self._map
            _write(map_file, text.encode("utf-8", "surrogateescape"))
        if line.has(arguments.OUTPUT):
            _write(self._output, data)
        elif not self._quiet:
            self._warn("no output file specified, not emitting output")

    def _real(self, words: list[str], data: bytes, target: Path | str) -> None:
        """Run the real wasm-opt on a module; without a target, for what it prints."""
        path = real.require("passes other than --asyncify, and for modules in the text format")
        source = Path(self._line.input)
        if data is not self._given or not source.is_file():  # or else its errors would not name the file
            source = self._folder / "input.wasm"
            source.write_bytes(data)
        if target:
            words = [*words, arguments.OUTPUT, str(target)]
        code = real.run(path, [*words, str(source)])
        if code != 0:
            raise _Failed(code)

    def _input_map(self) -> list[str]:
        """Put the source map where the real wasm-opt can read it."""
        if self._map is None:
            return []
        file = self._folder / "input.map"
        file.write_text(self._map, encoding="utf-8", errors="surrogateescape")
        return [f"{arguments.INPUT_SOURCE_MAP}={file}"]

    def _new_features(self) -> list[str]:
        """Return options for what the output uses because pass arguments ask for it; they must come last."""
        needed = []
        if self._options.in_secondary_memory:
            needed.append(features.MULTIMEMORY)
        if self._options.import_globals or self._options.export_globals:
            needed.append(features.MUTABLE_GLOBALS)
        return [f"--enable-{feature}" for feature in needed]

    def _tell(self, data: bytes, result: Instrumented) -> None:
        """Print warnings, and decisions if asked to. Import lists are often longer than a module's imports."""
        for warning in result.warnings:
            if not warning.startswith("import list:"):
                self._warn(warning)
        if not self._options.verbose:
            return
        for decision in decisions(_parse(data), self._options):
            say_result(f"[asyncify] {one_line(decision)}")

    def _warn(self, message: str) -> None:
        say(f"warning: {message}")


def _with_pass_arguments(message: str) -> str:
    """Return a message about options of `caesura instrument` as one about pass arguments."""
    for item in fields(Options):
        if item.metadata["pass_argument"]:
            argument = f"--pass-arg={item.metadata['pass_argument']}"
            if item.metadata["kind"] != FLAG:
                message = message.replace(f"{flag_of(item.name)} ", f"{argument}@")
            message = message.replace(flag_of(item.name), argument)
    # Binaryen names a memory here, be there one of this name or not, and build systems may look for its words.
    return message.replace("asyncify-memory@NAME", "asyncify-memory@memory")


def _has_own_runtime(data: bytes, is_text: bool) -> bool:
    """Tell whether the module suspends itself, by imports of module `asyncify`."""
    if is_text:
        return re.search(rb'\(\s*import\s+"asyncify"', data) is not None
    return any(item.module == ASYNCIFY_MODULE for item in _parse(data).imports)


def _parse(data: bytes) -> Module:
    try:
        return Module(data)
    except IndexError:
        raise MalformedModule("unexpected end of the module", len(data)) from None


def _read_text(path: str) -> str:
    return read_file(path).decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _write(path: str, data: bytes) -> None:
    write_output(path or STANDARD_STREAM, [data])
