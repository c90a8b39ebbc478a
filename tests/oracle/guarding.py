"""The property of the guard: with any lists, a suspension works as in the oracle, or is refused with all as it was.

A generated module is instrumented by random lists, true or not. The uninstrumented module says, run with imports that
trap where they would suspend, which functions are on the stack there, and what memory, globals and log are. If none of
these is left out, the instrumented module is suspended and goes on as if it had not been. If any is, it traps in the
guard's function, with memory, globals and log as they were, without a byte on the asyncify stack; the functions on its
stack that the module itself calls uninstrumented are just those; a host that knows no names finds them, and those whose
calls are taken out, and shows the same stack as the original's; and another run of the instance goes as one of the
original does that trapped there.

Two of three modules make calls through the host, in functions that are passed when the guest is suspended (`hops`).

Stacks are Node's, which has all frames, and the offsets of calls. Functions that have left by a tail call are on the
stack of the guarded module, where they look after what they have called, and not on the original's; so in modules with
tail calls more may be refused, but not less.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

from caesura.abi import FUNCTIONS_SECTION, GUARD_SECTION, NOT_INSTRUMENTED_FUNCTION
from caesura.analysis.calls import read_calls
from caesura.host.description import Description
from caesura.host.guard_section import GuardSection, read_guard_section
from caesura.host.whole_stack import missing_among
from caesura.instrument.abi.naming import FunctionNames
from caesura.report import Instrumented
from caesura.wasm.module import Module
from tests.oracle.cases import Case, make_case
from tests.oracle.generator import Features, Option
from tests.oracle.hops import with_hops
from tests.oracle.minimise import Parts, draw_parts
from tests.oracle.node_engine import NodeEngine, as_text
from tests.oracle.outcome import NEVER, Outcome, Schedule, initial_ledger, outcome
from tests.oracle.property import Divergence, describe_log, judge
from tests.oracle.world import GLOBALS, IMPORTS, STACKS, SUSPENSIONS_MAXIMUM

Transform = Callable[[bytes, dict[str, Option]], Instrumented]

FRAME: Final = re.compile(r"at (?:(\S+) \()?wasm://wasm/([^:]+):wasm-function\[(\d+)\]:0x([0-9a-f]+)")
CALLS_THROUGH: Final = (0x11, 0x14)
SERIALS: Final = (64 + 16, 64 + 32 + 16)
"""Where the ledger has which call of an import it is that is under way, and the same below an entry from inside one."""


class Frame(NamedTuple):
    """A function on the stack: its name, the module it is of, its index, and where in the module its call stands."""

    name: str
    module: str
    function: int
    offset: int


class Result(NamedTuple):
    """What came of a run."""

    outcome: Outcome
    stack: list[Frame]
    flag: int
    call: int
    """Which call of an import was the last one, of those that are under way."""
    asyncify_stack: bytes
    after: Outcome | None


class Counts:
    """What was tried: suspensions that worked, and that were refused."""

    def __init__(self) -> None:
        self.worked = 0
        self.refused = 0


def draw_lists(source: random.Random, module: bytes) -> tuple[dict[str, Option], int]:
    """Return random lists for a module, and which imports may suspend by them."""
    read = Module(module)
    functions = FunctionNames(read).names[read.imported_functions :]
    some = tuple(name for name in functions if source.random() < source.choice((0.2, 0.5, 0.8)))
    lists: dict[str, Option] = {}
    kind = source.choice((0, 0, 1, 2, 2, 3, 4))
    if kind < 2:
        lists["only_list"] = some or (functions[0],)
    elif kind == 2:
        few = tuple(source.sample(functions, min(len(functions), 1 + source.randrange(2))))
        lists["remove_list"] = (some if source.randrange(2) else few) or (functions[-1],)
    else:
        lists["ignore_indirect"] = True
        if kind == 4 and some:
            lists["add_list"] = some
    mask = (1 << len(IMPORTS)) - 1
    if source.randrange(3) == 0:
        mask = source.getrandbits(len(IMPORTS)) | 1
        lists["imports"] = ("env.invoke_*", *(f"env.{one.name}" for i, one in enumerate(IMPORTS) if mask >> i & 1))
    if source.randrange(4) == 0:
        lists["two_bodies"] = "all"
    return lists, mask


def draw_case(source: random.Random, features: Features) -> Case:
    """Draw a module with random lists."""
    return with_lists(draw_parts(source), source, features)


def with_lists(parts: Parts, source: random.Random, features: Features) -> Case:
    """Return the case that decisions make, with random lists."""
    case = make_case(*parts, features)
    if source.randrange(3):
        case = case._replace(module=with_hops(case.module, source))
    lists, mask = draw_lists(source, case.module)
    return case._replace(options=lists, suspending_mask=mask)


def check_guard(case: Case, instrument: Transform, engine: NodeEngine, counts: Counts, *, tail_calls: bool) -> None:
    """Raise `Divergence` where a guarded module does not do what it should."""
    guarded = _Guarded(case, instrument)
    length = min(SUSPENSIONS_MAXIMUM, 1 + max(8, len(case.suspensions)))
    places = sorted({index for index in range(length) if case.suspensions[index % len(case.suspensions)] & 3})[:4]
    schedules = [Schedule(_only(place)) for place in places]
    never, *probed = guarded.run(engine, [NEVER, *schedules], instrumented=False)
    mixed = Schedule(bytes(byte & 3 for byte in case.suspensions))
    results = guarded.run(engine, [NEVER, *schedules, mixed], instrumented=True)
    judge(never.outcome, results[0].outcome, NEVER)
    has_thrown = any(line.startswith("exception") for line in describe_log(never.outcome.log))
    if results[0].flag and not has_thrown and not never.outcome.trap:
        raise Divergence("the flag is set when all is done")
    for schedule, probe, result in zip(schedules, probed, results[1:-1], strict=True):
        guarded.judge(schedule, never, probe, result, counts, tail_calls=tail_calls)
    last = results[-1]
    if NOT_INSTRUMENTED_FUNCTION in {frame.name for frame in last.stack[:1]}:
        if last.call >= SUSPENSIONS_MAXIMUM:
            return
        once = Schedule(_only(last.call))
        (probe,) = guarded.run(engine, [once], instrumented=False)
        guarded.judge(mixed, never, probe, last, counts, tail_calls=tail_calls)
    else:
        judge(never.outcome, last.outcome, mixed)


def _only(place: int) -> bytes:
    """Return the suspensions of a schedule that suspends once, at a call of an import."""
    return bytes(place) + b"\1" + bytes(SUSPENSIONS_MAXIMUM - place - 1)


class _Guarded:
    """A module and what lists made of it."""

    def __init__(self, case: Case, instrument: Transform) -> None:
        self.case = case
        unlisted = instrument(case.module, {key: value for key, value in case.options.items() if key == "imports"})
        listed = instrument(case.module, case.options)
        self.instrumented = listed.module
        suspending = {one.index for one in unlisted.functions if one.instrumented}
        self.listed = {one.index for one in listed.functions if one.instrumented}
        named = case.options.get("add_list", ())
        assert isinstance(named, tuple)
        self.with_all_sites = {one.index for one in listed.functions if one.name in named}
        module = Module(listed.module)
        original = Module(case.module)
        self.functions = len(original.function_types)
        calls = read_calls(original)
        self.has_handlers = calls.has_try_table or len(calls.catching) > 0
        section = module.custom_section(FUNCTIONS_SECTION)
        bitmap = b"" if section is None else module.data[section.payload : section.end]
        self.told = {i for i in range(self.functions) if i >> 3 >= len(bitmap) or bitmap[i >> 3] >> (i & 7) & 1}
        self.left_out = suspending - self.listed - self.told
        told = module.custom_section(GUARD_SECTION)
        self.functions_told = GuardSection(self.functions)
        if told is not None:
            self.functions_told = read_guard_section(module.data[told.payload : told.end])

    def run(self, engine: NodeEngine, schedules: list[Schedule], *, instrumented: bool) -> list[Result]:
        """Run the module, or what lists made of it."""
        case = self.case
        runs = [
            {
                "instrumented": instrumented,
                "ledger": as_text(initial_ledger(case, schedule)),
                "after": as_text(initial_ledger(case, NEVER)),
            }
            for schedule in schedules
        ]
        request = {
            "original": as_text(case.module),
            "instrumented": as_text(self.instrumented),
            "entries": case.entries,
            "driver": "instrumented",
            "runs": runs,
        }
        return [_result(answer) for answer in engine.ask(request)]

    def judge(
        self, schedule: Schedule, never: Result, probe: Result, result: Result, counts: Counts, *, tail_calls: bool
    ) -> None:
        """Compare what came of a schedule with what the original has there."""
        is_refused = NOT_INSTRUMENTED_FUNCTION in {frame.name for frame in result.stack[:1]}
        if is_refused and result.call >= SUSPENSIONS_MAXIMUM:
            return  # where the schedule begins anew
        stack = _entry(probe.stack, 2) if probe.stack[:1] and probe.stack[0].name == "start_unwind" else None
        if stack is None:  # it suspends nowhere
            judge(never.outcome, result.outcome, schedule)
            return
        if not self.has_handlers and _last_record(probe.outcome.log).startswith("exception"):
            return  # a host that catches what left an entry from inside the import has to put the flag back itself
        missing = {frame.function for frame in stack} & self.left_out
        if not is_refused:
            if missing or self._takes_left_out_calls(stack):
                raise Divergence(f"{schedule.suspensions.hex()}: {sorted(missing)} are left out, and nothing refuses")
            judge(never.outcome, result.outcome, schedule)
            counts.worked += 1
            return
        if not (missing or self._takes_left_out_calls(stack) or tail_calls):
            raise Divergence(f"{schedule.suspensions.hex()}: refused, and nothing is left out")
        functions = [frame.function for frame in _entry(result.stack, 3)]
        named = {function for function in functions if function < self.functions} - self.told
        if named != missing and not (tail_calls and missing < named and named <= self.left_out):
            raise Divergence(f"{schedule.suspensions.hex()}: {sorted(named)} are named, {sorted(missing)} are missing")
        self._judge_host(stack, functions, schedule, tail_calls=tail_calls)
        judge(_without_trap(probe.outcome), _without_trap(result.outcome), schedule)
        if result.outcome.unwinds == 1 and any(result.asyncify_stack):
            raise Divergence(f"{schedule.suspensions.hex()}: something was written to the asyncify stack")
        assert probe.after is not None and result.after is not None
        judge(probe.after, result.after, schedule)
        counts.refused += 1

    def _judge_host(self, stack: list[Frame], functions: list[int], schedule: Schedule, *, tail_calls: bool) -> None:
        """Compare what a host makes of the stack of the guarded module, without any names, with the original's."""
        known = SimpleNamespace(uninstrumented=tuple(self.left_out), functions_told=self.functions_told)
        named = set(missing_among(functions, cast(Description, known)))
        missing = {frame.function for frame in stack} & self.left_out | self._in_left_out_calls(stack)
        if named != missing and not (tail_calls and missing < named):
            raise Divergence(f"{schedule.suspensions.hex()}: the host names {sorted(named)}, not {sorted(missing)}")
        shown = [self.functions_told.shown(function) for function in functions]
        if not tail_calls and [one for one in shown if one is not None] != [frame.function for frame in stack]:
            raise Divergence(f"{schedule.suspensions.hex()}: the host shows {shown}")

    def _takes_left_out_calls(self, stack: list[Frame]) -> bool:
        """Whether a function that is instrumented is in a call that `ignore_indirect` takes out."""
        return len(self._in_left_out_calls(stack)) > 0

    def _in_left_out_calls(self, stack: list[Frame]) -> set[int]:
        """Return the functions that are."""
        if "ignore_indirect" not in self.case.options:
            return set()
        return {
            frame.function
            for frame in stack
            if frame.function in self.listed
            and frame.function not in self.with_all_sites
            and self.case.module[frame.offset] in CALLS_THROUGH
        }


