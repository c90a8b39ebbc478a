"""The examples of docs/snapshots.md that are programs, or nearly, do what they say."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

import caesura
from tests.docs.pages import code_blocks, run_python
from tests.support.guests import c_guest_file


def test_a_state_goes_on_as_a_module(tmp_path: Path) -> None:
    (code,) = [block for block in code_blocks("docs/snapshots.md", "python") if "to_wasm" in block]
    assert run_python(code, tmp_path) == "420\n"


def test_a_program_and_its_files(tmp_path: Path) -> None:
    """The example goes on with a program that was saved, whose folder lies elsewhere by now."""
    first, second = [block for block in code_blocks("docs/snapshots.md", "python") if "wasi" in block]
    program = c_guest_file("counting")
    (tmp_path / "data").mkdir()

    async def save() -> None:
        wasi = caesura.Wasi(("count", "13", "1000"), directories={"/data": tmp_path / "data"}, stdout=len)
        guest = await caesura.load(program, wasi=wasi)
        task = asyncio.create_task(guest.run())
        while not guest.suspended:
            await asyncio.sleep(0.001)
        guest.snapshot().save(tmp_path / "state.caesura")
        task.cancel()

    asyncio.run(save())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").rename(tmp_path / "elsewhere" / "data")
    assert run_python(_program(f"{first}print(code)\n"), tmp_path).split()[-2:] == ["13", "3"]
    copied = (tmp_path / "elsewhere" / "data" / "count").read_bytes()
    (tmp_path / "elsewhere" / "data" / "count").unlink()
    (tmp_path / "elsewhere" / "data" / "count").write_bytes(copied)
    prepared = """snapshot, wasi = "state.caesura", caesura.Wasi(directories={"/data": "elsewhere/data"})\n"""
    assert run_python(_program(f"{prepared}{second}await guest.run()\n"), tmp_path).split()[-1] == "13"


def _program(code: str) -> str:
    """Return a program of what stands in a coroutine function."""
    return f"import asyncio\nimport caesura\nasync def main():\n{textwrap.indent(code, '    ')}\nasyncio.run(main())\n"
