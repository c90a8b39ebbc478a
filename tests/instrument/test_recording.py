"""The option `record`: what a module notes while it unwinds, and that it is the same program besides."""

from __future__ import annotations

import random
from typing import Any

import pytest
import wasmtime

import caesura
from caesura.analysis.instrumented import asyncify_exports
from caesura.wasm import sections as sec
from caesura.wasm.component import Component
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, Names
from caesura.wasm.sections import SectionEdits, write_sections
from tests.instrument.tail_calls import EXPORTS, HOST, MODULE
from tests.instrument.test_components import TEXT as COMPONENT
from tests.instrument.test_instrumented import shortened
from tests.oracle import wasmtime_engine
from tests.oracle.cases import make_case
from tests.oracle.generator import Features, Option
from tests.oracle.minimise import draw_parts
from tests.oracle.property import check
from tests.oracle.test_oracle import instrument as instrument_case
from tests.support.engine import assemble
from tests.support.instrumenting import instrument
from tests.support.plain_abi import HostCall, PlainGuest, StackArea, always, every, never
from tests.support.recorded import Noted, entries_of, has_changed, noted

# Every instrumented function has a frame in ordinary builds, too: nothing is frameless.
GUEST = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "tell" (func $tell (param i32)))
    (memory (export "memory") 1)
    (type $t (func (param i32) (result i32)))
    (table 3 funcref) (elem (i32.const 0) $one $several)
    (func $one (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
    (func $several (param i32) (result i32)
      (call $tell (local.get 0))
      (if (i32.eqz (local.get 0)) (then (return (call $ask (i32.const 7)))))
      (i32.mul (call $one (local.get 0)) (i32.const 3)))
    (func $deep (param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then (return (i32.add (call $several (i32.const 2)) (i32.const 5)))))
      (i32.sub (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
    (func $never (param i32) (result i32) (i32.add (call $ask (i32.const 0)) (i32.const 2)))
    (func $run (export "run") (param i32) (result i32)
      (i32.add
        (call_indirect (type $t) (local.get 0) (i32.and (local.get 0) (i32.const 1)))
        (i32.add (call $deep (local.get 0)) (i32.const 2)))))
"""
IMPORTS: dict[tuple[str, str], Any] = {("env", "ask"): lambda value: value * 5, ("env", "tell"): lambda value: None}

LEVELS: list[dict[str, Any]] = [
    {},
    {"optimize": "size"},
    {"two_bodies": "all"},
    {"no_multivalue": True},
    {"asserts": True},
    {"in_secondary_memory": True, "secondary_memory_size": 4},
]


def guest_of(binary: bytes, options: dict[str, Any], **more: Any) -> PlainGuest:
    memory = "asyncify_memory" if "in_secondary_memory" in options else "memory"
    return PlainGuest(binary, IMPORTS, memory=memory, stacks=StackArea(4096, 16384, 1), **more)


@pytest.mark.parametrize("options", LEVELS, ids=str)
def test_counts_and_what_was_called(options: dict[str, Any]) -> None:
    binary = instrument(assemble(GUEST), caesura.Options(record=True, **options))
    guest = guest_of(binary, options, suspend_at=always)
    plain = PlainGuest(assemble(GUEST), IMPORTS)
    assert not has_changed(guest.store, guest.exports)
    assert guest.call("run", 2) == plain.call("run", 2)
    assert has_changed(guest.store, guest.exports)
    # run(2) calls $one by the table, which asks, and $deep(2), (1), (0), $several(2), which tells, and calls $one.
    (run,) = [entry for entry in entries_of(binary) if entry == "run"]
    assert noted(binary, guest.store, guest.exports) == {
        "one": Noted(2, "env.ask"),
        "several": Noted(2, "env.tell"),
        "deep": Noted(6, "several"),
        run: Noted(3, "one"),
    }
    assert guest.call("run", 2) == plain.call("run", 2)
    assert not has_changed(guest.store, guest.exports)
    assert guest.call("run", 1) == plain.call("run", 1)
    assert noted(binary, guest.store, guest.exports)["several"] == Noted(2 + 2 + 4, "env.tell")


@pytest.mark.parametrize("options", LEVELS, ids=str)
def test_ordinary_runs_execute_the_same_instructions(options: dict[str, Any]) -> None:
    configuration = wasmtime.Config()
    configuration.consume_fuel = True
    configuration.wasm_multi_memory = True
    engine = wasmtime.Engine(configuration)
    used: list[int] = []
    for record in (False, True):
        store = wasmtime.Store(engine)
        store.set_fuel(10**9)
        binary = instrument(assemble(GUEST), caesura.Options(record=record, **options))
        guest = guest_of(binary, options, suspend_at=never, store=store)
        before = store.get_fuel()
        for value in range(6):
            guest.function("run")(store, value)
        used.append(before - store.get_fuel())
    assert used[0] == used[1]
    assert used[0] > 300


def test_without_the_option_nothing_is_added() -> None:
    module = Module(instrument(assemble(GUEST)))
    assert module.custom_section("asyncify.record") is None
    assert not [item.name for item in module.exports if "record" in item.name]


def test_tail_calls_are_recorded_and_the_list_serves() -> None:
    """Who has left is on no stack, but a rewind needs it: with the list alone everything goes as it did."""
    binary = assemble(MODULE)
    recording = instrument(binary, caesura.Options(record=True))
    runs = [(name, value) for name in EXPORTS for value in (0, 1, 2, 3, 7)]
    original = PlainGuest(binary, HOST, suspend_at=never)
    expected = [original.call(*run) for run in runs]
    guest = PlainGuest(recording, HOST, suspend_at=always, stacks=StackArea(4096, 8192, 1))
    assert [guest.call(*run) for run in runs] == expected
    found = noted(recording, guest.store, guest.exports)
    assert {"alone", "ping", "pong", "through", "wide", "framed"} <= set(found)
    assert "quiet" not in found and "see" not in found
    # It only leaves, between two activations of the function that is found again: the guard wants it on the list too.
    assert "pair_too" not in found
    listed = instrument(binary, caesura.Options(only_list=[*found, "pair_too"], strict=True))
    again = PlainGuest(listed, HOST, suspend_at=always, stacks=StackArea(4096, 8192, 1))
    assert [again.call(*run) for run in runs] == expected
    assert again.suspensions == guest.suspensions


def test_a_list_can_be_recorded_of() -> None:
    options = caesura.Options(record=True, only_list=["one", "several", "run"])
    binary = instrument(assemble(GUEST), options)
    guest = PlainGuest(binary, IMPORTS, suspend_at=lambda call: call.number == 0, stacks=StackArea(4096, 8192, 1))
    guest.call("run", 2)
    assert noted(binary, guest.store, guest.exports) == {"one": Noted(1, "env.ask"), "run": Noted(1, "one")}


def test_counts_stop_at_the_largest() -> None:
    binary = instrument(assemble(GUEST), caesura.Options(record=True))
    module = Module(binary)
    section = module.custom_section("name")
    assert section is not None
    names = Names(binary[section.payload : section.end]).maps[FUNCTION_NAMES]
    (note,) = [index for index, name in names.items() if name == "asyncify_note"]
    edits = SectionEdits()
    edits.append(sec.EXPORT, encode_name("note") + bytes([FUNCTION_KIND]) + encode_unsigned(note))
    guest = PlainGuest(write_sections(binary, module.sections, edits), IMPORTS)
    function = guest.function("note")
    most = 0xFFFF_FFFF
    assert function(guest.store, 7 << 32 | (most - 1), 3) == 7 << 32 | most
    assert function(guest.store, 7 << 32 | most, 3) == 7 << 32 | most


def test_thousands_of_functions_have_numbers_of_their_own() -> None:
    count = 2500
    functions = "".join(
        f"(func $f{number} (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const {number})))"
        f'(export "e{number}" (func $f{number}))'
        for number in range(count)
    )
    ask = '(import "env" "ask" (func $ask (param i32) (result i32)))'
    binary = instrument(
        assemble(f'(module {ask} (memory (export "memory") 1) {functions})'), caesura.Options(record=True)
    )
    guest = PlainGuest(binary, IMPORTS, suspend_at=always, stacks=StackArea(4096, 8192, 1))
    chosen = [0, 999, 1000, 1001, 1999, 2000, count - 1]
    for number in chosen:
        guest.call(f"e{number}", 1)
    assert noted(binary, guest.store, guest.exports) == {f"f{number}": Noted(1, "env.ask") for number in chosen}


SCHEDULER = """
  (module
    (import "env" "look" (func $look (param i32)))
    (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
    (import "asyncify" "stop_unwind" (func $stop_unwind))
    (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
    (import "asyncify" "stop_rewind" (func $stop_rewind))
    (memory (export "memory") 1)
    (data (i32.const 16) "\\20\\00\\00\\00\\00\\10\\00\\00")
    (global $resuming (mut i32) (i32.const 0))
    (func $yield
      (if (global.get $resuming)
        (then (call $stop_rewind) (global.set $resuming (i32.const 0)))
        (else (call $start_unwind (i32.const 16)))))
    (func $task (param i32)
      (call $yield) (call $look (i32.const 1)) (call $yield) (call $look (i32.const 2)))
    (func $round (param i32) (call $task (i32.add (local.get 0) (i32.const 1))) (call $look (i32.const 3)))
    (func (export "run")
      (call $round (i32.const 0)) (call $stop_unwind)
      (global.set $resuming (i32.const 1)) (call $start_rewind (i32.const 16))
      (call $round (i32.const 0)) (call $stop_unwind)
      (global.set $resuming (i32.const 1)) (call $start_rewind (i32.const 16))
      (call $round (i32.const 0))))
"""


def test_a_guest_s_own_runtime() -> None:
    """It begins to unwind in a function of the guest, so no import is known; indices are those of the given module."""
    looks: list[int] = []
    binary = instrument(assemble(SCHEDULER), caesura.Options(record=True, ignore_imports=True))
    guest = PlainGuest(binary, {("env", "look"): looks.append})
    guest.function("run")(guest.store)
    assert looks == [1, 2, 3]
    assert noted(binary, guest.store, guest.exports) == {"task": Noted(2, None), "round": Noted(2, "task")}


def test_functions_without_names_have_the_index_and_body_of_the_given_file() -> None:
    binary = assemble(
        """
        (module
          (import "asyncify" "get_state" (func (result i32)))
          (import "env" "ask" (func $ask (param i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "run") (param i32) (result i32) (i32.add (call $ask (local.get 0)) (call 0)))
          (func (export "name\\n") (param i32) (result i32) (i32.mul (call $ask (local.get 0)) (call 0))))
        """
    )
    assert entries_of(instrument(binary, caesura.Options(record=True))) == [
        {"import": "env.ask"},
        *caesura.body_entries(binary, [2, 3]),
    ]


@pytest.mark.parametrize("option", ["import_globals", "export_globals"])
def test_modules_that_share_the_state_know_no_callees_but_imports(option: str) -> None:
    options = caesura.Options(record=True, **{option: True})  # type: ignore[arg-type]
    binary = instrument(assemble(GUEST), options)
    store = wasmtime.Store(wasmtime.Engine())
    if option == "import_globals":
        kind = wasmtime.GlobalType(wasmtime.ValType.i32(), mutable=True)
        shared = {
            ("env", name): wasmtime.Global(store, kind, wasmtime.Val.i32(0))
            for name in ("__asyncify_state", "__asyncify_data")
        }
    else:
        shared = {}
    stacks = StackArea(4096, 16384, 1)
    guest = PlainGuest(binary, {**IMPORTS, **shared}, suspend_at=always, stacks=stacks, store=store)
    guest.call("run", 2)
    assert noted(binary, guest.store, guest.exports) == {
        "one": Noted(2, "env.ask"),
        "several": Noted(2, "env.tell"),
        "deep": Noted(6, None),
        "run": Noted(3, None),
    }


@pytest.mark.parametrize("reference", ["table", "segment", "global", "code", "exported"])
def test_imports_that_are_called_through_references_are_known(reference: str) -> None:
    """But for those that are exported again, which stay as they are."""
    places = {
        "table": "(elem (table $table) (i32.const 0) func $ask)",
        "segment": "(elem $passive func $ask)",
        "global": "(global $held funcref (ref.func $ask))",
        "code": "(elem declare func $ask)",
        "exported": '(elem declare func $ask) (export "again" (func $ask))',
    }
    puts = {
        "segment": "(table.init $table $passive (i32.const 0) (i32.const 0) (i32.const 1))",
        "global": "(table.set $table (i32.const 0) (global.get $held))",
        "code": "(table.set $table (i32.const 0) (ref.func $ask))",
        "exported": "(table.set $table (i32.const 0) (ref.func $ask))",
    }
    text = f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (import "env" "tell" (func $tell (param i32)))
        (memory (export "memory") 1)
        (type $t (func (param i32) (result i32)))
        (table $table (export "table") 1 funcref) {places[reference]}
        (func $one (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
        (func $run (export "run") (param i32) (result i32)
          {puts.get(reference, "")}
          (i32.add (call $one (local.get 0)) (call_indirect (type $t) (local.get 0) (i32.const 0)))))
    """
    binary = instrument(assemble(text), caesura.Options(record=True))
    plain = PlainGuest(binary, IMPORTS, suspend_at=every(2), stacks=StackArea(4096, 8192, 1))
    assert plain.call("run", 3) == 31
    assert noted(binary, plain.store, plain.exports) == {
        "run": Noted(1, None if reference == "exported" else "env.ask")
    }


def test_refused_together_with_pause_points() -> None:
    with pytest.raises(caesura.UsageError, match="record excludes preempt"):
        caesura.Options(record=True, preempt="fuel")


@pytest.mark.parametrize("name", ["asyncify_recorded", "asyncify_record_changed"])
def test_names_that_are_taken(name: str) -> None:
    taken = assemble(GUEST.replace('(export "run")', f'(export "{name}")'))
    with pytest.raises(caesura.UnsupportedModule, match=f"exports {name} already"):
        instrument(taken, caesura.Options(record=True))
    assert instrument(taken)


def test_shortened_names_are_still_recognised() -> None:
    binary = instrument(assemble(GUEST), caesura.Options(record=True))
    assert len(asyncify_exports(Module(shortened(binary)))) == 4


def test_components_record_module_by_module() -> None:
    binary = instrument(assemble(COMPONENT), caesura.Options(record=True))
    modules = [binary[start:end] for start, end in Component(binary).core_modules]
    recording = [module for module in modules if Module(module).custom_section("asyncify.record") is not None]
    assert len(recording) > 1
    assert any({"import": "host.wait"} in entries_of(module) for module in recording)


@pytest.mark.parametrize(
    "features", [Features(), Features(references=False, wide_arithmetic=False)], ids=["all", "old"]
)
def test_generated_modules_run_as_they_do_without(features: Features) -> None:
    """Exceptions, references, tail calls, 64-bit memories: the oracle's own property, with the option."""

    def recording(module: bytes, options: dict[str, Option]) -> bytes:
        return instrument_case(module, {**options, "record": True})

    suspensions = 0
    for number in range(100):
        case = make_case(*draw_parts(random.Random(7 << 24 | number)), features)
        suspensions += check(case, recording, wasmtime_engine.run_all)
    assert suspensions > 300


def test_a_nested_entry_while_unwinding_is_not_noted() -> None:
    """A host that calls the guest in the middle of unwinding gets nothing, and nothing is noted of it."""
    binary = instrument(assemble(GUEST), caesura.Options(record=True))
    guest = PlainGuest(binary, IMPORTS, stacks=StackArea(4096, 16384, 1))

    def suspend_at(call: HostCall) -> bool:
        return call.name == "ask"

    def ask(value: int) -> int:
        return value

    guest.suspend_at = suspend_at
    guest.replace(("env", "ask"), ask)
    guest.call("run", 0)
    before = noted(binary, guest.store, guest.exports)
    guest.set_stack_pointers(4096, 4112, 20480)
    guest.function("asyncify_start_unwind")(guest.store, 4096)
    assert guest.function("run")(guest.store, 1) == 0
    guest.function("asyncify_stop_unwind")(guest.store)
    assert noted(binary, guest.store, guest.exports) == before


def test_a_trap_in_the_middle_of_unwinding_keeps_what_was_noted() -> None:
    """An asyncify stack that is too small: what was on the stack up to there is known, and the next call counts on."""
    binary = instrument(assemble(GUEST), caesura.Options(record=True))
    guest = PlainGuest(binary, IMPORTS, suspend_at=always, stacks=StackArea(4096, 40, 1))
    with pytest.raises(wasmtime.Trap):
        guest.call("run", 3)
    found = noted(binary, guest.store, guest.exports)
    assert found["several"].called == "env.tell"
    with pytest.raises(wasmtime.Trap):
        guest.function("asyncify_stop_unwind")(guest.store)
    guest.stacks = StackArea(4096, 16384, 1)
    guest.call("run", 2)
    assert noted(binary, guest.store, guest.exports)["one"].called == "env.ask"


def test_a_name_that_no_list_can_have_is_noted_by_the_body() -> None:
    """As a pattern it would be every function."""
    original = assemble(GUEST.replace("$deep", '$"\\n"').replace("$several", "$a*b"))
    entries = entries_of(caesura.instrument(original, caesura.Options(record=True)).module)
    assert "a*b" in entries and "\n" not in entries
    assert caesura.body_entries(original, [4])[0] in entries
