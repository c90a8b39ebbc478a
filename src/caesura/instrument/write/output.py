"""The module that is being written, as far as new bodies refer to it."""

from __future__ import annotations

from dataclasses import dataclass

from caesura.instrument.abi.dummies import Dummies
from caesura.instrument.abi.foreign_handlers import ForeignHandlers
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.index_spaces import AddedFunctions
from caesura.instrument.abi.kept_branches import KeptBranches
from caesura.instrument.abi.recording import RecordingCode
from caesura.instrument.abi.tail_dispatch import TailDispatch
from caesura.instrument.write.guarded_calls import GuardedCalls
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module


@dataclass(frozen=True, kw_only=True)
class Output:
    """`module` is the given one, `functions`, `dummies` and `helpers` what is added to it.

    `import_thunks` maps imports that may suspend to the functions through which they are called, `references` to those
    that references are made of, and `framing` what has no frame to those that tail calls are made of;
    `foreign_handlers` makes calls in handlers of foreign exceptions. `branches` are those that hints can follow.
    `guarded_calls` are written anew in finished bodies, if anything is guarded. `is_for_size` says that only bytes
    count. `pause` is the function that pause points call, or NO_PAUSE, and `may_pause` the code that tells there
    whether the guest will be suspended; with `looks_at_once` that can run at any time, and is a look with what is left
    to count. `recording` notes which functions are on the stack, if that is wanted.
    """

    module: Module
    functions: AddedFunctions
    dummies: Dummies
    helpers: FrameHelpers
    tail_dispatch: TailDispatch
    import_thunks: dict[int, int]
    references: dict[int, int]
    framing: dict[FunctionIndex, FunctionIndex]
    foreign_handlers: ForeignHandlers
    branches: KeptBranches
    guarded_calls: GuardedCalls | None
    is_for_size: bool
    pause: FunctionIndex
    may_pause: bytes
    looks_at_once: bool
    recording: RecordingCode | None
