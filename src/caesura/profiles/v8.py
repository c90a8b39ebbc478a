"""V8's CPU profiles (`.cpuprofile`): what `node --cpu-prof` and the developer tools of Chrome write.

A JSON object: `nodes` of a tree of calls, each with the function it is about; and which node ran at each `samples`, and
how long it was since the one before (`timeDeltas`, in microseconds). Deltas can be below zero, as V8 takes samples on
several threads and writes them down as they come: so samples are put in the order of their times, as the developer
tools do. To add the deltas up as they are was rejected: what has but one such sample would have run for less than
no time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from caesura.errors import UsageError

_NAMELESS: Final = re.compile(r"wasm-function\[([0-9]+)\]")
# No program runs for a longer time, in microseconds: 300 years.
_LONGEST: Final = 10**16

_Kind = TypeVar("_Kind")


def v8_times(text: str) -> dict[str, float]:
    """Return the microseconds that each WebAssembly function ran itself; raises UsageError with what is wrong."""
    try:
        profile = json.loads(text)
    except RecursionError as error:
        raise UsageError(
            "it is no CPU profile of V8: it has lists or objects in each other, too many to read"
        ) from error
    except ValueError as error:
        raise UsageError(f"it is no valid JSON: {error}") from error
    samples, deltas, nodes = (_list(profile, name) for name in ("samples", "timeDeltas", "nodes"))
    if len(samples) != len(deltas):
        raise UsageError(f"it has {len(samples)} samples, but {len(deltas)} timeDeltas")
    names = _names(nodes)
    taken: list[tuple[float, int]] = []
    time: float = 0
    for place, (node, delta) in enumerate(zip(samples, deltas, strict=True)):
        if type(node) is not int or type(delta) not in (int, float) or not abs(delta) < _LONGEST:
            raise UsageError(f"sample {place} is of node {node!r:.40} and took {delta!r:.40}: expected two numbers")
        if node not in names:
            raise UsageError(f"sample {place} is of node {node}, which it does not have")
        time += delta
        taken.append((time, node))
    taken.sort(key=lambda sample: sample[0])
    times: dict[str, float] = {}
    before: float = 0  # when the profile begins; a sample from before counts for nothing
    for time, node in taken:
        name = names[node]
        if name:
            times[name] = times.get(name, 0) + max(0, time - before)
        before = max(before, time)
    return times


def _list(profile: object, name: str) -> Sequence[Any]:
    value = _get(profile, name, list)
    return value


def _names(nodes: Sequence[Any]) -> dict[int, str]:
    """Return the name of each node's function, empty where it is none of WebAssembly; by its number if it has none."""
    names: dict[int, str] = {}
    for node in nodes:
        frame = _get(node, "callFrame", dict)
        name = _get(frame, "functionName", str)
        nameless = _NAMELESS.fullmatch(name)
        is_wasm = _get(frame, "url", str).startswith("wasm:") or nameless
        names[_get(node, "id", int)] = "" if not is_wasm else nameless[1] if nameless else name
    return names


def _get(owner: object, name: str, kind: type[_Kind]) -> _Kind:
    value = owner.get(name) if isinstance(owner, dict) else None
    if not isinstance(value, kind):
        raise UsageError(f"it is no CPU profile of V8: '{name}' is {value!r:.40}, expected {_WORDS[kind]}")
    return value


_WORDS: Final[dict[type, str]] = {list: "a list", dict: "an object", str: "a text", int: "an integer"}
