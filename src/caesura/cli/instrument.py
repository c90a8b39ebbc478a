"""`caesura instrument`: rewrite a module so that its call stack can be suspended and resumed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

import caesura
from caesura.cli.collector import paused_collector
from caesura.cli.exits import WrongUsage
from caesura.cli.files import (
    STANDARD_STREAM,
    InFile,
    about,
    check_output_name,
    goes_to_terminal,
    is_standard_output,
    is_text_name,
    read_file,
    read_module,
    write_output,
)
from caesura.cli.messages import say, say_lines, say_warning
from caesura.cli.options import add_options, is_given, read_options
from caesura.cli.progress import ProgressBar
from caesura.cli.subcommand import SubCommand, add_files
from caesura.cli.summary import function_line, summary_json, summary_line
from caesura.errors import ModuleError, UnsupportedModule, UsageError
from caesura.instrument.abi.memory import check_memory_name
from caesura.report import Instrumented
from caesura.wasm.component import is_component
from caesura.wasm.module import Module
from caesura.wasm.sections import MAGIC

_DESCRIPTION: Final = """\
Rewrite a WebAssembly module so that its whole call stack can be suspended and resumed. Of a component, the core
modules in it are rewritten. The result has the ABI of
Binaryen's `wasm-opt --asyncify`: every runtime that knows that can drive it."""

_EXAMPLES: Final = """\
examples:
  caesura instrument app.wasm -o app.async.wasm
      every import, and every call through a table that others can change, may suspend
  caesura instrument app.wasm -o app.async.wasm --imports env.sleep,env.fetch_* --ignore-indirect
      only these imports may, and never below a call through a table
  caesura instrument app.wat -o app.async.wat --only-list @functions.txt
      text in and text out; instrument the functions that a file names, one on a line
  caesura instrument app.wasm -o app.async.wasm --emscripten-js app.js --imports env.fetch
      a module whose imports and exports Emscripten has shortened
  caesura instrument - < app.wasm > app.async.wasm
      standard input and output
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_files(parser, "where the result goes, as text if the name ends in .wat or .wast")
    add_emscripten_js(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the summary as JSON, to standard output if that is free"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    add_options(parser)


def add_emscripten_js(parser: argparse.ArgumentParser, *, is_repeated: bool = False) -> None:
    """Add the option that gives a module's imports and exports their names; with `is_repeated`, one for each module."""
    help_text = (
        "the JavaScript that Emscripten wrote next to the module: its names of imports and exports take the place "
        "of the module's letters, in lists and in the result"
    )
    if is_repeated:
        help_text += "; given twice it is that of OLD, then that of NEW"
        parser.add_argument("--emscripten-js", metavar="FILE", action="append", default=[], help=help_text)
    else:
        parser.add_argument("--emscripten-js", metavar="FILE", help=help_text)


def _run(arguments: argparse.Namespace) -> int:
    options = read_options(arguments)
    if arguments.quiet and (options.verbose or arguments.json):
        raise WrongUsage("--quiet cannot be combined with --verbose or --json")
    check_output_name(arguments.output)
    if goes_to_terminal(arguments.output) and not is_text_name(arguments.output):
        raise WrongUsage("a binary module is not for a terminal: name a file with -o, or redirect standard output")
    if arguments.json and not is_standard_output(arguments.output):
        goes_to_terminal(STANDARD_STREAM)  # or nowhere: that is said before the work
    bar = ProgressBar(enabled=not arguments.quiet)
    try:
        module = named_module(read_module(arguments.input), arguments)
        with about(arguments.input), paused_collector():
            if is_text_name(arguments.output) and is_component(module):
                raise UsageError(
                    "a component cannot be written as text: name a file that does not end in .wat or .wast"
                )
            if is_given(arguments, "memory"):
                _check_memory_name(module, options.memory)
            result = caesura.instrument(module, options, bar)
    except InFile as error:
        bar.clear()
        if options.verbose and isinstance(error.__cause__, UnsupportedModule):
            for refusal in error.__cause__.refusals:
                say(f"refused: {refusal}")
        raise
    finally:
        bar.clear()
    write_output(arguments.output, _pieces(arguments.output, result.module))
    if not arguments.quiet:
        _summarize(result, arguments)
    return 0


def _check_memory_name(module: bytes, name: str) -> None:
    if is_component(module):
        return  # its core modules differ
    try:
        parsed = Module(module)
    except IndexError:
        return  # the transformation says what is wrong
    check_memory_name(parsed, name)


def named_module(module: bytes, arguments: argparse.Namespace) -> bytes:
    """Return a module with the names that Emscripten's JavaScript has for it, if that is given."""
    if arguments.emscripten_js is None:
        return module
    return module_named_by(arguments.emscripten_js, module, arguments.input, arguments)


def module_named_by(script: str, module: bytes, source: str, arguments: argparse.Namespace) -> bytes:
    """Return a module, from the file `source`, with the names that a file of Emscripten's JavaScript has for it."""
    data = read_file(script)
    if data.startswith(MAGIC):
        raise UsageError(f"'{script}' is a WebAssembly module; expected Emscripten's JavaScript")
    with about(script, UsageError), about(source, ModuleError):
        named = caesura.name_emscripten(module, data.decode(errors="replace"))
    if arguments.quiet:
        return named.module
    if arguments.verbose:
        for old, new in {**named.imports, **named.exports}.items():
            say(f"{old} is {new}")
    if named.unnamed:
        say_warning(f"imports and exports that keep their letters: {', '.join(named.unnamed)}")
    return named.module


def _pieces(output: str, module: bytes) -> Iterable[bytes]:
    """Return what is to be written: the bytes, or the text if the file's name says so."""
    if not is_text_name(output):
        return [module]
    from caesura.cli.print import text_of

    return text_of(module)


def _summarize(result: Instrumented, arguments: argparse.Namespace) -> None:
    if arguments.json:
        text = summary_json(result, with_functions=arguments.verbose)
        if is_standard_output(arguments.output):
            say_lines(text)
        else:
            write_output(STANDARD_STREAM, [text.encode() + b"\n"])
        return
    if arguments.verbose:
        for function in result.functions:
            say(function_line(function))
    for warning in result.warnings:
        say_warning(warning)
    say(f"caesura: {summary_line(result)}")


COMMAND: Final = SubCommand(
    name="instrument",
    help="make a module pausable",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
