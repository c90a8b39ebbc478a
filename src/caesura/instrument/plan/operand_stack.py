"""The abstract operand stack of the planner's walk, and how far back code can be run again.

Of each operand only its producer, the last read of mutable state that went into it, and its first instruction are kept,
since five in six operands never cross; types are looked up for those that do (see `operand_types`).
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.plan.plan import SLOT

# In place of the instruction that read mutable state: none did.
NO_READ: Final = -1


class OperandStack:
    """The operands, lowest first, as parallel lists.

    `producers` gave them; `reads` are the last instructions that read mutable state for them, or NO_READ; `starts` the
    first instructions of the code that computes them. The operands of the innermost construct with call sites begin at
    height `base`. Code before the instruction `fence` cannot be run again. From `empty` on there has always been an
    operand of that construct: there its stack was empty last.

    This is the state of one walk and nobody's result: the planner and its `Control` write it, `Crossing` looks at it,
    and nothing of it is left when the walk is over. So the walk's inner loop changes the lists itself, where methods
    would be most of what it does.
    """

    def __init__(self) -> None:
        self.producers: list[int] = []
        self.reads: list[int] = []
        self.starts: list[int] = []
        self.base = 0
        self.fence = 0
        self.empty = 0

    def push(self, producer: int, read: int, start: int) -> None:
        """Put an operand on top."""
        self.producers.append(producer)
        self.reads.append(read)
        self.starts.append(start)

    def push_results(self, index: int, count: int) -> None:
        """Put on top what an instruction gives; its code cannot be run again for that."""
        for slot in range(count):
            self.producers.append(index + slot * SLOT)
            self.reads.append(NO_READ)
            self.starts.append(index)

    def take(self, count: int) -> None:
        """Remove operands; raises IndexError where the construct has not so many."""
        if len(self.producers) - count < self.base:
            raise IndexError
        producers = self.producers
        reads = self.reads
        starts = self.starts
        while count > 0:  # one is what most take; slices would be objects
            producers.pop()
            reads.pop()
            starts.pop()
            count -= 1

    def take_to(self, height: int) -> None:
        """Remove the operands from a height on."""
        self.take(len(self.producers) - height)

    def replace(self, height: int, producer: int, start: int) -> None:
        """Let another producer give an operand, without reading mutable state."""
        self.producers[height] = producer
        self.reads[height] = NO_READ
        self.starts[height] = start

    def begin_at(self, index: int) -> None:
        """Begin anew behind a control instruction before `index`: nothing before it can be run again."""
        self.fence = index
        self.empty = index
