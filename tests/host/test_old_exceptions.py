"""Modules with exceptions in their old form, which Wasmtime does not know, run like any other.

What a handler catches is what it caught before: exceptions of WebAssembly, but no traps, and nothing that a host
function raises.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura.host import cache_limit, compiled_modules
from tests.host.support import run
from tests.support.engine import assemble, engine
from tests.support.guests import cpp_guest
from tests.support.paths import npm_file

# `run` calls `work` inside a try; the number says how `work` ends, and what the handlers do.
TEXT: Final = """
(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (tag $error (param i32))
  (memory (export "memory") 1)
  (func $work (param i32) (result i32)
    (local.set 0 (call $wait (local.get 0)))
    (if (i32.gt_s (local.get 0) (i32.const 10)) (then (throw $error (local.get 0))))
    (i32.div_s (i32.const 100) (local.get 0)))
  (func $guarded (param i32) (result i32)
    try (result i32)
      local.get 0
      call $work
    catch_all
      i32.const 2
      call $wait
      drop
      rethrow 0
    end)
  (func (export "run") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $guarded
      delegate 0
    catch $error
      i32.const 5
      call $wait
      i32.add
    end))
"""
BINARY: Final = assemble(TEXT)


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    if value == 9:
        raise LookupError("nine")
    return value


def wait_now(value: int) -> int:
    if value == 9:
        raise LookupError("nine")
    return value


# What tells the host of the stack that the program has in memory.
STACK: Final = "-Wl,--export=__stack_pointer"

WAYS: Final = {"suspending": wait, "not suspending": wait_now}


def test_wasmtime_itself_refuses_the_old_form() -> None:
    """When that is no longer so, nothing need be translated."""
    with pytest.raises(wasmtime.WasmtimeError, match="legacy"):
        wasmtime.Module(engine(), BINARY)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["as it is", "instrumented with thunks", "instrumented for the plain ABI"])
def test_the_old_form_runs(way: str, form: str) -> None:
    async def main() -> None:
        binary = BINARY
        if form != "as it is":
            options = caesura.Options(thunks="thunks" in form, translate_to_exnref=True, in_secondary_memory=True)
            binary = caesura.instrument(BINARY, options).module
        async with await caesura.load(binary, {"env": {"wait": WAYS[way]}}, cache=False) as guest:
            assert [await guest.call("run", number) for number in (1, 50, 20, 11)] == [100, 55, 25, 16]
            with pytest.raises(LookupError, match="nine"):
                await guest.call("run", 9)
            with pytest.raises(caesura.GuestTrap, match="division by zero"):
                await guest.call("run", 0)
            calls = [guest.call("run", number) for number in range(1, 30) if number != 9]
            expected = [100 // number if number < 11 else number + 5 for number in range(1, 30) if number != 9]
            assert await asyncio.gather(*calls) == expected
            assert guest.suspended == 0

    run(main())


def test_a_module_that_others_instrumented(tmp_path: Path) -> None:
    """Binaryen leaves exceptions as they are; its frames hold no exception, so only bodies of tries suspend here."""
    binary = assemble(
        TEXT.replace("i32.const 2\n      call $wait", "i32.const 2").replace(
            "i32.const 5\n      call $wait", "i32.const 5"
        )
    )
    given, made = tmp_path / "in.wasm", tmp_path / "out.wasm"
    given.write_bytes(binary)
    wasm_opt = ["node", str(npm_file("binaryen/bin/wasm-opt")), "--all-features", "--asyncify"]
    ignoring = "--pass-arg=asyncify-ignore-unwind-from-catch"
    subprocess.run([*wasm_opt, ignoring, given, "-o", made], check=True, capture_output=True)

    async def main() -> None:
        imports = {"env": {"wait": wait}}
        async with await caesura.load(made, imports, stack_space=(1024, 65536), cache=False) as guest:
            assert [await guest.call("run", number) for number in (1, 50, 20, 11)] == [100, 55, 25, 16]

    run(main())


def test_the_cache_has_the_translation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "cache"))

    async def main() -> None:
        async with await caesura.load(BINARY, {"env": {"wait": wait}}) as guest:
            assert await guest.call("run", 20) == 25

    for _ in range(2):
        run(main())
        compiled_modules._compiled.clear()
        assert len(list((tmp_path / "cache").glob(f"*{cache_limit.SUFFIX}"))) == 1


def test_what_is_refused_is_told_by_the_module_that_was_given() -> None:
    """A branch to nowhere, behind a try: the offset is that of the file."""
    binary = assemble(TEXT.replace("i32.const 100", "block br 0 end i32.const 100"))
    place = binary.index(b"\x0c\0")
    broken = binary[:place] + b"\x0c\x30" + binary[place + 2 :]

    async def main() -> None:
        with pytest.raises(caesura.MalformedModule, match="branch to label 48") as caught:
            await caesura.load(broken, {"env": {"wait": wait}})
        assert caught.value.offset == place

    run(main())


# For each argument, what the program returns and what it says on the way; the same in Node, where nothing suspends.
_NEW: Final[list[tuple[int, list[int]]]] = [
    (0, [100, 1, 110]),
    (0, [101, 1, 111]),
    (0, [102, 1, 112]),
    (1003, [103, 113, 203]),
    (2007, [104, 7, 114]),
    (3000, [105, 103, 303, 203, 115]),
    (1003, [103, 126, 106, 116, 203]),
    (1007, [104, 127, 107, 7, 117, 207]),
    (3000, [105, 128, 108, 103, 303, 203, 118]),
    (1003, [103, 126, 106, 129, 109, 119, 203]),
]


class Said:
    """Host functions of the program: `wait` suspends, or not, and `say` notes."""

    def __init__(self, *, suspends: bool) -> None:
        self.notes: list[int] = []
        self.imports: dict[str, dict[str, Any]] = {
            "env": {"wait": wait_any if suspends else int, "say": self.notes.append}
        }


async def wait_any(value: int) -> int:
    await asyncio.sleep(0)
    return value


@pytest.mark.parametrize("suspends", [True, False])
@pytest.mark.parametrize("old_form", [True, False], ids=["old form", "new form"])
@pytest.mark.parametrize("destructors_wait", [False, True], ids=["destructors run through", "destructors wait"])
def test_a_program_in_cpp(suspends: bool, old_form: bool, destructors_wait: bool) -> None:
    """Exceptions pass destructors that wait, are caught, thrown again and replaced; nothing of them is left."""
    flags = ["-DDESTRUCTORS_WAIT"] * destructors_wait
    binary = cpp_guest("exceptions", "-O2", STACK, *flags, old_form=old_form)

    async def main() -> None:
        said = Said(suspends=suspends)
        async with await caesura.load(binary, said.imports) as guest:
            for number, (end, notes) in enumerate(_NEW):
                said.notes.clear()
                assert await guest.call("run", number) == end
                assert [note % 300 if note > 400 else note for note in said.notes] == notes
                assert any(note > 400 for note in said.notes) == destructors_wait
            assert await guest.call("exceptions_left") == 0

    run(main())


@pytest.mark.parametrize("old_form", [True, False], ids=["old form", "new form"])
def test_many_exceptions_at_once(old_form: bool) -> None:
    """Each call has its own exception on its way past destructors that wait."""
    binary = cpp_guest("exceptions", "-O2", STACK, "-DDESTRUCTORS_WAIT", old_form=old_form)

    async def main() -> None:
        said = Said(suspends=True)
        async with await caesura.load(binary, said.imports) as guest:
            numbers = [3, 0, 6, 3, 1, 9, 3, 6] * 10
            ends = await asyncio.gather(*[guest.call("run", number) for number in numbers])
            assert ends == [_NEW[number][0] for number in numbers]
            assert await guest.call("exceptions_left") == 0

    run(main())
