"""Runs cases under Wasmtime.

Cranelift without optimization compiles a generated guest in about 2 ms; its NaN canonicalization makes float
arithmetic deterministic. Instances are linked by name in the linker, because reading all exports through Python
objects would cost more than the run.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from wasmtime import Config, Engine, Func, Linker, Memory, Module, Store, Trap, wat2wasm

from tests.oracle.cases import Case
from tests.oracle.driver_modules import driver_text, stub_text
from tests.oracle.host_modules import ground_text, world_text
from tests.oracle.outcome import NEVER, Outcome, Schedule, initial_ledger, outcome
from tests.oracle.thunk_drivers import ENTRY_NAMES
from tests.oracle.world import LOG, LOG_POSITION


@cache
def engine() -> Engine:
    """The one engine."""
    config = Config()
    config.cranelift_opt_level = "none"
    config.cranelift_nan_canonicalization = True
    config.parallel_compilation = False
    config.wasm_exceptions = True
    config.wasm_function_references = True
    config.wasm_gc = True
    config.wasm_memory64 = True
    config.wasm_multi_memory = True
    config.wasm_wide_arithmetic = True
    return Engine(config)


def compile_module(binary: bytes) -> Module:
    """Validate and compile."""
    return Module(engine(), binary)


def _compile_text(text: str) -> Module:
    return Module(engine(), bytes(wat2wasm(text)))


@cache
def _ground(memory64: bool) -> Module:
    return _compile_text(ground_text(memory64))


@cache
def _world(memory64: bool) -> Module:
    return _compile_text(world_text(memory64))


@cache
def _stub() -> Module:
    return _compile_text(stub_text())


@cache
def _driver(memory64: bool, secondary: bool, instrumented: bool, pausing: str, thunks: bool) -> Module:
    return _compile_text(
        driver_text(memory64, secondary, instrumented, legacy_exceptions=False, pausing=pausing, thunks=thunks)
    )


def run_all(case: Case, instrumented: bytes, schedules: list[Schedule]) -> tuple[Outcome, list[Outcome]]:
    """Run the original once and the instrumented module with each schedule."""
    original = run(case, compile_module(case.module), NEVER, instrumented=False)
    module = compile_module(instrumented)
    return original, [run(case, module, schedule, instrumented=True) for schedule in schedules]


def _name_entries(linker: Linker, store: Store, exports: Any) -> None:
    """Give entries that have no thunk, since they cannot be suspended, the names of these."""
    for place, name in enumerate(ENTRY_NAMES):
        if name not in exports:
            linker.define(store, "guest", name, exports[f"entry{place}"])


def run(case: Case, module: Module, schedule: Schedule, instrumented: bool) -> Outcome:
    """Run a case's compiled module, original or instrumented."""
    store = Store(engine())
    linker = Linker(engine())
    ground = linker.instantiate(store, _ground(case.memory64))
    linker.define_instance(store, "ground", ground)
    linker.define_instance(store, "env", linker.instantiate(store, _world(case.memory64)))
    guest = linker.instantiate(store, module)
    linker.define_instance(store, "guest", guest)
    abi = guest if instrumented else linker.instantiate(store, _stub())
    linker.define_instance(store, "abi", abi)
    if instrumented and case.thunks:
        _name_entries(linker, store, guest.exports(store))
    thunks = instrumented and case.thunks
    host = _driver(case.memory64, case.secondary, instrumented, case.preempt if instrumented else "", thunks)
    driver = linker.instantiate(store, host).exports(store)
    ledger = linker.get(store, "env", "ledger")
    memory = linker.get(store, "ground", "memory")
    start, finish = driver["run"], driver["finish"]
    assert isinstance(ledger, Memory) and isinstance(memory, Memory)
    assert isinstance(start, Func) and isinstance(finish, Func)
    ctypes.memmove(ledger.data_ptr(store), initial_ledger(case, schedule), LOG)
    trap = ""
    try:
        start(store, case.entries)
    except Trap as caught:
        trap = str(caught.trap_code or caught.message)
    finish(store)
    head = ctypes.string_at(ledger.data_ptr(store), LOG)
    end = int.from_bytes(head[LOG_POSITION : LOG_POSITION + 4], "little")
    size = memory.data_len(store)
    return outcome(trap, ctypes.string_at(ledger.data_ptr(store), end), ctypes.string_at(memory.data_ptr(store), size))
