"""`caesura print`: write a module as text."""

from __future__ import annotations

import argparse
from typing import Final

from caesura.cli.files import about, check_output_name, goes_to_terminal, read_module, write_output
from caesura.cli.subcommand import SubCommand, add_files

_DESCRIPTION: Final = """\
Print a WebAssembly module in the text format, flat and with the names of its name section. `wat2wasm` reads the text
back to an equal module."""

_EXAMPLES: Final = """\
examples:
  caesura print app.wasm | less
  caesura print app.wasm -o app.wat
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_files(parser, "where the text goes")


def _run(arguments: argparse.Namespace) -> int:
    check_output_name(arguments.output)
    goes_to_terminal(arguments.output)  # or nowhere
    module = read_module(arguments.input)
    with about(arguments.input):
        pieces = text_of(module)
    write_output(arguments.output, pieces)
    return 0


def text_of(module: bytes) -> list[bytes]:
    """Return the text of a module, in pieces."""
    from caesura.wasm.print_module import write_text

    pieces: list[bytes] = []

    def keep(piece: str) -> None:
        pieces.append(piece.encode(errors="surrogateescape"))

    write_text(module, keep)
    return pieces


COMMAND: Final = SubCommand(
    name="print",
    help="print a module as text",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
