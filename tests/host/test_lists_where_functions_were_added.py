"""Second bodies and copies on the stack are no functions that a list leaves out: they stand for those that they are of.

Modules tell so in a section, which is checked, and by which no names are needed.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest

import caesura
from tests.host.support import ABIS, run
from tests.host.test_lists import DEEP, built, load, missing, missing_in, same, shown_stack
from tests.support.engine import assemble
from tests.support.names import without_names, without_section

# The loop is what a second body takes over; what it calls then may be left out, by name or as a call through a table.
RESUMED: Final = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (type $step (func (param i32) (result i32)))
  (table 2 2 funcref) (elem (i32.const 0) $inner $around)
  (func $inner (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
  (func $left_out (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
  (func $middle (param i32) (result i32) (i32.add (call $left_out (local.get 0)) (i32.const 1)))
  (func $around (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
  (func $walk (export "walk") (param $n i32) (result i32)
    (loop (local.set $n (call $wait (local.get $n))) (br_if 0 (i32.lt_s (local.get $n) (i32.const 3))))
    (i32.add (call $middle (local.get $n)) (i32.const 1)))
  (func $outer (export "outer") (param i32) (result i32) (i32.add (call $walk (local.get 0)) (i32.const 1)))
  (func $turn (export "turn") (param $n i32) (result i32)
    (loop (local.set $n (call $wait (local.get $n))) (br_if 0 (i32.lt_s (local.get $n) (i32.const 3))))
    (i32.add (call_indirect (type $step) (local.get $n) (i32.const 1)) (i32.const 1))))"""


# Functions that are left out call copies of small ones, where a list names little of a module.
COPIED: Final = f"""(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $inner (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
  (func $outer (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $outer (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (i32.add (call $inner (local.get 0)) (i32.const 1)))))
  (func $left (param i32) (result i32) (i32.add (call $outer (local.get 0)) (i32.const 1)))
  (func $run (export "run") (param i32) (result i32) (i32.add (call $left (local.get 0)) (i32.const 1)))
  (func (param i32) {"(i32.store (local.get 0) (i32.const 123456))" * 6_000}))"""


