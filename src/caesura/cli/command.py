"""The command as a whole: its sub-commands, and what becomes of errors.

Whatever goes wrong ends as one line on standard error, `caesura: error: ...`, and an exit code: 1 for bad input and
for what cannot be read or written, 2 for wrong usage, 130 when interrupted, and, without a line, 141 when nobody reads
the output any more. An exception that nobody meant to raise
is reported as a bug in caesura; `--debug`, or CAESURA_DEBUG=1 in the environment, shows tracebacks.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import caesura
from caesura.cli import cache, completion, instrument, run
from caesura.cli import print as print_command
from caesura.cli.messages import say_error, say_stopped
from caesura.cli.options import WrongUsage
from caesura.cli.streams import ReaderGone, end_quietly, say
from caesura.errors import CaesuraError, InternalError

BAD_INPUT: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130

_DESCRIPTION: Final = "Make WebAssembly modules pausable: rewrite them so that their call stack can be suspended."


class _Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage as every other error is reported, in one line."""

    def error(self, message: str) -> NoReturn:
        say_error(f"{message}; see `{self.prog} --help`")
        sys.exit(WRONG_USAGE)

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse's own way is silent where that fails."""
        say(self.format_help(), end="")


class _Version(argparse.Action):
    """Prints the versions of all that matters to a report; looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        import platform
        from importlib import metadata

        try:
            engine = f"wasmtime {metadata.version('wasmtime')}"
        except metadata.PackageNotFoundError:
            engine = "no wasmtime"
        form = "compiled" if is_compiled() else "interpreted"
        say(f"caesura {caesura.__version__} ({form}), Python {platform.python_version()}, {engine}")
        sys.exit(0)


def is_compiled() -> bool:
    """Tell whether the transformation runs as native code."""
    from caesura.instrument import pipeline

    return not str(pipeline.__file__).endswith(".py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        return end_quietly(lambda: _run(arguments))
    except CaesuraError as error:
        say_error(str(error))
        return BAD_INPUT


def _run(arguments: Sequence[str] | None) -> int:
    debug = os.environ.get("CAESURA_DEBUG", "") not in ("", "0")
    try:
        parsed = _parse(arguments)
        debug = debug or parsed.debug
        code: int = parsed.run(parsed)
        return code
    except ReaderGone:
        raise
    except KeyboardInterrupt:
        say_stopped("interrupted")
        return INTERRUPTED
    except (CaesuraError, MemoryError) as error:
        _show_traceback(debug)
        say_error(str(error) if isinstance(error, CaesuraError) else "there is not enough memory")
        return WRONG_USAGE if isinstance(error, WrongUsage) else BAD_INPUT
    except Exception as error:
        _show_traceback(debug)
        say_error(str(InternalError(f"unexpected {type(error).__name__}: {error}")))
        return BAD_INPUT


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; what a sub-command does not know is told with the option that may be meant."""
    parsed, unknown = parser_of_all().parse_known_args(arguments)
    if unknown:
        hint = _closest_option(parsed.parser, unknown[0])
        parsed.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return parsed


def _closest_option(parser: argparse.ArgumentParser, word: str) -> str:
    from difflib import get_close_matches

    options = [option for action in parser._actions for option in action.option_strings]
    word = word.partition("=")[0]
    closest = get_close_matches(word, options, 1) if word.startswith("--") else []
    return f" (did you mean {closest[0]}?)" if closest else ""


def parser_of_all() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="caesura", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, and whether it runs compiled")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (instrument, print_command, run, cache, completion):
        command = module.add_parser(commands)
        command.add_argument("--debug", action="store_true", help="show a traceback with an error")
        command.set_defaults(run=module.run, parser=command)
    return parser


def _show_traceback(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
