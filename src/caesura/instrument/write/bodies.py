"""Writes the new bodies of planned functions, one or two each."""

from __future__ import annotations

from caesura.abi import RESUME_PREFIX
from caesura.analysis.body import Body
from caesura.analysis.interpreters import innermost_loops
from caesura.analysis.limits import check_body
from caesura.instrument.abi.naming import FunctionNames
from caesura.instrument.frames.added_locals import AddedLocals
from caesura.instrument.frames.moving import FrameCode, Moves
from caesura.instrument.frames.two_bodies import Handoff
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.leaving_body import write_leaving_body, write_other_calls
from caesura.instrument.write.normal_body import NormalBody
from caesura.instrument.write.one_body import write_one_body
from caesura.instrument.write.output import Output
from caesura.instrument.write.resume_body import ResumeBody
from caesura.wasm.indices import FunctionIndex, InstructionIndex
from caesura.wasm.names import LOCAL_NAMES, NewNames
from caesura.wasm.renumber import redirect_in_code
from caesura.wasm.shortest import shorten_body
from caesura.wasm.types import I32


class BodyWriter:
    """`entered` tells for each function whether it can be entered from outside. `referring` are the functions that make
    references of imports, which are to become references of their thunks; `shortens` says that padded numbers become
    short in bodies that are added. Names of added locals go to `new_names`.
    """

    def __init__(
        self,
        output: Output,
        entered: list[bool],
        referring: set[FunctionIndex],
        names: FunctionNames,
        new_names: NewNames,
        *,
        shortens: bool,
    ) -> None:
        self._output = output
        self._entered = entered
        self._referring = referring
        self._names = names
        self._new_names = new_names
        self._shortens = shortens
        # Bytes of the second bodies that were added, by function.
        self.second_bodies: dict[FunctionIndex, int] = {}

    def write(self, planned: PlannedFunction, moves: Moves) -> bytes:
        """Return the new body of a function, without size field; a resume body is added to the module."""
        added = AddedLocals(planned.frame)
        frame_code = FrameCode(self._output.helpers, planned.frame, moves, added)
        function = planned.function
        if planned.handoff is not None:
            body = self._write_two(planned, planned.handoff, frame_code)
        else:
            body = write_one_body(self._output, planned, frame_code, is_entered=self._entered[function])
        self._check_size(function, body)
        if self._names.has_locals:
            for local, name in added.names():
                self._new_names.add_inner(LOCAL_NAMES, function, local, name)
        return body

    def write_leaving(self, function: FunctionIndex, body: Body) -> bytes:
        """Return the new body, without size field, of a function that only leaves by tail calls."""
        code = write_leaving_body(self._output, function, body, is_entered=self._entered[function])
        self._check_size(function, code)
        return code

    def write_other_calls(self, function: FunctionIndex, body: Body) -> bytes:
        """Return the new body, without size field, of a function whose only calls that may suspend are in handlers of
        foreign exceptions, and may not; empty if there are none, and it stays as it was given.
        """
        if not body.catch_sites:
            return b""
        module = self._output.module
        code = write_other_calls(self._output, body, module.body_starts[module.own_of(function)])
        self._check_size(function, code)
        return code

    def _check_size(self, function: FunctionIndex, body: bytes) -> None:
        module = self._output.module
        own = function - module.imported_functions
        start = module.body_starts[own]
        check_body(len(body), module.body_ends[own] - start, start)

    def _write_two(self, planned: PlannedFunction, handoff: Handoff, frame_code: FrameCode) -> bytes:
        """Add the resume body of a function and return its normal body."""
        output = self._output
        function = planned.function
        not_unrolled = innermost_loops(planned.body)
        untargeted: set[InstructionIndex] = set()
        body = b""
        for _ in range(2):
            resume = ResumeBody(output, planned, handoff, frame_code, not_unrolled, untargeted)
            body = resume.write()
            untargeted = resume.untargeted
        if self._shortens:
            body = shorten_body(body).code
        if output.references and function in self._referring:
            body = redirect_in_code(body, output.references).code
        if output.guarded_calls is not None:
            body = output.guarded_calls.redirect(function, body).code
        self._check_size(function, body)
        self.second_bodies[function] = len(body)
        name = RESUME_PREFIX + self._names.names[function]
        results = output.module.function_type(function).results if planned.runs_to_end else (I32,)
        index = output.functions.add_body(name, output.functions.types.index_of((), results), body)
        if output.guarded_calls is not None:
            output.guarded_calls.add_second_body(function, index)
        normal = NormalBody(output, planned, handoff, frame_code, not_unrolled)
        return normal.write(index, is_entered=self._entered[function])
