"""Recursion through guests and host functions ends in an error, whatever the thread's stack; each in a process."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

pytestmark = pytest.mark.one_form

_BEGIN: Final = """
import asyncio, sys, threading
import caesura

AGAIN = b'''(module (import "env" "again" (func $again (param i32) (result i32)))
    (func (export "f") (param i32) (result i32) (call $again (local.get 0)))
    (func $deep (export "deep") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (call $again (i32.const -1)))
            (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1))))))))'''

def load(again, **more):
    return asyncio.run(caesura.load(AGAIN, {"env": {"again": again}}, cache=False, **more))

def attempt(call):
    try:
        return call()
    except (RecursionError, caesura.CaesuraError) as error:
        return f"{type(error).__name__}: {error}"

def in_thread(size, function):
    said = []
    threading.stack_size(size)
    thread = threading.Thread(target=lambda: said.append(function()))
    thread.start()
    thread.join()
    return said[0]
"""


def output(script: str) -> str:
    """Run a script and return what it prints; it must not be ended by a signal."""
    command = [sys.executable, "-c", _BEGIN + script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_guest_and_a_host_function() -> None:
    said = output("""
def again(guest, value):
    return guest.call_nowait("f", value + 1)

guest = load(again)
print(attempt(lambda: guest.call_nowait("f", 0)))
sys.setrecursionlimit(10**6)
print(attempt(lambda: load(again, recursion_limit=3).call_nowait("f", 0)))
print(attempt(lambda: load(again, recursion_limit=10**6).call_nowait("f", 0)))
""")
    first, second, third = said.splitlines()
    assert first.startswith("RecursionError: a guest and host functions call each other 101 deep")
    assert second.startswith("RecursionError: a guest and host functions call each other 4 deep")
    assert third == "GuestTrap: the guest trapped in f: stack overflow"


def test_guests_that_call_each_other() -> None:
    """Each has a limit of its own for what its code may take, but there is one stack."""
    said = output("""
sys.setrecursionlimit(10**6)

def again(value):
    return load(again, recursion_limit=10**6).call_nowait("f", 0)

print(in_thread(1 << 20, lambda: attempt(lambda: again(0))))
print(in_thread(4 << 20, lambda: attempt(lambda: again(0))))
""")
    # Python's own limit for C code comes first in some versions.
    for line in said.splitlines():
        assert line.startswith("RecursionError: guests and host functions call each other")


@pytest.mark.parametrize("size", [64, 256, 512, 768, 1024, 16384])
def test_threads(size: int) -> None:
    """One whose stack is too small refuses guests; one that does not is large enough for whatever they do."""
    said = output(f"""
sys.setrecursionlimit(10**6)

def again(guest, value):
    return value if value < 0 else guest.call_nowait("f", value + 1)

def main():
    guest = load(again, recursion_limit=10**6)
    deepest = 0
    for depth in range(1000, 10**6, 1000):
        if attempt(lambda: guest.call_nowait("deep", depth)) != depth - 1:
            break
        deepest = depth
    return deepest > 1000, attempt(lambda: guest.call_nowait("deep", 10**6)), attempt(lambda: guest.call_nowait("f", 0))

print(in_thread({size << 10}, lambda: attempt(main)))
""")
    if size < 768:
        assert said.startswith(f"UsageError: this thread has a native stack of {size << 10:,} bytes")
    else:
        overflow = "'GuestTrap: the guest trapped in {}: stack overflow'"
        assert said == f"(True, {overflow.format('deep')}, {overflow.format('f')})\n"


def test_how_much_guest_code_may_take_is_an_option() -> None:
    said = output("""
def main():
    depths = []
    for size in (64 << 10, 512 << 10, 16 << 20):
        guest = load(lambda value: value, native_stack_size=size)
        low, high = 0, 1 << 22
        while low < high - 100:
            middle = (low + high) // 2
            if attempt(lambda: guest.call_nowait("deep", middle)) == middle - 1:
                low = middle
            else:
                high = middle
        depths.append(low)
    return 6 < depths[1] / depths[0] < 10 and 30 < depths[2] / depths[1] < 34

print(in_thread(32 << 20, main))
small = lambda: load(lambda value: value, native_stack_size=64 << 10).call_nowait("f", 5)
print(in_thread(400 << 10, lambda: attempt(small)))
print(attempt(lambda: load(lambda value: value, native_stack_size=0)))
""")
    first, second, third = said.splitlines()
    assert (first, second) == ("True", "5")
    assert third.startswith("UsageError: native_stack_size is 0 bytes")


def test_threads_of_ours_have_stacks_of_their_own() -> None:
    """A module is compiled in a thread that is started when threads get the smallest stack."""
    said = output("""
threading.stack_size(64 << 10)
guest = load(lambda value: value + 1)
print(guest.call_nowait("f", 5), threading.stack_size())
""")
    assert said == "6 65536\n"


def test_near_pythons_own_limit() -> None:
    """However deep Python is: a call ends well or in RecursionError, and the guest can be used afterwards."""
    said = output("""
async def again(guest, value):
    await asyncio.sleep(0)
    return value

def quick(guest, value):
    return value

def descend(depth, function):
    return descend(depth - 1, function) if depth else function()

slow, fast = load(again), load(quick)
limit = sys.getrecursionlimit()
seen = set()
for depth in range(limit - 120, limit):
    for call in (lambda: fast.call_nowait("f", 5), lambda: slow.call("f", 5).send(None)):
        coroutine = None
        try:
            result = descend(depth, call)
        except RecursionError:
            result = "RecursionError"
        seen.add(result)
    assert fast.call_nowait("f", 6) == 6
    assert asyncio.run(slow.call("f", 7)) == 7
print(sorted(map(str, seen)))
""")
    assert said == "['5', 'None', 'RecursionError']\n"


@pytest.mark.parametrize("abi", ["here", "thunks", "plain", "plain in its own memory"])
@pytest.mark.parametrize("caught", [False, True])
def test_a_suspendable_guest_that_calls_itself_through_the_host(abi: str, caught: bool) -> None:
    """Where there is no room for the guest, there is none for the ABI's functions: that is the same trap."""
    said = output(f"""
from tests.host.support import instrumented
sys.setrecursionlimit(10**6)
BACK = b'''(module (import "env" "back" (func $back (param i32) (result i32))) (memory (export "memory") 1)
    (func $deep (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (call $back (i32.const 0)))
            (else (call $deep (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "cb") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0))
            (then (call $back (i32.const 1)))
            (else (call $deep (i32.sub (local.get 0) (i32.const 1)))))))'''
waits = True

async def back(guest, x):
    if waits:
        await asyncio.sleep(0)
        return 7
    try:
        return await guest.call("cb", depth)
    except caesura.GuestTrap as trap:
        if not {caught}:
            raise
        return 100 if trap.kind == "stack overflow" else 200

async def main():
    global waits, depth
    module = BACK if {abi!r} == "here" else instrumented(BACK, {abi!r})
    space = dict(stack_space=(1024, 65536)) if {abi!r} in ("thunks", "plain") else {{}}
    for limits in (dict(native_stack_size=262144, recursion_limit=10**5), dict(recursion_limit=10**5)):
        guest = await caesura.load(module, {{"env": {{"back": back}}}}, cache=False, **space, **limits)
        for depth in range(0, 12):
            waits = False
            try:
                print(await guest.call("cb", depth))
            except caesura.GuestTrap as trap:
                print(trap.kind)
            waits = True
            assert await guest.call("cb", 3) == 7

asyncio.run(main())
""")
    assert set(said.splitlines()) == {"100" if caught else "stack overflow"}
