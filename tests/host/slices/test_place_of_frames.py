"""Where there are pause points the control block is larger: frames begin behind it, in a place with room for it."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import wasmtime

import caesura
from caesura.abi import FRAMES_OFFSET, PAUSE_OFFSET, PREEMPT_FRAMES_OFFSET
from caesura.snapshots.format import encode
from tests.host.slices.guests import COMPUTING, MUCH
from tests.host.support import run
from tests.support.engine import assemble, engine

START = 1024
TOO_LOW = PREEMPT_FRAMES_OFFSET - 8
IMPORTS = {"env": {"again": lambda value: 0, "later": lambda value: 0}}


def instrumented() -> bytes:
    """Return the guest with its frames in its own memory."""
    options = caesura.Options(preempt="fuel", thunks=True, snapshots=True, ignore_imports=True)
    return caesura.instrument(assemble(COMPUTING.decode()), options).module


@pytest.mark.parametrize("size", [FRAMES_OFFSET, FRAMES_OFFSET + 8, TOO_LOW, PREEMPT_FRAMES_OFFSET])
def test_a_place_without_room_is_refused(size: int) -> None:
    assert TOO_LOW > FRAMES_OFFSET

    async def main() -> None:
        with pytest.raises(caesura.UsageError, match=f"more than {PREEMPT_FRAMES_OFFSET} bytes"):
            await caesura.load(instrumented(), IMPORTS, stack_space=(START, START + size))

    run(main())


def test_frames_begin_behind_what_tells_where_they_begin() -> None:
    async def main() -> None:
        module = instrumented()
        guest = await caesura.load(module, IMPORTS, stack_space=(START, 65536))
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("depth", 5, MUCH, budget=caesura.Budget(fuel=1000))
        assert guest.memory is not None
        (pauses_at,) = struct.unpack("<I", guest.memory.read(START + PAUSE_OFFSET, 4))
        assert pauses_at in (0, START + PREEMPT_FRAMES_OFFSET)
        snapshot = guest.snapshot()
        state = snapshot.state
        frames = state.calls[0].frames
        base = START + PREEMPT_FRAMES_OFFSET
        assert guest.memory.read(base, len(frames)) == frames
        again = await caesura.restore(snapshot, IMPORTS, module=module)
        assert await again.pending[0] == MUCH + 5

        for area in ((START, START + TOO_LOW), (START, START + PREEMPT_FRAMES_OFFSET), (0, 65536)):
            forged = caesura.Snapshot.load(encode(replace(state, area=area)))
            with pytest.raises(caesura.SnapshotError, match=r"no place for it"):
                await caesura.restore(forged, IMPORTS, module=module)
        for size in (TOO_LOW, PREEMPT_FRAMES_OFFSET, PREEMPT_FRAMES_OFFSET + len(frames) - 8):
            forged = caesura.Snapshot.load(encode(replace(state, area=(START, START + size))))
            with pytest.raises(caesura.SnapshotError, match=r"no room for|does not lie in"):
                forged.to_wasm(module=module)
        store = wasmtime.Store(engine())
        kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
        unused = wasmtime.Func(store, kind, lambda value: value)
        alone = wasmtime.Instance(store, wasmtime.Module(engine(), snapshot.to_wasm(module=module)), [unused, unused])
        resume = alone.exports(store)["resume"]
        assert isinstance(resume, wasmtime.Func) and resume(store) == MUCH + 5
        pause.value.call.drop()

    run(main())
