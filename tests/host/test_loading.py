"""Loading: sources, imports that do not fit, lists, modules instrumented elsewhere."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.host.support import WAITER, instrumented, load_calls, load_waiter, run
from tests.support.engine import assemble


async def same(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_sources(tmp_path: Path) -> None:
    async def main() -> None:
        binary = assemble(WAITER.decode())
        (tmp_path / "guest.wasm").write_bytes(binary)
        (tmp_path / "guest.wat").write_bytes(WAITER)
        sources = (binary, WAITER, tmp_path / "guest.wasm", str(tmp_path / "guest.wat"))
        for source in sources:
            guest = await caesura.load(source, {"env": {"wait": same}})
            assert await guest.call("outer", 1) == 101

    run(main())


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (b"", caesura.MalformedModule, "expected the magic bytes"),
        (b"(module", caesura.MalformedModule, r"at byte offset 7 .*expected `\)` \(line 1, column 8\)"),
        (b"\0asm\1\0\0\0\xff", caesura.MalformedModule, "unknown section id 255"),
        ("/does/not/exist.wasm", caesura.UsageError, "cannot read '/does/not/exist.wasm': No such file"),
    ],
)
def test_what_is_no_module(source: str | bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        asyncio.run(caesura.load(source))


class Waiter:
    """An object with coroutine methods."""

    async def method(self, value: int) -> int:
        """Wait and count."""
        await asyncio.sleep(0)
        return value + 1

    async def __call__(self, value: int) -> int:
        """Wait and count."""
        return await self.method(value)


async def with_option(option: int, value: int) -> int:
    await asyncio.sleep(0)
    return value + option


@pytest.mark.parametrize("function", [Waiter(), Waiter().method, functools.partial(with_option, 1)])
def test_coroutine_functions_come_in_many_forms(function: object) -> None:
    async def main() -> None:
        guest = await load_waiter(function)
        assert await guest.call("outer", 1) == 102

    run(main())


def test_functions_that_do_not_fit() -> None:
    async def two(first: int, second: int) -> int:
        return first + second

    async def guest_only(guest: caesura.Guest) -> int:
        return 0

    def sneaky(value: int) -> object:
        return same(value)

    def sneakier(value: int) -> object:
        return asyncio.ensure_future(same(value))

    async def main() -> None:
        for function in (two, guest_only):
            with pytest.raises(
                caesura.UsageError, match=r"env\.wait\(.* does not fit: the guest calls it with \(i32\)"
            ):
                await load_waiter(function)
        for hidden in (sneaky, sneakier):
            guest = await load_waiter(hidden)
            with pytest.raises(caesura.UsageError, match="is no coroutine function: make it `async def`"):
                await guest.call("outer", 1)
        with pytest.raises(caesura.UsageError, match="was given 5: expected a callable"):
            await load_waiter(5)
        with pytest.raises(caesura.UsageError, match=r"imports what it is not given: env\.wait"):
            await caesura.load(WAITER, {"other": {}})
        with pytest.raises(caesura.UsageError, match="expected a mapping from names to functions"):
            await caesura.load(WAITER, {"env": same})  # type: ignore[dict-item]

    run(main())


def test_the_guest_is_passed_where_a_parameter_asks_for_it() -> None:
    seen: list[object] = []

    async def wait(guest: caesura.Guest, value: int) -> int:
        seen.append(guest)
        return value

    async def main() -> None:
        guest = await load_waiter(wait)
        await guest.call("outer", 1)
        assert seen == [guest]

    run(main())


def test_results_that_nobody_wants_are_dropped() -> None:
    async def main() -> None:
        lines: list[int] = []

        def note(value: int) -> str:
            lines.append(value)
            return "dropped"

        guest = await load_calls(note=note, wait=same)
        assert await guest.call("note_then_wait", 4) == 4
        assert lines == [4]

    run(main())


def test_the_start_function_of_a_module_with_the_plain_abi_calls_the_host_but_cannot_wait() -> None:
    text = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
      (global $result (export "result") (mut i32) (i32.const 0))
      (func $begin (global.set $result (call $wait (i32.const 5)))) (start $begin)
      (memory (export "memory") 10) (func (export "malloc") (param i32) (result i32) (i32.const 1024))
      (func (export "get") (result i32) (global.get $result)))"""
    module = caesura.instrument(assemble(text), caesura.Options(imports=("env.wait",))).module

    async def at_once(value: int) -> int:
        return value

    def fails(value: int) -> int:
        raise KeyError(value)

    async def main() -> None:
        guest = await caesura.load(module, {"env": {"wait": at_once}})
        assert guest.call_nowait("get") == 5
        with pytest.raises(caesura.UsageError, match="start function cannot be suspended"):
            await caesura.load(module, {"env": {"wait": same}})
        with pytest.raises(KeyError):
            await caesura.load(module, {"env": {"wait": fails}})
        with pytest.raises(caesura.GuestTrap, match="unreachable"):
            await caesura.load(b"(module (func $begin unreachable) (start $begin))")

    run(main())


