"""Driving a world: one call resumed after the other, in an order from a seed, saved on the way, and judged at the end.

What a run knows is data (`Run`), so that it travels to the process that goes on. All that can be observed is in its
log: what each host function was asked, and what each call returned or raised. At the end stands what is left of the
guest: memories, globals, tables, segments, which its last snapshot has.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import caesura
from caesura.snapshots.pages import split_runs
from caesura.snapshots.schema import numbers_of
from caesura.snapshots.state import NULL, State
from caesura.wasm.types import EXTERNREF

# Suspensions of a run; guests that ask for ever are left then.
MOST_SUSPENSIONS: Final = 120


class Refusal(Exception):
    """Raised by host functions."""


class World(Protocol):
    """A guest, and what is done with it. Worlds are pickled."""

    @property
    def mode(self) -> str:
        """How calls are begun: "start" or "call"."""

    @property
    def most_calls(self) -> int:
        """How many calls may be suspended at once."""

    @property
    def scratch(self) -> frozenset[int]:
        """The globals that are the transformation's own, in a module that somebody else has instrumented.

        They are saved with the guest's, but hold nothing of it: with `asserts`, where the asyncify stack stood when the
        state last changed, which after a trap depends on where frames of other calls lie.
        """

    async def load(self, run: Run) -> caesura.Guest:
        """Return the guest, before anything is called, and tell the run what is to be called, in this order."""

    async def restore(self, data: bytes, run: Run, *, fork: bool) -> caesura.Guest:
        """Return the guest that goes on from a snapshot."""

    def answer(self, guest: caesura.Guest, call: caesura.PendingCall, run: Run) -> Any:
        """Return what a host function returns, or an exception that it raises."""


@dataclass
class Run:
    """How far a run has come.

    `left` are the calls that are to be made, `order` the numbers of those that are suspended, in the order of their
    suspension, `output` is what the guest has written.
    """

    source: random.Random
    left: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    begun: int = 0
    output: bytearray = field(default_factory=bytearray)
    order: list[int] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)
    suspensions: int = 0


@dataclass(frozen=True)
class Saved:
    """A run that was saved at one of its suspensions: the snapshot's bytes, and the run, pickled."""

    suspension: int
    data: bytes
    run: bytes


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its log, what is left of the guest, and how often a snapshot was refused, by its words."""

    log: list[Any]
    state: list[str]
    suspensions: int
    refusals: tuple[str, ...] = ()


async def begin(world: World, seed: int, points: Sequence[int] = ()) -> tuple[Outcome, list[Saved]]:
    """Run a world from its beginning to its end; save it at these suspensions."""
    run = Run(random.Random(seed))
    return await _Driver(world, await world.load(run), run, points).run()


async def go_on(world: World, saved: Saved, *, fork: bool, points: Sequence[int] = ()) -> tuple[Outcome, list[Saved]]:
    """Run a world from where it was saved to its end; save it again at these suspensions."""
    run = pickle.loads(saved.run)
    return await _Driver(world, await world.restore(saved.data, run, fork=fork), run, points).run()


class _Driver:
    def __init__(self, world: World, guest: caesura.Guest, run: Run, points: Sequence[int]) -> None:
        self._world = world
        self._guest = guest
        self._run = run
        self._points = frozenset(points)
        pending = guest.pending
        assert len(pending) == len(run.order), "the calls that were suspended, and no others"
        self._pending = dict(zip(run.order, pending, strict=True))
        self._tried: set[int] = set()
        self._saved: list[Saved] = []
        self._refusals: list[str] = []

    async def run(self) -> tuple[Outcome, list[Saved]]:
        run = self._run
        while run.suspensions < MOST_SUSPENSIONS:
            if run.suspensions in self._points and run.order and run.suspensions not in self._tried:
                self._tried.add(run.suspensions)
                self._save()
            may_begin = run.left and len(run.order) < self._world.most_calls
            if may_begin and (not run.order or run.source.random() < 0.4):
                run.begun += 1
                name, arguments = run.left.pop(0)
                await self._step(run.begun, name, arguments)
            elif run.order:
                await self._resume(run.source.choice(run.order))
            else:
                break
        for call in self._pending.values():
            call.drop()
        log = [*run.log, bytes(run.output)]
        outcome = Outcome(log, self._state(), run.suspensions, tuple(self._refusals))
        self._guest.close()
        return outcome, self._saved

    async def _step(self, number: int, name: str, arguments: tuple[Any, ...]) -> None:
        begin = self._guest.start if self._world.mode == "start" else self._guest.call
        await self._note(number, begin, name, *arguments)

    async def _resume(self, number: int) -> None:
        run = self._run
        call = self._pending.pop(number)
        run.order.remove(number)
        run.log.append((number, call.export, call.function, bits(call.arguments)))
        answer = self._world.answer(self._guest, call, run)
        await self._note(number, call.throw if isinstance(answer, BaseException) else call.resume, answer)

    async def _note(self, number: int, function: Any, *arguments: Any) -> None:
        run = self._run
        try:
            step = function(*arguments)
            if inspect.isawaitable(step):
                step = await step
        except (caesura.CaesuraError, Refusal, RecursionError) as error:
            run.log.append((number, type(error).__name__, str(error)))
            return
        if isinstance(step, caesura.PendingCall):
            run.suspensions += 1
            run.order.append(number)
            self._pending[number] = step
        else:
            run.log.append((number, "returned", bits(step)))

    def _save(self) -> None:
        try:
            data = bytes(self._guest.snapshot(save_object=pickle.dumps))
        except caesura.SnapshotError as error:
            self._refusals.append(str(error))
            return
        self._saved.append(Saved(self._run.suspensions, data, pickle.dumps(self._run)))

    def _state(self) -> list[str]:
        """Return what is left, as lines that can be compared."""
        try:
            state = self._guest.snapshot(save_object=pickle.dumps).state
        except caesura.SnapshotError:
            return [hashlib.sha256(self._guest.memory.read(0, len(self._guest.memory))).hexdigest()]
        return described(replace(state, globals=tuple(g for g in state.globals if g.index not in self._world.scratch)))


def described(state: State) -> list[str]:
    """Return what a guest is that waits for nothing, without what is no part of its program's.

    That is where its module came from, and what is left of frames on an asyncify stack in its own memory.
    """
    low, high = state.area or (0, 0)
    lines = []
    for memory in state.memories:
        digest = hashlib.sha256()
        for first, content in memory.runs:
            start = first * 4096
            masked = bytearray(content)
            begin, end = max(low, start) - start, min(high, start + len(content)) - start
            if begin < end and memory.index == 0:
                masked[begin:end] = bytes(end - begin)
            for chunk, part in split_runs(bytes(masked)):
                digest.update(struct.pack("<Q", first + chunk) + part)
        lines.append(f"memory {memory.index}: {memory.size} bytes, {digest.hexdigest()}")
    for item in state.globals:
        lines.append(f"global {item.index}: {_element(item.type, item.bits, state)}")
    for table in state.tables:
        elements = [_element(table.type, number, state) for number in numbers_of(table.elements)]
        lines.append(f"table {table.index}: {' '.join(elements)}")
    lines.append(f"{state.dropped_data} {state.dropped_elements}")
    lines.append(str(replace(state.stacks, main=None)))
    return lines


def _element(kind: int, number: int, state: State) -> str:
    """Return a value in words; objects by what they are, since two may become one, or one two."""
    return str(state.objects[number]) if kind == EXTERNREF and number != NULL else f"{number:#x}"


def bits(value: Any) -> Any:
    """Return a value such that equal ones are the same bit for bit."""
    if isinstance(value, tuple):
        return tuple(bits(item) for item in value)
    if isinstance(value, float):
        return struct.pack("<d", value)
    return value if value is None or isinstance(value, (int, str, bytes)) else type(value).__name__
