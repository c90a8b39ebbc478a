"""An import that may suspend does so however it is reached: through every kind of reference, and exported again."""

from __future__ import annotations

import asyncio

import pytest

import caesura
from tests.host.support import ABIS
from tests.instrument.building import assert_valid
from tests.support.engine import assemble

# How a reference comes into the table: what the module declares, and code that leaves the index where it then is.
SET = "(table.set $table (i32.const 1) ({reference})) i32.const 1"
SET_FUNCTION = SET.format(reference="ref.func $ask")
SET_GLOBAL = SET.format(reference="global.get $kept")
DECLARED = "(elem declare func $ask)"
WAYS = {
    "active segment": ("(elem (table $table) (i32.const 1) func $ask)", "i32.const 1"),
    "segment of expressions": ("(elem (table $table) (i32.const 1) funcref (ref.func $ask))", "i32.const 1"),
    "passive segment": (
        "(elem $passive func $ask)",
        "(table.init $table $passive (i32.const 1) (i32.const 0) (i32.const 1)) i32.const 1",
    ),
    "declared": (DECLARED, SET_FUNCTION),
    "exported": ('(export "same" (func $ask))', SET_FUNCTION),
    "in a global": ("(global $kept funcref (ref.func $ask))", SET_GLOBAL),
    "through a global": (
        f"{DECLARED} (global $kept (mut funcref) (ref.null func))",
        f"(global.set $kept (ref.func $ask)) {SET_GLOBAL}",
    ),
    "grown": (
        DECLARED,
        "(drop (table.grow $table (ref.func $ask) (i32.const 1))) (i32.sub (table.size $table) (i32.const 1))",
    ),
    "filled": (DECLARED, "(table.fill $table (i32.const 0) (ref.func $ask) (i32.const 3)) i32.const 2"),
    "in a function that cannot suspend": (f"{DECLARED} (func $fill {SET_FUNCTION} drop)", "call $fill i32.const 1"),
    "initial element": (
        "(table $other 1 funcref (ref.func $ask))",
        SET.format(reference="table.get $other (i32.const 0)"),
    ),
}
GUEST = """
  (module
    (type $t (func (param i32) (result i32)))
    (import "env" "unused" (func $unused))
    (import "env" "ask" (func $ask (type $t)))
    (memory (export "memory") 2)
    (table $table 3 funcref)
    {declared}
    (func (export "run") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        local.get $sum
        local.get $n
        i32.const 1
        i32.add
        {code}
        call_indirect $table (type $t)
        i32.add
        local.set $sum
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum)))
"""
REEXPORTED = """
  (module
    (import "env" "unused" (func $unused))
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 2)
    (export "ask" (func $ask)) (export "again" (func $ask))
    (func (export "run") (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1))))
"""


async def ask(value: int) -> int:
    await asyncio.sleep(0)
    if value < 0:
        raise ValueError(value)
    return 10 * value


async def load(source: str, abi: str, two_bodies: str = "auto") -> caesura.Guest:
    module = assemble(source)
    options = caesura.Options(
        thunks=abi == "thunks",
        in_secondary_memory=abi == "plain in its own memory",
        secondary_memory_size=16 if abi == "plain in its own memory" else 1,
        two_bodies=two_bodies,
    )
    if abi != "load":
        module = caesura.instrument(module, options).module
        assert_valid(module)
        options = caesura.Options()
    space = (1024, 65536) if abi in ("thunks", "plain") else None
    imports = {"env": {"unused": lambda: None, "ask": ask}}
    return await caesura.load(module, imports, cache=False, options=options, stack_space=space)


@pytest.mark.parametrize("two_bodies", ["never", "all"])
@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("way", WAYS)
def test_references(way: str, abi: str, two_bodies: str) -> None:
    declared, code = WAYS[way]

    async def main() -> None:
        async with await load(GUEST.format(declared=declared, code=code), abi, two_bodies) as guest:
            assert await asyncio.gather(*(guest.call("run", value) for value in (3, 2))) == [90, 50]

    asyncio.run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_an_import_that_is_exported_again(abi: str) -> None:
    """Alone and beside others, and when it raises, after which the guest goes on."""

    async def main() -> None:
        async with await load(REEXPORTED, abi) as guest:
            assert await guest.call("ask", 4) == 40
            calls = [guest.call(name, value) for value in range(3) for name in ("again", "run", "ask")]
            assert await asyncio.gather(*calls) == [0, 1, 0, 10, 11, 10, 20, 21, 20]
            with pytest.raises(ValueError, match="-3"):
                await guest.call("ask", -3)
            assert await guest.call("run", 4) == 41

    asyncio.run(main())


@pytest.mark.parametrize("where", ["unreachable ref.func $ask drop", "ref.func $ask drop", "ref.func $ask call_ref $t"])
@pytest.mark.parametrize("declared", [DECLARED, '(export "same" (func $ask))', "(global funcref (ref.func $ask))"])
def test_what_refers_to_a_thunk_declares_it(where: str, declared: str) -> None:
    """In any function, whatever declares the import."""
    many = " ".join(f'(import "env" "f{number}" (func))' for number in range(130))  # indices of two bytes
    module = assemble(f"""
      (module
        (type $t (func))
        {many}
        (import "env" "ask" (func $ask))
        (memory 1)
        {declared}
        (func $cannot (drop (ref.func $ask)))
        (func (export "run") (call $cannot) (call $ask) {where}))
    """)
    for two_bodies in ("never", "all"):
        assert_valid(caesura.instrument(module, caesura.Options(thunks=True, two_bodies=two_bodies)).module)
