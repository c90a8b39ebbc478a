"""The sandbox of `examples/sandbox.py`: strangers' scripts that share a thread."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import pytest

import caesura
from examples import sandbox
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

SAID = """\
printed '12'
has had its 0.1 s, and stands in function \\S+; saved in [\\d,]+ bytes
printed 'no more memory'
asks a human 'Who are you\\?'; saved in [\\d,]+ bytes
(has had its 0.1 s, and stands in function \\S+; saved in [\\d,]+ bytes|printed '4499998500000')
(printed '12'
){5}the event loop ran on: True
answered: 'Hello, Ada, it is 3 degrees'
with more time: '4499998500000'
"""


def test_strangers_share_a_thread() -> None:
    command = [sys.executable, "-m", "examples.sandbox"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(SAID, done.stdout), done.stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print(tool('weather', 5))", "{'error': \"object of type 'int' has no len()\"}"),
        ("print(tool('launch'))", "{'error': 'there is no tool launch'}"),
        ("print(tool('long'))", "{'error': 'the answer is too long'}"),
        ("print(open('/etc/passwd').read())", "Error"),
        ("def down(n): return down(n + 1)\ndown(0)", "maximum recursion depth exceeded"),
        ("while True: print('x' * 1000)", "prints 100000 bytes at most"),
    ],
)
def test_what_scripts_may_not(script: str, said: str) -> None:
    async def long() -> str:
        return "x" * sandbox.LARGEST_ANSWER

    session = sandbox.Session({**sandbox.TOOLS, "long": long})
    try:
        assert asyncio.run(session.begin(script, caesura.Budget(cpu=10))) is None
    except ValueError as error:  # of the host, which wants no more output
        session.printed += str(error).encode()
    assert said in session.printed.decode()


def test_each_answer_comes_with_a_budget() -> None:
    script = """
tool("ask_human", "Shall I?")
while True:
    pass
"""

    async def main() -> None:
        session = sandbox.Session({})
        question = await session.begin(script, caesura.Budget(cpu=10))
        assert isinstance(question, sandbox.Question) and question.text == "Shall I?"
        for _ in range(2):  # the same session twice: what is saved is a value
            stopped = await session.answer(question, "yes", sandbox.BUDGET)
            assert isinstance(stopped, sandbox.Stopped)
            assert isinstance(await session.go_on(stopped, sandbox.BUDGET), sandbox.Stopped)

    asyncio.run(main())
