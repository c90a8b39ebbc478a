"""The examples of docs/slices.md run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import caesura
from tests.docs.pages import code_blocks, run_python
from tests.host.slices.guests import MUCH, load

APP = '(module (memory (export "memory") 1) (func (export "run") (loop (br 0))))'


def test_the_first_example(tmp_path: Path) -> None:
    (tmp_path / "app.wasm").write_text(APP)
    printed = run_python(code_blocks("docs/slices.md", "python")[0], tmp_path).splitlines()
    assert printed == [
        "still computing: True",
        "after 50 ms of the processor: <caesura.PendingCall of run, in pause()>",
        "paused: True bytes saved: True",
    ]


def test_the_policy() -> None:
    names: dict[str, Any] = {}
    exec(code_blocks("docs/slices.md", "python")[1], names)

    async def main() -> None:
        caesura.use_policy(names["RoundRobin"]())
        guests = [await load() for _ in range(3)]
        assert await asyncio.gather(*(guest.call("count", MUCH) for guest in guests)) == [MUCH] * 3

    asyncio.run(main())
