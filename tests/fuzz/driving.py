"""What is done with a hostile guest: host functions of every kind, calls in every order, and a look for leaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import caesura
from caesura.host.guest import Guest

# What may come out of anything that is done with a hostile guest.
ALLOWED: Final = (caesura.CaesuraError, RecursionError)

_MAPS: Final = Path("/proc/self/maps")
_LARGE: Final = 1 << 32
_DEEPEST: Final = 40
_NEVER: Final = 0.02


class Refused(Exception):
    """Raised by host functions."""


class Leak(Exception):
    """The guest or its caller got to see an address of the host's."""


class Host:
    """The host functions of one case, and what they have seen."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._depth = 0
        self._budget = 400  # calls of host functions: a guest may have loops
        self.mapped = _mapped_ranges()

    def imports(self) -> dict[str, dict[str, Any]]:
        """Return the functions."""
        functions: dict[str, Callable[..., Any]] = {
            "ask": self.ask,
            "pair": self.pair,
            "object": self.same,
            "choose": self.nothing,
            "forge": self.nothing,
            "note": self.note,
            "again": self.again,
            "yield": caesura.yielding(self.note),
        }
        return {"env": functions}

    async def ask(self, value: int) -> int:
        """Wait, or not, or fail."""
        await self._wait(value)
        return value

    async def pair(self, value: int) -> tuple[int, float]:
        """Return several results."""
        await self._wait(value)
        return value, 1.5

    async def same(self, value: Any) -> Any:
        """Return an object."""
        await self._wait(0)
        return value

    async def nothing(self, value: int) -> None:
        """Return null."""
        await self._wait(0)

    def note(self, value: int) -> int:
        """Return at once."""
        self.look(value)
        self._spend()
        return value & 0x7FFF_FFFF

    def again(self, guest: Guest, value: int) -> int:
        """Call the guest."""
        self._spend()
        if self._depth >= _DEEPEST:
            return 0
        self._depth += 1
        try:
            name = self._source.choice(guest.exports or ("f",))
            with contextlib.suppress(*ALLOWED, Refused):
                guest.call_nowait(name, *arguments_for(guest, name, self._source))
        finally:
            self._depth -= 1
        return value & 0x7FFF_FFFF

    def look(self, value: Any) -> None:
        """Raise Leak if a value is an address of something in this process."""
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, int) and (item & (1 << 64) - 1) >= _LARGE:
                if any(start <= item < end for start, end in self.mapped):
                    raise Leak(hex(item))

    async def _wait(self, value: int) -> None:
        self.look(value)
        self._spend()
        how = self._source.random()
        if how < 0.6:
            await asyncio.sleep(0)
        elif how < 0.7:
            raise Refused
        elif how < 0.75:
            await asyncio.sleep(0)
            raise Refused
        elif how < 0.8:
            await asyncio.sleep(_NEVER)

    def _spend(self) -> None:
        self._budget -= 1
        if self._budget < 0:
            raise Refused


def arguments_for(guest: Guest, name: str, source: random.Random) -> list[Any]:
    """Return arguments that fit an export."""
    values: dict[str, Callable[[], Any]] = {
        "i32": lambda: source.choice((0, 1, 16, 1024, 65535, 65536, -1, -(1 << 31), source.getrandbits(31))),
        "i64": lambda: source.choice((0, 1, 1024, 65536, -1, -(1 << 63), source.getrandbits(63))),
        "f32": source.random,
        "f64": source.random,
        "v128": lambda: source.randbytes(16),
        "funcref": lambda: source.choice((None, guest.function(name))),
        "externref": lambda: source.choice((None, "text", [source])),
    }
    return [values[kind]() if kind in values else None for kind in guest.parameters(name)]


async def drive(guest: Guest, source: random.Random, host: Host) -> int:
    """Call the guest in all ways, many at a time; return how many calls ended well."""
    ended = 0
    tasks: list[asyncio.Task[Any]] = []
    for _ in range(source.randint(1, 8)):
        what = source.random()
        name = source.choice(guest.exports or ("f",))
        try:
            arguments = arguments_for(guest, name, source)
            if what < 0.6:
                tasks.append(asyncio.create_task(guest.call(name, *arguments)))
            elif what < 0.7:
                host.look(guest.call_nowait(name, *arguments))
            elif what < 0.8:
                for _ in guest.generate(name, *arguments):
                    if source.random() < 0.3:
                        break
            elif what < 0.85 and tasks:
                source.choice(tasks).cancel()
            else:
                _touch_memory(guest, source)
            ended += 1
        except (*ALLOWED, Refused):
            pass
        if source.random() < 0.4:
            await asyncio.sleep(0)
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(result, BaseException):
            host.look(result)
            ended += 1
        elif not isinstance(result, (*ALLOWED, Refused, asyncio.CancelledError)):
            raise result
    with contextlib.suppress(*ALLOWED, Refused):
        await guest.aclose()
    return ended


def _touch_memory(guest: Guest, source: random.Random) -> None:
    memory = guest.memory
    size = len(memory)
    address = source.choice((0, 16, size - 1, size, size + 1, -1, 1 << 32, 1 << 64))
    length = source.choice((0, 1, 8, 65536, 1 << 31, 1 << 32, -1))
    with contextlib.suppress(caesura.UsageError):
        memory.read(address, length)
    with contextlib.suppress(caesura.UsageError):
        memory.write(address, b"x" * 100)
    with contextlib.suppress(caesura.UsageError):
        memory.read_string(address)


def _mapped_ranges() -> list[tuple[int, int]]:
    """Return the ranges of this process's memory (Linux; elsewhere none)."""
    if not _MAPS.exists():
        return []
    lines = _MAPS.read_text().splitlines()
    ranges = [tuple(int(part, 16) for part in line.split()[0].split("-")) for line in lines]
    return [(start, end) for start, end in ranges if start >= _LARGE]
