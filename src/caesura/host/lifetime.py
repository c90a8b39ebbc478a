"""Telling that a guest is being collected, before anything of it is freed; and how many guests there are.

When the garbage collector finds a guest in a cycle, it runs the finalizers of everything in the cycle in any order.
Wasmtime's store may be freed by then when the `__del__` of an object calls the guest, which would crash the process.
But before any finalizer runs, the collector clears the weak references into the cycle and runs the callbacks of those
that lie outside: here, where they set a mark that the guest can see.

So each guest of the process is known here, from its making until it is closed or collected, and can be counted.
"""

from __future__ import annotations

import weakref
from types import NoneType
from typing import Final

from caesura.argument_kinds import check_kind
from caesura.errors import ResourceError, UsageError


class Lifetime:
    """Whether an object is alive; `over` is set before its finalizer runs, or that of anything collected with it."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    def has_ended(self) -> None:
        """Count the object no more: it holds nothing."""
        _counted.discard(id(self))


class _Watch(weakref.ref[object]):
    """A weak reference that sets a mark."""

    __slots__ = ("lifetime",)

    lifetime: Lifetime


def watch_lifetime(watched: object) -> Lifetime:
    """Return the lifetime of a guest. Raises ResourceError if there are as many as there may be."""
    most = _limit.most
    if most is not None and len(_counted) >= most:
        raise ResourceError(
            f"the process has {len(_counted)} guests, and caesura.limit_guests allows {most}: close some first"
        )
    reference = _Watch(watched, _end)
    reference.lifetime = Lifetime()
    _kept[id(reference)] = reference
    _counted.add(id(reference.lifetime))
    return reference.lifetime


def limit_guests(count: int | None) -> None:
    """Let the process have so many guests at a time, whoever loads them; None is any number.

    Loading another is a ResourceError then. Raises UsageError for what is no number of guests.
    """
    check_kind("count", count, int, NoneType)
    if count is not None and count < 0:
        raise UsageError(f"count is {count}: expected a number of guests, or None")
    _limit.most = count


def _end(reference: weakref.ref[object]) -> None:
    watch = _kept.pop(id(reference))
    watch.lifetime.over = True
    watch.lifetime.has_ended()


class _Limit:
    most: int | None = None


_limit: Final = _Limit()
_kept: Final[dict[int, _Watch]] = {}
_counted: Final[set[int]] = set()
