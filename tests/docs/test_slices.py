"""The examples of docs/slices.md run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import caesura
from benchmarks.markdown import block
from benchmarks.slices_report import MARK, costs
from tests.docs.pages import code_blocks, run_python
from tests.host.slices.guests import MUCH, load
from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "slices.md"
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


def test_the_figures_are_those_that_were_measured() -> None:
    facts = json.loads((PAGE.parent / "benchmarks-slices.json").read_text())
    assert block(PAGE, MARK) == costs(facts), "run `make bench ONLY=slices`"
