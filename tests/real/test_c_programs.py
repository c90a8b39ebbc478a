"""C programs, compiled by the tests, give the same with and without suspensions.

Each program runs once as it was compiled and then instrumented, suspended at every call of an import, the guest's own
and WASI's, at every third, and at a random third. Output, the calls of the imports with their arguments, all of the
memory outside the asyncify stacks and the shadow stack pointer must be equal.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pytest

import caesura
from tests.support.guests import c_guest
from tests.support.instrumenting import instrument
from tests.support.plain_abi import (
    LATER,
    HostCall,
    HostFunction,
    PlainGuest,
    StackArea,
    SuspendAt,
    Value,
    always,
    bits,
    every,
    some,
)
from tests.support.wasi import Wasi

PROGRAMS = ("recursion", "pointers", "varargs", "machine", "numbers", "chains", "heap", "threaded")
FLAGS = {"threaded": ("-mtail-call",)}
PLANS = {"always": always, "every third": every(3), "random": some(7, 0.3)}
CODE_STYLES = (("-O0", "-fno-sanitize=undefined"), ("-Oz",))
LIBRARY = ("-mexec-model=reactor", "-Wl,--export=calls")


@dataclass(frozen=True)
class Outcome:
    """What a program did."""

    output: bytes
    errors: bytes
    log: list[tuple[str, tuple[object, ...]]]
    memory: bytes
    globals: dict[str, Value]


def host_functions() -> dict[tuple[str, str], HostFunction]:
    """Return the host's side of guest.h: deterministic, but dependent on the number of calls."""
    asked = 0

    def ask(value: int) -> int:
        nonlocal asked
        asked += 1
        return (value * 2654435761 + asked * 40503) >> 7 & 0x7FFFFFFF

    def mix(a: int, b: int, c: float, d: float) -> float:
        return a * 0.5 + b * 1e-6 + c * 0.25 + d

    def wide(a: int, b: int) -> int:
        return ((a * 6364136223846793005 + b + (1 << 63)) % (1 << 64)) - (1 << 63)

    given: dict[str, HostFunction] = {
        "ask": ask,
        "tell": lambda value: None,
        "mix": mix,
        "wide": wide,
        "narrow": lambda a: -a / 4 if a else a,
    }
    return {("env", name): function for name, function in given.items()}


@functools.cache
def program(name: str, *flags: str) -> bytes:
    """Return a compiled guest."""
    return c_guest(name, "-Wl,--export=__stack_pointer", *FLAGS.get(name, ()), *flags)


@functools.cache
def instrumented_program(name: str, *flags: str) -> bytes:
    """Return a compiled and instrumented guest."""
    return instrument(program(name, *flags))


def place_stacks(guest: PlainGuest) -> None:
    """Tell the driver of the guest's static array for asyncify stacks."""
    address, size = guest.call("asyncify_area_address"), guest.call("asyncify_area_size")
    assert isinstance(address, int) and isinstance(size, int)
    guest.stacks = StackArea(address, size, 4)


@functools.cache
def original(name: str, *flags: str) -> Outcome:
    """Return what a program does without caesura."""
    return run_program(program(name, *flags), always)[0]


def run_program(binary: bytes, suspend_at: SuspendAt) -> tuple[Outcome, PlainGuest]:
    """Run a program from its start to its end."""
    wasi = Wasi(("guest", "with", "arguments"))
    guest = PlainGuest(binary, {**wasi.functions(), **host_functions()}, suspend_at=suspend_at, stacks=LATER)
    wasi.attach(guest)
    place_stacks(guest)
    guest.call("_start")
    return Outcome(bytes(wasi.output), bytes(wasi.errors), calls(guest), guest.memory_image(), guest.globals()), guest


