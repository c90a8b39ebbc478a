"""The library as a typed program uses it: mypy checks what stands here (`make lint`), and it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from importlib import resources
from pathlib import Path
from typing import Any, assert_type

import wasmtime

import caesura
from caesura import Guest, GuestExit, GuestTrap, Options, Wasi, load, yielding
from tests.host.support import WAITER


async def wait(guest: Guest, value: int) -> int:
    assert_type(guest.memory.read(0, 4), bytes)
    assert_type(guest.memory.read_string(0), str)
    assert_type(guest.memory.write_string(0, "text", 8), int)
    assert_type(guest.memory.read_struct("<I", 0), tuple[Any, ...])
    view = guest.memory.view(0, 4)
    assert_type(view[0], int)
    assert_type(view[0:2], bytes)
    view[0] = 7
    view[0:2] = b"ab"
    await asyncio.sleep(0)
    return value


@yielding
def visit(value: int) -> int:
    return value


class Service:
    """Host functions may be methods."""

    async def wait(self, value: int) -> int:
        """Wait and return the value."""
        await asyncio.sleep(0)
        return value


async def use(source: str | Path | bytes) -> int:
    imports = {"env": {"wait": wait, "log": print}}  # as a variable, where mypy joins the functions' types
    async with await load(source, imports, options=Options(), cache=False, shadow_stack_size=4096) as guest:
        assert_type(guest, Guest)
        assert_type(guest.exports, tuple[str, ...])
        assert_type(guest.parameters("outer"), tuple[str, ...])
        assert_type(guest.suspended, int)
        assert_type(guest.call("outer", 1), Coroutine[Any, Any, Any]).close()
        assert_type(guest.generate("outer", 1), Generator[Any, Any, Any])
        assert_type(guest.call_nowait("calls"), Any)
        try:
            await guest.call("trap", 1)
        except GuestTrap as trap:
            assert_type(trap.kind, str)
            assert_type(trap.backtrace, tuple[str, ...])
        except GuestExit as end:
            assert_type(end.code, int)
        answer: int = await guest.call("outer", 1)
    return answer


async def main(folder: Path) -> None:
    (folder / "waiter.wat").write_bytes(WAITER)
    assert await use(WAITER) == await use(folder / "waiter.wat") == await use(str(folder / "waiter.wat")) == 101
    memory = wasmtime.MemoryType(wasmtime.Limits(1, None))
    for function in (Service().wait, visit):
        guest = await caesura.load(WAITER, imports={"env": {"wait": function, "number": 3, "memory": memory}})
        guest.close()
    guest = await load(b"(module)", wasi=Wasi(("name",), environment={"A": "B"}, stdin=b"", stdout=print))
    assert_type(guest.run(), Coroutine[Any, Any, int]).close()
    guest.close()


def test_a_typed_program(tmp_path: Path) -> None:
    asyncio.run(main(tmp_path))


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files(caesura).joinpath("py.typed").is_file()
