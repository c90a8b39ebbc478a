"""The search: worlds are run and saved by some processes, and go on in others, which have never seen them.

Every twentieth state goes on in a process that is started for it alone, and some are saved again on the way and go on
in a third one. Whatever differs from the run that was never saved is a `Divergence`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.oracle.saved.driving import Outcome, Saved, begin, go_on
from tests.oracle.saved.kinds import KINDS

# How many states go on in processes that go on with others, for each that has one to itself.
ALONE: Final = 20

# At most so many states of a world go on.
_POINTS: Final = 8

_WORKERS: Final = 2
_PORTION: Final = 8


class Divergence(AssertionError):
    """A run that was saved and is not the run that was never saved."""


@dataclass
class Found:
    """What a search has found: how many states went on and were the same, by kind; refusals, by what they say."""

    states: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Made:
    """A world that ran: what came of it without a snapshot, and the states that were saved in another run."""

    kind: str
    seed: int
    expected: Outcome
    saved: tuple[Saved, ...]
    refusals: tuple[str, ...]


def search(kinds: Sequence[str], points: int, seed: int) -> Found:
    """Save and go on until so many states of each kind have. Raises Divergence."""
    found = Found()
    with tempfile.TemporaryDirectory(prefix="caesura-oracle-") as cache, _Processes(Path(cache)) as processes:
        for kind in kinds:
            _search_kind(kind, points, seed, processes, found)
    return found


def check(kind: str, seed: int) -> int:
    """Run one world and go on from each of its states, in this process; return how many. Raises Divergence."""
    made = _make(kind, seed)
    for count, saved in enumerate(made.saved, 1):
        _judge(made, f"saved at suspension {saved.suspension}", _go_on(kind, seed, saved, count)[0])
    return len(made.saved)


def _search_kind(kind: str, points: int, seed: int, processes: _Processes, found: Found) -> None:
    source = random.Random(f"{kind} {seed}")
    number = 0
    while found.states[kind] < points:
        numbers = [seed << 32 | number + place for place in range(_PORTION)]
        number += _PORTION
        going = []
        for made in processes.make(kind, numbers):
            found.refusals.update(_reason(words) for words in made.refusals)
            chosen = source.sample(made.saved, min(_POINTS, len(made.saved)))
            going += [(made, saved, processes.go_on(kind, made.seed, saved)) for saved in chosen]
        again = []
        for made, saved, future in going:
            outcome, later = future.result()
            _judge(made, f"saved at suspension {saved.suspension}", outcome)
            found.states[kind] += 1
            again += [(made, state, processes.go_on(kind, made.seed, state)) for state in later]
        for made, saved, future in again:
            _judge(made, f"saved anew at suspension {saved.suspension}", future.result()[0])
            found.states[kind] += 1


def _judge(made: Made, how: str, outcome: Outcome) -> None:
    where = f"{made.kind} {made.seed}, {how}"
    pairs = [*zip(made.expected.log, outcome.log, strict=False), *zip(made.expected.state, outcome.state, strict=False)]
    for expected, actual in pairs:
        if expected != actual:
            raise Divergence(f"{where}: {actual} instead of {expected}")
    if len(made.expected.log) != len(outcome.log) or len(made.expected.state) != len(outcome.state):
        raise Divergence(f"{where}: {len(outcome.log)} events instead of {len(made.expected.log)}")


def _reason(words: str) -> str:
    return words.partition(":")[0]


class _Processes:
    """Two pools, and processes for one state each; all keep what they compile in a folder."""

    def __init__(self, cache: Path) -> None:
        context = multiprocessing.get_context("spawn")
        given: Any = {"mp_context": context, "initializer": _use_cache, "initargs": (str(cache),)}
        self._makers = ProcessPoolExecutor(_WORKERS, **given)
        self._others = ProcessPoolExecutor(_WORKERS, **given)
        self._alone = ProcessPoolExecutor(1, max_tasks_per_child=1, **given)
        self._count = 0

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in (self._makers, self._others, self._alone):
            pool.shutdown(cancel_futures=True)

    def make(self, kind: str, seeds: Sequence[int]) -> Iterator[Made]:
        """Run worlds and save them."""
        yield from self._makers.map(_make, [kind] * len(seeds), seeds)

    def go_on(self, kind: str, seed: int, saved: Saved) -> Future[tuple[Outcome, list[Saved]]]:
        """Go on with a state."""
        self._count += 1
        pool = self._others if self._count % ALONE else self._alone
        going: Future[tuple[Outcome, list[Saved]]] = pool.submit(_go_on, kind, seed, saved, self._count)
        return going


def _use_cache(cache: str) -> None:
    os.environ["CAESURA_CACHE_DIR"] = cache


def _make(kind: str, seed: int) -> Made:
    world = KINDS[kind](seed)
    expected, _ = asyncio.run(begin(world, seed))
    source = random.Random(seed)
    points = source.sample(range(1, expected.suspensions + 1), min(2 * _POINTS, expected.suspensions))
    outcome, saved = asyncio.run(begin(world, seed, points))
    made = Made(kind, seed, expected, tuple(saved), outcome.refusals)
    _judge(made, "where snapshots were taken", outcome)  # or were refused
    return made


def _go_on(kind: str, seed: int, saved: Saved, count: int) -> tuple[Outcome, list[Saved]]:
    later = [saved.suspension + 1 + count % 5] if count % 7 == 0 else []
    return asyncio.run(go_on(KINDS[kind](seed), saved, fork=count % 3 == 1, points=later))
