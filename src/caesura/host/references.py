"""References between Python and a guest: objects of Python's as externref, functions of the guest's as funcref.

An object is kept here while the guest has references to it; the guest sees a number. A function is Wasmtime's handle,
which means something only together with the store that it came from, and Wasmtime aborts the process on another's: so
each reference knows its guest.

Wasmtime collects garbage when its own heap is full, where a reference is a few bytes, whatever the object behind it
takes. So a collection is made here whenever as many references were made since the last one as were alive after that,
and at least some thousands: then what the guest has let go is never much more than what it keeps, and a reference costs
what it did. Collecting at each reference was rejected, since a collection looks at all that are alive.
"""

from __future__ import annotations

import ctypes
import itertools
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

import wasmtime
from wasmtime import _ffi as ffi

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.errors import GuestTrap
from caesura.host.uncopied import Uncopied
from caesura.wasm import types as t

# The guests that hold objects, by number. Objects belong to their guest and not to the module, so that a guest and an
# object that refer to each other are garbage like any others.
_holders: Final[WeakValueDictionary[int, References]] = WeakValueDictionary()
_holder_numbers: Final = itertools.count(1)
_OBJECT_BITS: Final = 40

# So many references are made at least from one collection to the next.
_FEW: Final = 10_000

# The bytes of Wasmtime's structure for a reference, or more.
_REFERENCE_SIZE: Final = 32
_FUNCTION_SIZE: Final = ctypes.sizeof(ffi.wasmtime_func_t)


def _release(number: int | None) -> None:
    """Wasmtime calls this when the last reference to an object is gone."""
    holder = _holders.get((number or 0) >> _OBJECT_BITS)
    if holder is not None:
        holder.release(number or 0)


_finalizer: Final = native.FINALIZER(_release)


class FunctionReference(Uncopied):
    """A function of a guest, as a value: what a funcref is in Python. It can be given back to the same guest only.

    References to one function are equal, and a copy is the reference itself. It is not called from Python: exports are,
    by their names.
    """

    _what = "a function of a caesura guest"
    _instead_of_pickle = "the guest runs in this process"

    __slots__ = ("_handle", "_holder")

    def __init__(self, holder: References, handle: bytes) -> None:
        self._holder = holder
        self._handle = handle  # Wasmtime's structure, of no use without the guest's store

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FunctionReference):
            return NotImplemented
        return self._holder is other._holder and self._handle == other._handle

    def __hash__(self) -> int:
        return hash(self._handle)

    def __copy__(self) -> FunctionReference:
        return self

    def handle_for(self, holder: References, what: str) -> bytes:
        """Return Wasmtime's structure; not for users. Raises UsageError for another guest."""
        if self._holder is not holder:
            raise UsageError(f"{what} is a function of another guest")
        return self._handle


