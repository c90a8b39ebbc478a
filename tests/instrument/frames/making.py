"""Frames with given values, and what moves them, without functions around."""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.instrument.abi.globals import NO_BASE, NO_FLAG, NO_PAUSE_DATA
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.index_spaces import AddedFunctions, AddedTypes, GlobalPool
from caesura.instrument.abi.references import References
from caesura.instrument.abi.runtime import Runtime
from caesura.instrument.abi.stack_code import Places, StackCode
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.late_locals import NOTHING_LATE
from caesura.instrument.plan.plan import Saved
from caesura.instrument.plan.regions import lay_out
from caesura.wasm.indices import LocalIndex
from caesura.wasm.module import Module
from caesura.wasm.names import NewNames
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import I32

# What a frame saves besides the locals that are live.
NOTHING_BESIDES: Final = Saved([], set(), set())


def body_with(types: tuple[int, ...]) -> Body:
    """Return an empty body with locals of these types."""
    body = Body()
    body.local_count = len(types)
    body.run_ends = list(range(1, len(types) + 1))
    body.run_types = list(types)
    return body


def frame_of(*types: int, saved: Saved = NOTHING_BESIDES, has_site_local: bool = False) -> Frame:
    """Return the frame of a function all of whose locals, of these types, are live at its landing points."""
    body = body_with(types)
    layout = lay_out(body, [], set(), [], 0)
    return Frame(
        body,
        saved,
        [LocalIndex(local) for local in range(len(types))],
        layout,
        NOTHING_LATE,
        has_site_local=has_site_local,
    )


def helpers_of(pointer: int = I32, *, grows: bool = False, loads_inline: bool = False) -> FrameHelpers:
    """Return the helpers of a module that has nothing else."""
    module = Module(b"\0asm\1\0\0\0")
    places = Places(
        state=0,
        data=1,
        base=NO_BASE,
        unsuspendable=NO_FLAG,
        foreign=NO_FLAG,
        pause_data=NO_PAUSE_DATA,
        memory=0,
        pointer=pointer,
        grows=grows,
    )
    runtime = Runtime(StackCode(AddedFunctions(module, AddedTypes(module)), places), [], guards=False, overflows=True)
    names = NewNames()
    references = References(module, runtime.stack, GlobalPool(2), SectionEdits(), names, shares_globals=False)
    return FrameHelpers(runtime, references, loads_inline=loads_inline, pops_check=False)
