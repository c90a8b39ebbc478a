"""Names that modules give are escaped in messages: terminals act upon control characters, a line end begins a line."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import caesura
from tests.support.engine import assemble

# Clears the screen, goes on in a new line, and writes from right to left.
NAME = "\x1b[2J\n\u202ea"
SHOWN = "\\x1b[2J\\n\\u202ea"
IN_TEXT = "\\1b[2J\\0a\\e2\\80\\aea"

TEXT = f"""
  (module
    (import "env" "{IN_TEXT}" (func $ask (param i32) (result i32)))
    {{more}}
    (memory (export "memory") 1)
    (func $left (param i32) (result i32) (i32.add (call $ask (local.get 0)) (i32.const 1)))
    (func (export "{IN_TEXT}") (param i32) (result i32) (i32.add (call $left (local.get 0)) (i32.const 1))))
"""


async def wait(number: int) -> int:
    await asyncio.sleep(0)
    return number


def plain(number: int) -> Any:
    return wait(number)


def text(more: str = "") -> bytes:
    return assemble(TEXT.format(more=more))


async def load(function: Any = wait, module: bytes | None = None, **more: Any) -> caesura.Guest:
    return await caesura.load(text() if module is None else module, {"env": {NAME: function}}, **more)


async def nothing_given() -> None:
    await caesura.load(text(), {})


async def takes_too_much() -> None:
    await load(lambda a, b, c: 0)


async def is_no_number() -> None:
    await load(module=text(f'(import "env" "{IN_TEXT}.g" (global i32))'))


async def wrong_global() -> None:
    imports = {"env": {NAME: wait, f"{NAME}.g": "text"}}
    await caesura.load(text(f'(import "env" "{IN_TEXT}.g" (global i32))'), imports)


async def twice() -> None:
    await load(module=text(f'(import "env" "{IN_TEXT}" (func))'))


async def wrong_result() -> None:
    guest = await load(lambda number: "text")
    guest.call_nowait(NAME, 1)


async def awaitable_result() -> None:
    guest = await load(plain)
    guest.call_nowait(NAME, 1)


async def cannot_wait() -> None:
    guest = await load()
    guest.call_nowait(NAME, 1)


async def left_out() -> None:
    guest = await load(options=caesura.Options(remove_list=("left",)))
    await guest.call(NAME, 1)


async def wrong_argument() -> None:
    guest = await load()
    await guest.call(NAME, "text")


async def no_such_export() -> None:
    guest = await load()
    await guest.call("none")


@pytest.mark.parametrize(
    "provoke",
    [
        nothing_given,
        takes_too_much,
        is_no_number,
        wrong_global,
        twice,
        wrong_result,
        awaitable_result,
        cannot_wait,
        left_out,
        wrong_argument,
        no_such_export,
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_names_in_errors(provoke: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises((caesura.CaesuraError, TypeError)) as error:
        asyncio.run(provoke())  # type: ignore[arg-type]
    message = str(error.value)
    assert SHOWN in message
    assert all(line.isprintable() for line in message.split("\n"))
    assert "\n\\u202e" not in message


def test_names_in_warnings() -> None:
    async def blocked() -> None:
        options = caesura.Options(remove_list=("left",))
        guest = await load(options=options, when_unsuspendable="block")
        with pytest.warns(RuntimeWarning, match="the thread waits") as caught:
            assert await guest.call(NAME, 1) == 3
        (warning,) = caught
        assert f"env.{SHOWN} has to wait" in str(warning.message)
        assert all(line.isprintable() for line in str(warning.message).split("\n"))

    asyncio.run(blocked())


def test_errors_escape_what_they_are_given() -> None:
    """All but line ends, and once: also where an error goes to another process."""
    error = caesura.UsageError("one\ntwo \x1b\t\u202e caf\u00e9")
    assert str(error) == "one\ntwo \\x1b\\t\\u202e caf\u00e9"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    broken = caesura.MalformedModule("\x1b", 3, "function 2 (\x1b)")
    assert str(broken) == "in function 2 (\\x1b) at byte offset 3 (0x3): \\x1b"


def test_names_of_functions_that_are_refused() -> None:
    names = b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\x0a\5\1\3\0\xff\x0b\0\x0f\4name\1\x08\1\0\5\x1b[2J\n"
    with pytest.raises(caesura.ModuleError) as error:
        caesura.instrument(names)
    assert "\x1b" not in str(error.value)
