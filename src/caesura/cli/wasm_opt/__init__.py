"""`caesura-wasm-opt`: the command line of Binaryen's `wasm-opt`, with `--asyncify` done by caesura.

What an argument means (`arguments`, `known`, `asyncify`), what is done in which order (`steps`, `job`, `runs`),
Binaryen's own tool (`real`), and what goes along with the code: features, custom sections, source maps, Binaryen's
words.
"""

from caesura.cli.wasm_opt.command import main

__all__ = ["main"]
