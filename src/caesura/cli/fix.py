"""`caesura fix`: instrument by a list, run a command, add to the list what was missing, until nothing is.

What is missing is what hosts note in the file that CAESURA_RECORD names, and what the command prints: errors of our
hosts, stacks of traps. The list is written after each round, so that an interrupted run has not been in vain.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Final

import caesura
from caesura.analysis.list_text import Sections
from caesura.cli.collector import paused_collector
from caesura.cli.commands import Outcome, run_observed
from caesura.cli.exits import BAD_INPUT, WrongUsage
from caesura.cli.files import about, check_output_name, is_ordinary, read_module, write_output
from caesura.cli.instrument import add_emscripten_js, named_module
from caesura.cli.messages import one_line, say, say_error, say_lines, say_warning
from caesura.cli.options import add_options, module_file_name, read_options
from caesura.cli.progress import ProgressBar
from caesura.cli.run_values import seconds
from caesura.cli.streams import say_result
from caesura.cli.subcommand import SubCommand
from caesura.cli.summary import counted
from caesura.errors import UsageError, printable
from caesura.options import Options
from caesura.recording.list_file import ListFile
from caesura.recording.missing import MissingEntries, MissingFunctions
from caesura.wasm.component import is_component

_DESCRIPTION: Final = """\
Complete a list of functions: instrument MODULE by the list, run COMMAND, which uses the result, add the functions that
were missing when a guest could not be suspended, and begin again, until COMMAND passes or nothing new is missing.
COMMAND is anything that fails or prints the errors, such as a test runner; it is run once for each round."""

_EXAMPLES: Final = """\
examples:
  caesura fix --list list.txt php.wasm -o build/php.wasm -- npm test
  caesura fix --list list.txt app.wasm -o app.async.wasm --imports env.fetch --timeout 60 -- python app.py
