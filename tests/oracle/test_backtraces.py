"""Backtraces in generated modules: what frames are told to be is what the engine's stack has, at random points.

The modules' imported memories, tables and globals become their own, in front of what they have, so that the asyncio
host can run them with imports that wait.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import caesura
from caesura.analysis.calls import read_calls
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.encoded import zero_constant
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_name, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.sections import EXPORT, FUNCTION, GLOBAL, IMPORT, MEMORY, TABLE, TYPE, read_sections
from caesura.wasm.types import I32, V128, encode_value_type, is_number
from tests.host.engine_stacks import assert_frames_call_each_other, assert_same_functions, running_functions
from tests.instrument.building import HEADER, section
from tests.oracle.cases import make_case
from tests.oracle.generator import Features
from tests.oracle.minimise import draw_parts
from tests.oracle.world import GROUND_PAGES, TABLE_SIZE

MODULES = 25
POINTS = 12
FUEL = 300
FEATURES = Features(exceptions=False, memory64=False)
# Sections in their order: those that tables, memories and globals can be put into may be missing.
ORDER = (TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT)


def with_own_items(data: bytes) -> bytes:
    """Return a module that imports nothing but functions."""
    module = Module(data)
    functions = module.function_imports()
    imports = [
        encode_name(item.module) + encode_name(item.name) + b"\0" + encode_unsigned(module.function_types[item.index])
        for item in functions
    ]
    imported = [item for item in module.imports if item.kind != FUNCTION_KIND]
    counts = {kind: sum(item.kind == kind for item in imported) for kind in (1, 2, 3)}
    added = {
        TABLE: [b"\x70\0" + encode_unsigned(TABLE_SIZE)] * counts[1],
        MEMORY: [b"\0" + encode_unsigned(GROUND_PAGES)] * counts[2],
        GLOBAL: [_global(entry.type) for entry in module.globals[: counts[3]]],
    }
    payloads = {one.id: data[one.payload : one.end] for one in module.sections if one.id}
    payloads[IMPORT] = encode_unsigned(len(imports)) + b"".join(imports)
    for kind, entries in added.items():
        old = payloads.get(kind, b"\0")
        count, position = read_u32(old, 0)
        payloads[kind] = encode_unsigned(count + len(entries)) + b"".join(entries) + old[position:]
    names = b"".join(data[one.start : one.end] for one in read_sections(data) if not one.id)
    rest = [kind for kind in payloads if kind not in ORDER]
    return HEADER + b"".join(section(kind, payloads[kind]) for kind in (*ORDER, *rest)) + names


def _global(value_type: int) -> bytes:
    """Return a mutable global; the first one of i32s is how much may be done."""
    initial = b"\x41" + b"\xac\x02" if value_type == I32 else zero_constant(value_type)
    return encode_value_type(value_type) + b"\x01" + initial + b"\x0b"


def zero_of(value_type: int) -> Any:
    return None if not is_number(value_type) else bytes(16) if value_type == V128 else 0


async def compare(data: bytes, options: caesura.Options, seed: int) -> tuple[int, int]:
    """Run a module; return at how many points its backtrace was that of the engine, and how many were uncertain."""
    original = Module(data)
    points = random.Random(seed)
    compared = uncertain = 0

    def imported(results: tuple[int, ...]) -> Any:
        zeros = tuple(zero_of(kind) for kind in results)
        value = zeros if len(zeros) > 1 else zeros[0] if zeros else None

        async def wait(*_: Any) -> Any:
            nonlocal compared, uncertain
            if compared + uncertain < POINTS and points.random() < 0.5:
                running = running_functions(guest, original)
                await asyncio.sleep(0)
                (call,) = guest.pending
                frames = call.backtrace()
                if all(frame.certain for frame in frames):
                    assert_same_functions(frames, running)
                    assert_frames_call_each_other(frames, original, call.function)
                    compared += 1
                else:
                    assert len(frames) > 0
                    uncertain += 1
            return value

        return wait

    imports = {
        "env": {
            item.name: imported(original.function_type(FunctionIndex(item.index)).results)
            for item in original.function_imports()
        }
    }
    guest = await caesura.load(data, imports, options=options, cache=False)
    for export in [item for item in original.exports if item.kind == FUNCTION_KIND][:2]:
        kinds = original.function_type(FunctionIndex(export.index)).params
        try:
            await guest.call(export.name, *[zero_of(kind) for kind in kinds])
        except caesura.GuestTrap:
            continue
    guest.close()
    return compared, uncertain


@pytest.mark.parametrize("portion", range(4))
def test_frames_of_generated_modules_are_those_of_the_engine(portion: int) -> None:
    compared = uncertain = 0
    for number in range(MODULES):
        case = make_case(*draw_parts(random.Random(portion << 24 | number)), FEATURES)
        data = with_own_items(case.module)
        # A resume body makes a tail call as a call: then the engine's stack has functions that have left.
        two_bodies = "never" if read_calls(Module(data)).tail_calling else ("auto", "all", "never")[number % 3]
        options = caesura.Options(two_bodies=two_bodies, optimize=("balanced", "size")[number // 3 % 2])
        found = asyncio.run(compare(data, options, number))
        compared += found[0]
        uncertain += found[1]
    assert compared > 40
    assert uncertain < compared // 2
