"""Profiles of `perf`: the text of `perf script`, and stacks folded to lines, as flame graphs are drawn from.

perf learns the names of compiled code from V8 (`node --perf-basic-prof`, or `--perf-prof` and `perf inject --jit`),
which adds to the name of a function its index and the compiler: `JS:name-12-turbofan`. In `perf script` a sample is a
line with how much it counts for, and a line for each frame, the innermost first; a folded stack is the frames with
semicolons between them, the innermost last, and how often it was seen. A name can have blanks, but semicolons only in
`perf script`.
"""

from __future__ import annotations

import re
from typing import Final

from caesura.errors import UsageError

# Process and thread, perhaps the processor; the time; perhaps the period; the event; perhaps the only frame.
_SAMPLE: Final = re.compile(
    r"\S.*?\s[0-9]+(?:/[0-9]+)?\s+(?:\[[0-9]+\]\s+)?[0-9]+\.[0-9]+:(?:\s+(?:([0-9]+)\s+)?\S+:)?(\s+.*)?"
)
# Address, symbol, perhaps the offset in it, perhaps the file, with brackets in its name at most once inside each other.
_FRAME: Final = re.compile(r"\s+[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)?(?: \((?:[^()]|\([^()]*\))*\))?\s*")
_FOLDED: Final = re.compile(r"(\S.*) ([0-9]+)")
_COMPILED: Final = re.compile(r"(?:JS:|Function:|LazyCompile:)?[*~^]?(.+)-([0-9]+)-(?:turbofan|liftoff)(?:_\[j\])?")
_NAMELESS: Final = re.compile(r"wasm-function\[([0-9]+)\]")
# What V8 compiles besides to call from WebAssembly and into it.
_WRAPPERS: Final = ("wasm-to-js:", "js-to-wasm:", "wasm-to-capi:", "c-wasm-entry:")
# A sample counts for no more events than this.
_MOST: Final = 10**18


def is_folded(text: str) -> bool:
    """Tell whether a text's first line is a folded stack."""
    first = text.lstrip().partition("\n")[0].rstrip()
    return _SAMPLE.fullmatch(first) is None and _FOLDED.fullmatch(first) is not None


def folded_times(text: str) -> dict[str, float]:
    """Return how often each WebAssembly function was innermost; raises UsageError with what is wrong."""
    times: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _FOLDED.fullmatch(line.rstrip())
        if match is None:
            raise UsageError(f"line {number} is no folded stack: expected frames with ';' between them, and a number")
        _count(times, match[1].rpartition(";")[2], match[2], number)
    return times


def perf_times(text: str) -> dict[str, float]:
    """Return how many events each WebAssembly function ran for itself; raises UsageError with what is wrong."""
    times: dict[str, float] = {}
    period = ""  # that of a sample whose innermost frame comes next
    in_stack = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            in_stack = False
            continue
        if in_stack:
            frame = _FRAME.fullmatch(line)
            if frame is None:
                raise UsageError(f"line {number} is no frame of `perf script`: expected an address and a name")
            if period:
                _count(times, frame[1], period, number)
                period = ""
            continue
        sample = _SAMPLE.fullmatch(line.strip())
        if sample is None:
            raise UsageError(
                f"line {number} is no sample of `perf script`, no CPU profile of V8 (JSON) and no folded stack"
            )
        period = sample[1] or "1"
        only = _FRAME.fullmatch(sample[2] or "")
        in_stack = only is None
        if only is not None:
            _count(times, only[1], period, number)
    return times


def _count(times: dict[str, float], frame: str, events: str, number: int) -> None:
    if len(events) > 18 or int(events) > _MOST:
        raise UsageError(f"line {number} counts for {events[:40]} events: expected at most {_MOST}")
    compiled = _COMPILED.fullmatch(frame)
    if compiled is None or compiled[1].startswith(_WRAPPERS):
        return
    nameless = _NAMELESS.fullmatch(compiled[1])
    name = nameless[1] if nameless else compiled[1]
    times[name] = times.get(name, 0) + int(events)