class References:
    """Passes Python objects to one guest as externref values, and keeps them while the guest does."""

    def __init__(self, context: int) -> None:
        self._context = context
        self._reference = ctypes.create_string_buffer(_REFERENCE_SIZE)
        self._function = ctypes.create_string_buffer(_FUNCTION_SIZE)
        self._address = ctypes.addressof(self._reference)
        self.dropped: list[object] = []  # what the guest let go
        self._held: dict[int, object] = {}
        self._until_collection = _FEW  # references to be made before
        number = next(_holder_numbers)
        self._numbers = itertools.count((number << _OBJECT_BITS) + 1)
        _holders[number] = self

    def to_raw(self, values: list[object]) -> list[int]:
        """Return the raw forms of references to objects, valid until the guest runs. Raises GuestTrap."""
        rooted = ctypes.create_string_buffer(_REFERENCE_SIZE * len(values))
        addresses = [
            self._new(value, ctypes.addressof(rooted) + _REFERENCE_SIZE * place) for place, value in enumerate(values)
        ]
        # Only when all are made: making one may collect those that have no root.
        raws = [int(native.externref_to_raw(self._context, address)) if address else 0 for address in addresses]
        for address in addresses:
            if address:
                native.externref_unroot(address)
        return raws

    def _new(self, value: object, address: int) -> int:
        """Make a reference to an object at an address; return that, or 0 for None."""
        if value is None:
            return 0
        number = next(self._numbers)
        self._until_collection -= 1
        self._held[number] = value
        if not native.externref_new(self._context, number, _finalizer, address):
            del self._held[number]
            raise GuestTrap("the guest has no memory left for a reference to an object of Python's", ())
        return address

    def read(self, kind: int, raw: Any) -> Any:
        """Return a value that came from the guest: objects for references, numbers as they are."""
        if kind == t.EXTERNREF:
            return self.from_raw(raw)
        return self.function_from_raw(raw) if kind == t.FUNCREF else raw

    def function_from_raw(self, raw: int) -> FunctionReference | None:
        """Return the function that a raw funcref is."""
        if raw == 0:
            return None
        native.function_from_raw(self._context, raw, ctypes.addressof(self._function))
        return FunctionReference(self, self._function.raw)

    def function(self, item: wasmtime.Func) -> FunctionReference:
        """Return a reference to a function of the guest."""
        return FunctionReference(self, bytes(item._func))

    def function_to_raw(self, value: object, what: str) -> int:
        """Return the raw form of a function reference, or 0 for None. Raises UsageError for what is neither."""
        handle = self.check_function(value, what)
        if handle is None:
            return 0
        self._function.raw = handle
        return int(native.function_to_raw(self._context, ctypes.addressof(self._function)) or 0)

    def check_function(self, value: object, what: str) -> bytes | None:
        """Return Wasmtime's structure of a function reference, None for None. Raises UsageError for what is neither."""
        if value is None:
            return None
        if not isinstance(value, FunctionReference):
            raise UsageError(
                f"{what} is {reprlib.repr(value)}: expected a function of the guest's, or None, for funcref"
            )
        return value.handle_for(self, what)

    def from_raw(self, raw: int) -> object:
        """Return the object behind a raw reference; raises UsageError for a reference that is not to one."""
        if raw == 0:
            return None
        native.externref_from_raw(self._context, raw, self._address)
        number = native.externref_data(self._context, self._address)
        native.externref_unroot(self._address)
        try:
            return self._held[number or 0]
        except KeyError:
            raise UsageError(
                "the guest passes a value of its own as an externref; only objects that came from Python can go back"
            ) from None

    def from_handle(self, address: int, what: str) -> object:
        """Return the object behind Wasmtime's structure at an address; raises UsageError where there is none."""
        try:
            return self._held[native.externref_data(self._context, address) or 0]
        except KeyError:
            raise UsageError(f"{what} is a value of the guest's own, not an object that came from Python") from None

    @contextmanager
    def value(self, kind: int, value: object) -> Iterator[int]:
        """Yield the address of Wasmtime's structure for a reference, which is good in the `with` block."""
        structure = ffi.wasmtime_val_t(kind=ffi.WASMTIME_FUNCREF if kind == t.FUNCREF else ffi.WASMTIME_EXTERNREF)
        address = ctypes.addressof(structure)
        reference = address + ffi.wasmtime_val_t.of.offset
        if isinstance(value, FunctionReference) and kind == t.FUNCREF:
            ctypes.memmove(reference, value.handle_for(self, "a reference"), _FUNCTION_SIZE)
        elif value is not None:
            self._new(value, reference)
        try:
            yield address
        finally:
            if kind == t.EXTERNREF and value is not None:
                native.externref_unroot(reference)

    def release(self, number: int) -> None:
        """Let an object go, but not here, in the middle of Wasmtime's collector: its `__del__` may call the guest."""
        self.dropped.append(self._held.pop(number, None))

    def collect(self) -> None:
        """Let go of objects that the guest has no references to any more, if it is time to look for them.

        Called where no raw references are about that were not given to the guest yet, and where the guest may be
        called: objects that go may do so.
        """
        if self._until_collection <= 0:
            error = native.collect_garbage(self._context)
            if error:
                raise native.error_from(error)
            self._until_collection = max(_FEW, len(self._held))
        if self.dropped:
            self.let_go()

    def clear(self) -> None:
        """Let go of all objects: the guest is closed."""
        self._held.clear()
        self.let_go()

    def let_go(self) -> None:
        """Let go of the objects that the guest has let go."""
        dropped, self.dropped = self.dropped, []
        del dropped
