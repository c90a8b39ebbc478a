"""Suspension inside the bodies of tries, in both forms of exception handling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.support.engine import assemble
from tests.support.guests import cpp_guest, text_guest
from tests.support.instrumenting import instrument
from tests.support.node import newer_node, run_driver
from tests.support.plain_abi import HostFunction, PlainGuest, SuspendAt, always, every, never, some

CALLS: list[tuple[str, int]] = [
    *(("guarded", n) for n in range(1, 5)),
    *(("looped", n) for n in range(1, 8)),
    *(("unwound", n) for n in range(4)),
]


def host() -> dict[tuple[str, str], HostFunction]:
    """Return the host functions of both guests."""
    return {("env", "ask"): lambda value: (value * 31 + 7) & 0xFFFF, ("env", "tell"): lambda value: None}


def run(binary: bytes, suspend_at: SuspendAt) -> tuple[list[object], PlainGuest]:
    """Run all calls in one instance."""
    guest = PlainGuest(binary, host(), suspend_at=suspend_at)
    return [guest.call(*call) for call in CALLS], guest


@pytest.mark.parametrize(
    "plan",
    [never, always, every(2), every(5), some(1, 0.5)],
    ids=["never", "always", "every 2nd", "every 5th", "random"],
)
def test_try_table(plan: SuspendAt) -> None:
    """try_table: results, calls of the imports and globals are those of the original."""
    wanted, original = run(text_guest("try_table"), never)
    got, guest = run(instrument(text_guest("try_table")), plan)
    assert got == wanted
    assert (guest.log, guest.globals(), guest.memory_image()) == (
        original.log,
        original.globals(),
        original.memory_image(),
    )
    assert guest.suspensions == sum(plan(call) for call in original.log)


def test_exceptions_are_caught() -> None:
    """The guests do throw and catch: one of the calls for which they do, by hand."""
    got, _ = run(text_guest("try_table"), never)
    results = dict(zip(CALLS, got, strict=True))
    assert results["unwound", 2] == 3 * 31 + 7
    assert results["guarded", 3] == 3000 + 3 * 31 + 7 + (2 * 31 + 7) * 10 + 50 * 31 + 7


@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_old_form(tmp_path: Path, step: int) -> None:
    """try, in Node: results, calls of the imports and globals are those of the original."""
    original, instrumented = tmp_path / "try.wasm", tmp_path / "instrumented.wasm"
    original.write_bytes(text_guest("try"))
    instrumented.write_bytes(instrument(text_guest("try")))
    calls = json.dumps(CALLS)
    wanted = run_driver("plain.mjs", original, "0", calls)
    got = run_driver("plain.mjs", instrumented, str(step), calls)
    assert got["suspensions"] == (len(wanted["log"]) // step if step else 0)
    assert {**got, "suspensions": 0} == wanted
    assert dict(zip(CALLS, wanted["results"], strict=True))["unwound", 2] == 3 * 31 + 7


CATCHING: list[tuple[str, int]] = [
    (name, what)
    for name in (
        *("caught", "all", "clean", "cleaned", "rethrown", "all_rethrown", "delegated", "several", "nested"),
        "all_nested",
    )
    for what in range(8)
] + [("looped", count) for count in range(9)]
OPTIONS: dict[str, dict[str, Any]] = {
    "balanced": {},
    "size": {"optimize": "size"},
    "two bodies": {"two_bodies": "all"},
    "no multivalue": {"no_multivalue": True},
    "asserts": {"asserts": True},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_old_form_in_catch_clauses(tmp_path: Path, step: int, options: str) -> None:
    """catch, catch_all, rethrow and delegate, in Node: everything is as in the original.

    What could not be suspended are the calls in handlers that throw an exception of JavaScript on.
    """
    original, instrumented = tmp_path / "catching.wasm", tmp_path / "instrumented.wasm"
    original.write_bytes(text_guest("catching"))
    instrumented.write_bytes(instrument(text_guest("catching"), caesura.Options(**OPTIONS[options])))
    calls = json.dumps(CATCHING)
    wanted = run_driver("plain.mjs", original, "0", calls)
    got = run_driver("plain.mjs", instrumented, str(step), calls)
    assert got["suspensions"] + got["refused"] == (len(wanted["log"]) // step if step else 0)
    assert (got["refused"] > 0) == (step > 0)
    assert {**got, "suspensions": 0, "refused": 0} == wanted


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_translated_catch_clauses(tmp_path: Path, step: int, options: str) -> None:
    """The same in the new form, in a newer Node: exceptions of JavaScript are held by frames like any other."""
    original, instrumented = tmp_path / "catching.wasm", tmp_path / "instrumented.wasm"
    original.write_bytes(text_guest("catching"))
    translating = caesura.Options(translate_to_exnref=True, **OPTIONS[options])
    instrumented.write_bytes(instrument(text_guest("catching"), translating))
    calls = json.dumps(CATCHING)
    wanted = run_driver("plain.mjs", original, "0", calls)
    got = run_driver("plain.mjs", instrumented, str(step), calls, node=newer_node())
    assert (got["refused"], got["suspensions"]) == (0, len(wanted["log"]) // step if step else 0)
    assert {**got, "suspensions": 0} == wanted


def test_old_form_is_caught(tmp_path: Path) -> None:
    """The guest does throw, catch and throw on: some of the calls for which it does, by hand."""
    asked = [(value * 31 + 7) & 0xFFFF for value in range(64)]
    original = tmp_path / "catching.wasm"
    original.write_bytes(text_guest("catching"))
    results = run_driver("plain.mjs", original, "0", json.dumps(CATCHING))["results"]
    by_call = dict(zip(CATCHING, results, strict=True))
    assert by_call["caught", 1] == asked[1] * 3 - (41 + asked[2])
    assert by_call["all", 6] == asked[6] * asked[9]
    assert by_call["cleaned", 1] == 41 + asked[12]
    assert by_call["clean", 5] == by_call["nested", 3] == "an exception"
    assert by_call["clean", 6].endswith("by 6")
    assert by_call["all_nested", 6] == asked[40]


@pytest.mark.parametrize("plan", [never, always, every(3)], ids=["never", "always", "every 3rd"])
def test_handlers_of_try_table(tmp_path: Path, plan: SuspendAt) -> None:
    """The same guest in the new form, in Wasmtime: what throws nothing out of it, and nothing of the host's."""
    original = tmp_path / "catching.wasm"
    original.write_bytes(text_guest("catching"))
    calls = [call for call in CATCHING if call[1] != 6 and call[0] != "looped"] + [("looped", 5)]
    wanted = run_driver("plain.mjs", original, "0", json.dumps(calls))["results"]
    staying = [place for place in range(len(calls)) if wanted[place] != "an exception"]
    assert len(staying) > 50
    binary = instrument(text_guest("catching"), caesura.Options(translate_to_exnref=True))
    guest = PlainGuest(binary, {**host(), ("env", "fail"): lambda value: None}, suspend_at=plan)
    assert [guest.call(*calls[place]) for place in staying] == [wanted[place] for place in staying]
    assert guest.suspensions == sum(plan(call) for call in guest.log)


