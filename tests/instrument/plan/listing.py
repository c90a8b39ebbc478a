"""Plans as text: the code of a function, one instruction a line, with comments that say what the plan does to it.

    i32.const 8
    i32.load      ;; to t0                  the value goes to temporary 0
    local.get 0   ;; moved                  is executed where its value is read again
    ;; land 0                               a frame lands here for call site 0
    ;; again t0, local.get 0                what is put on the operand stack again
    call $wait

So a listing is valid text, and at once what the test expects of its plan. Behind an instruction that gives several
values stands where each goes: `;; to t0, stack`. `;; ignored` marks a read that frames need not serve, `;; unreachable`
the instructions that control cannot reach.
"""

from __future__ import annotations

from dataclasses import dataclass

from caesura.analysis.body import Body
from caesura.instrument.plan.plan import SLOT, Moment, Plan, Producer, instruction_of
from caesura.instrument.plan.planner import plan_function
from caesura.wasm.indices import InstructionIndex
from tests.analysis.sample import Sample

# What the code of these tests can call and read.
_SURROUNDINGS = """
  (import "env" "wait" (func $wait))
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory 1)
  (table (export "table") 4 funcref)
  (global $counter (mut i32) (i32.const 0))
  (global $fixed i32 (i32.const 7))
  (tag $tag)
  (type $binary (func (param i32 i32) (result i32)))
  (func $instrumented (param i32 i32) (result i32) (call $wait) (i32.const 0))
  (func $pair (result i32 i64) (call $wait) (i32.const 0) (i64.const 0))
  (func $plain (param i32) (result i32) (local.get 0))"""


@dataclass(frozen=True)
class Planned:
    """A function `$f` with its plan; `lines` is its code, one instruction each."""

    sample: Sample
    body: Body
    plan: Plan
    lines: list[str]

    def listing(self) -> str:
        """Return the plan as text."""
        out: list[str] = []
        unreachable = self._unreachable()
        for place, line in enumerate(self.lines):
            index = InstructionIndex(place)
            out += [f";; land {site}" for site, landing in enumerate(self.plan.sites.landings) if landing == index]
            out += self._again(Moment(2 * index))
            comment = "unreachable" if index in unreachable else self._comment(index)
            out.append(f"{line} ;; {comment}" if comment else line)
            out += self._again(Moment(2 * index + 1))
        return "\n".join(out)

    def _again(self, moment: Moment) -> list[str]:
        producers = self.plan.crossing.reads.get(moment, [])
        return [f";; again {', '.join(map(self._value, producers))}"] if producers else []

    def _value(self, producer: Producer) -> str:
        temporary = self.plan.crossing.temporaries.get(producer)
        return self.lines[producer] if temporary is None else f"t{temporary}"

    def _comment(self, index: InstructionIndex) -> str:
        crossing = self.plan.crossing
        if index in self.plan.sites.ignored_reads:
            return "ignored"
        if Producer(index) in crossing.moved:
            return "moved"
        if all(instruction_of(Producer(producer)) != index for producer in crossing.temporaries):
            return ""
        slots = range(len(crossing.several.get(index, (0,))))
        places = [crossing.temporaries.get(Producer(index + slot * SLOT)) for slot in slots]
        return "to " + ", ".join("stack" if place is None else f"t{place}" for place in places)

    def _unreachable(self) -> set[int]:
        return {index for start, end in self.plan.dead.items() for index in range(start, end)}


def plan_of(
    code: str, head: str = "", *, handoff_loops: set[int] | None = None, restores_nothing: bool = False
) -> Planned:
    """Plan a function; `head` declares its parameters, results and locals, lines of the code that are comments go."""
    lines = [line.split(";;")[0].strip() for line in code.splitlines()]
    lines = [line for line in lines if line]
    sample = Sample(f"(module {_SURROUNDINGS} (func $f {head}\n{chr(10).join(lines)}))")
    body = sample.body("f")
    assert len(body.codes) == len(lines) + 1
    plan = plan_function(
        sample.module,
        body,
        sample.module.function_type(sample.index("f")).results,
        [not instrumented for instrumented in sample.suspension.instrumented],
        handoff_loops=None if handoff_loops is None else {InstructionIndex(loop) for loop in handoff_loops},
        restores_nothing=restores_nothing,
    )
    return Planned(sample, body, plan, lines)


def plain(listing: str) -> str:
    """Return a listing without indentation and alignment, as `Planned.listing` gives it."""
    return "\n".join(" ".join(line.split()) for line in listing.splitlines() if line.strip())
