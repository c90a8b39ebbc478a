"""Modules that were instrumented without some of their imports: what waits there stops the thread, nothing traps."""

from __future__ import annotations

import asyncio
import struct
import subprocess
from pathlib import Path

import pytest

import caesura
from caesura.analysis.instrumented import state_global
from caesura.analysis.suspending_imports import suspending_imports
from caesura.host.drivable import make_drivable
from caesura.wasm.module import Module
from tests.host.support import run
from tests.support.engine import assemble
from tests.support.paths import npm_file

SLEEPER = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 4)
  (func $sleep (export "sleep") (param i32) (result i32)
    (i32.and (call $poll (i32.const 0) (i32.const 4096) (local.get 0) (i32.const 8192)) (i32.const 0xffff)))
  (func $ask (param i32) (result i32) (call $wait (local.get 0)))
  (func $both (export "both") (param i32) (result i32)
    (local.set 0 (i32.add (call $sleep (i32.const 1)) (call $ask (local.get 0))))
    (i32.add (call $poll (i32.const 0) (i32.const 4096) (i32.const 1) (i32.const 8192)) (local.get 0)))
  (func (export "through") (param i32) (result i32)
    (i32.add (i32.mul (call $ask (local.get 0)) (call $both (local.get 0))) (call $yield)))
  (func (export "left_out") (result i32) (i32.add (call $both (i32.const 1)) (i32.const 1)))
  (func (export "read") (result i32)
    (i32.add (call $read (i32.const 0) (i32.const 12288) (i32.const 1) (i32.const 12296)) (i32.const 7))))
"""


def binaryen(level: str, imports: str, folder: Path) -> bytes:
    (folder / "in.wasm").write_bytes(assemble(SLEEPER))
    arguments = [level, "--enable-multivalue", "--asyncify", f"--pass-arg=asyncify-imports@{imports}", "in.wasm"]
    command = ["node", str(npm_file("binaryen/bin/wasm-opt")), *arguments, "-o", "out.wasm"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "out.wasm").read_bytes()


def ours(level: str, imports: str, _: Path) -> bytes:
    options = caesura.Options(optimize=level, imports=tuple(imports.split(",")))
    return caesura.instrument(assemble(SLEEPER), options).module


def ours_with_thunks(level: str, imports: str, _: Path) -> bytes:
    options = caesura.Options(optimize=level, imports=tuple(imports.split(",")), thunks=True)
    return caesura.instrument(assemble(SLEEPER), options).module


def ours_by_a_list(level: str, imports: str, _: Path) -> bytes:
    """Calls of imports go through functions of the guard here, behind which nothing looks at the state."""
    options = caesura.Options(
        optimize=level, imports=tuple(imports.split(",")), only_list=("sleep", "ask", "both", "through")
    )
    return caesura.instrument(assemble(SLEEPER), options).module


MAKERS = [
    *[(binaryen, level) for level in ("-O0", "-O2")],
    *[(ours, level) for level in ("size", "balanced", "speed")],
    *[(ours_with_thunks, level) for level in ("size", "balanced")],
    (ours_by_a_list, "balanced"),
]


def clock(nanoseconds: int) -> bytes:
    return struct.pack("<QBxxxxxxxIxxxxQQHxxxxxx", 77, 0, 1, nanoseconds, 0, 0)


@pytest.mark.parametrize(("make", "level"), MAKERS)
def test_the_guest_sleeps_where_it_cannot_be_suspended(make, level: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    turns = 0

    async def wait(value: int) -> int:
        nonlocal turns
        turns += 1
        await asyncio.sleep(0)
        return value + 1

    async def main() -> None:
        wasi = caesura.Wasi(stdin=b"typed")
        module = make(level, "env.wait", tmp_path)
        async with await caesura.load(module, {"env": {"wait": wait}}, wasi=wasi, stack_space=(65536, 131072)) as guest:
            guest.memory.write(0, clock(1_000_000))
            assert await guest.call("sleep", 1) == 0
            assert guest.memory.read(8192, 4) == struct.pack("<I", 1) and guest.memory.read(4096, 1) == bytes([77])
            assert await guest.call("both", 5) == 6
            results = await asyncio.gather(guest.call("through", 5), guest.call("through", 6))
            assert list(results) == [36, 49] and turns == 5
            guest.memory.write(12288, struct.pack("<II", 20000, 100))
            assert await guest.call("read") == 7
            assert guest.memory.read(20000, 5) == b"typed" and guest.memory.read(12296, 1) == b"\5"

    run(main())


@pytest.mark.parametrize(("make", "level"), MAKERS[:-3])
@pytest.mark.parametrize("suspending", [("env.wait",), ("wasi_snapshot_preview1.poll_oneoff",), ("a.b",)])
def test_what_was_said_shows_in_the_code(make, level: str, suspending: tuple[str, ...], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    module = Module(make(level, ",".join(suspending), tmp_path))
    state = state_global(module)
    assert state is not None
    names = [f"{item.module}.{item.name}" for item in module.imports]
    expected = [name in suspending for name in names]
    assert suspending_imports(module, state) == expected


@pytest.mark.parametrize("suspending", ["env.wait", "wasi_snapshot_preview1.poll_oneoff"])
def test_a_guarded_module_tells_it(suspending: str, tmp_path: Path) -> None:
    module = Module(ours_by_a_list("balanced", suspending, tmp_path))
    imports = [f"{item.module}.{item.name}" for item in module.imports]
    drivable = make_drivable(module, (), caesura.Options(), accept_instrumented=True)
    assert drivable.guarded
    assert {imports[function] for function in drivable.unsuspended} == set(imports) - {suspending}


def test_a_long_chain_of_wrappers_is_followed() -> None:
    """Each only passes a suspension on; the last one's caller saves its frame."""
    wrappers = "".join(
        f"(func $w{place} (param i32) (result i32) (call $w{place - 1} (local.get 0)))" for place in range(1, 3000)
    )
    text = f"""(module (import "env" "wait" (func $wait (param i32) (result i32))) (memory 1)
      (func $w0 (param i32) (result i32) (call $wait (local.get 0))) {wrappers}
      (func (export "f") (param i32) (result i32) (i32.add (call $w2999 (local.get 0)) (i32.const 1))))"""
    module = Module(caesura.instrument(assemble(text)).module)
    state = state_global(module)
    assert state is not None and suspending_imports(module, state) == [True]


def test_a_runtime_of_the_guests_own_sleeps_too() -> None:
    """A module that imports Asyncify's functions drives itself, and its host cannot suspend it."""
    text = SLEEPER.replace("(memory", '(import "asyncify" "get_state" (func $state (result i32))) (memory', 1)

    async def main() -> None:
        wasi = caesura.Wasi(stdin=b"")
        async with await caesura.load(text.encode(), {"env": {"wait": int}}, wasi=wasi, cache=False) as guest:
            guest.memory.write(0, clock(1_000_000))
            assert await guest.call("both", 5) == 5

    run(main())
