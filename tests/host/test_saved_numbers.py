"""References that are numbers are saved, in frames, globals and tables: for another guest, a module, a look into it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import wasmtime

import caesura
from caesura.snapshots.format import decode, encode
from caesura.snapshots.state import NULL, GlobalState
from caesura.wasm import types as t
from tests.snapshots.forging import with_document
from tests.support.engine import assemble, engine

TEXT: Final = Path(__file__).parents[1] / "guests" / "wat" / "small_numbers.wat"
EXTERNAL: Final = ["env.ask"]
VALUES: Final = (-1, 0x3FFFFFFF, -0x40000000, 7, 999, 7, 5, -7, -7, 3)

THUNKS: Final = caesura.Options(imports=("env.ask",), thunks=True, in_secondary_memory=True, snapshots=True)
FORMS: Final = {
    "given": lambda: assemble(TEXT.read_text()),
    "thunks": lambda: caesura.instrument(assemble(TEXT.read_text()), THUNKS).module,
    "plain": lambda: caesura.instrument(assemble(TEXT.read_text()), replace(THUNKS, thunks=False)).module,
}


def waiting(form: str = "given") -> tuple[caesura.Guest, bytes]:
    """Return a guest that waits and holds numbers, and its module."""
    module = FORMS[form]()
    guest = asyncio.run(caesura.load(module, external=EXTERNAL))
    assert isinstance(guest.start("run", 7), caesura.PendingCall)
    return guest, module


def restore(data: bytes, module: bytes) -> caesura.Guest:
    return asyncio.run(caesura.restore(data, module=module, external=EXTERNAL))


@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_there_again(form: str) -> None:
    guest, module = waiting(form)
    data = bytes(guest.snapshot())
    for other in (guest, restore(data, module)):
        assert bytes(other.snapshot()) == data or form == "given"
        assert other.call_nowait("values") == VALUES
        assert other.pending[0].resume(0) == 694
    again = restore(data, module)
    assert replace(again.snapshot().state, module=decode(data).module) == decode(data)


def test_a_structure_is_refused_and_named() -> None:
    guest, _ = waiting()
    guest.start("hold")
    words = r"global 4 holds a reference of type \(ref null 0\), and only null and numbers"
    with pytest.raises(caesura.SnapshotError, match=words):
        guest.snapshot()


def test_as_a_module() -> None:
    guest, _ = waiting()
    store = wasmtime.Store(engine())
    module = wasmtime.Module(store.engine, guest.snapshot().to_wasm())
    ask = wasmtime.Func(store, wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()]), lambda _: 0)
    exports = wasmtime.Instance(store, module, [ask]).exports(store)
    values, resume = exports["values"], exports["resume"]
    assert isinstance(values, wasmtime.Func) and isinstance(resume, wasmtime.Func)
    assert tuple(values(store)) == VALUES
    assert resume(store, 0) == 694


def test_what_is_no_number_of_a_type_is_refused() -> None:
    guest, module = waiting()
    data = bytes(guest.snapshot())
    state = decode(data)

    def with_global(index: int, bits: int) -> bytes:
        others = [item for item in state.globals if item.index != index]
        changed = GlobalState(index=index, type=t.ANYREF, bits=bits)
        return encode(replace(state, globals=tuple(sorted([*others, changed], key=lambda item: item.index))))

    guest = restore(with_global(0, (1 << 31) - 1), module)
    assert guest.call_nowait("values")[0] == -1
    for index, bits, words in (
        (4, 5, r"global 4 of the snapshot is a number, and what it holds is of type \(ref null 0\)"),
        (3, NULL, r"global 3 of the snapshot holds null, and that of the module, of type \(ref i31\), never does"),
    ):
        with pytest.raises(caesura.SnapshotError, match=words):
            restore(with_global(index, bits), module)
    with pytest.raises(caesura.SnapshotError, match="2147483648 is neither null nor a number of 31 bits"):
        decode(with_document(data, lambda document: document["state"]["globals"]["0"].update(bits=1 << 31)))


def test_numbers_are_shown(tmp_path: Path) -> None:
    guest, module = waiting()
    (tmp_path / "guest.wasm").write_bytes(module)
    guest.snapshot().save(tmp_path / "state")
    command = [sys.executable, "-m", "caesura", "inspect", "state", "--module", "guest.wasm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "number 7" in done.stdout and "object" not in done.stdout
