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
failed: the arguments of a tool are no JSON that can be read: .*
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
        ("print(repr(input()))", "''"),
    ],
)
def test_what_scripts_may_not(script: str, said: str) -> None:
    async def long() -> str:
        return "x" * sandbox.LARGEST_ANSWER

    session = sandbox.Session({**sandbox.TOOLS, "long": long})
    assert asyncio.run(session.begin(script, caesura.Budget(cpu=10))) is None
    assert said in session.printed.decode()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("while True: print('x' * 1000)", "prints 100000 bytes at most"),
        ("import re\nre.match('(a*)*b', 'a' * 10000)", "stack overflow"),
        ("import host\nhost.call('weather', 'no JSON')", "no JSON that can be read: Expecting value"),
        ("import host\nhost.call('weather', '[' * 100000)", "no JSON that can be read: maximum recursion depth"),
        ("import host\nhost.call('weather', '9' * 5000)", "no JSON that can be read: Exceeds the limit"),
        ("import host\nhost.call('weather', '{}')", "the arguments of a tool are no list"),
        ("import host\nhost.call(chr(0xd800), '[]')", "cannot be read as utf-8"),
        ("import time\ntime.sleep(1000)", "has not ended in 0.5 s"),
        ("while True: tool('weather', 'Oslo')", "has not ended in 0.5 s"),
    ],
)
def test_what_ends_a_session_ends_no_other(script: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PATIENCE", 0.5)

    async def main() -> None:
        sessions = [sandbox.Session(sandbox.TOOLS) for _ in range(2)]
        begun = [
            session.begin(text, caesura.Budget(cpu=10))
            for session, text in zip(sessions, (script, sandbox.POLITE), strict=True)
        ]
        failed, polite = await asyncio.gather(*begun)
        assert isinstance(failed, sandbox.Failed) and reason in failed.reason
        assert polite is None and sessions[1].printed == b"12\n"

    asyncio.run(main())


def test_what_humans_are_asked_may_be_anything() -> None:
    session = sandbox.Session({})
    question = asyncio.run(session.begin("tool('ask_human')", caesura.Budget(cpu=10)))
    assert isinstance(question, sandbox.Question) and question.text == ""


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
