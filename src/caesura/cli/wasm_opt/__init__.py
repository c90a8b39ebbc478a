"""`caesura-wasm-opt`: the command line of Binaryen's `wasm-opt`, as far as it concerns Asyncify."""

from caesura.cli.wasm_opt.command import main

__all__ = ["main"]
