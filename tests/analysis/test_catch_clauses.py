"""Modules with pause points have no more catch clauses around a place than a `throw` may look at in each activation."""

from __future__ import annotations

from typing import Any, Final

import pytest

import caesura
from caesura.analysis.catch_clauses import MOST_CLAUSES, MOST_CLAUSES_INSTRUMENTED, most_clauses
from caesura.wasm.indices import OwnFunction
from caesura.wasm.module import Module
from tests.host.support import run
from tests.support.engine import assemble

REFUSED: Final = "catch clauses stand around one instruction of the function"


def clauses(count: int, label: str = "$out") -> str:
    return f"(catch $other {label}) " * count


def module(body: str) -> str:
    """Return a module whose second own function has this code, in a block `$out`."""
    return f"""(module
      (type $nothing (func))
      (import "env" "wait" (func $wait))
      (table 1 funcref)
      (tag $other) (tag $mine)
      (func $first)
      (func $run (export "run") (local $x exnref) (block $out {body})))"""


def counted(body: str) -> tuple[int, Module]:
    made = Module(assemble(module(body)))
    return most_clauses(made, OwnFunction(1)).count, made


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("(call $first)", 0),
        (f"(try_table {clauses(7)} (call $first))", 7),
        (f"(try_table {clauses(7)} (throw $mine))", 7),
        (f"(try_table {clauses(7)} (throw_ref (local.get $x)))", 7),
        (f"(try_table {clauses(7)} (call_indirect (type $nothing) (i32.const 0)))", 7),
        (f"(try_table {clauses(7)} (return))", 0),
        (f"(try_table {clauses(7)} (unreachable))", 0),
        (f"(try_table {clauses(7)}) (call $first)", 0),
        (f"(try_table {clauses(7)} (nop)) (try_table {clauses(5)} (call $first))", 5),
        (f"(try_table {clauses(7)} (block (loop (if (i32.const 1) (then (call $first))))))", 7),
        (f"(try_table {clauses(7)} (try_table {clauses(5)} (call $first)) (try_table {clauses(6)} (nop)))", 12),
        (f"(try_table {clauses(7)} (try_table {clauses(5)} (nop)) (try_table {clauses(6)} (call $first)))", 13),
        (f"(try_table (catch_all $out) (try_table {clauses(5)} (call $first)))", 6),
    ],
)
def test_those_around_what_calls_or_throws_are_counted(body: str, count: int) -> None:
    assert counted(body)[0] == count


def old(tried: str, handler: str = "", *, catches: int = 1) -> bytes:
    """Return code in the older form: what is tried, and handlers of which the first does something."""
    clause = b"\x07\x00"
    handlers = [clause + (code(handler) if number == 0 else b"") for number in range(catches)]
    return b"\x06\x40" + code(tried) + b"".join(handlers) + b"\x0b"


def code(name: str) -> bytes:
    return {"": b"", "call": b"\x10\x00", "throw": b"\x08\x00"}[name]


def old_module(body: bytes) -> bytes:
    """Return a module with one function that has this code, a tag, and an import that is called."""
    content = b"\x00" + body + b"\x0b"
    sections = [
        (1, b"\x01\x60\x00\x00"),
        (2, b"\x01\x03env\x04wait\x00\x00"),
        (3, b"\x01\x00"),
        (13, b"\x01\x00\x00"),
        (7, b"\x01\x03run\x00\x01"),
        (10, b"\x01" + size(content) + content),
    ]
    return b"\0asm\1\0\0\0" + b"".join(bytes([kind]) + size(text) + text for kind, text in sections)


def size(content: bytes) -> bytes:
    number, encoded = len(content), bytearray()
    while number >= 128:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (old("call", catches=7), 7),
        (old("throw", catches=7), 7),
        (old("", "call", catches=7), 0),
        (b"\x06\x40" + old("call", catches=7) + b"\x18\x00", 7),  # delegate
        (b"\x06\x40" + old("call", catches=7) + b"\x19\x0b", 8),  # catch_all
        (b"\x06\x40" + old("", "call", catches=7) + b"\x19\x0b", 1),
        (b"\x06\x40\x19" + old("call", catches=7) + b"\x0b", 7),
    ],
)
def test_those_of_the_older_form_too(body: bytes, count: int) -> None:
    assert most_clauses(Module(old_module(body)), OwnFunction(0)).count == count


PAUSING: Final = caesura.Options(preempt="flag", thunks=True, in_secondary_memory=True)


def test_more_than_the_most_are_refused_with_the_place() -> None:
    body = f"(try_table {clauses(1)} (nop) (call $first))"
    for _ in range(2):
        body = f"(try_table {clauses(MOST_CLAUSES // 2)} {body})"
    count, made = counted(body)
    assert count == MOST_CLAUSES + 1
    with pytest.raises(caesura.UnsupportedModule, match=REFUSED) as refusal:
        caesura.instrument(made.data, PAUSING)
    assert refusal.value.offset is not None and made.data[refusal.value.offset] == 0x10
    assert "65 catch clauses" in str(refusal.value) and "function 2" in str(refusal.value)
    caesura.instrument(made.data)  # without pause points it is nobody's business


def test_more_than_the_most_of_the_older_form_are_refused() -> None:
    given = old_module(old("call", catches=MOST_CLAUSES + 1))
    with pytest.raises(caesura.UnsupportedModule, match=REFUSED):
        caesura.instrument(given, PAUSING)
    caesura.instrument(old_module(old("call", catches=MOST_CLAUSES)), PAUSING)


@pytest.mark.parametrize("form", ["new", "old", "nested"])
def test_as_many_as_there_may_be_are_taken_as_they_come_out_too(form: str) -> None:
    if form == "old":
        given = old_module(old("call", catches=MOST_CLAUSES))
    elif form == "new":
        given = assemble(module(f"(try_table {clauses(MOST_CLAUSES)} (call $wait))"))
    else:
        body = "(call $wait)"
        for _ in range(MOST_CLAUSES):
            body = f"(try_table {clauses(1)} {body})"
        given = assemble(module(body))
    made = caesura.instrument(given, PAUSING)
    out = Module(made.module)
    assert MOST_CLAUSES <= max(most_clauses(out, own).count for own in out.own_functions()) <= MOST_CLAUSES_INSTRUMENTED

    async def main() -> None:
        waited: list[Any] = []

        async def wait() -> None:
            waited.append(None)

        guest = await caesura.load(made.module, {"env": {"wait": wait}}, time_slice=0.005)
        await guest.call("run")
        assert waited == [None]

    run(main())
