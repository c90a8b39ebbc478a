"""Calling the functions of the ABI that a guest exports: state changes, and the one that tells the state.

They are called past Wasmtime's checks, so their types were compared when the module was loaded (`claims`). What they do
is up to the guest: one of them that traps is the guest's failure, and one that calls a host function is refused, since
host functions count on a call that they belong to.
"""

from __future__ import annotations

import ctypes

import wasmtime

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.errors import STACK_OVERFLOW, GuestTrap
from caesura.host.interruption import arm
from caesura.host.store import GuestStore
from caesura.host.values import SLOT


class AbiFunction:
    """One of the ABI's functions, with its argument if it takes one; or with more, `slots` of arguments or results."""

    def __init__(
        self, store: GuestStore, name: str, function: wasmtime.Func, argument: int = 0, *, slots: int = 1
    ) -> None:
        self.error: BaseException | None = None  # these are `native`'s
        self.position = 0
        self.depth = 0
        self._name = name
        self._failure = ""
        self._function = function  # keeps the structure at the address alive
        self._buffer = ctypes.create_string_buffer(argument.to_bytes(SLOT, "little"), SLOT * slots)
        self._trap = store.trap
        self._context = store.context
        self._interruptions = store.interruptions
        self._interruptions_before = 0
        self._arguments = (
            store.context,
            ctypes.addressof(function._func),
            ctypes.addressof(self._buffer),
            slots,  # the buffer's: for the argument, which stays there, or the result
            store.trap_address,
        )

    def __call__(self) -> None:
        """Call it; raises GuestTrap if it fails."""
        if not self.attempt():
            raise GuestTrap(self._failure, ())

    def attempt(self) -> bool:
        """Call it and tell whether it succeeded."""
        thread = native.thread
        outer = thread.call
        thread.call = self
        if self._interruptions is not None:
            self._interruptions_before = self._interruptions.count
        try:
            error = native.call_function(*self._arguments)
        finally:
            thread.call = outer
            if self._interruptions is not None:
                arm(self._context)  # the call that it belongs to may be meant where it was not
        trap = self._trap.value
        if not error and not trap:
            return True
        self._trap.value = None
        self.error = None
        if error:
            native.error_from(error)
        self._failure = f"{self._name} failed"
        if trap and native.trap_from(trap).trap_code == wasmtime.TrapCode.STACK_OVERFLOW:
            self._failure = STACK_OVERFLOW
        return False

    def result(self) -> int | None:
        """Call it and return its result, an i32, or None if it fails."""
        return int.from_bytes(self._buffer.raw[:4], "little", signed=True) if self.attempt() else None

    def ask(self, *arguments: int) -> bytes | None:
        """Call it with arguments, which are bits, and return its results, a slot for each; None if it fails."""
        packed = b"".join(argument.to_bytes(SLOT, "little") for argument in arguments)
        ctypes.memmove(self._buffer, packed, len(packed))
        return self._buffer.raw if self.attempt() else None

    def is_interrupted(self) -> bool:
        """Tell whether the guest was interrupted since the function began."""
        return self._interruptions is not None and self._interruptions.count != self._interruptions_before

    def call_import(self, number: int, values: int) -> None:
        """Refuse what the function may not do: call the host."""
        raise UsageError(f"{self._name}, which should only change the guest's state, calls a host function")
