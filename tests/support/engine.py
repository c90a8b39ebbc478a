"""The Wasmtime engines of the tests, and text to binary.

`engine` switches on every proposal a test may use, so that no test carries its own configuration. Modules are compiled
with optimisation off by default: the tests compile much and run little.
"""

from __future__ import annotations

import functools

import wasmtime


@functools.cache
def engine(*, optimised: bool = False) -> wasmtime.Engine:
    """Return the engine that the tests share."""
    configuration = wasmtime.Config()
    configuration.wasm_exceptions = True
    configuration.wasm_function_references = True
    configuration.wasm_gc = True
    configuration.wasm_memory64 = True
    configuration.wasm_multi_memory = True
    configuration.wasm_relaxed_simd = True
    configuration.wasm_tail_call = True
    configuration.wasm_threads = True
    configuration.wasm_wide_arithmetic = True
    configuration.cranelift_opt_level = "speed" if optimised else "none"
    return wasmtime.Engine(configuration)


def assemble(text: str) -> bytes:
    """Return the binary form of a module in the text format."""
    return bytes(wasmtime.wat2wasm(text))
