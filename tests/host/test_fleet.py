"""Guests between machines: the fleet of `examples/fleet.py`, and snapshots that lie where fsspec leads."""

from __future__ import annotations

import asyncio
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import caesura
from caesura.snapshots.state import State
from examples import agent, fleet
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

SAID = r"""a worker is killed with signal 9, when (\d+) of 64 steps are done
8 guests have come to the right end
"""


def test_guests_come_to_the_right_end_though_a_worker_is_killed() -> None:
    command = [sys.executable, "-m", "examples.fleet", "--guests", "8"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = re.fullmatch(SAID, done.stdout)
    assert said is not None, done.stdout
    assert 2 <= int(said[1]) < 64


def test_steps_of_a_guest_are_data() -> None:
    step: caesura.Snapshot | int = fleet.begin(5)
    steps = 0
    while isinstance(step, caesura.Snapshot):
        again = pickle.loads(pickle.dumps(step))
        assert bytes(again) == bytes(step)
        # As often as somebody likes: nothing of the snapshot is used up.
        once, twice = fleet.go_on(step), fleet.go_on(again)
        assert without_time(once) == without_time(twice)
        step = once
        steps += 1
    assert steps == fleet.CHECKPOINTS + 1
    assert step == fleet.expected(5)


def without_time(step: caesura.Snapshot | int) -> State | int:
    """Return what does not depend on when a step was taken."""
    return step if isinstance(step, int) else replace(step.state, wasi=None)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_guest_goes_on_from_where_fsspec_leads(kind: str, tmp_path: Path) -> None:
    place = "memory://fleet/agent" if kind == "memory" else f"file://{tmp_path}/agent"
    guest, step = agent.begin(agent.SCRIPT, bytearray())
    first = guest.snapshot()
    first.save(place)
    assert step is not None
    agent.answer(guest, step, 430)
    guest.snapshot(base=first).save(f"{place}-later")

    again = asyncio.run(caesura.restore(place, agent.IMPORTS, wasi=caesura.Wasi()))
    assert agent.question(again, again.pending[0]) == "What does a night at home cost?"
    later = caesura.Snapshot.load(f"{place}-later", base=caesura.Snapshot.load(place))
    again = asyncio.run(caesura.restore(later, agent.IMPORTS, wasi=caesura.Wasi()))
    assert agent.question(again, again.pending[0]) == "Who pays 2330?"
