"""Telling that a guest is being collected, before anything of it is freed.

When the garbage collector finds a guest in a cycle, it runs the finalizers of everything in the cycle in any order.
Wasmtime's store may be freed by then when the `__del__` of an object calls the guest, which would crash the process.
But before any finalizer runs, the collector clears the weak references into the cycle and runs the callbacks of those
that lie outside: here, where they set a mark that the guest can see.
"""

from __future__ import annotations

import weakref
from typing import Final


class Lifetime:
    """Whether an object is alive; `over` is set before its finalizer runs, or that of anything collected with it."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False


class _Watch(weakref.ref[object]):
    """A weak reference that sets a mark."""

    __slots__ = ("lifetime",)

    lifetime: Lifetime


def watch_lifetime(watched: object) -> Lifetime:
    """Return the lifetime of an object."""
    reference = _Watch(watched, _end)
    reference.lifetime = Lifetime()
    _kept[id(reference)] = reference
    return reference.lifetime


def _end(reference: weakref.ref[object]) -> None:
    watch = _kept.pop(id(reference))
    watch.lifetime.over = True


_kept: Final[dict[int, _Watch]] = {}
