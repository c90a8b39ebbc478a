"""What generated modules record of themselves: the functions that the engine has on the stack where they are suspended,
as often as they are there.

The runs are those of the tests of backtraces. In modules with tail calls a function that has left is on no stack, and
is recorded when a rewind passes it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import caesura
from caesura.analysis.calls import read_calls
from caesura.instrument.abi.naming import FunctionNames
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from tests.host.engine_stacks import running_functions
from tests.oracle.cases import make_case
from tests.oracle.generator import Features
from tests.oracle.minimise import draw_parts
from tests.oracle.test_backtraces import with_own_items, zero_of

MODULES = 20
POINTS = 25
FEATURES = Features(exceptions=False, memory64=False)
UNNAMED = re.compile(r"#(\d+)@[0-9a-f]{16}")

Function = int | str


class Run(NamedTuple):
    """What a run saw: how often each function was on the stack, which import each was seen under, and what it did."""

    seen: Counter[Function]
    imports: dict[Function, set[str]]
    outcomes: list[str]


async def run(data: bytes, original: Module, options: caesura.Options, seed: int) -> Run:
    """Run a module's entries, suspended at random points."""
    points = random.Random(seed)
    found = Run(Counter(), {}, [])

    def imported(name: str, results: tuple[int, ...]) -> Any:
        zeros = tuple(zero_of(kind) for kind in results)
        value = zeros if len(zeros) > 1 else zeros[0] if zeros else None

        async def wait(*_: Any) -> Any:
            if found.seen.total() < 1000 and points.random() < 0.5:
                running = running_functions(guest, original)
                found.seen.update(running)
                for function in running:
                    found.imports.setdefault(function, set()).add(f"env.{name}")
                await asyncio.sleep(0)
            return value

        return wait

    imports = {
        "env": {
            item.name: imported(item.name, original.function_type(FunctionIndex(item.index)).results)
            for item in original.function_imports()
        }
    }
    async with await caesura.load(data, imports, options=options, cache=False) as guest:
        for export in [item for item in original.exports if item.kind == FUNCTION_KIND][:2]:
            kinds = original.function_type(FunctionIndex(export.index)).params
            try:
                found.outcomes.append(str(await guest.call(export.name, *[zero_of(kind) for kind in kinds])))
            except caesura.GuestTrap as trap:
                found.outcomes.append(trap.kind)
    return found


def read(recording: Path) -> tuple[Counter[Function], dict[Function, Any], list[str]]:
    """Return how often functions were recorded, their examples, and the entries."""
    counts: Counter[Function] = Counter()
    examples: dict[Function, Any] = {}
    entries: list[str] = []
    for line in recording.read_text().splitlines():
        for entry, seen in json.loads(line).get("functions", {}).items():
            unnamed = UNNAMED.fullmatch(entry)
            function = entry if unnamed is None else int(unnamed[1])
            counts[function] += seen["count"]
            examples.setdefault(function, seen)
            entries.append(entry)
    return counts, examples, entries


@pytest.mark.parametrize("abi", ["thunks", "plain"])
@pytest.mark.parametrize("portion", range(3))
def test_what_is_recorded_was_on_the_engine_s_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int, abi: str
) -> None:
    compared = relisted = 0
    for number in range(MODULES):
        case = make_case(*draw_parts(random.Random(portion << 24 | number)), FEATURES)
        data = with_own_items(case.module)
        original = Module(data)
        names = FunctionNames(original).names
        leaving = [names[original.function_of(own)] for own in read_calls(original).tail_calling]
        # A resume body makes a tail call as a call: then the engine's stack has functions that have left.
        two_bodies = "never" if leaving else ("auto", "all", "never")[number % 3]
        options = caesura.Options(two_bodies=two_bodies, optimize=("balanced", "size")[number // 3 % 2])
        recording = tmp_path / f"{number}"
        monkeypatch.setenv("CAESURA_RECORD", str(recording))
        ran = data
        if abi == "plain":
            plain = caesura.Options(
                two_bodies=two_bodies, record=True, in_secondary_memory=True, secondary_memory_size=16
            )
            ran = caesura.instrument(data, plain).module
        found = asyncio.run(run(ran, original, options if abi == "thunks" else caesura.Options(), number))
        counts, examples, entries = read(recording)
        monkeypatch.delenv("CAESURA_RECORD")
        for left in leaving:
            assert counts.pop(left, 0) >= found.seen.pop(left, 0)
        assert counts == found.seen
        compared += len(counts)
        for function, example in examples.items():
            if function in found.imports and example["import"] is not None:
                assert example["stack"][0] == example["import"]
                assert example["stack"][-1] in entries
        if entries and abi == "thunks":
            listed = asyncio.run(run(data, original, caesura.Options(only_list=entries), number))
            assert listed.outcomes == found.outcomes
            relisted += 1
    assert compared > 12
    if abi == "thunks":
        assert relisted > 3
