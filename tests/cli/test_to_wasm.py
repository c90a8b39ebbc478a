"""`caesura to-wasm`: a module that goes on where a saved state was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.cli.running import caesura_command
from tests.support.bare import in_wasmtime
from tests.support.engine import assemble

TEXT = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (global $sum (mut i32) (i32.const 0))
  (func (export "run") (param i32) (result i32)
    (loop
      (global.set $sum (i32.add (global.get $sum) (call $ask (local.get 0))))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (global.get $sum)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a module, a state of its guest, and what changed when it went on to its next wait."""
    (tmp_path / "app.wasm").write_bytes(assemble(TEXT))
    guest = asyncio.run(caesura.load(tmp_path / "app.wasm", external=["env.ask"]))
    step = guest.start("run", 3)
    earlier = guest.snapshot()
    earlier.save(tmp_path / "earlier.caesura")
    step.resume(1000)
    guest.snapshot(base=earlier).save(tmp_path / "change.caesura")
    guest.snapshot(embed=True).save(tmp_path / "whole.caesura")
    return tmp_path


def test_makes_a_module_that_goes_on(folder: Path) -> None:
    done = caesura_command("to-wasm", folder / "earlier.caesura", "-o", folder / "out.wasm")
    assert (done.code, done.out, done.err) == (0, b"", "")
    ran = in_wasmtime((folder / "out.wasm").read_bytes(), [["resume", 5]], [6, 7])
    assert (ran.results, ran.asked) == ([18], [["env.ask", 2], ["env.ask", 1]])


def test_of_a_change_of_a_guest_whose_module_has_moved(folder: Path) -> None:
    (folder / "app.wasm").rename(folder / "moved.wasm")
    change, base = folder / "change.caesura", folder / "earlier.caesura"
    done = caesura_command("to-wasm", change, "--base", base, "--module", folder / "moved.wasm")
    assert (done.code, done.err) == (0, "")
    assert in_wasmtime(done.out, [["resume", 5]], [6]).results == [1011]
    whole = caesura_command("to-wasm", "-", stdin=(folder / "whole.caesura").read_bytes())
    assert (whole.code, whole.err, whole.out) == (0, "", done.out)


def test_of_a_change_of_a_change(folder: Path) -> None:
    base, guest = None, asyncio.run(caesura.load(folder / "app.wasm", external=["env.ask"]))
    step: Any = guest.start("run", 3)
    for place in range(3):
        base = guest.snapshot(base=base)
        base.save(folder / str(place))
        step = step.resume(1000)
    done = caesura_command("to-wasm", folder / "2", "--base", folder / "1", "--base", folder / "0")
    assert (done.code, done.err) == (0, "")
    assert in_wasmtime(done.out, [["resume", 5]]).results == [2005]
    done = caesura_command("to-wasm", folder / "2", "--base", folder / "1")
    assert done.code == 1 and f"{folder / '1'}: this holds what changed since" in done.error_line()


def test_states_are_read_wherever_fsspec_leads(folder: Path) -> None:
    place = folder.as_uri()
    done = caesura_command("to-wasm", f"{place}/change.caesura", "--base", f"{place}/earlier.caesura")
    assert (done.code, done.err) == (0, "")
    assert done.out == caesura_command("to-wasm", folder / "whole.caesura").out
    assert "cannot read 'file://" in caesura_command("to-wasm", f"{place}/nothing.caesura").error_line()


def test_says_what_is_wrong(folder: Path) -> None:
    state = folder / "earlier.caesura"
    (folder / "app.wasm").unlink()
    assert "app.wasm" in caesura_command("to-wasm", state).error_line()
    (folder / "other.wasm").write_bytes(assemble(TEXT.replace("i32.sub", "i32.add")))
    done = caesura_command("to-wasm", state, "--module", folder / "other.wasm", "-o", folder / "out.wasm")
    assert done.code == 1
    assert "earlier.caesura: the snapshot is of another module" in done.error_line()
    assert not (folder / "out.wasm").exists()
    state.write_bytes(state.read_bytes()[:-1])
    assert "checksum" in caesura_command("to-wasm", state).error_line()
