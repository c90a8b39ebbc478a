"""`compile` and `program.load`: what belongs to which, and what each says of the other's parameters."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any, Final

import pytest

import caesura
from tests.host.support import run
from tests.support.paths import REPOSITORY

# Writes "ok" and a newline.
WRITER: Final = b"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\03\\00\\00\\00")
  (data (i32.const 16) "ok\\n")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
EMPTY: Final = b"(module)"


def test_a_pattern_of_wasi_lets_output_wait() -> None:
    async def main() -> None:
        async def unused(piece: bytes) -> None:
            raise AssertionError(piece)

        written: list[bytes] = []

        async def write(piece: bytes) -> None:
            await asyncio.sleep(0)
            written.append(piece)

        program = await caesura.compile(WRITER, wasi=caesura.Wasi(stdout=unused))
        for wasi in (caesura.Wasi(stdout=write), caesura.Wasi(stdout=written.append)):
            async with await program.load(wasi=wasi) as guest:
                assert await guest.run() == 0
        assert written == [b"ok\n", b"ok\n"]
        program = await caesura.compile(WRITER, wasi=True)
        with pytest.raises(caesura.UsageError, match=r"fd_write may suspend now.*Wasi object as a pattern.*stdout"):
            await program.load(wasi=caesura.Wasi(stdout=write))

    run(main())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"wasi": "x"}, "wasi is 'x': compile expects True, False, or a Wasi object"),
        ({"wasi": None}, "wasi is None"),
        ({"interruptible": 5}, "interruptible is 5"),
        ({"interruptible": caesura.Interruptions()}, r"program\.load\(interruptions=...\)"),
        ({"memory_limit": 5}, r"memory_limit belongs to program\.load, not to compile"),
        ({"interruptions": None}, r"interruptions belongs to program\.load"),
        ({"stack_space": 5}, r"stack_space belongs to program\.load"),
    ],
)
def test_what_compile_refuses(given: dict[str, Any], said: str) -> None:
    async def main() -> None:
        with pytest.raises(caesura.UsageError, match=said):
            await caesura.compile(EMPTY, **given)
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            await caesura.compile(EMPTY, colour=1)  # type: ignore[arg-type]

    run(main())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"wasi": True}, r"wasi is True: expected a caesura\.Wasi object \(True is for compile"),
        ({"interruptible": True}, "interruptible belongs to compile"),
        ({"interruptions": True}, "interruptions is True: expected"),
        ({"accept_instrumented": False}, "accept_instrumented belongs to compile"),
        ({"cache": False}, "cache belongs to compile"),
    ],
)
def test_what_loading_a_program_refuses(given: dict[str, Any], said: str) -> None:
    async def main() -> None:
        program = await caesura.compile(EMPTY, wasi=True)
        with pytest.raises(caesura.UsageError, match=said):
            await program.load(**given)
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            await program.load(colour=1)  # type: ignore[arg-type]

    run(main())


@pytest.mark.parametrize("given", [{"wasi": True}, {"wasi": "x"}, {"interruptible": 5}])
def test_what_load_refuses(given: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises(caesura.UsageError, match=f"{next(iter(given))} is "):
            await caesura.load(EMPTY, **given)

    run(main())


def test_the_page_says_which_parameter_belongs_where() -> None:
    page = (REPOSITORY / "docs" / "host.md").read_text()
    code, own = (
        set(re.findall(r"`(\w+)`", re.findall(rf"^\| {kind}: (.*?) \|", page, re.MULTILINE)[0]))
        for kind in ("what goes into the code", "what is each guest's own")
    )

    def parameters(function: Any) -> set[str]:
        common = {"self", "source", "imports", "external", "wasi", "interruptible", "interruptions", "others"}
        return set(inspect.signature(function).parameters) - common

    assert parameters(caesura.compile) == code
    assert parameters(caesura.Program.load) == own
    assert parameters(caesura.load) == code | own


def test_what_the_engine_refuses_is_said_in_one_line() -> None:
    async def main() -> None:
        nothing_to_drop = b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\x0a\5\1\3\0\x1a\x0b"
        with pytest.raises(
            caesura.UnsupportedModule, match=r"Wasmtime refuses the module: .*: .*type mismatch"
        ) as caught:
            await caesura.load(nothing_to_drop, cache=False)
        assert "\n" not in str(caught.value) and "Caused by" not in str(caught.value)

    run(main())