@pytest.mark.parametrize("level", ["-O2", "-Oz"])
def test_old_form_from_cpp(tmp_path: Path, level: str) -> None:
    """Destructors and handlers that suspend, exceptions that go on, and one of JavaScript that passes through them."""
    original, instrumented = tmp_path / "throwing.wasm", tmp_path / "instrumented.wasm"
    binary = cpp_guest("throwing", level)
    original.write_bytes(binary)
    instrumented.write_bytes(instrument(binary))
    calls = json.dumps([("run", n) for n in range(16)] + [("pass", n) for n in range(8)])
    wanted = run_driver("plain.mjs", original, "0", calls)
    translated = tmp_path / "translated.wasm"
    translated.write_bytes(instrument(binary, caesura.Options(translate_to_exnref=True)))
    assert "failure 0 by 6" in wanted["results"] and "an exception" in wanted["results"]
    for step in (1, 2, 3):
        got = run_driver("plain.mjs", instrumented, str(step), calls)
        assert got["suspensions"] + got["refused"] == len(wanted["log"]) // step
        assert 0 < got["refused"] < got["suspensions"] // 4
        assert {**got, "suspensions": 0, "refused": 0} == wanted
        got = run_driver("plain.mjs", translated, str(step), calls, node=newer_node())
        assert (got["refused"], got["suspensions"]) == (0, len(wanted["log"]) // step)
        assert {**got, "suspensions": 0} == wanted


# A guest that cleans up after an exception of JavaScript and throws it on, by calls of every kind.
CLEANING = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "fail" (func $fail (param i32)))
    (type $cleaning (func (param i32) (result i32)))
    (memory (export "memory") 1)
    (table 1 funcref)
    (elem (i32.const 0) $cleaning)
    (func $cleaning (type $cleaning) (call $ask (local.get 0)))
    (func (export "run") (param i32) (result i32)
      try (result i32)
        (if (local.get 0) (then (call $fail (local.get 0))))
        (call $ask (i32.const 3))
      catch_all
        (drop CALL)
        rethrow 0
      end))
"""
CLEANING_CALLS = {
    "import": "(call $ask (i32.const 1))",
    "call": "(call $cleaning (i32.const 1))",
    "call_indirect": "(call_indirect (type $cleaning) (i32.const 1) (i32.const 0))",
}


@pytest.mark.parametrize("call", CLEANING_CALLS)
def test_a_suspension_below_a_foreign_handler_traps_before_anything_unwinds(tmp_path: Path, call: str) -> None:
    """For a host that does not look: the function's name says what is wrong, and the guest goes on."""
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(instrument(assemble(CLEANING.replace("CALL", CLEANING_CALLS[call]))))
    assert run_driver("foreign.mjs", guest) == {
        "trapped in": "asyncify_suspended_in_foreign_handler",
        "state": 0,
        "thrown": "the host's",
        "suspended": True,
        "result": 3,
    }


@pytest.mark.parametrize("level", ["-O2", "-Oz"])
def test_new_form_from_cpp(tmp_path: Path, level: str) -> None:
    """The same program from the compiler's new form: every destructor and every handler can be suspended."""
    original, instrumented = tmp_path / "throwing.wasm", tmp_path / "instrumented.wasm"
    binary = cpp_guest("throwing", level, old_form=False)
    original.write_bytes(binary)
    instrumented.write_bytes(instrument(binary))
    calls = json.dumps([("run", n) for n in range(16)] + [("pass", n) for n in range(8)])
    wanted = run_driver("plain.mjs", original, "0", calls, node=newer_node())
    assert "failure 0 by 6" in wanted["results"] and "an exception" in wanted["results"]
    for step in (1, 2, 3):
        got = run_driver("plain.mjs", instrumented, str(step), calls, node=newer_node())
        assert (got["refused"], got["suspensions"]) == (0, len(wanted["log"]) // step)
        assert {**got, "suspensions": 0} == wanted
