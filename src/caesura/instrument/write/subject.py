"""A function that is being rewritten: what was found out about it, and what its new bodies refer to.

One or two bodies are written from the same subject; they differ in where frames land in them.
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.instrument.abi.runtime import Runtime
from caesura.instrument.abi.tables import TypeTable
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.pads import Pads
from caesura.instrument.plan.plan import Plan
from caesura.wasm.module import Module


class Subject:
    """`checked_late` are call instructions that are checked behind the next instruction (see `plan.checks`).

    `numbers` are the numbers of the call sites, in the plan's order; `pads` say where these unwind to.

    `import_thunks` maps imports that may suspend to the functions through which they are called. `is_for_size` says
    that only bytes count, `has_frame` whether the function saves a frame (see `analysis.tail_sites`).
    """

    def __init__(
        self,
        module: Module,
        function: int,
        body: Body,
        plan: Plan,
        checked_late: set[int],
        numbers: list[int],
        frame: Frame,
        pads: Pads,
        runtime: Runtime,
        types: TypeTable,
        import_thunks: dict[int, int],
        is_for_size: bool,
        has_frame: bool,
    ) -> None:
        self.module = module
        self.function = function
        self.body = body
        self.plan = plan
        self.checked_late = checked_late
        self.numbers = numbers
        self.frame = frame
        self.pads = pads
        self.runtime = runtime
        self.types = types
        self.import_thunks = import_thunks
        self.is_for_size = is_for_size
        self.has_frame = has_frame
