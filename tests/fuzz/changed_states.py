"""Guests made of saved states that somebody changed: each is refused, or is a guest that stays in its sandbox.

A case saves a guest in the middle of its calls, and makes many others of the state, each time with something else wrong
in it: addresses, places, sizes, bits, bytes of frames. What comes of it may be an error of ours; otherwise the guest is
used, its calls resumed, and it is saved again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import caesura
from caesura.errors import UsageError
from caesura.host.guest import Guest
from caesura.snapshots.format import encode
from caesura.snapshots.state import State
from tests.fuzz.driving import ALLOWED, Refused, arguments_for
from tests.fuzz.savable_guests import KINDS, Savable

# How many changed states are one case.
EACH: Final = 20

# What a case may take beside what its first guest did, in KiB.
_MOST_MEMORY: Final = 512 << 10
_MEMORY_LIMIT: Final = 32 << 20
_TABLE_LIMIT: Final = 10_000
_TABLES: Final = 20

# Seconds after which guests are stopped that run for ever.
_PATIENCE: Final = 0.3

_LIES: Final = (
    *(0, 1, 2, 3, 7, 8, 15, 16, 17, 304, 1024, 4096, 65535, 65536, 65544, 131072, 1 << 24, (1 << 25) - 8, 1 << 25),
    *((1 << 31) - 1, 1 << 31, (1 << 32) - 16, (1 << 32) - 1, 1 << 32, (1 << 48) - 1, 1 << 62, (1 << 64) - 16),
    (1 << 64) - 1,
)


def case(seed: int) -> str:
    """Make guests of changed states; return whether any was used."""
    source = random.Random(f"changed states {seed}")
    return asyncio.run(_use(source))


async def _use(source: random.Random) -> str:
    savable = KINDS[source.choice(sorted(KINDS))]
    interruptions = caesura.Interruptions()
    snapshot = await savable.saved()
    state = snapshot.state
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    used = 0
    for _ in range(EACH):
        used += await _try(changed(state, source), savable, source, interruptions)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "linux" and after - before > _MOST_MEMORY:
        raise AssertionError(f"changed states took {after - before} KiB")
    return "used" if used else "refused"


async def _try(state: State, savable: Savable, source: random.Random, interruptions: caesura.Interruptions) -> bool:
    timer = threading.Timer(_PATIENCE, _stop_for_ever, (interruptions, stopped := threading.Event()))
    timer.start()
    try:
        data = encode(state)
        snapshot = caesura.Snapshot.load(data)
        given: Any = {
            "load_object": bytes,
            "memory_limit": _MEMORY_LIMIT,
            "table_limit": _TABLE_LIMIT,
            "tables": _TABLES,
        }
        if source.random() < 0.3:
            guests = await snapshot.fork(2, savable.imports, module=savable.module, interruptible=True, **given)
        else:
            guests = [
                await caesura.restore(
                    snapshot, savable.imports, module=savable.module, interruptible=interruptions, **given
                )
            ]
    except ALLOWED:
        return False
    finally:
        timer.cancel()
        stopped.set()
    for guest in guests:
        timer = threading.Timer(_PATIENCE, _stop_for_ever, (guest, stopped := threading.Event()))
        timer.start()
        try:
            await _drive(guest, source)
        finally:
            timer.cancel()
            stopped.set()
    return True


def _stop_for_ever(running: Any, stopped: threading.Event) -> None:
    while not stopped.wait(0.05):
        running.interrupt()


async def _drive(guest: Guest, source: random.Random) -> None:
    """Resume the calls of a guest, and begin others, in some order; save it in between."""
    for _ in range(source.randint(1, 8)):
        with contextlib.suppress(*ALLOWED, Refused):
            await asyncio.wait_for(_do_something(guest, source), 5)
    with contextlib.suppress(*ALLOWED):
        for name in guest.exports:
            with contextlib.suppress(*ALLOWED, Refused):
                guest.call_nowait(name, *arguments_for(guest, name, source))
    guest.close()


async def _do_something(guest: Guest, source: random.Random) -> None:
    what = source.random()
    pending = guest.pending
    if what < 0.6 and pending:
        call = source.choice(pending)
        how = source.random()
        if how < 0.5:
            await _awaited(call.resume(source.choice((0, 1, 7, -1, None))))
        elif how < 0.7:
            await _awaited(call.throw(Refused()))
        elif how < 0.8:
            call.drop()
        else:
            await call
    elif what < 0.8:
        name = source.choice(guest.exports)
        await guest.call(name, *arguments_for(guest, name, source))
    elif what < 0.9:
        bytes(guest.snapshot(save_object=lambda value: b"object"))
    else:
        guest.memory.write(source.choice((0, 16, 1024)), source.randbytes(64))


async def _awaited(result: Any) -> Any:
    return await result if asyncio.iscoroutine(result) else result


def changed(state: State, source: random.Random) -> State:
    """Return a state with something changed that can be written all the same."""
    wanted = source.choice((1, 1, 1, 2, 2, 3, 5))
    while wanted:
        area = source.choice(("calls", "calls", "calls", "stacks", "stacks", "area", "", "globals", "tables"))
        made = _changed_in(state, area, source)
        try:
            encode(made)
        except (UsageError, AttributeError, TypeError, ValueError):  # what is no state
            continue
        state = made
        wanted -= 1
    return state


def _changed_in(state: Any, area: str, source: random.Random) -> Any:
    """Change a number or bytes somewhere, in one field of the state if that has any."""
    places = [path for path in _places(state, ()) if not area or path[0] == area]
    if not places:
        return state
    return _replaced(state, source.choice(places), lambda value: _lie(value, state, source))


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _places(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple):
        yield path
        for place, item in enumerate(value):
            yield from _places(item, (*path, place))
    elif path[0] not in ("module", "wasi"):
        yield path


def _replaced(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    first, rest = path[0], path[1:]
    if isinstance(first, str):
        return dataclasses.replace(value, **{first: _replaced(getattr(value, first), rest, change)})
    return (*value[:first], _replaced(value[first], rest, change), *value[first + 1 :])


def _lie(value: Any, state: State, source: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = value + source.choice((-1, 1, 4, -4, 8, -8, 16, -16, 4096, 1 << 32))
        return source.choice((source.choice(_LIES), near, source.choice(_numbers(state))))
    if value is None:
        return source.choice((0, 1, source.choice(_LIES), b"", bytes(8), (0, 65536), (1024, 2048)))
    if isinstance(value, bytes):
        return _changed_bytes(value, source)
    if isinstance(value, str):
        return source.choice(("call", "start", "generate", "agenerate", "go", "env.ask", "env.wait", "malloc", ""))
    items = list(value)
    if items and source.random() < 0.5:
        del items[source.randrange(len(items))]
    elif items and source.random() < 0.7:
        items.insert(source.randrange(len(items)), source.choice(items))
    else:
        items.append(source.choice((*_LIES, source.choice(_numbers(state)))))
    return tuple(items)


def _numbers(state: State) -> list[int]:
    """Return what an attacker would take for others: addresses and places of the state."""
    found = [*state.stacks.stacks, *state.stacks.spare, *(state.area or ()), state.stacks.size]
    for call in state.calls:
        found += [call.stack, call.stack_pointer, call.resting_pointer, len(call.frames)]
    return [*found, *(memory.size for memory in state.memories)]


def _changed_bytes(value: bytes, source: random.Random) -> bytes:
    content = bytearray(value)
    what = source.random()
    if what < 0.6 and len(content) >= 4:  # a word: a call site, a pointer, the place of a reference
        for _ in range(source.choice((1, 1, 3, 20))):
            place = source.randrange(len(content) // 4) * 4
            word = source.choice((source.choice(_LIES), source.randrange(64), source.getrandbits(32)))
            content[place : place + 4] = (word & 0xFFFF_FFFF).to_bytes(4, "little")
    elif what < 0.7 and content:
        del content[source.randrange(len(content)) & -4 :]
    elif what < 0.8:
        content += bytes(source.choice((4, 16, 4096, 1 << 20)))
    elif content:
        content[source.randrange(len(content))] ^= 1 << source.randrange(8)
    return bytes(content)
