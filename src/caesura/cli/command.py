"""The command as a whole: which sub-commands there are, and how its line is parsed; how it ends stands in `exits`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import caesura
from caesura.cli import cache, completion, diff, explain, fix, inspect, instrument, record, resume, run, to_wasm
from caesura.cli import list as list_command
from caesura.cli import print as print_command
from caesura.cli.exits import WRONG_USAGE, exit_code
from caesura.cli.messages import say_error
from caesura.cli.streams import say_result

_DESCRIPTION: Final = "Make WebAssembly modules pausable: rewrite them so that their call stack can be suspended."


SUB_COMMANDS: Final = (
    instrument.COMMAND,
    explain.COMMAND,
    diff.COMMAND,
    record.COMMAND,
    fix.COMMAND,
    print_command.COMMAND,
    list_command.COMMAND,
    run.COMMAND,
    resume.COMMAND,
    inspect.COMMAND,
    to_wasm.COMMAND,
    cache.COMMAND,
    completion.COMMAND,
)


class _Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage as every other error is reported, in one line."""

    def error(self, message: str) -> NoReturn:
        say_error(f"{message}; see `{self.prog} --help`")
        sys.exit(WRONG_USAGE)

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse's own way is silent where that fails."""
        say_result(self.format_help(), end="")


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
        say_result(f"caesura {caesura.__version__} ({form}), Python {platform.python_version()}, {engine}")
        sys.exit(0)


def is_compiled() -> bool:
    """Tell whether the transformation runs as native code."""
    from caesura.instrument import pipeline

    return not str(pipeline.__file__).endswith(".py")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = argparse.Namespace(debug=False)  # until they are parsed
    return exit_code("caesura", lambda: _run(words, arguments), lambda: bool(arguments.debug))


def _run(words: Sequence[str] | None, arguments: argparse.Namespace) -> int:
    _parse(words, arguments)
    code: int = arguments.run(arguments)
    return code


def _parse(words: Sequence[str] | None, arguments: argparse.Namespace) -> None:
    """Parse the command line; what a sub-command does not know is told with the option that may be meant."""
    _, unknown = parser_of_all().parse_known_args(words, arguments)
    if unknown:
        hint = _closest_option(arguments.parser, unknown[0])
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _closest_option(parser: argparse.ArgumentParser, word: str) -> str:
    from difflib import get_close_matches

    options = [option for action in parser._actions for option in action.option_strings]
    word = word.partition("=")[0]
    closest = get_close_matches(word, options, 1) if word.startswith("--") else []
    return f" (did you mean {closest[0]}?)" if closest else ""


def parser_of_all() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="caesura", description=_DESCRIPTION, allow_abbrev=False)
    parser.set_defaults(parser_of_all=parser)  # for the sub-command that describes all of them
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, and whether it runs compiled")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in SUB_COMMANDS:
        command.add_to(commands)
    return parser
