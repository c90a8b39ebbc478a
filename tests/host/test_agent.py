"""The agent of `examples/agent.py`: a Python script in MicroPython, saved where it asks a tool."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import pytest

import caesura
from examples import agent
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

SAID = """\
process 1: prints 'planning', asks 'What does a night at home cost\\?', is saved in \\d+ KB; killed \\(-9\\)
process 2: asks 'Who pays 2330\\?', is saved in \\d+ KB; killed \\(-9\\)
process 3: prints 'paid by Ada'
Node: (asks 'Who pays 2330\\?', prints 'paid by Ada'|there is none here of version 24 or later)
100 copies of the first state: Who pays 1900\\? Who pays 2000\\? ... Who pays 11800\\?
"""


def test_an_agent_outlives_its_processes() -> None:
    command = [sys.executable, "-m", "examples.agent"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(SAID, done.stdout), done.stdout


def test_copies_of_an_agent_do_not_see_each_other() -> None:
    guest, step = agent.begin(agent.SCRIPT, bytearray())
    snapshot = guest.snapshot()
    guest.close()
    assert step is not None and step.arguments[1] == len("ask")

    async def main() -> None:
        copies = await agent.fork(snapshot, [10 ** (number % 7) + number for number in range(100)])
        for number, (copy, step) in enumerate(copies):
            assert step is not None
            assert agent.question(copy, step) == f"Who pays {1900 + 10 ** (number % 7) + number}?"
        for copy, step in reversed(copies):
            assert step is not None
            assert agent.answer(copy, step, "Ada") is None
            copy.close()

    asyncio.run(main())


def test_a_waiting_agent_is_small() -> None:
    guest, _ = agent.begin(agent.SCRIPT, bytearray())
    assert len(bytes(guest.snapshot())) <= 50_000


def test_a_script_goes_on_with_what_it_imported_and_raised() -> None:
    script = """
import host

class Tool:
    def __enter__(self):
        self.answer = host.call("enter", '"in"')
    def __exit__(self, *error):
        print("left with", error[0].__name__, host.call("exit", '"out"'))

def answers():
    with Tool() as tool:
        for number in sorted([3, 1, 2], key=lambda number: int(host.call("key", str(number)))):
            yield number
        raise ValueError("end")

try:
    for number in answers():
        print(number)
except ValueError as error:
    print("caught", error)
"""
    printed = bytearray()
    guest, step = agent.begin(script, printed)
    steps = 0
    while step is not None:
        asked = agent.question(guest, step)
        saved = bytes(guest.snapshot())
        guest.close()
        wasi = caesura.Wasi(stdout=printed.extend)
        guest = asyncio.run(caesura.restore(saved, agent.IMPORTS, wasi=wasi))
        step = agent.answer(guest, guest.pending[0], -asked if isinstance(asked, int) else asked)
        steps += 1
    assert steps == 7  # MicroPython asks for the key anew at each comparison
    assert printed.decode().splitlines() == ["3", "2", "1", 'left with ValueError "out"', "caught end"]