exit codes: 0 when COMMAND passes, 1 if it still fails when nothing new is missing
"""

_SHOWN: Final = 10


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="MODULE", help="the module, binary or text, before it is instrumented")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="where COMMAND finds the result")
    parser.add_argument("--list", metavar="FILE", required=True, help="the list: `caesura record` makes a first one")
    parser.add_argument("--timeout", metavar="SECONDS", help="stop COMMAND after a time, in each round")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the list's difference and errors")
    add_emscripten_js(parser)
    add_options(parser)
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.ONE_OR_MORE, help="the command, behind `--`")


@dataclass(frozen=True, kw_only=True)
class _Round:
    """What a round has brought: how the command ended, which entries are new, and what else is said to be missing."""

    outcome: Outcome
    new: tuple[str, ...]
    missing: MissingEntries


class _Fixing:
    """A run of `caesura fix`: the module, the list and the command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._timeout = None if arguments.timeout is None else seconds(arguments.timeout)
        self._module = named_module(read_module(arguments.input), arguments)
        if is_component(self._module):
            raise UsageError(f"{arguments.input} is a component: take the core module out of it that has the list")
        self._list = ListFile(arguments.list)
        self._before = self._list.lines()
        self.added: list[str] = []
        self.rounds = 0

    def to_end(self, options: Options) -> _Round:
        """Run rounds until one brings nothing new; return that."""
        while True:
            self.rounds += 1
            one = self._round(options)
            if not one.new:
                return one
            options = replace(options, only_list=(*options.only_list, *one.new))
            self.added += one.new
            sections = Sections(self._arguments.list_section, module_file_name(self._arguments))
            self._list.add(one.new, sections)
            write_output(self._arguments.list, [self._list.data()])

    def difference(self) -> str:
        """Return what has changed in the list."""
        path = self._arguments.list
        lines = unified_diff(self._before, self._list.lines(), path, path, n=1, lineterm="")
        return "\n".join(lines)

    def _round(self, options: Options) -> _Round:
        result = self._instrument(options)
        write_output(self._arguments.output, [result.module])
        for warning in result.warnings if self.rounds == 1 else ():
            say_warning(warning)
        functions = counted(result.instrumented, "function")
        self._say(f"round {self.rounds}: {functions} instrumented in {result.seconds:.1f} s; running the command")
        outcome = run_observed(self._arguments.command, self._timeout)
        with about(self._arguments.input):
            missing = MissingFunctions(self._module, options.only_list, result).entries(outcome.missing, outcome.stacks)
        known = frozenset(options.only_list)
        new = tuple([entry for entry in missing.entries if entry not in known])
        self._say(f"  it {outcome.end} after {outcome.seconds:.1f} s")
        if new:
            self._say(f"  {counted(len(new), 'function')} missing:")
            for entry in new[:_SHOWN]:
                self._say(f"    + {one_line(entry)}")
            if len(new) > _SHOWN:
                self._say(f"    ... and {len(new) - _SHOWN} more")
        return _Round(outcome=outcome, new=new, missing=missing)

    def _instrument(self, options: Options) -> caesura.Instrumented:
        bar = ProgressBar(enabled=not self._arguments.quiet)
        try:
            with about(self._arguments.input), paused_collector():
                return caesura.instrument(self._module, options, bar)
        finally:
            bar.clear()

    def _say(self, line: str) -> None:
        if not self._arguments.quiet:
            say_lines(line)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.only_list:
        raise WrongUsage("--only-list is what --list is here: give the latter alone")
    if arguments.no_guard:
        raise WrongUsage("--no-guard excludes fixing: without the guard nobody tells what is missing")
    for path in (arguments.list, arguments.output):
        check_output_name(path)
        if not is_ordinary(path):
            raise WrongUsage(f"'{path}' is no file: the list and OUT are written again and again")
    for path, what in ((arguments.list, "the list"), (arguments.input, "MODULE")):
        if _are_same(path, arguments.output):
            raise WrongUsage(f"OUT is {what}, '{path}', which each round reads: name another file")
    arguments.only_list = [f"@{arguments.list}"]
    options = read_options(arguments)
    if not options.only_list:
        raise WrongUsage(f"the list '{arguments.list}' is empty: `caesura record` makes a first one")
    fixing = _Fixing(arguments)
    last = fixing.to_end(options)
    if fixing.added:
        say_result(fixing.difference())
    if last.outcome.passed:
        say(f"caesura: {_result(fixing)}")
        return 0
    for line in last.outcome.last_lines:
        say_lines(f"  {printable(line.expandtabs())}")
    say_error(_failure(arguments, fixing, last))
    return BAD_INPUT


def _are_same(path: str, other: str) -> bool:
    """Tell whether two names are of one file, which may have several names."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def _result(fixing: _Fixing) -> str:
    if not fixing.added:
        return "the command passes, and nothing is missing in the list"
    added, rounds = counted(len(fixing.added), "function"), counted(fixing.rounds, "round")
    return f"the command passes after {rounds}; {added} added to the list"


def _failure(arguments: argparse.Namespace, fixing: _Fixing, last: _Round) -> str:
    so_far = f", and {counted(len(fixing.added), 'function')} added to the list so far" if fixing.added else ""
    if last.missing.instrumented:
        return (
            f"the command says that {last.missing.instrumented[0]} is missing, which is instrumented in "
            f"{arguments.output}: it runs another build{so_far}"
        )
    if last.missing.unknown:
        return (
            f"the command says that {last.missing.unknown[0]} is missing, which is no function of {arguments.input}: "
            f"it runs another module{so_far}"
        )
    if last.outcome.late:
        return f"the command did not end within {arguments.timeout} seconds, and nothing new is missing{so_far}"
    return f"the command {last.outcome.end}, and nothing new is missing in the list{so_far}: see its last lines above"


COMMAND: Final = SubCommand(
    name="fix",
    help="complete a list of functions by what a command finds missing",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
