"""`caesura explain`: why functions are instrumented, what that costs, and what would spare it."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any, Final

from caesura.cli.collector import paused_collector
from caesura.cli.exits import WrongUsage
from caesura.cli.explain_text import ROWS, function_text, module_text
from caesura.cli.files import (
    STANDARD_STREAM,
    about,
    check_output_name,
    is_standard_output,
    read_file,
    read_module,
    write_output,
)
from caesura.cli.instrument import add_emscripten_js, named_module
from caesura.cli.messages import say_warning
from caesura.cli.options import add_options, read_options
from caesura.cli.progress import ProgressBar
from caesura.cli.streams import say_result
from caesura.cli.subcommand import SubCommand

if TYPE_CHECKING:
    from caesura.explaining.explanation import Explanation
    from caesura.options import Options

_DESCRIPTION: Final = """\
Say why functions of a module are instrumented, what that costs, and what would have to change so that they are not.
With FUNCTION, that of one function: the shortest path of calls to what may suspend, what calls it, its size before and
after, and the single changes that would free it. Without, a ranking of what causes most instrumentation.

The module is the one that `caesura instrument` takes, with the same options. It is instrumented for the sizes, and
nothing is written but the report."""

_EXAMPLES: Final = """\
examples:
  caesura explain app.wasm --imports env.sleep
  caesura explain app.wasm main --imports env.sleep
  caesura explain app.wasm --only-list @functions.txt --html report.html
  caesura explain app.wasm --only-list @functions.txt --recorded tests.txt --html report.html
      which functions of the list the tests have not come to, and which are missing in it
  caesura explain app.wasm --json > before.json
      for `caesura diff before.json app.wasm`
"""

Json = dict[str, Any]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="MODULE", help="the module, binary or text; '-' is standard input")
    parser.add_argument(
        "function", metavar="FUNCTION", nargs="?", help="the name of a function, or its index; right behind MODULE"
    )
    add_core_module(parser)
    add_emscripten_js(parser)
    parser.add_argument(
        "--rows", type=int, default=ROWS, metavar="N", help=f"rows of each table (default: {ROWS}; 0: all)"
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write a page to look at, with a map of the code, and print no text"
    )
    parser.add_argument(
        "--recorded",
        metavar="FILE",
        action="append",
        default=[],
        help="a recording, or a list that `caesura record` wrote: say which functions of the only-list (without one, "
        "of those that are instrumented) were never recorded, and which others were; can be given more than once",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: all that is known, for every function")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the report and errors")
    add_options(parser)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.rows < 0:
        raise WrongUsage(f"--rows {arguments.rows}: expected a number of rows, or 0 for all")
    if arguments.html is not None:
        check_output_name(arguments.html)
        if arguments.json and is_standard_output(arguments.html):
            raise WrongUsage("--json and --html go to standard output both: name a file with --html")
    options = read_options(arguments)
    data = named_module(read_module(arguments.input), arguments)
    with about(arguments.input), paused_collector():
        data = chosen_module(data, arguments)
        explanation = explained(data, options, is_quiet=arguments.quiet)
        if not arguments.quiet:
            for warning in explanation.instrumented.warnings:
                say_warning(warning)
        _tell(explanation, data, options, arguments)
    return 0


def add_core_module(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses one of a component's modules."""
    parser.add_argument("--core-module", type=int, metavar="N", help="which core module of a component, from 0 on")


def chosen_module(data: bytes, arguments: argparse.Namespace) -> bytes:
    """Return the module that is meant: of a component, one of its core modules."""
    from caesura.explaining.explanation import core_module

    return core_module(data, arguments.core_module)


def explained(data: bytes, options: Options, *, is_quiet: bool) -> Explanation:
    """Return the explanation of a module, with a progress bar meanwhile."""
    from caesura.explaining.explanation import explain

    bar = ProgressBar(enabled=not is_quiet)
    try:
        return explain(data, options, bar)
    finally:
        bar.clear()


def _tell(explanation: Explanation, data: bytes, options: Options, arguments: argparse.Namespace) -> None:
    from caesura.explaining.document import describe_module, describe_one
    from caesura.explaining.one_function import find_function

    function = None if arguments.function is None else find_function(explanation, arguments.function)
    document: Json = {}
    coverage = None
    if arguments.recorded:
        from caesura.explaining.coverage import find_coverage

        coverage = find_coverage(explanation, data, options, _recorded(data, arguments))
    if function is None or arguments.html is not None:
        document = describe_module(explanation, data, options, coverage)
    if arguments.html is not None:
        chosen = None if function is None else explanation.report(function).index
        _write_page(explanation, document, chosen, arguments)
        if not arguments.json:
            return
    if function is not None:
        told = describe_one(explanation, data, function, coverage)
        say_result(json.dumps(told, indent=1) if arguments.json else function_text(told, arguments.rows))
    else:
        say_result(json.dumps(document, indent=1) if arguments.json else module_text(document, arguments.rows))


def _recorded(data: bytes, arguments: argparse.Namespace) -> dict[str, int]:
    """Return how often functions were on the stack, by entries of lists, as far as files tell; `data` is the module."""
    from caesura.recording.completing import complete_entries
    from caesura.recording.recorded import LARGEST_FILE, Recording, is_recording, read_recording
    from caesura.recording.recorded_list import read_recorded_list

    recording = Recording()
    found: dict[str, int] = {}
    for path in arguments.recorded:
        content = read_file(path, LARGEST_FILE)
        if is_recording(content):
            read_recording(content, path, recording)
            continue
        told = read_recorded_list(path).recorded()
        if not told and not arguments.quiet:
            say_warning(f"'{path}' is no recording, and as a list it does not tell of any entry that it was recorded")
        for entry, times in told.items():
            found[entry] = max(found.get(entry, 0), times)
    complete_entries(recording, data)
    for warning in recording.warnings:
        say_warning(warning)
    for entry, seen in recording.functions.items():
        found[entry] = max(found.get(entry, 0), seen.times)
    return found


def _write_page(explanation: Explanation, document: Json, chosen: int | None, arguments: argparse.Namespace) -> None:
    from caesura.explaining.call_columns import call_columns
    from caesura.explaining.html import report_page

    title = "standard input" if arguments.input == STANDARD_STREAM else os.path.basename(arguments.input)
    write_output(arguments.html, [report_page(document, call_columns(explanation), title, chosen).encode()])


COMMAND: Final = SubCommand(
    name="explain",
    help="say why functions are instrumented, and what it costs",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
