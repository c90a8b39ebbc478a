"""QuickJS as npm has it, driven from Python by names: `examples/quickjs.py`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.quickjs import load
from tests.support.paths import REPOSITORY, npm_file

BUILDS = ("sync", "asyncify")


def package(build: str) -> Path:
    return npm_file(f"@jitl/quickjs-wasmfile-release-{build}/dist/emscripten-module.wasm").parent


@pytest.mark.parametrize("build", BUILDS)
def test_scripts_wait_in_the_middle_of_expressions(build: str) -> None:
    async def main() -> None:
        events: list[tuple[str, Any]] = []

        async def ask(value: Any) -> Any:
            events.append(("asked", value))
            await asyncio.sleep(0)
            events.append(("answered", value))
            return {"value": value, "text": "n\u00e9"}

        engine = await load(package(build), {"ask": ask})
        assert await engine.evaluate("[3, 1, 2].map(x => ask(x).value * 10).sort()") == [10, 20, 30]
        assert events == [(what, value) for value in (3, 1, 2) for what in ("asked", "answered")]
        assert await engine.evaluate("ask('\u00fc').text + ask([1, {a: 2}]).value[1].a") == "n\u00e92"
        with pytest.raises(RuntimeError, match="'message': 'oh'"):
            await engine.evaluate("ask(1); throw new Error('oh')")
        with pytest.raises(RuntimeError, match="SyntaxError"):
            await engine.evaluate("1 +")
        assert await engine.evaluate("new Date(0).toISOString() + ask(2).value") == "1970-01-01T00:00:00.000Z2"

    asyncio.run(main())


@pytest.mark.parametrize("build", BUILDS)
def test_engines_wait_for_each_other(build: str) -> None:
    """Two engines, each in the middle of a script that needs what the other one says."""

    async def main() -> None:
        queues = [asyncio.Queue[int](), asyncio.Queue[int]()]

        def functions(own: int) -> dict[str, Any]:
            async def tell(value: int) -> None:
                await queues[1 - own].put(value)

            return {"tell": tell, "hear": queues[own].get}

        first, second = [await load(package(build), functions(own)) for own in (0, 1)]
        code = "let sum = START; for (let i = 0; i < 20; i++) { tell(sum); sum = sum + hear() }; sum"
        scripts = first.evaluate(code.replace("START", "1")), second.evaluate(code.replace("START", "2"))
        results = list(await asyncio.gather(*scripts))
        sums = [1, 2]
        for _ in range(20):
            sums = [sum(sums), sum(sums)]
        assert results == sums

    asyncio.run(main())


def test_the_example_runs() -> None:
    command = [sys.executable, "-m", "examples.quickjs", str(package("sync")), "fetch_all([1, 2]).join()"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, '"content of 1,content of 2"\n', "")
