"""The commands `caesura` and, in `wasm_opt`, `caesura-wasm-opt`.

Command lines, files, what is said on the terminal, exit codes: `command` lists the sub-commands, of which each has a
file. No logic of the transformation or of running guests stands here.
"""

from caesura.cli.command import main

__all__ = ["main"]
