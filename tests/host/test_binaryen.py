"""Modules that Binaryen instrumented are recognised and driven as they are."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

import caesura
from tests.host.support import WAITER, Gates, c_library, run, settle
from tests.support.engine import assemble
from tests.support.paths import npm_file

pytestmark = pytest.mark.one_form

FEATURES = ("bulk-memory", "sign-ext", "mutable-globals", "nontrapping-float-to-int", "multivalue", "reference-types")


def through_binaryen(module: bytes, folder: Path) -> bytes:
    (folder / "in.wasm").write_bytes(module)
    command = ["node", str(npm_file("binaryen/bin/wasm-opt")), *[f"--enable-{name}" for name in FEATURES]]
    files = [str(folder / "in.wasm"), "-o", str(folder / "out.wasm")]
    subprocess.run([*command, "-O1", "--asyncify", *files], check=True, capture_output=True)
    return (folder / "out.wasm").read_bytes()


async def same(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_text_instrumented_by_binaryen(tmp_path: Path) -> None:
    async def main() -> None:
        module = through_binaryen(assemble(WAITER.decode()), tmp_path)
        guest = await caesura.load(module, {"env": {"wait": same}}, stack_space=(1024, 65536))
        assert await asyncio.gather(*[guest.call("twice", key) for key in range(5)]) == [1, 3, 5, 7, 9]
        with pytest.raises(caesura.GuestTrap, match="unreachable"):
            await guest.call("trap", 1)
        assert await guest.call("deep", 100) == 5050

    run(main())


def test_a_call_that_does_not_fit(tmp_path: Path) -> None:
    async def main() -> None:
        module = through_binaryen(assemble(WAITER.decode()), tmp_path)
        guest = await caesura.load(module, {"env": {"wait": same}}, stack_space=(1024, 4096))
        for _ in range(2):
            with pytest.raises(caesura.GuestTrap) as caught:
                await guest.call("deep", 1000)
            assert caught.value.kind == "asyncify stack overflow"
            assert guest.suspended == 0
            assert await guest.call("deep", 10) == 55

    run(main())


def test_c_instrumented_by_binaryen(tmp_path: Path) -> None:
    async def main() -> None:
        gates = Gates()
        functions = {"wait": gates.wait, "fill": lambda target, size: 0, "note": print, "again": same}
        module = through_binaryen(c_library("host_calls"), tmp_path)
        guest = await caesura.load(module, {"env": functions})
        depths = (5, 40, 1, 17)
        calls = [asyncio.create_task(guest.call("descend", depth, depth)) for depth in depths]
        await settle()
        for depth in (17, 5, 1, 40):
            assert guest.call_nowait("add", 1, 2) == 3
            gates.open(depth, 0)
            await settle()
        assert [call.result() for call in calls] == [
            sum(depth * 31 + d * 16 + (d & 15) for d in range(depth + 1)) for depth in depths
        ]

    run(main())
