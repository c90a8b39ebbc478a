"""`caesura completion`: scripts that let a shell complete the command line.

They are made by the package shtab from the parser itself, so no option is ever missing. Scripts of our own were
rejected: three shells have three languages, and nobody here would notice when one of them changes. So was argcomplete,
which starts Python for every press of the key.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from caesura.cli.streams import say_result
from caesura.cli.subcommand import SubCommand
from caesura.errors import UsageError

_SHELLS: Final = ("bash", "zsh", "fish")

_DESCRIPTION: Final = """\
Print a script that lets a shell complete the commands and options of `caesura`, and the names of files."""

_EXAMPLES: Final = """\
examples:
  caesura completion bash > ~/.local/share/bash-completion/completions/caesura
  caesura completion zsh > ~/.zfunc/_caesura
      with `fpath+=~/.zfunc` in ~/.zshrc, before `autoload -Uz compinit && compinit`
  caesura completion fish > ~/.config/fish/completions/caesura.fish
"""

# Arguments that are files and folders.
_FILES: Final = frozenset(
    ["input", "output", "command", "emscripten_js", "state", "states", "module", "base", "html", "old", "new"]
)
_FOLDERS: Final = frozenset(["dir", "read_only_dir"])


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=_SHELLS, help="the shell that will read the script")


def _run(arguments: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError as error:
        raise UsageError("completion scripts are made by the package shtab, which is not installed") from error
    parser = arguments.parser_of_all
    _mark_paths(parser, {"file": shtab.FILE, "folder": shtab.DIRECTORY})
    say_result(shtab.complete(parser, shell=arguments.shell))
    return 0


def _mark_paths(parser: argparse.ArgumentParser, completers: dict[str, Any]) -> None:
    """Tell shtab which arguments are paths, in a parser and those of its sub-commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _mark_paths(child, completers)
        elif action.dest in _FILES:
            action.complete = completers["file"]  # type: ignore[attr-defined]
        elif action.dest in _FOLDERS:
            action.complete = completers["folder"]  # type: ignore[attr-defined]


COMMAND: Final = SubCommand(
    name="completion",
    help="print a script that completes command lines",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
