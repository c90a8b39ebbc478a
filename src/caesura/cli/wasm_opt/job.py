"""One command line with `--asyncify`: a first run of the real wasm-opt, the transformation, a second run.

`steps` says what belongs to which run, and `runs` does them. Between them names are always kept, because lists
name functions; whether they are written in the end is, as in wasm-opt, a matter of `-g`. DWARF does not survive the
transformation, as it would point into the old code; a source map does (`source_map`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import caesura
from caesura.abi import ASYNCIFY_MODULE, FOREIGN_HANDLER, LEAVING_STATE, UNSUSPENDABLE
from caesura.cli.collector import paused_collector
from caesura.cli.files import STANDARD_STREAM, about, read_file
from caesura.cli.messages import one_line, say
from caesura.cli.streams import say_result
from caesura.cli.wasm_opt import arguments, features, sections, source_map
from caesura.cli.wasm_opt.arguments import CommandLine
from caesura.cli.wasm_opt.asyncify import in_words_of_pass_arguments, read_options
from caesura.cli.wasm_opt.runs import Job, Mapped, first_run, read_map, second_run, warn
from caesura.cli.wasm_opt.steps import Steps, divide, optimize_choice, wants_translation
from caesura.cli.wasm_opt.verbose import decisions
from caesura.errors import MalformedModule, UnsupportedModule, UsageError
from caesura.options import Options
from caesura.report import Instrumented
from caesura.wasm.module import Module


def run(line: CommandLine, folder: Path) -> None:
    """Read, do what the line says, write; the folder is for files between the runs.

    Raises `real.Failed` where the real wasm-opt fails, and what the transformation raises.
    """
    pass_arguments = [item.value for item in line.arguments if item.kind == arguments.PASS_ARGUMENT]
    options = replace(
        read_options(pass_arguments, warn),
        optimize=optimize_choice(line),
        translate_to_exnref=wants_translation(line),
    )
    job = Job(line, folder, read_file(line.input or STANDARD_STREAM))
    steps = divide(line, options, is_text=job.is_text, has_own_runtime=_has_own_runtime(job))
    options = replace(options, no_multivalue=not _has_multivalue(job, steps))
    before = first_run(job, steps.first, _input(job))
    module = _without_debug_information(line, before.module)
    with paused_collector():
        result = _instrument(line, module, options)
    _tell(module, options, result)
    instrumented = _as_features_allow(line, result.module, options)
    after = Mapped(instrumented, _carried(line, before.source_map, module, instrumented))
    second_run(job, steps.second, after, options)


def _has_multivalue(job: Job, steps: Steps) -> bool:
    given = b"" if job.is_text else job.given
    return features.is_on(features.MULTIVALUE, job.line, given) and not steps.second.needed


def _as_features_allow(line: CommandLine, instrumented: bytes, options: Options) -> bytes:
    """Return the module without globals for hosts to look at, if mutable ones may not be exported."""
    if options.export_globals or not features.is_off(features.MUTABLE_GLOBALS, line):
        return instrumented
    return sections.drop_exports(instrumented, (UNSUSPENDABLE, FOREIGN_HANDLER, LEAVING_STATE))


def _input(job: Job) -> Mapped:
    """Return the module as it was given, without DWARF if nobody wants it, and its source map if one is written."""
    line = job.line
    data = job.given if job.is_text or line.has(arguments.DEBUG_INFO) else sections.drop_dwarf(job.given)
    if not line.has(arguments.INPUT_SOURCE_MAP):
        return Mapped(data, None)
    text = read_map(line.value(arguments.INPUT_SOURCE_MAP))
    return Mapped(data, text if line.has(arguments.OUTPUT_SOURCE_MAP) else None)


def _without_debug_information(line: CommandLine, data: bytes) -> bytes:
    if line.has(arguments.OUTPUT_SOURCE_MAP):
        data = sections.drop_source_map_url(data)  # a new one is made
    without = sections.drop_debug_information(data)
    if len(without) < len(data):
        warn("debug information (DWARF) describes the code before --asyncify: it is dropped (names are kept)")
    return without


def _instrument(line: CommandLine, data: bytes, options: Options) -> Instrumented:
    """Instrument a module; what is refused is told with the names that options have here."""
    try:
        return caesura.instrument(data, options)
    except UsageError as error:
        raise UsageError(in_words_of_pass_arguments(str(error))) from error
    except UnsupportedModule as error:
        if options.verbose:
            for refusal in error.refusals:
                say(f"refused: {in_words_of_pass_arguments(str(refusal))}")
        with about(line.input or STANDARD_STREAM):
            raise UsageError(in_words_of_pass_arguments(str(error))) from error


def _tell(data: bytes, options: Options, result: Instrumented) -> None:
    """Print warnings, and decisions if asked to. Import lists are often longer than a module's imports."""
    for warning in result.warnings:
        if not warning.startswith("import list:"):
            warn(warning)
    if options.verbose:
        for decision in decisions(_parse(data), options):
            say_result(f"[asyncify] {one_line(decision)}")


def _carried(line: CommandLine, text: str | None, before: bytes, after: bytes) -> str | None:
    """Return the source map of the instrumented module, if there is one."""
    if text is None:
        return None
    with about(line.value(arguments.INPUT_SOURCE_MAP)):
        return source_map.carry(text, before, after)


def _has_own_runtime(job: Job) -> bool:
    """Tell whether the module suspends itself, by imports of module `asyncify`."""
    if job.is_text:
        return re.search(rb'\(\s*import\s+"asyncify"', job.given) is not None
    return any(item.module == ASYNCIFY_MODULE for item in _parse(job.given).imports)


def _parse(data: bytes) -> Module:
    try:
        return Module(data)
    except IndexError:
        raise MalformedModule("unexpected end of the module", len(data)) from None
