"""What the tests of `caesura.wasm` share: an engine with every proposal, and the typing probe.

The probe turns stack typing into something that an engine checks. Behind every reachable instruction of a module it
puts an empty block whose parameters and results are the operand types that caesura computed. The module stays valid
only if each of those types is what the engine computes or a supertype of it, and a supertype that is too wide is
refused by whatever consumes the operand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from caesura.wasm import sections as sec
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.instructions import UNKNOWN
from caesura.wasm.leb128 import encode_signed, encode_unsigned, encode_vector
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.stack_typing import function_typer
from caesura.wasm.types import encode_value_type

_PROPOSALS = (
    "bulk_memory custom_page_sizes exceptions function_references gc memory64 multi_memory multi_value "
    "reference_types relaxed_simd simd tail_call threads wide_arithmetic"
)


@pytest.fixture(scope="session")
def engine() -> wasmtime.Engine:
    """An engine that accepts every proposal it knows; the legacy form of exceptions is not among them."""
    config = wasmtime.Config()
    for proposal in _PROPOSALS.split():
        setattr(config, f"wasm_{proposal}", True)
    return wasmtime.Engine(config)


@pytest.fixture(scope="session")
def validate(engine: wasmtime.Engine) -> Callable[[bytes], None]:
    """A function that raises unless the engine finds a module valid."""

    def check(binary: bytes) -> None:
        wasmtime.Module.validate(engine, binary)

    return check


@pytest.fixture(scope="session")
def real_module() -> Callable[[str], bytes]:
    """A function that returns a real program's module by its path below node_modules."""

    def read(path: str) -> bytes:
        file = Path(__file__).parents[2] / "node_modules" / path
        if not file.exists():
            pytest.skip(f"{path} is not installed (`make test` installs it)")
        return file.read_bytes()

    return read


@pytest.fixture(scope="session")
def with_probes() -> Callable[[bytes], bytes]:
    """A function that puts a typing probe behind every reachable instruction of a module."""
    return _with_probes


def _with_probes(binary: bytes) -> bytes:
    module = Module(binary)
    block_types: dict[tuple[int, ...], int] = {}
    bodies = [
        _probed_body(module, module.imported_functions + own, block_types) for own in range(len(module.body_starts))
    ]
    edits = SectionEdits()
    for types in block_types:
        vector = encode_vector([encode_value_type(one) for one in types])
        edits.append(sec.TYPE, b"\x60" + vector + vector)
    if bodies:
        edits.replace[sec.CODE] = encode_vector([encode_unsigned(len(body)) + body for body in bodies])
    return write_sections(binary, module.sections, edits)


def _probed_body(module: Module, function: int, block_types: dict[tuple[int, ...], int]) -> bytes:
    data = module.data
    own = function - module.imported_functions
    typer, position = function_typer(module, FunctionIndex(function))
    out = [data[module.body_starts[own] : position]]
    while position < module.body_ends[own]:
        start = position
        code, position = read_opcode(data, position)
        immediates, position = read_immediates(data, position, code)
        typer.step(code, immediates)
        out.append(data[start:position])
        if typer.is_finished() or typer.unreachable[-1]:
            continue
        types = tuple(typer.stack[typer.heights[-1] :])
        assert UNKNOWN not in types, "an operand of unknown type in reachable code"
        index = block_types.setdefault(types, len(module.types) + len(block_types))
        out.append(b"\x02" + encode_signed(index) + b"\x0b")
    return b"".join(out)
