"""The two runs around the transformation: of the real wasm-opt where it is needed, else done here.

Files between the runs stand in a folder of their own. The real tool is given the user's own file as long as nothing has
been done to it, so that its errors name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caesura.cli.files import STANDARD_STREAM, is_ordinary, read_file, write_output
from caesura.cli.messages import say
from caesura.cli.wasm_opt import arguments, features, real, sections, source_map
from caesura.cli.wasm_opt.arguments import CommandLine
from caesura.cli.wasm_opt.steps import Run
from caesura.options import Options
from caesura.wasm.sections import MAGIC


@dataclass(frozen=True)
class Mapped:
    """A module, and the text of its source map if one is carried through."""

    module: bytes
    source_map: str | None


@dataclass(frozen=True)
class Job:
    """One command line with `--asyncify`, a folder for files between the runs, and the input as it was read."""

    line: CommandLine
    folder: Path
    given: bytes

    @property
    def is_text(self) -> bool:
        """Tell whether the input is in the text format, which only the real wasm-opt reads here."""
        return not self.given.startswith(MAGIC)


def first_run(job: Job, run: Run, given: Mapped) -> Mapped:
    """Do what stands before `--asyncify`; the result is a binary module with names."""
    if not run.needed:
        return Mapped(sections.strip(given.module, run.strips), given.source_map)
    words = [*run.words, "-g"]  # lists name functions
    target = job.folder / "first.wasm"
    new_map = job.folder / "first.map"
    if given.source_map is not None:
        words += [*_input_map(job, given), f"{arguments.OUTPUT_SOURCE_MAP}={new_map}"]
    _run_real(job, words, given.module, target)
    return Mapped(target.read_bytes(), None if given.source_map is None else read_map(str(new_map)))


def second_run(job: Job, run: Run, instrumented: Mapped, options: Options) -> None:
    """Do what stands behind `--asyncify`, and write what the line asks for."""
    if run.needed:
        _second_run_of_real(job, run, instrumented, options)
        return
    line = job.line
    data = sections.strip(instrumented.module, run.strips)
    if not line.has(arguments.DEBUG_INFO):
        data = sections.drop_names(data, keep_module_name=line.has(arguments.EMIT_MODULE_NAMES))
    map_file = line.value(arguments.OUTPUT_SOURCE_MAP)
    if map_file:
        if line.value(arguments.OUTPUT_SOURCE_MAP_URL):
            data = sections.set_source_map_url(data, line.value(arguments.OUTPUT_SOURCE_MAP_URL))
        text = source_map.empty() if instrumented.source_map is None else instrumented.source_map
        _write(map_file, text.encode("utf-8", "surrogateescape"))
    if line.has(arguments.OUTPUT):
        _write(line.value(arguments.OUTPUT), data)
    elif not line.has(arguments.QUIET):
        warn("no output file specified, not emitting output")


def _second_run_of_real(job: Job, run: Run, instrumented: Mapped, options: Options) -> None:
    line = job.line
    words = [*run.words, *_new_features(options)]
    if line.has(arguments.DEBUG_INFO):
        words.append("-g")
    words += [name for name in (arguments.EMIT_TEXT, arguments.EMIT_MODULE_NAMES) if line.has(name)]
    map_file = line.value(arguments.OUTPUT_SOURCE_MAP)
    if map_file:
        words += [*_input_map(job, instrumented), f"{arguments.OUTPUT_SOURCE_MAP}={map_file}"]
        words.append(f"{arguments.OUTPUT_SOURCE_MAP_URL}={line.value(arguments.OUTPUT_SOURCE_MAP_URL)}")
    output = line.value(arguments.OUTPUT)
    if not output or is_ordinary(output):
        _run_real(job, words, instrumented.module, output)
        return
    # Builds of the real tool cannot write to pipes.
    _run_real(job, words, instrumented.module, job.folder / "output")
    _write(output, (job.folder / "output").read_bytes())


def _new_features(options: Options) -> list[str]:
    """Return options for what the output uses because the line asks for it; they must come last."""
    needed = []
    if options.in_secondary_memory:
        needed.append(features.MULTIMEMORY)
    if options.import_globals or options.export_globals:
        needed.append(features.MUTABLE_GLOBALS)
    if options.translate_to_exnref:
        needed += [features.REFERENCE_TYPES, features.MULTIVALUE]
    return [f"--enable-{feature}" for feature in needed]


def _run_real(job: Job, words: list[str], data: bytes, target: Path | str) -> None:
    """Run the real wasm-opt on a module; without a target, for what it prints."""
    path = real.require("passes other than --asyncify, and for modules in the text format")
    source = Path(job.line.input)
    if data is not job.given or not source.is_file():  # or else its errors would not name the file
        source = job.folder / "input.wasm"
        source.write_bytes(data)
    if target:
        words = [*words, arguments.OUTPUT, str(target)]
    code = real.run(path, [*words, str(source)])
    if code != 0:
        raise real.Failed(code)


def _input_map(job: Job, mapped: Mapped) -> list[str]:
    """Put the source map where the real wasm-opt can read it."""
    if mapped.source_map is None:
        return []
    file = job.folder / "input.map"
    file.write_text(mapped.source_map, encoding="utf-8", errors="surrogateescape")
    return [f"{arguments.INPUT_SOURCE_MAP}={file}"]


def read_map(path: str) -> str:
    """Return the text of a source map."""
    return read_file(path).decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def warn(message: str) -> None:
    """Print a line that warns, as wasm-opt does."""
    say(f"warning: {message}")


def _write(path: str, data: bytes) -> None:
    write_output(path or STANDARD_STREAM, [data])