def calls(guest: PlainGuest) -> list[tuple[str, tuple[object, ...]]]:
    """Return the import calls of a guest in a form that can be compared."""
    return [(call.name, bits(call.arguments)) for call in guest.log]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs(name: str) -> None:
    """The programs do what they are meant to do: print, ask the host, and come to their end."""
    outcome = original(name)
    assert outcome.output.endswith(b"\n")
    assert len(outcome.log) > 20


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_suspension(name: str) -> None:
    """An instrumented program that is never suspended does the same."""
    outcome, _ = run_program(instrumented_program(name), lambda call: False)
    assert outcome == original(name)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_suspended_program(name: str, plan: str) -> None:
    """A program that is suspended and resumed does the same."""
    outcome, guest = run_program(instrumented_program(name), PLANS[plan])
    assert outcome.output.decode() == original(name).output.decode()
    assert outcome == original(name)
    assert guest.suspensions == sum(PLANS[plan](call) for call in guest.log)
    assert guest.suspensions > 5


@pytest.mark.parametrize("flags", CODE_STYLES, ids=" ".join)
@pytest.mark.parametrize("name", PROGRAMS)
def test_other_code(name: str, flags: tuple[str, ...]) -> None:
    """The same programs as other code: not optimised at all, and optimised for size."""
    outcome, guest = run_program(instrumented_program(name, *flags), always)
    assert outcome == original(name, *flags)
    assert outcome.output == original(name).output
    assert guest.suspensions == len(guest.log)


def test_only_listed_imports() -> None:
    """With an import list, the functions that reach only other imports stay as they are, and the rest works."""
    options = caesura.Options(imports=("env.ask", "env.m*"))
    binary = instrument(program("pointers"), options)
    assert len(binary) <= len(instrumented_program("pointers"))
    outcome, guest = run_program(binary, lambda call: call.name in ("ask", "mix"))
    assert outcome == original("pointers")
    assert guest.suspensions > 20


class Library:
    """An instance of exports.c, whose import `call_back` calls exports again."""

    def __init__(self, binary: bytes, suspend_at: SuspendAt) -> None:
        functions = {**host_functions(), ("env", "call_back"): self.call_back}
        self.guest = PlainGuest(binary, functions, suspend_at=suspend_at, stacks=LATER)
        place_stacks(self.guest)
        self.guest.call("_initialize")

    def call_back(self, which: int, depth: int) -> int:
        """Call an export from inside the guest's call of this import."""
        if which == 0:
            result = self.guest.call("nest", depth)
        elif which == 1:
            result = self.guest.call("add", depth, 5)
        else:
            result = self.guest.call("silent", depth)
        assert isinstance(result, int)
        return result

    def run(self) -> list[object]:
        """Call every export and return the results."""
        call = self.guest.call
        return [
            call("add", 1, -2),
            call("blend", -1, 1 << 62, 0.75, -1e-9),
            call("shift", -(1 << 63), 5),
            call("half", -0.0),
            call("half", 3.25),
            call("silent", 12),
            call("nest", 4),
            call("nest", 9),
            call("count"),
            bits(tuple(self.guest.globals().values())),
        ]


@pytest.mark.parametrize("plan", PLANS)
def test_library(plan: str) -> None:
    """Exports with parameters and results of every type; imports that call back into the guest, suspended in both."""
    plain = Library(program("exports", *LIBRARY), always)
    suspended = Library(instrumented_program("exports", *LIBRARY), PLANS[plan])
    wanted = plain.run()
    assert suspended.run() == wanted
    assert calls(suspended.guest) == calls(plain.guest)
    assert suspended.guest.memory_image() == plain.guest.memory_image()
    if plan == "always":
        assert suspended.guest.deepest > 1
        assert suspended.guest.suspensions == len(suspended.guest.log)


def test_calls_while_suspended() -> None:
    """While a call is suspended others run, are suspended too, and come to their end before the first one resumes."""
    library = Library(instrumented_program("exports", *LIBRARY), always)
    plain = Library(program("exports", *LIBRARY), always)
    guest = library.guest
    between: list[tuple[float, object]] = []

    def other_work(call: HostCall) -> None:
        if guest.depth < 4:
            number = len(guest.log) + 0.25
            between.append((number, guest.call("half", number)))

    guest.while_suspended = other_work
    arguments = (1, 1 << 40, 3.5, 4.0)
    assert guest.call("blend", *arguments) == plain.guest.call("blend", *arguments)
    assert guest.deepest == 4
    assert len(between) > 4
    assert between == [(number, plain.guest.call("half", number)) for number, _ in between]
