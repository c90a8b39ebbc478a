"""An export that the host gives the guest begins anew for the guard, though the guest calls it: what a list leaves out
above it is found when control comes back there, and named all the same.
"""

from __future__ import annotations

import pytest

import caesura
from tests.host.support import ABIS, run
from tests.host.test_lists import load, missing_in, same, shown_stack

GIVEN = """
(module
  (type $v (func (result i32)))
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 2)
  (table $t 1 funcref)
  (elem (i32.const 0) $inner)
  (global $ran (export "ran") (mut i32) (i32.const 0))
  (func $inner (export "inner") (result i32) (i32.add (call $wait (i32.const 5)) (i32.const 1)))
  (func $left (result i32)
    (local $x i32)
    (local.set $x (i32.add (call_indirect (type $v) (i32.const 0)) (i32.const 10)))
    (global.set $ran (i32.add (global.get $ran) (i32.const 1)))
    (local.get $x))
  (func $below (export "below") (result i32) (i32.add (call $left) (i32.const 100)))
  (func (export "give") (param funcref) (table.set $t (i32.const 0) (local.get 0)))
  (func (export "how_often") (result i32) (global.get $ran)))
"""


@pytest.mark.parametrize("abi", ABIS)
def test_what_is_left_out_below_an_export_that_was_given_is_named(abi: str) -> None:
    async def main() -> None:
        guest = await load(GIVEN, caesura.Options(only_list=("inner", "below")), abi, same)
        for given in (False, True):
            if given:
                guest.call_nowait("give", guest.function("inner"))
            for _ in range(3):
                with pytest.raises(caesura.UsageError) as refusal:
                    await guest.call("below")
                assert missing_in(refusal.value) == ["left"]
                assert "env.wait has to wait, but 1 function on the stack is not instrumented" in str(refusal.value)
                assert shown_stack(refusal.value)[-2:] == ["* left", "  below"]
                assert await guest.call("inner") == 6
                assert guest.call_nowait("how_often") == 0, "nothing of it has run on"

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_an_export_that_is_left_out_itself_is_named(abi: str) -> None:
    async def main() -> None:
        guest = await load(GIVEN, caesura.Options(only_list=("inner",)), abi, same)
        for given in (False, True):
            if given:
                guest.call_nowait("give", guest.function("inner"))
            with pytest.raises(caesura.UsageError) as refusal:
                await guest.call("below")
            assert missing_in(refusal.value) == ["left", "below"]
            assert "Add them to the only-list and instrument the module again" in str(refusal.value)
            assert shown_stack(refusal.value)[-2:] == ["* left", "* below"]
            assert await guest.call("inner") == 6
            assert guest.call_nowait("how_often") == 0

    run(main())


@pytest.mark.parametrize("abi", ["load", "thunks"])
def test_below_an_export_that_is_left_out_the_thread_waits(abi: str) -> None:
    """Of a module with the plain ABI the host learns that only when the guest traps."""

    async def main() -> None:
        options = caesura.Options(only_list=("inner",))
        guest = await load(GIVEN, options, abi, same, when_unsuspendable="block")
        guest.call_nowait("give", guest.function("inner"))
        with pytest.warns(RuntimeWarning, match=r"left.*below"):
            assert await guest.call("below") == 116
        assert guest.call_nowait("how_often") == 1

    run(main())
