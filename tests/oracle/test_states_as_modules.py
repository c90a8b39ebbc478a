"""Generated guests that are saved at random calls go on as modules: results, memory, globals and calls of imports are
those of a run that was never saved, in Wasmtime and in Node.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from wasmtime import Func, Global, Linker, Memory, Module, Store, Trap

import caesura
from caesura.snapshots.to_wasm import to_wasm
from tests.oracle.cases import make_case
from tests.oracle.generator import Features
from tests.oracle.minimise import draw_parts
from tests.oracle.saved_worlds import RECORD, driver_text, values_of, world_text
from tests.oracle.test_backtraces import with_own_items
from tests.oracle.wasmtime_engine import engine
from tests.oracle.world import ENTRY_TYPES, IMPORTS
from tests.support.engine import assemble
from tests.support.node import newer_node, run_driver

PORTIONS: Final = 4
MODULES: Final = 40
POINTS: Final = 4
# More calls are more of the same, and would need a large ledger.
CALLS: Final = 1000
FEATURES: Final = Features(
    canonical_nans=False,
    exceptions=False,
    memory64=False,
    references=False,
    wide_arithmetic=False,
    options=False,
)
BEGIN: Final = 3


class Run(NamedTuple):
    """A guest, an export of it that is called with the values of `given`, and how many calls of imports there were."""

    guest: bytes
    export: str
    params: tuple[int, ...]
    given: int
    before: int


class Ended(NamedTuple):
    """How a run ended: whether it trapped, its results, its records, and digests of these and of its memory."""

    trapped: bool
    results: str
    records: int
    noted: str
    memory: str


@cache
def world() -> Module:
    """Return the module of the imports."""
    return Module(engine(), assemble(world_text()))


@cache
def driver(export: str, params: tuple[int, ...], count: int) -> bytes:
    """Return the module that calls an export."""
    return assemble(driver_text(export, params, count))


def digest(memory: Memory, store: Store, start: int = 0, end: int | None = None) -> str:
    """Return a digest of a memory, or of a part of it."""
    return hashlib.sha256(memory.read(store, start, end)).hexdigest()


def in_wasmtime(run: Run, skipped: int = 0) -> Ended:
    """Do a run in Wasmtime; of its records, some at the beginning are left out of the digest."""
    store = Store(engine())
    linker = Linker(engine())
    surroundings = linker.instantiate(store, world())
    linker.define_instance(store, "env", surroundings)
    count, noted = linker.get(store, "env", "count"), linker.get(store, "env", "noted")
    ledger = linker.get(store, "env", "ledger")
    assert isinstance(count, Global) and isinstance(noted, Global) and isinstance(ledger, Memory)
    count.set_value(store, run.before)
    guest = linker.instantiate(store, Module(engine(), run.guest))
    linker.define_instance(store, "guest", guest)
    calls = linker.instantiate(store, Module(engine(), driver(run.export, run.params, run.given))).exports(store)
    go, results, dump, memory = calls["go"], calls["results"], guest.exports(store)["dump"], None
    assert isinstance(go, Func) and isinstance(dump, Func) and isinstance(results, Memory)
    trapped = False
    try:
        go(store)
    except Trap:
        trapped = True
    dump(store)
    memory = guest.exports(store)["memory"]
    assert isinstance(memory, Memory)
    end = int(noted.value(store))
    written = digest(ledger, store, skipped, end)
    return Ended(trapped, digest(results, store), end // RECORD, written, digest(memory, store))


def in_node(runs: list[Run], folder: Path) -> list[Ended]:
    """Do runs in Node."""
    files: list[dict[str, Any]] = []
    (folder / "world.wasm").write_bytes(assemble(world_text()))
    for number, run in enumerate(runs):
        guest, calls = folder / f"guest{number}.wasm", folder / f"driver{number}.wasm"
        guest.write_bytes(run.guest)
        calls.write_bytes(driver(run.export, run.params, run.given))
        files.append({"guest": str(guest), "driver": str(calls), "before": run.before})
    (folder / "runs.json").write_text(json.dumps({"world": str(folder / "world.wasm"), "runs": files}))
    told = run_driver("saved_worlds.mjs", folder / "runs.json", node=newer_node(), seconds=600)
    return [Ended(one["trapped"], one["results"], one["noted"] // RECORD, one["ledger"], one["memory"]) for one in told]


async def saved_runs(data: bytes, entry: str, points: list[int], options: caesura.Options) -> list[Run]:
    """Return the runs that go on from where a guest is saved, at calls of imports by their number.

    With options for a memory of its own it is instrumented beforehand, for the plain ABI.
    """
    if options.in_secondary_memory:
        data, options = caesura.instrument(data, options).module, caesura.Options()
    external = [f"env.{item.name}" for item in IMPORTS]
    guest = await caesura.load(data, external=external, options=options, cache=False)
    results = {f"env.{item.name}": item.results for item in IMPORTS}
    instrumented = None
    step = guest.start(entry, *values_of(ENTRY_TYPES, BEGIN))
    runs: list[Run] = []
    for number in range(points[-1] + 1):
        assert isinstance(step, caesura.PendingCall)
        kinds = results[step.function]
        if number in points:
            snapshot = guest.snapshot(embed=instrumented is None)
            instrumented = instrumented or snapshot.state.embedded
            assert instrumented is not None
            runs.append(Run(to_wasm(snapshot.state, instrumented), "resume", kinds, number + 1, number + 1))
        if number < points[-1]:
            values = values_of(kinds, number + 1)
            step = step.resume(values if len(values) > 1 else values[0] if values else None)
    guest.close()
    return runs


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_guests_go_on_as_modules(portion: int, tmp_path: Path) -> None:
    source = random.Random(portion)
    expected: list[Ended] = []
    runs: list[Run] = []
    for number in range(MODULES):
        case = make_case(*draw_parts(random.Random(portion << 24 | number)), FEATURES)
        data = with_own_items(case.module)
        entry = f"entry{number % 2}"
        whole = Run(data, entry, ENTRY_TYPES, BEGIN, 0)
        calls = in_wasmtime(whole).records
        if not 0 < calls <= CALLS:
            continue
        points = sorted(source.sample(range(calls), min(calls, POINTS)))
        level = ("balanced", "size")[number // 2 % 2]
        plain = caesura.Options(optimize=level, in_secondary_memory=True, secondary_memory_size=64)
        options = plain if portion % 2 else caesura.Options(optimize=level)
        for run in asyncio.run(saved_runs(data, entry, points, options)):
            ended = in_wasmtime(whole, RECORD * run.before)
            expected.append(ended._replace(records=ended.records - run.before))
            assert in_wasmtime(run) == expected[-1]
            runs.append(run)
    assert len(runs) > MODULES
    assert in_node(runs, tmp_path) == expected
