"""`caesura diff`: what gained or lost instrumentation from one module to the next, and why."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import fields
from typing import Any, Final

from caesura.cli.collector import paused_collector
from caesura.cli.diff_text import difference_text
from caesura.cli.exits import GREW, WrongUsage
from caesura.cli.explain import add_core_module, chosen_module, explained
from caesura.cli.explain_text import ROWS
from caesura.cli.files import about, read_file
from caesura.cli.instrument import add_emscripten_js, module_named_by
from caesura.cli.messages import say_error
from caesura.cli.options import add_options, read_options
from caesura.cli.streams import say_result
from caesura.cli.subcommand import SubCommand
from caesura.options import Options

_DESCRIPTION: Final = """\
Show which functions gained or lost instrumentation between two modules, and why, how sizes changed, and which entries
of lists match nothing any more. OLD and NEW are modules as they are before they are instrumented, for which the options
are, or what `caesura explain --json` printed of one, which has its own."""

_EXAMPLES: Final = f"""\
examples:
  caesura diff old.wasm new.wasm --imports env.sleep --fail-on-growth 2%
  caesura diff old/app.wasm new/app.wasm --emscripten-js old/app.js --emscripten-js new/app.js
  caesura explain app.wasm --only-list @functions.txt --json > kept.json
  caesura diff kept.json app.wasm --only-list @functions.txt
      what has changed since, in the module or in the list
exit codes: 0, {GREW} if it grew by more than --fail-on-growth allows, 1 and 2 for errors
"""

Json = dict[str, Any]

_PERCENT: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)%")
_BYTES: Final = re.compile(r"[0-9]{1,18}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    help_text = "the %s module, or its explanation as JSON; '-' is standard input"
    parser.add_argument("old", metavar="OLD", help=help_text % "earlier")
    parser.add_argument("new", metavar="NEW", help=help_text % "later")
    parser.add_argument(
        "--fail-on-growth",
        metavar="LIMIT",
        help=f"end with {GREW} if the instrumented module grew by more: a share (2%%), or a number of bytes",
    )
    add_core_module(parser)
    add_emscripten_js(parser, is_repeated=True)
    parser.add_argument(
        "--rows", type=int, default=ROWS, metavar="N", help=f"rows of each list (default: {ROWS}; 0: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the differences and errors")
    add_options(parser)


def _run(arguments: argparse.Namespace) -> int:
    from caesura.explaining.difference import describe_difference
    from caesura.explaining.reading import is_document

    if arguments.rows < 0:
        raise WrongUsage(f"--rows {arguments.rows}: expected a number of rows, or 0 for all")
    if arguments.old == arguments.new == "-":
        raise WrongUsage("only one of OLD and NEW can be standard input")
    allowed = _limit(arguments.fail_on_growth)
    options = read_options(arguments)
    files = [(path, read_file(path)) for path in (arguments.old, arguments.new)]
    if all(is_document(data) for _, data in files) and _are_given(options):
        raise WrongUsage("options of the transformation are for modules, and both OLD and NEW are explanations")
    scripts = _scripts(arguments.emscripten_js, [is_document(data) for _, data in files])
    before, now = (
        _document(path, data, script, options, arguments) for (path, data), script in zip(files, scripts, strict=True)
    )
    told = describe_difference(before, now)
    say_result(json.dumps(told, indent=1) if arguments.json else difference_text(told, arguments.rows))
    old, new = told["before"]["bytes_after"], told["now"]["bytes_after"]
    if allowed is not None and new - old > allowed(old):
        say_error(f"the instrumented module grew by {new - old:,} bytes, and {arguments.fail_on_growth} is allowed")
        return GREW
    return 0


class _Limit:
    """By how many bytes a module may grow: a share of what it had, and a number."""

    def __init__(self, share: float, size: int) -> None:
        self._share = share
        self._size = size

    def __call__(self, before: int) -> float:
        return before * self._share + self._size


def _limit(text: str | None) -> _Limit | None:
    if text is None:
        return None
    percent = _PERCENT.fullmatch(text)
    if percent:
        return _Limit(float(percent[1]) / 100, 0)
    if not _BYTES.fullmatch(text):
        raise WrongUsage(f"--fail-on-growth {text}: expected a share (2%) or a number of bytes")
    return _Limit(0, int(text))


def _are_given(options: Options) -> bool:
    defaults = Options()
    return any(getattr(options, item.name) != getattr(defaults, item.name) for item in fields(Options))


def _scripts(given: list[str], are_documents: list[bool]) -> list[str | None]:
    """Return the file of Emscripten's JavaScript for each side, if there is one: one file is for all that are modules.

    Raises WrongUsage for those that would be for an explanation, which has its names.
    """
    if len(given) > len(are_documents):
        raise WrongUsage("--emscripten-js: expected one file, or that of OLD and that of NEW")
    if (given and all(are_documents)) or (len(given) > 1 and any(are_documents)):
        raise WrongUsage("--emscripten-js is for modules, and explanations have their names: give it for modules only")
    if len(given) > 1:
        return [*given]
    return [given[0] if given and not is_document else None for is_document in are_documents]


def _document(path: str, data: bytes, script: str | None, options: Options, arguments: argparse.Namespace) -> Json:
    """Return the explanation of a module, or the one that a file holds."""
    from caesura.explaining.document import describe_module
    from caesura.explaining.reading import is_document, read_document
    from caesura.host.text import assemble, is_text

    with about(path), paused_collector():
        if is_document(data):
            return read_document(data)
        module = assemble(data) if is_text(data) else data
    if script is not None:
        module = module_named_by(script, module, path, arguments)
    with about(path), paused_collector():
        module = chosen_module(module, arguments)
        return describe_module(explained(module, options, is_quiet=arguments.quiet), module, options)


COMMAND: Final = SubCommand(
    name="diff",
    help="show what gained or lost instrumentation, and why",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
