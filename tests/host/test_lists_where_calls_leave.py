"""What a list leaves out and has left the stack by a tail call is refused and named, as if it still stood there.

What `asserts` finds does not get in the way of that.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import caesura
from tests.host.support import ABIS, run
from tests.host.test_lists import load, missing, same
from tests.support.engine import assemble
from tests.support.paths import REPOSITORY

LEAVING: Final = (Path(__file__).parents[1] / "guests" / "wat" / "leaving.wat").read_text()
LEAVING_LISTED: Final = ("read", "to_*", "leaves", "from_table", "deep")
BY_REFERENCE: Final = """
  (elem declare func $ask $read)
  (func $by_reference (export "by_reference") (param i32) (result i32)
    (call $pass) (return_call_ref $step (local.get 0) (ref.func $ask)))
  (func (export "to_reference") (param i32) (result i32)
    (i32.add (call $by_reference (local.get 0)) (i32.const 1000))))"""


async def load_leaving(module: bytes, listed: tuple[str, ...], abi: str) -> caesura.Guest:
    imports = {"env": {"ask": same, "note": lambda value: value}}
    lists = caesura.Options(only_list=listed)
    if abi == "load":
        return await caesura.load(module, imports, options=lists, cache=False)
    own = abi == "plain in its own memory"
    chosen = replace(lists, imports=("env.ask",), thunks=abi == "thunks", in_secondary_memory=own)
    given: dict[str, Any] = {} if own else {"stack_space": (1024, 65536)}
    return await caesura.load(caesura.instrument(module, chosen).module, imports, cache=False, **given)


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("by_import", "by_import"),
        ("by_name", "by_name"),
        ("by_table", "by_table"),
        ("by_index", "by_index"),
        ("by_reference", "by_reference"),
        ("by_chain", "by_import"),  # once this is on the list the other one is named
        ("to_import", "by_import"),
        ("to_name", "by_name"),
        ("to_table", "by_table"),
        ("to_index", "by_index"),
        ("to_reference", "by_reference"),
        ("to_chain", "by_import"),
        ("leaves", "by_import"),
        ("from_table", "by_import"),
    ],
)
def test_what_has_left_by_a_tail_call_is_refused_and_named(name: str, left: str, abi: str) -> None:
    module = assemble(LEAVING.rstrip().removesuffix(")") + BY_REFERENCE)

    async def main() -> None:
        guest = await load_leaving(module, LEAVING_LISTED, abi)
        for _ in range(2):
            assert await missing(guest.call(name, 5)) == [left]
            assert await guest.call("deep", 2) == 107

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_list_is_completed_step_by_step_where_functions_leave(abi: str) -> None:
    """What leaves for another function is named once that one is on the list."""

    async def main() -> None:
        listed: tuple[str, ...] = LEAVING_LISTED
        for step in ("by_import", "by_chain"):
            guest = await load_leaving(assemble(LEAVING), listed, abi)
            assert await missing(guest.call("to_chain", 5)) == [step]
            listed += (step,)
        guest = await load_leaving(assemble(LEAVING), listed, abi)
        assert await guest.call("to_chain", 5) == 1005

    run(main())


PASSING: Final = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $inner (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
  (func $passes (export "passes") (param i32) (result i32) (call $inner (local.get 0)))
  (func $leaves (export "leaves") (param i32) (result i32)
    (drop (memory.grow (i32.const 0))) (i32.add (call $inner (local.get 0)) (i32.const 10))))"""


@pytest.mark.parametrize("asserts", [False, True])
def test_asserts_change_nothing_where_lists_are_guarded(asserts: bool) -> None:
    async def main() -> None:
        lists = caesura.Options(only_list=("inner",), asserts=asserts)
        imports = {"env": {"wait": same}}
        guest = await caesura.load(assemble(PASSING), imports, options=lists, cache=False)
        assert await guest.call("passes", 5) == 6
        assert await missing(guest.call("leaves", 5)) == ["leaves"]
        guest = await caesura.load(assemble(PASSING), imports, options=lists, cache=False, when_unsuspendable="block")
        with pytest.warns(RuntimeWarning, match='"leaves"'):
            assert await guest.call("leaves", 5) == 16

    run(main())


def test_a_function_that_asserts_find_is_no_overflow() -> None:
    async def main() -> None:
        chosen = caesura.Options(only_list=("inner",), imports=("env.wait",), asserts=True, no_guard=True)
        module = caesura.instrument(assemble(PASSING), chosen).module
        guest = await caesura.load(module, {"env": {"wait": same}}, stack_space=(1024, 65536), cache=False)
        with pytest.raises(caesura.GuestTrap, match="suspended below a function that is not instrumented"):
            await guest.call("leaves", 5)

    run(main())