@pytest.mark.parametrize("abi", ["thunks", "plain"])
def test_a_module_that_was_instrumented_for_other_imports(abi: str) -> None:
    async def main() -> None:
        module = assemble(WAITER.decode())
        options = caesura.Options(imports=("env.other",), thunks=abi == "thunks")
        guest = await caesura.load(
            caesura.instrument(module, options).module, {"env": {"wait": same}}, stack_space=(1024, 65536)
        )
        with pytest.raises(caesura.UsageError, match="not instrumented"):
            await guest.call("outer", 1)
        assert guest.call_nowait("calls") >= 1

    run(main())


def test_exports_with_asyncifys_names_and_other_types_are_refused() -> None:
    names = ("start_unwind", "stop_unwind", "start_rewind", "stop_rewind")
    exports = " ".join(f'(func (export "asyncify_{name}") (param i64 i64 i64))' for name in names)
    text = f'(module (import "env" "wait" (func $wait)) (func (export "run") call $wait) {exports})'

    async def wait() -> None:
        await asyncio.sleep(0)

    with pytest.raises(caesura.UnsupportedModule, match="instrumented already: it exports asyncify_start_unwind"):
        asyncio.run(caesura.load(text.encode(), {"env": {"wait": wait}}))


def test_missing_imports_are_found_before_anything_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_drivable(*_: object, **__: object) -> None:
        raise AssertionError("instrumented although an import is missing")

    monkeypatch.setattr("caesura.host.drivable.make_drivable", make_drivable)
    with pytest.raises(caesura.UsageError, match=r"imports what it is not given: env\.wait"):
        asyncio.run(caesura.load(WAITER, {"env": {}}, cache=False))


def test_the_guests_own_memory_is_not_touched() -> None:
    async def main() -> None:
        guest = await load_waiter(same)
        before = guest.memory.read(0, len(guest.memory))
        assert await guest.call("deep", 1000) == 500_500
        assert guest.memory.read(0, len(guest.memory)) == before

    run(main())


def test_a_place_for_the_asyncify_stack_is_needed() -> None:
    async def main() -> None:
        for place in ((0, 100), (1024, 1100), (1001, 9000)):
            with pytest.raises(caesura.UsageError, match="is no place for the asyncify stack"):
                await caesura.load(instrumented(WAITER, "plain"), {"env": {"wait": same}}, stack_space=place)
        with pytest.raises(caesura.UsageError, match=r"name an unused part of its memory with stack_space"):
            await caesura.load(instrumented(WAITER, "plain"), {"env": {"wait": same}})

    run(main())


def test_the_import_list_is_the_hosts_business() -> None:
    async def main() -> None:
        with pytest.raises(caesura.UsageError, match="leave it out of the options"):
            await load_waiter(same, options=caesura.Options(imports=("env.wait",)))

    run(main())


def test_exports_are_listed_without_the_hosts_own() -> None:
    async def main() -> None:
        guest = await load_waiter(same)
        assert sorted(guest.exports) == ["calls", "deep", "loop", "outer", "trap", "twice"]

    run(main())


def test_a_guest_cannot_be_used_while_its_start_function_runs() -> None:
    seen: list[str] = []

    def begin(guest: caesura.Guest) -> None:
        for use in (lambda: guest.call_nowait("f"), lambda: guest.memory, lambda: guest.parameters("f")):
            with pytest.raises(caesura.UsageError, match="its start function is running"):
                use()
        seen.extend(guest.exports)

    async def main() -> None:
        text = b"""(module (import "env" "begin" (func $begin)) (memory (export "memory") 1) (start $begin)
            (func (export "f")))"""
        guest = await caesura.load(text, {"env": {"begin": begin}}, cache=False)
        assert seen == ["f"]
        guest.call_nowait("f")

    run(main())


@pytest.mark.parametrize("space", [100_000, (65536, 65536 + 100_000), (1 << 20, (1 << 20) + 5000)])
@pytest.mark.parametrize("abi", ["thunks", "plain"])
def test_stack_space_that_is_allocated_by_growing(abi: str, space: tuple[int, int] | int) -> None:
    async def main() -> None:
        guest = await caesura.load(instrumented(WAITER, abi), {"env": {"wait": same}}, cache=False, stack_space=space)
        pages = 3 if not isinstance(space, tuple) else -(-space[1] // 65536)
        assert len(guest.memory) == pages * 65536
        assert await asyncio.gather(*[guest.call("deep", depth) for depth in (100, 50)]) == [5050, 1275]
        assert guest.memory.read(0, 65536) == bytes(65536)

    run(main())


@pytest.mark.parametrize("space", [1 << 33, 1 << 80, (65536, 1 << 90), -5, 100, (16, 20), "64K", (1.5, 2.5), (1, 2, 3)])
def test_stack_space_that_cannot_be(space: Any) -> None:
    async def main() -> None:
        with pytest.raises(caesura.UsageError, match="stack_space"):
            await caesura.load(instrumented(WAITER, "plain"), {"env": {"wait": same}}, cache=False, stack_space=space)

    run(main())
