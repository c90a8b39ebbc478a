"""A passive segment of structures that can change is no hindrance once the guest has dropped it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

import caesura
from caesura.snapshots.format import decode, encode
from tests.support.engine import assemble

TEXT: Final = Path(__file__).parents[1] / "guests" / "wat" / "dropped_objects.wat"
EXTERNAL: Final = ["env.ask"]


def test_it_is_refused_until_it_is_dropped() -> None:
    module = assemble(TEXT.read_text())
    guest = asyncio.run(caesura.load(module, external=EXTERNAL))
    step = guest.start("run", 0)
    assert isinstance(step, caesura.PendingCall)
    with pytest.raises(caesura.SnapshotError, match="cannot be saved before it drops element segment 0"):
        guest.snapshot()
    assert step.resume(7) == 112
    guest.start("run", 1)
    data = bytes(guest.snapshot())
    again = asyncio.run(caesura.restore(data, module=module, external=EXTERNAL))
    assert again.pending[0].resume(7) == guest.pending[0].resume(7) == 112
    with pytest.raises(caesura.GuestTrap):
        again.call_nowait("again")
    assert caesura.Snapshot.load(data).to_wasm(module=module)


def test_a_state_in_which_it_was_not_dropped_is_refused() -> None:
    module = assemble(TEXT.read_text())
    guest = asyncio.run(caesura.load(module, external=EXTERNAL))
    guest.start("run", 1)
    forged = encode(replace(decode(bytes(guest.snapshot())), dropped_elements=()))
    with pytest.raises(caesura.SnapshotError, match="element segment 0, which cannot be saved before it is dropped"):
        asyncio.run(caesura.restore(forged, module=module, external=EXTERNAL))
    with pytest.raises(caesura.SnapshotError, match="element segment 0, which cannot be saved before it is dropped"):
        caesura.Snapshot.load(forged).to_wasm(module=module)