def _result(answer: dict[str, Any]) -> Result:
    ledger = base64.b64decode(answer["ledger"])
    memory = base64.b64decode(answer["memory"])
    frames = [
        Frame(name, module, int(number), int(at, 16)) for name, module, number, at in FRAME.findall(answer["stack"])
    ]
    after = answer.get("after")
    serial = SERIALS[sum(frame.name == "drive" for frame in frames) > 1]
    return Result(
        outcome(answer["trap"], ledger, memory),
        frames,
        answer["flag"],
        int.from_bytes(ledger[serial : serial + 4], "little"),
        memory[STACKS + 16 : STACKS + 4096],
        None if after is None else _result(after).outcome,
    )


def _entry(stack: list[Frame], before: int) -> list[Frame]:
    """The guest's functions on the stack down to where it was entered last, given how many modules come before."""
    groups: list[list[Frame]] = []
    for frame in stack:
        if groups and groups[-1][0].module == frame.module:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    if len(groups) <= before:
        raise Divergence("it is refused late: no import is on the stack")
    return groups[before]


def _last_record(log: bytes) -> str:
    """What a log says last, but for the globals in the end."""
    return describe_log(log[: -16 * len(GLOBALS) - 16])[-2]


def _without_trap(one: Outcome) -> Outcome:
    return one._replace(trap="", unwinds=0)
