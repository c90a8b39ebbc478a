"""A thread for what takes long about large states, so that event loops run on: reading them, filling their images."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from caesura.host.lanes import Lane, in_lane

_T = TypeVar("_T")

_saving = Lane("saving", 2)


async def in_background(work: Callable[[], _T]) -> _T:
    """Let a thread do some work and wait for it; raises what that raises."""
    return await in_lane(_saving, work)


def background() -> Lane:
    """Return the threads that do such work."""
    return _saving


def _begin_anew() -> None:
    """Begin anew in a process that was forked."""
    global _saving
    _saving = Lane("saving", 2)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
