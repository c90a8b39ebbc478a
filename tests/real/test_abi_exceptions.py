"""Suspension inside the bodies of tries, in both forms of exception handling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import caesura
from tests.support.engine import assemble
from tests.support.guests import text_guest
from tests.support.instrumenting import instrument
from tests.support.node import run_driver
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


def test_suspension_in_an_old_catch_body_is_refused() -> None:
    """There the exception lives on the engine's stack only: the refusal names the function and the place."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (func $innocent (result i32) (call $ask (i32.const 1)))
        (func $handler (export "run") (result i32)
          try (result i32)
            (call $innocent)
          catch_all
            (call $ask (i32.const 2))
          end))
    """
    with pytest.raises(caesura.UnsupportedModule, match="handler") as refusal:
        caesura.instrument(assemble(text))
    assert refusal.value.offset > 0
    assert "catch" in refusal.value.reason
