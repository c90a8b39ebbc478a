"""Functions with so many call sites that the numbers in their frames begin below 0 are resumed at each of them."""

from __future__ import annotations

import functools
import struct
from typing import Final

import pytest

import caesura
from caesura.instrument.frames.pieces import INLINE, PIECES, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.plan.grouping import NO_GROUPS
from tests.support.engine import assemble
from tests.support.plain_abi import LATER, HostFunction, PlainGuest, always

ASK: Final[dict[tuple[str, str], HostFunction]] = {("env", "ask"): lambda value: value + 5}
FORMS: Final = {"chunks": SHARED, "pieces": PIECES, "inline": INLINE}


@functools.cache
def guest(sites: int) -> bytes:
    """Return a module whose export has so many call sites, every third in a loop; another function calls it too."""
    calls = ""
    for site in range(sites):
        call = f"(local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3)) (call $ask (i32.const {site}))))"
        if site % 3 == 2:
            calls += f"(loop {call} (br_if 0 (local.tee $twice (i32.eqz (local.get $twice)))))"
        else:
            calls += call
    return assemble(f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 2)
        (func $many (export "many") (result i32) (local $sum i32) (local $twice i32) {calls} (local.get $sum))
        (func $own (param i32) (result i32) (local $sum i32) (local $twice i32) {calls}
          (i32.add (local.get $sum) (local.get 0)))
        (func (export "both") (result i32) (call $own (call $many))))
    """)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("two_bodies", ["never", "all"])
@pytest.mark.parametrize("sites", [74, 75, 127, 140])
def test_many_call_sites(sites: int, two_bodies: str, form: str) -> None:
    """What is suspended at every call equals what never was."""
    module = guest(sites)
    binary = instrument_as(module, caesura.Options(two_bodies=two_bodies), None, FORMS[form], NO_GROUPS).module
    plain = PlainGuest(module, ASK)
    host = PlainGuest(binary, ASK, suspend_at=always)
    assert host.call("both") == plain.call("both")
    assert host.log == plain.log
    assert host.suspensions == len(plain.log)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("sites", "first"), [(1, 1), (10, 1), (74, 1), (75, -63), (140, -63)])
def test_entered_while_unwinding(sites: int, first: int, form: str) -> None:
    """An export with many call sites leaves at once, too; its numbers begin as docs/abi.md says."""
    binary = instrument_as(guest(sites), caesura.Options(), None, FORMS[form], NO_GROUPS).module
    host = PlainGuest(binary, ASK, stacks=LATER)
    host.set_stack_pointers(1024, 4096, 8192)
    nested: list[object] = []

    def start(value: int) -> int:
        host.function("asyncify_start_unwind")(host.store, 1024)
        nested.append(host.function("many")(host.store))
        return 0

    host.replace(("env", "ask"), start)
    host.function("many")(host.store)
    assert nested == [0]
    assert struct.unpack("<i", host.read(4096, 4)) == (first,)
    host.function("asyncify_stop_unwind")(host.store)
