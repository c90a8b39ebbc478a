"""What a guest has taken so far, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a guest has taken since it was loaded, or restored.

    `time` is seconds for which it had its thread, with what its host functions did without waiting, and what its pauses
    took the host. `fuel` is what its
    code has counted, or None in a guest that counts nothing. `slices` says how often it was paused, `suspensions` how
    often host functions, or the guest's end of a slice, have suspended it. `memory` is bytes, of all its memories, with
    that of the asyncify stack, as they are now; they never shrink.
    """

    time: float
    fuel: int | None
    slices: int
    suspensions: int
    memory: int
