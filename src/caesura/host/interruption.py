"""Interrupting a guest that computes, without touching the others that share its engine.

Code compiled for it looks at the engine's epoch in every loop and at the start of every function. An interruption
counts up the guest's own number and then the epoch; whatever runs in that engine comes here, in its own thread, and
goes on if it is not meant. A call is meant if it began before the interruption: it remembers the number it began with.
So calls that were running or suspended trap when they run next, and those that begin later never do.

A deadline in each store that is moved by whoever interrupts was rejected: a store must not be touched while another
thread runs in it.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_size_t, c_uint8, c_uint64, c_void_p
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.uncopied import Uncopied

# Wasmtime's message for a call that was interrupted; `Instance.fail` knows why from the call itself.
_MESSAGE: Final = b"interrupted"

_CALLBACK: Final = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, ctypes.POINTER(c_uint64), ctypes.POINTER(c_uint8))

_new_error: Final = native.function("wasmtime_error_new", c_void_p, c_char_p)
_set_deadline: Final = native.function("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
_set_callback: Final = native.function(
    "wasmtime_store_epoch_deadline_callback", None, c_void_p, _CALLBACK, c_void_p, c_void_p
)


class Interruptions(Uncopied):
    """Stops what a guest computes, from any thread; one for each guest.

    Given to `load`, it stops what runs before there is a guest as well: a start function, `_initialize`, `malloc`. A
    guest that was interrupted before it began does not begin.
    """

    _what = "a caesura.Interruptions object"
    _instead_of_copy = "it serves one guest; make one for each"
    _instead_of_pickle = "it interrupts a guest of this process"

    __slots__ = ("_engine", "count")

    def __init__(self) -> None:
        self.count = 0  # how often the guest was interrupted
        self._engine: wasmtime.Engine | None = None

    def interrupt(self) -> None:
        """Let the guest's calls that are running or suspended trap with the kind "interrupted"."""
        self.count += 1
        if self._engine is not None:
            self._engine.increment_epoch()

    def attach(self, engine: wasmtime.Engine) -> None:
        """Take the engine that the guest's code runs in. Raises UsageError if it is another guest's already."""
        if self._engine is not None:
            raise UsageError("an Interruptions object serves one guest: make one for each")
        self._engine = engine


def interruptions_of(interruptible: object) -> Interruptions | None:
    """Return what stops a guest of which somebody says whether it is `interruptible`, if that is given.

    Raises UsageError for what is neither that nor True or False.
    """
    if isinstance(interruptible, Interruptions):
        return interruptible
    if not isinstance(interruptible, bool):
        raise UsageError(
            f"interruptible is {interruptible!r}: expected True, False, or for load a caesura.Interruptions object"
        )
    return None


def watch(store: wasmtime.Store) -> None:
    """Let what runs in a store look for interruptions."""
    _set_callback(native.address_of(store.ptr()), _callback, None, None)
    store.set_epoch_deadline(1)


def arm(context: int) -> None:
    """Let what runs in a store next look for interruptions at once."""
    _set_deadline(context, 0)


def _on_epoch(context: Any, data: Any, delta: Any, kind: Any) -> int:
    """Wasmtime calls this for what runs when the epoch has changed; no exception may leave it."""
    try:
        if not native.thread.call.is_interrupted():  # type: ignore[union-attr]
            delta[0] = 1
            return 0
    except BaseException as error:  # a signal's
        if native.thread.call is not None:
            native.thread.call.error = error
    address: int = _new_error(_MESSAGE)
    return address


native.begin_without_signals(_on_epoch)
_callback: Final = _CALLBACK(_on_epoch)

# The type of the callback must have the shape that Wasmtime's own bindings give it.
assert ctypes.sizeof(ffi.wasmtime_update_deadline_kind_t) == ctypes.sizeof(c_uint8)