IGNORED_TAIL_CALLS: Final = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (type $step (func (param i32) (result i32)))
  (table 2 funcref) (elem (i32.const 0) $leaf $wait)
  (func $leaf (type $step) (i32.add (call $wait (local.get 0)) (i32.const 1)))
  (func $by_table (type $step)
    (if (i32.eqz (local.get 0)) (then (return (call $wait (i32.const 1)))))
    (return_call_indirect (type $step) (local.get 0) (i32.const 0)))
  (func $by_import (type $step)
    (if (i32.eqz (local.get 0)) (then (return (call $wait (i32.const 1)))))
    (return_call_indirect (type $step) (local.get 0) (i32.const 1)))
  (func $to_table (export "to_table") (type $step) (i32.add (call $by_table (local.get 0)) (i32.const 100)))
  (func $to_import (export "to_import") (type $step) (i32.add (call $by_import (local.get 0)) (i32.const 100))))"""


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("way", ["table", "import"])
def test_what_leaves_by_a_call_that_is_ignored_is_named_and_not_its_caller(way: str, abi: str) -> None:
    async def main() -> None:
        guest = await load(IGNORED_TAIL_CALLS, caesura.Options(ignore_indirect=True), abi)
        for _ in range(2):
            assert await missing(guest.call(f"to_{way}", 5)) == [f"by_{way}"]
            assert await guest.call(f"to_{way}", 0) == 101

    run(main())


# `twice` waits, calls itself by name for each ten, through a table for each five, and may leave by a tail call.
TWICE: Final = """(module (import "env" "ask" (func $ask (param i32) (result i32)))
  (type $step (func (param i32) (result i32))) (table 1 1 funcref) (elem (i32.const 0) $twice)
  (memory (export "memory") 1)
  (func $twice (export "twice") (param i32) (result i32)
    (if (i32.ge_s (local.get 0) (i32.const 10))
      (then (return (call $twice (i32.sub (local.get 0) (i32.const 10))))))
    (if (i32.ge_s (local.get 0) (i32.const 5))
      (then (return (call_indirect (type $step) (i32.sub (local.get 0) (i32.const 5)) (i32.const 0)))))
    (if (i32.ne (local.get 0) (i32.const 3)) (then (return (call $ask (local.get 0)))))
    (return_call $ask (local.get 0)))
  (func $run (export "run") (param i32) (result i32) (i32.add (i32.const 1000) (call $twice (local.get 0)))))"""
# How often it is on the stack, by its argument.
TIMES: Final = {1: 1, 3: 1, 11: 2, 21: 3, 6: 2, 16: 3}
IN_JAVASCRIPT: Final = """
import { readFileSync } from "node:fs";
const { instantiate, promising, Suspending } = await import(process.argv[1]);
const told = [];
for (const argument of JSON.parse(process.argv[3])) {
  const imports = { env: { ask: new Suspending(async (value) => value) } };
  const { instance } = await instantiate(readFileSync(process.argv[2]), imports, { region: [1024, 60000] });
  await promising(instance.exports.run)(argument).catch((error) => told.push(error.message));
}
console.log(JSON.stringify(told));
"""


def shown(message: str) -> list[str]:
    return [line for line in message.split("\n") if "twice" in line and line.startswith("  ")]


def expected() -> list[list[str]]:
    return [[f"  * twice ({times} times)" if times > 1 else "  * twice"] for times in TIMES.values()]


@pytest.mark.parametrize("abi", ABIS)
def test_what_marks_where_it_is_entered_is_shown_as_often_as_the_program_has_it(abi: str) -> None:
    """It calls itself for that, once."""

    async def main() -> None:
        module, found = assemble(TWICE), []
        guest = await load_leaving(module, ("run",), abi)
        for argument in TIMES:
            with pytest.raises(caesura.UsageError) as caught:
                await guest.call("run", argument)
            found.append(shown(str(caught.value)))
        assert found == expected()

    run(main())


@pytest.mark.parametrize("thunks", [False, True])
def test_it_is_shown_so_in_javascript(thunks: bool, tmp_path: Path) -> None:
    module = tmp_path / "twice.wasm"
    module.write_bytes(caesura.instrument(assemble(TWICE), caesura.Options(only_list=("run",), thunks=thunks)).module)
    package = (REPOSITORY / "js" / "src" / "index.js").as_uri()
    command = ["node", "--input-type=module", "-e", IN_JAVASCRIPT, package, str(module), json.dumps([*TIMES])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [shown(message) for message in json.loads(done.stdout)] == expected()
