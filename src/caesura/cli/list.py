"""`caesura list`: write entries of lists for functions, by their bodies."""

from __future__ import annotations

import argparse
from typing import Final

import caesura
from caesura.analysis.demangling import DemangledNames
from caesura.analysis.list_text import Sections, read_list
from caesura.analysis.lists import PatternList
from caesura.cli.files import STANDARD_STREAM, about, check_output_name, goes_to_terminal, read_module, write_output
from caesura.cli.subcommand import SubCommand
from caesura.errors import UsageError
from caesura.wasm.module import Module

_DESCRIPTION: Final = """\
Write the entries by which a list names functions of a module that has no names: the index of each, and a hash of its
body, so that the list survives a rebuild. Names, where there are any, stand in comments."""

_EXAMPLES: Final = """\
examples:
  caesura list app.wasm 12,240 > only.txt
      entries for two functions, as --only-list @only.txt takes them
  caesura list app.wasm
      entries for all functions
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="the module, binary or text; '-' is standard input")
    parser.add_argument(
        "functions",
        metavar="LIST",
        nargs="?",
        default="*",
        help="which functions, as in other lists, or by their index (default: all)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default=STANDARD_STREAM,
        help="where the list goes; '-', the default, is standard output",
    )


def _run(arguments: argparse.Namespace) -> int:
    check_output_name(arguments.output)
    goes_to_terminal(arguments.output)  # or nowhere
    entries = read_list(arguments.functions, Sections())
    module = read_module(arguments.input)
    with about(arguments.input):
        lines = _lines(module, entries)
    write_output(arguments.output, [line.encode(errors="surrogateescape") + b"\n" for line in lines])
    return 0


def _lines(data: bytes, entries: tuple[str, ...]) -> list[str]:
    from caesura.instrument.abi.naming import FunctionNames  # the transformation, which other commands do without

    try:
        module = Module(data)
        names = FunctionNames(module).names
    except IndexError:
        raise caesura.MalformedModule("unexpected end of the module", len(data)) from None
    own = range(module.imported_functions, len(names))
    # An index means a function under whatever name it is exported: engines know no other name of it.
    bodies = {str(function): function for function in own}
    patterns = PatternList(entries, names[module.imported_functions :], DemangledNames(names), bodies)
    functions = [function for function in own if patterns.match(names[function], function)]
    for entry in patterns.unmatched():
        raise UsageError(f"no function with a body has the name or the index '{entry}'")
    lines: list[str] = []
    for function, entry in zip(functions, caesura.body_entries(data, functions), strict=True):
        if names[function] != str(function):
            lines.append("# " + " ".join(names[function].splitlines()))
        lines.append(entry)
    return lines


COMMAND: Final = SubCommand(
    name="list",
    help="write entries of lists for functions without names",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
