"""The compiled code of a guest is found again when it is restored: in this process, and in the cache by another."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import caesura
from caesura import Options

ASKER = """
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (func $unused (export "unused") (result i32) (i32.const 7))
  (func (export "run") (param i32) (result i32) (i32.add (i32.const 1) (call $ask (local.get 0)))))
"""

IMPORTS = {"env": {"ask": caesura.EXTERNAL}}

ELSEWHERE = """
import asyncio, sys
import caesura
guest = asyncio.run(caesura.restore(sys.argv[1], {"env": {"ask": caesura.EXTERNAL}}))
print(guest.pending[0].resume(41))
"""


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(remove_list=("unused", "no-such-*")),
        Options(two_bodies="none", optimize="size"),
    ],
)
def test_a_new_process_compiles_nothing(options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(cache))
    module = tmp_path / "asker.wat"
    module.write_text(ASKER)

    async def save() -> None:
        program = await caesura.compile(module, IMPORTS, options=options)
        guest = await program.load(IMPORTS)
        guest.start("run", 5)
        guest.snapshot().save(tmp_path / "state.caesura")

    asyncio.run(save())
    [entry] = cache.iterdir()
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "state.caesura")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "42\n"
    assert [*cache.iterdir()] == [entry]