async def one_more(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


@pytest.mark.parametrize("abi", ABIS)
def test_second_bodies_need_no_names(abi: str) -> None:
    """What is missing, and the stack, go by the indices of the original's functions, whatever has been added."""

    async def main() -> None:
        listed = caesura.Options(only_list=("1", "3", "walk", "outer"), two_bodies="all")
        entry = caesura.body_entries(without_names(assemble(RESUMED)), [2])[0] if abi == "load" else "#2"
        for name, stack in (("walk", ["  #5"]), ("outer", ["  #5", "  #6"])):
            guest = await load(RESUMED, listed, abi, one_more, has_names=False)
            with pytest.raises(caesura.UsageError) as refusal:
                await guest.call(name, 0)
            assert missing_in(refusal.value) == [entry]
            assert shown_stack(refusal.value) == ["* #2", "  #3", *stack]
        guest = await load(
            RESUMED, caesura.Options(ignore_indirect=True, two_bodies="all"), abi, one_more, has_names=False
        )
        with pytest.raises(caesura.UsageError) as refusal:
            await guest.call("turn", 0)
        assert shown_stack(refusal.value) == ["  #1", "  #4", "* #7"]
        assert "Put it on the add-list" in str(refusal.value)

    run(main())


@pytest.mark.parametrize("has_names", [True, False])
@pytest.mark.parametrize("abi", ABIS)
def test_a_copy_is_shown_as_what_it_is_of(abi: str, has_names: bool) -> None:
    """It is called by what the list leaves out, and is itself not missing. The module is large enough for it."""
    listed = caesura.Options(only_list=("run", "outer", "inner") if has_names else ("run", "2", "1"))

    async def main() -> None:
        guest = await load(COPIED, listed, abi, has_names=has_names)
        with pytest.raises(caesura.UsageError) as refusal:
            await guest.call("run", 2)
        outer, inner, left, top = ("outer", "inner", "left", "run") if has_names else ("#2", "#1", "#3", "#4")
        assert shown_stack(refusal.value) == [f"  {inner}", f"  {outer} (3 times)", f"* {left}", f"  {top}"]
        assert len(missing_in(refusal.value)) == 1
        assert "uninstrumented" not in "".join(refusal.value.__notes__) if abi == "load" else True

    run(main())


@pytest.mark.parametrize("abi", ABIS[1:])
def test_a_module_that_does_not_tell_what_was_added_is_refused_all_the_same(abi: str) -> None:
    """As an older caesura made them: nothing that is missing goes unnamed, and it is not known which list it was."""

    async def main() -> None:
        for text, name, options, least in (
            (DEEP, "run", caesura.Options(only_list=("deep", "run")), {"left_out", "middle"}),
            (RESUMED, "turn", caesura.Options(ignore_indirect=True, two_bodies="all"), {"turn"}),
        ):
            module = without_section(built(text, options, abi), "asyncify.guard")
            space: dict[str, Any] = {} if "own" in abi else {"stack_space": (1024, 65536)}
            guest = await caesura.load(module, {"env": {"wait": one_more}}, cache=False, **space)
            with pytest.raises(caesura.UsageError, match="since the list leaves") as refusal:
                await guest.call(name, 0)
            assert least <= set(missing_in(refusal.value))

    run(main())


def test_a_section_that_tells_of_what_there_is_not_is_refused() -> None:
    module = caesura.instrument(
        assemble(DEEP), caesura.Options(imports=("env.wait",), only_list=("deep", "run"))
    ).module
    place = module.index(b"asyncify.guard") + len(b"asyncify.guard")

    async def main() -> None:
        for wrong in (b"\x04", b"\x00", b"\x01\x00\x7f", b"\x01\x00\x05\xff"):
            changed = module[:place] + wrong + module[place + len(wrong) :]
            with pytest.raises(caesura.UnsupportedModule, match=r"asyncify\.guard of the module"):
                await caesura.load(changed, {"env": {"wait": same}}, cache=False)

    run(main())


@pytest.mark.parametrize("two_bodies", ["none", "all"])
@pytest.mark.parametrize("abi", ABIS)
def test_a_function_in_its_second_body_is_no_missing_one(abi: str, two_bodies: str) -> None:
    async def main() -> None:
        listed = caesura.Options(only_list=("inner", "middle", "walk", "outer"), two_bodies=two_bodies)
        for name, stack in (("walk", ["  walk"]), ("outer", ["  walk", "  outer"])):
            guest = await load(RESUMED, listed, abi, one_more)
            with pytest.raises(caesura.UsageError) as refusal:
                await guest.call(name, 0)
            assert missing_in(refusal.value) == ["left_out"]
            assert shown_stack(refusal.value) == ["* left_out", "  middle", *stack]
        # What the second body itself cannot be resumed in is missing all the same.
        indirect = caesura.Options(ignore_indirect=True, two_bodies=two_bodies)
        guest = await load(RESUMED, indirect, abi, one_more)
        with pytest.raises(caesura.UsageError) as refusal:
            await guest.call("turn", 0)
        assert missing_in(refusal.value) == ["turn"]
        assert shown_stack(refusal.value) == ["  inner", "  around", "* turn"]

    run(main())


def test_a_function_in_its_second_body_is_recorded_by_its_own_name(monkeypatch: Any, tmp_path: Any) -> None:
    recording = tmp_path / "recording"
    monkeypatch.setenv("CAESURA_RECORD", str(recording))

    async def main() -> None:
        listed = caesura.Options(only_list=("inner", "middle", "walk", "outer"), two_bodies="all")
        async with await load(RESUMED, listed, "load", one_more) as guest:
            assert await missing(guest.call("outer", 0)) == ["left_out"]

    run(main())
    lines = [json.loads(line) for line in recording.read_text().splitlines()]
    assert {name for line in lines for name in line.get("functions", {})} == {"walk", "outer"}
    assert [line["missing"] for line in lines if "missing" in line] == [["left_out"]]
