"""The plan of one function: what the planner found out, and what the bodies are written from.

Plans are named tuples: nobody can change them, as with frozen dataclasses, which take three times as long to make
(with all that is made for each function, 2.5% of the time that transforming a module takes, compiled).
"""

from __future__ import annotations

from typing import Final, NamedTuple, NewType

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


class CallSites(NamedTuple):
    """The call sites that control can reach, in code order.

    * `calls`, `landings`: of each, its call instruction, and the instruction before which a rewinding frame lands.
    * `operands_behind`: of each, how many operands are on the region's stack behind the call.
    * `ignored_reads`: reads of locals, behind landing points, for arguments that the callee ignores in a rewind.
    """

    calls: list[InstructionIndex]
    landings: list[InstructionIndex]
    operands_behind: list[int]
    ignored_reads: set[InstructionIndex]


class Constructs(NamedTuple):
    """Constructs that contain call sites, by the instruction that opens them.

    * `reached`: those that control can reach, in code order; `regions`: those of them that are regions (see `regions`).
    * `without_parameters`: blocks and ifs that read their parameters from temporaries.
    * `else_parameters`: `else` → the producers whose temporaries hold the parameters of the else arm.
    * `below`: hand-off loop → temporaries and locals that hold operands below it.
    """

    reached: list[InstructionIndex]
    regions: set[InstructionIndex]
    without_parameters: set[InstructionIndex]
    else_parameters: dict[int, list[Producer]]
    below: dict[int, tuple[set[Temporary], set[LocalIndex]]]


class CrossingOperands(NamedTuple):
    """How operands that cross leave the operand stack and come back (see `crossing`).

    * `temporaries`: producer → number of the temporary local that holds its value.
    * `moved`: producers that are not executed where they stand but where their value is read again.
    * `reads`: moment → producers whose values are read again then, lowest operand first.
    * `several`: the types of what an instruction gives, where it gives more than one value.
    """

    temporaries: dict[int, Temporary]
    moved: set[Producer]
    reads: dict[int, list[Producer]]
    several: dict[int, tuple[int, ...]]


class Saved(NamedTuple):
    """What a frame holds besides the locals that are live at landing points.

    `temporary_types` are the types of all temporaries, `temporaries` those that stand across a landing point; `locals`
    are those that moved producers read.
    """

    temporary_types: list[int]
    temporaries: set[Temporary]
    locals: set[LocalIndex]


class Plan(NamedTuple):
    """What the planner found out about one function.

    `dead` gives, for the instruction behind one that does not go on, the next one that can be reached; `ends_live` says
    that control reaches the end of the body.
    """

    sites: CallSites
    constructs: Constructs
    crossing: CrossingOperands
    saved: Saved
    dead: dict[int, InstructionIndex]
    ends_live: bool
