"""Read profiles of whatever form, and put several together.

Times are in microseconds, events or samples; only shares of them can be compared. So each profile counts for the same,
however long it took: whoever records one of each kind of work wants all of them to be fast. Which form a file has is
told by its first characters, since their names end in anything.
"""

from __future__ import annotations

import codecs
import os
from typing import Final

from caesura.errors import UsageError
from caesura.wasm.sections import MAGIC

# Larger files are none that a person recorded for this: Python takes ten times as much memory to read them.
_LARGEST: Final = 1 << 29


def read_profile(*paths: str | os.PathLike[str]) -> dict[str, float]:
    """Return what share of the time in WebAssembly code a program spends in each function itself, by its name, the
    largest first; of several profiles the mean.

    A path is that of a CPU profile of V8 (`node --cpu-prof`), of the text of `perf script`, or of folded stacks.
    Functions without names go by their index. Raises UsageError for a file that cannot be read, or is none of these.
    """
    sums: dict[str, float] = {}
    for path in paths:
        times = _times(os.fspath(path))
        total = sum(times.values())
        for name, time in times.items():
            sums[name] = sums.get(name, 0) + time / total / len(paths)
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def _encoding_of(data: bytes) -> str:
    """Return the encoding of a profile, which a byte order mark tells: editors and shells put one there."""
    return "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _times(path: str) -> dict[str, float]:
    from caesura.profiles.perf import folded_times, is_folded, perf_times
    from caesura.profiles.v8 import v8_times

    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the profile '{path}': {reason}") from error
    try:
        if len(data) > _LARGEST:
            raise UsageError(f"it has more than {_LARGEST} bytes: record a shorter run, or at a longer interval")
        if data.startswith(MAGIC):
            raise UsageError("it is a WebAssembly module; expected what `node --cpu-prof` or `perf script` writes")
        text = data.decode(_encoding_of(data), errors="replace")
        if text.lstrip().startswith(("{", "[")):
            times = v8_times(text)
        else:
            times = folded_times(text) if is_folded(text) else perf_times(text)
        if not sum(times.values()) > 0:
            raise UsageError("no function of WebAssembly took any time in it")
    except UsageError as error:
        raise UsageError(f"cannot use the profile '{path}': {error}") from error
    return times
