"""The plan of one function: what the planner found out, and what the bodies are written from.

Plans and their parts are plain classes, whose attributes are set once. Frozen dataclasses and named tuples would spare
the lines, but their constructors stay interpreted: to make one takes compiled code 0.5 and 0.2 microseconds instead of
0.04, and with all that is made for each function, region and call site the transformation took 5% longer.
"""

from __future__ import annotations

from typing import Final, NewType

from caesura.wasm.indices import InstructionIndex, LocalIndex

# A place between instructions: before instruction i is 2 * i, behind it is 2 * i + 1.
Moment = NewType("Moment", int)

# An operand, named by what gave it: the index of the instruction, plus SLOT times the number of its result.
Producer = NewType("Producer", int)
SLOT: Final = 1 << 32

# A temporary local, counted from 0; `frames.frame` says which local it is.
Temporary = NewType("Temporary", int)


def instruction_of(producer: Producer) -> InstructionIndex:
    """Return the instruction that gives an operand."""
    return InstructionIndex(producer & (SLOT - 1))


class CallSites:
    """The call sites that control can reach, in code order.

    * `calls`, `landings`: of each, its call instruction, and the instruction before which a rewinding frame lands.
    * `leads`: of each, the instruction that straight-line code leads to from there: the call, or a loop at whose head
      that is.
    * `operands_behind`: of each, how many operands are on the region's stack behind the call.
    * `ignored_reads`: reads of locals, behind landing points, for arguments that the callee ignores in a rewind.
    """

    def __init__(
        self,
        calls: list[InstructionIndex],
        landings: list[InstructionIndex],
        leads: list[InstructionIndex],
        operands_behind: list[int],
        ignored_reads: set[InstructionIndex],
    ) -> None:
        self.calls: Final = calls
        self.landings: Final = landings
        self.leads: Final = leads
        self.operands_behind: Final = operands_behind
        self.ignored_reads: Final = ignored_reads


class Constructs:
    """Constructs that contain call sites, by the instruction that opens them.

    * `reached`: those that control can reach, in code order; `regions`: those of them that are regions (see `regions`).
    * `without_parameters`: blocks and ifs that read their parameters from temporaries.
    * `else_parameters`: `else` → the producers whose temporaries hold the parameters of the else arm.
    * `below`: hand-off loop → temporaries and locals that hold operands below it.
    """

    def __init__(
        self,
        reached: list[InstructionIndex],
        regions: set[InstructionIndex],
        without_parameters: set[InstructionIndex],
        else_parameters: dict[InstructionIndex, list[Producer]],
        below: dict[InstructionIndex, tuple[set[Temporary], set[LocalIndex]]],
    ) -> None:
        self.reached: Final = reached
        self.regions: Final = regions
        self.without_parameters: Final = without_parameters
        self.else_parameters: Final = else_parameters
        self.below: Final = below


class CrossingOperands:
    """How operands that cross leave the operand stack and come back (see `crossing`).

    * `temporaries`: producer → number of the temporary local that holds its value.
    * `moved`: producers that are not executed where they stand but where their value is read again.
    * `reads`: moment → producers whose values are read again then, lowest operand first.
    * `several`: the types of what an instruction gives, where it gives more than one value.
    * `non_null`: producers of references that cannot be null, which their temporaries can.
    """

    def __init__(
        self,
        temporaries: dict[Producer, Temporary],
        moved: set[Producer],
        reads: dict[Moment, list[Producer]],
        several: dict[InstructionIndex, tuple[int, ...]],
        non_null: set[Producer],
    ) -> None:
        self.temporaries: Final = temporaries
        self.moved: Final = moved
        self.reads: Final = reads
        self.several: Final = several
        self.non_null: Final = non_null


class Saved:
    """What a frame holds besides the locals that are live at landing points.

    `temporary_types` are the types of all temporaries, `temporaries` those that stand across a landing point;
    `moved_locals` are the locals that moved producers read.
    """

    def __init__(self, temporary_types: list[int], temporaries: set[Temporary], moved_locals: set[LocalIndex]) -> None:
        self.temporary_types: Final = temporary_types
        self.temporaries: Final = temporaries
        self.moved_locals: Final = moved_locals


class Plan:
    """What the planner found out about one function.

    `dead` gives, for the instruction behind one that does not go on, the next one that can be reached; `ends_live` says
    that control reaches the end of the body.
    """

    def __init__(
        self,
        sites: CallSites,
        constructs: Constructs,
        crossing: CrossingOperands,
        saved: Saved,
        dead: dict[InstructionIndex, InstructionIndex],
        *,
        ends_live: bool,
    ) -> None:
        self.sites: Final = sites
        self.constructs: Final = constructs
        self.crossing: Final = crossing
        self.saved: Final = saved
        self.dead: Final = dead
        self.ends_live: Final = ends_live
