"""The native stack of the running thread: that there is enough of it before guest code runs.

Guest code, Wasmtime and Python share one stack. What exceeds it ends the process, so each of the three has a limit:

* Guest code traps when an outermost call and all that it calls have taken what they may, the guest's
  `native_stack_size`. Wasmtime sees to that, counting from where the guest was entered, and does not look at how much
  there is: so a thread whose stack is smaller must not run the guest.
* A host function that calls a guest lets Wasmtime count anew, if it is another guest. So the place where the stack
  stands is looked at when a guest is entered from inside others: arguments of imports lie on it.
* Python counts its own recursion. It must not reach its limit where Wasmtime calls back, since no exception can leave
  there: so there must be room before guest code is entered.

Nothing here knows where the stack stands in the outermost entry: `HOST_STACK` must do for what lies above.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from ctypes import byref, c_char, c_size_t, c_void_p
from typing import Any, Final

from caesura.errors import UsageError

# Bytes that guest code may take where nobody says.
NATIVE_STACK_SIZE: Final = 512 * 1024

# Bytes for everything else: what has called the guest, and the host functions that it calls.
HOST_STACK: Final = 256 * 1024

# At least the size of `pthread_attr_t` anywhere.
_ATTRIBUTES_SIZE: Final = 256


# Bytes for a thread that compiles, where Python would give it less.
_COMPILING_STACK: Final = 2 << 20
_starting: Final = threading.Lock()


def start_thread(target: Callable[[], object], name: str) -> None:
    """Start a thread whose stack is large enough for Wasmtime's compiler, whatever threads of others have."""
    thread = threading.Thread(target=target, daemon=True, name=name)
    with _starting:
        before = threading.stack_size()
        if 0 < before < _COMPILING_STACK:
            threading.stack_size(_COMPILING_STACK)
        try:
            thread.start()
        finally:
            threading.stack_size(before)


class NativeStack:
    """Where a thread's stack ends, and its size; both 0 where the system does not tell."""

    def __init__(self, low: int, size: int) -> None:
        self.low = low
        self.size = size

    def check_size(self, native_stack_size: int) -> None:
        """Raise UsageError if a thread must not run guests whose code may take so much."""
        needed = native_stack_size + HOST_STACK
        if self.size and self.size < needed:
            raise UsageError(
                f"this thread has a native stack of {self.size:,} bytes, and the guest needs {needed:,}: start it with "
                "a larger threading.stack_size(), or load the guest with a smaller native_stack_size"
            )

    def check_position(self, position: int, native_stack_size: int) -> None:
        """Raise RecursionError if such guest code must not be entered where the stack stands at an address."""
        if position - self.low < native_stack_size + HOST_STACK and self.size:
            raise RecursionError("guests and host functions call each other too deeply for the thread's native stack")


def stack_of_this_thread() -> NativeStack:
    """Return the stack of the thread that calls this."""
    if sys.platform == "darwin":
        return _stack_on_macos()
    if sys.platform == "win32":
        return _stack_on_windows()
    return _stack_with_attributes()


def _stack_with_attributes() -> NativeStack:
    library: Any = ctypes.CDLL(None)
    attributes = (c_char * _ATTRIBUTES_SIZE)()
    low, size = c_void_p(), c_size_t()
    try:
        library.pthread_self.restype = c_void_p
        failed = library.pthread_getattr_np(c_void_p(library.pthread_self()), byref(attributes))
        if failed:
            return NativeStack(0, 0)
        failed = library.pthread_attr_getstack(byref(attributes), byref(low), byref(size))
        library.pthread_attr_destroy(byref(attributes))
    except AttributeError:
        return NativeStack(0, 0)  # another system
    return NativeStack(low.value or 0, size.value) if not failed else NativeStack(0, 0)


def _stack_on_macos() -> NativeStack:
    library: Any = ctypes.CDLL(None)
    for function, result in (
        (library.pthread_self, c_void_p),
        (library.pthread_get_stackaddr_np, c_void_p),
        (library.pthread_get_stacksize_np, c_size_t),
    ):
        function.restype = result
    thread = c_void_p(library.pthread_self())
    high, size = library.pthread_get_stackaddr_np(thread), library.pthread_get_stacksize_np(thread)
    return NativeStack(high - size, size)


def _stack_on_windows() -> NativeStack:
    low, high = c_size_t(), c_size_t()
    ctypes.WinDLL("kernel32").GetCurrentThreadStackLimits(byref(low), byref(high))  # type: ignore[attr-defined,unused-ignore]
    return NativeStack(low.value, high.value - low.value)


# How deep Python must be able to go from where guest code is entered.
_LEVELS: Final = 16


def _nested_classes() -> Any:
    """Return tuples in each other: looking whether something is an instance of one counts a level of recursion."""
    classes: Any = int
    for _ in range(_LEVELS):
        classes = (classes,)
    return classes


def _nested_functions() -> Callable[[], object]:
    """Return a function that calls another, and so on."""

    def caller_of(callee: Callable[[], object]) -> Callable[[], object]:
        return lambda: callee()

    function: Callable[[], object] = int
    for _ in range(_LEVELS // 2):  # of Python's functions fewer are called
        function = caller_of(function)
    return function


_CLASSES: Final = _nested_classes()
_FUNCTIONS: Final = _nested_functions()

# Before version 3.12, one count served for both.
_COUNTS_FUNCTIONS_APART: Final = sys.version_info >= (3, 12)


def check_recursion() -> None:
    """Raise RecursionError unless Python has room for what is done around guest code, also when that fails."""
    try:
        isinstance(None, _CLASSES)
        if _COUNTS_FUNCTIONS_APART:
            _FUNCTIONS()
    except RecursionError:
        raise RecursionError("guests and host functions call each other deeper than sys.getrecursionlimit()") from None
