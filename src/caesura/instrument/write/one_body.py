"""The new body of a function that gets one.

It has this shape (docs/design.md explains why):

    block $leave                      ;; only where the function has results, and can be entered from outside
      block $unwind (result i32)
        ...labels opened at the head of the body...
        global.get $state
        if                            ;; cold: rewinding, or called by the host while unwinding
          pop the frame, set the locals
          br_table                    ;; to landing points; 0 leaves
        end
        ...code: after each call site `i32.const site; global.get $state; br_if $unwind; drop`...
        return
      end
      push the frame
    end
    zeros for the results

A function without a frame only has to come to its call again. Where only bytes count, a function with one call site
unwinds, and leaves, right where it finds out that it has to: elsewhere the code for it stands at the end, where code
that runs need not jump over it.
"""

from __future__ import annotations

from caesura.instrument.frames.moving import FrameCode
from caesura.instrument.frames.pads import ONE_PAD
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.dispatch import NEVER, Dispatcher
from caesura.instrument.write.head_labels import HeadLabels
from caesura.instrument.write.labels import Labels
from caesura.instrument.write.new_body import NewBody
from caesura.instrument.write.output import Output
from caesura.instrument.write.unwinding import IN_PLACE, ONE_SITE, WITH_NUMBERS, Unwinding
from caesura.wasm import encoded as c


def write_one_body(output: Output, planned: PlannedFunction, frame_code: FrameCode, *, is_entered: bool) -> bytes:
    """Return the encoded body without its size field.

    Only what others than instrumented functions enter must be able to leave at once (see `analysis.entries`):
    `is_entered` says that this can be entered so.
    """
    form = WITH_NUMBERS
    if len(planned.plan.sites.calls) == 1:
        has_results = len(output.module.function_type(planned.function).results) > 0
        pop_leaves = output.helpers.pops_check and is_entered and has_results
        form = IN_PLACE if output.is_for_size and not pop_leaves else ONE_SITE
    body = _OneBody(output, planned, frame_code, form)
    if not planned.frame.is_saved:
        return body.write_without_frame()
    return body.write_in_place(is_entered=is_entered) if form == IN_PLACE else body.write(is_entered=is_entered)


class _OneBody(NewBody):
    def __init__(self, output: Output, planned: PlannedFunction, frame_code: FrameCode, form: int) -> None:
        labels = Labels()
        heads = HeadLabels(output, planned, planned.frame.layout, labels, set())
        super().__init__(
            output,
            planned,
            frame_code,
            Dispatcher(output, planned, frame_code, heads, planned.frame.late.arms),
            Unwinding(output, planned, frame_code, ONE_PAD, labels, form),
            set(),
        )

    def write(self, *, is_entered: bool) -> bytes:
        """Return the encoded body of a function that unwinds at its end."""
        leave = NEVER
        if is_entered:
            leave = self._labels.begin(c.BLOCK_EMPTY) if self._results else 0
        self._unwinding.open()
        self._branching.update(self._body.pausing_loops.values())
        self._open_pauses()
        self._dispatcher.enter_function(leave)
        return self._code_and_tail(leave)

    def write_in_place(self, *, is_entered: bool) -> bytes:
        """Return the encoded body of a function that unwinds, and leaves, where it finds out that it has to."""
        if not is_entered:
            self._dispatcher.enter_function(NEVER)
        elif self._results:
            self._dispatcher.enter_function(NEVER, self._unwinding.zeros() + c.RETURN)
        else:
            self._dispatcher.enter_function(0)
        return self._only_code()

    def write_without_frame(self) -> bytes:
        """Return the encoded body of a function that only has to come to its call again."""
        self._dispatcher.enter(0)
        return self._only_code()

    def _only_code(self) -> bytes:
        self._copy_code()
        self._out.append(c.END)
        return self._encoded(())
