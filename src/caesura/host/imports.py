"""Host functions: Python callables behind a guest's imports.

A function whose first parameter is named `guest` gets the guest; the others get the guest's values only, so
that `print` and `lines.append` just work. Guessing from the number of parameters was rejected: `*arguments`
takes any number.

A coroutine function starts running at once, inside the guest's call, and only when it really waits is the
guest suspended: what finishes without waiting costs no suspension. Starting it after the suspension was
rejected, because most calls of a well-buffered `read` need none. That the first step runs on top of the
guest's stack is invisible to it: the guest's state is normal, and it may call exports.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import inspect
import reprlib
import struct
import types
from collections.abc import Callable, Coroutine
from typing import Any, Final

from caesura.errors import UsageError, printable
from caesura.host.callables import is_coroutine_function, mistake_in, takes_guest
from caesura.host.description import FunctionShape
from caesura.host.references import References
from caesura.host.values import SLOT, results_from, values_of
from caesura.snapshots.state import PAUSE_NAME
from caesura.wasm import types as t

PLAIN_FUNCTION: Final = 0
COROUTINE_FUNCTION: Final = 1
YIELDING_FUNCTION: Final = 2
EXTERNAL_FUNCTION: Final = 3
PAUSE_FUNCTION: Final = 4

# What a guest is suspended for: a host coroutine that has begun to wait, and what for; or None, and what a yielding
# function returned. And the arguments that the guest has called it with.
Suspension = tuple[Coroutine[Any, Any, Any] | None, Any, tuple[Any, ...]]


class External:
    """Stands among the imports for a function without a body: `EXTERNAL`."""

    def __repr__(self) -> str:
        return "caesura.EXTERNAL"

    def __call__(self, *arguments: Any) -> Any:
        """Refuse to be called: there is nothing to run."""
        raise TypeError("caesura.EXTERNAL stands for a function without a body; nobody but a guest can call it")


# The guest is suspended there, and whoever drives it gets a PendingCall.
EXTERNAL: Final = External()


class Yielding:
    """A host function that suspends a generator's guest; made by `yielding`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function itself, as tests of it do."""
        return self.function(*arguments)


def yielding(function: Callable[..., Any]) -> Yielding:
    """Mark a host function as one that yields: `Guest.generate` yields what it returns.

    What is then sent into the generator is what the import returns to the guest. Raises UsageError for what cannot be
    called.
    """
    if not callable(function):
        raise UsageError(f"yielding was given {reprlib.repr(function)}: expected a function")
    return Yielding(function)


def kind_of(function: Callable[..., Any]) -> int:
    """Tell plain functions, coroutine functions and yielding functions apart."""
    if isinstance(function, Yielding):
        return YIELDING_FUNCTION
    if isinstance(function, External):
        return EXTERNAL_FUNCTION
    return COROUTINE_FUNCTION if is_coroutine_function(function) else PLAIN_FUNCTION


class HostFunction:
    """One imported function of a guest and what implements it. `name` is "module.name"."""

    __slots__ = ("_pack_one", "function", "kind", "name", "params", "results", "shown", "slots", "takes_guest")

    def __init__(self, name: str, shape: FunctionShape, function: Callable[..., Any]) -> None:
        self.name = name
        self.shown = printable(name)  # in messages
        self.kind = kind_of(function)
        self.function = function.function if isinstance(function, Yielding) else function
        self.params = values_of(shape.params)
        self.results = values_of(shape.results)
        self._pack_one = self.results.packer if self.results.count == 1 else None
        self.slots = ctypes.c_char * (SLOT * max(self.params.count, self.results.count, 1))
        unsupported = self.params.unsupported or self.results.unsupported
        if unsupported:
            raise UsageError(
                f"import {self.shown} has a value of type {t.type_name(unsupported)}, which Python functions cannot "
                "pass"
            )
        self.takes_guest = False
        if self.kind != EXTERNAL_FUNCTION:
            self.takes_guest = takes_guest(self.function)
            mistake = mistake_in(self.function, self.params.count + self.takes_guest)
            if mistake is not None:
                guest = ", after the guest" if self.takes_guest else ""
                raise UsageError(
                    f"host function {self.shown}{mistake[0]} does not fit: the guest calls it with {self.params}"
                    f"{guest} ({mistake[1]})"
                )

    def run(self, guest: object, objects: References, values: int) -> Suspension | None:
        """Call the function, with its arguments at an address, and write what it returns to there.

        Where it must wait, or yields, nothing is written: returns what the guest is to be suspended for.
        """
        arguments = self.arguments(objects, values)
        if self.kind == EXTERNAL_FUNCTION:
            self._clear_results(values)
            return None, None, arguments
        result = self.call(guest, arguments)
        if self.kind == COROUTINE_FUNCTION:
            try:
                waited_for = result.send(None)
            except StopIteration as end:
                self.write_result(objects, values, end.value)
                return None
            self._clear_results(values)
            return result, waited_for, arguments
        if self.kind == YIELDING_FUNCTION:
            self._clear_results(values)
            return None, result, arguments
        if hasattr(result, "__await__"):
            if inspect.iscoroutine(result):
                result.close()
            raise UsageError(
                f"host function {self.shown} returned something to await but is no coroutine function: make it "
                "`async def`, so that the guest can be suspended in it"
            )
        self.write_result(objects, values, result)
        return None

    def arguments(self, objects: References, values: int) -> tuple[Any, ...]:
        """Return the arguments that the guest gives, which lie at an address."""
        if not self.params.count:
            return ()
        return tuple(self.params.read(self.slots.from_address(values), 0, objects))

    def call(self, guest: object, arguments: tuple[Any, ...]) -> Any:
        """Call the function with arguments that the guest has given before; return what it returns."""
        return self.function(guest, *arguments) if self.takes_guest else self.function(*arguments)

    def write_result(self, objects: References, values: int, result: Any) -> None:
        """Write what the function returned; a result that nobody wants is dropped."""
        if self.results.count:
            results = results_from(result, self.results.count)
            if self.results.has_references:
                objects.collect()
            buffer = self.slots.from_address(values)
            self.results.write(buffer, 0, results, objects, "result", f"host function {self.shown}")

    def checked_answer(self, objects: References, answer: Any) -> Any:
        """Return what somebody else says that the function returns, in the form in which it will be written.

        Raises UsageError for what does not fit, and what the answer's own conversion to a number raises; it is
        converted once, and nothing is written.
        """
        results = self.results
        if not results.count:
            return None
        owner = f"host function {self.shown}"
        values = results.convert(results_from(answer, results.count), "result", owner)
        for place, kind in enumerate(results.types):
            if kind == t.FUNCREF:
                objects.check_function(values[place], f"result {place + 1} of {owner}")
        return values[0] if results.count == 1 else tuple(values)

    def packed_result(self, result: Any) -> bytes:
        """Return what the function returned as bytes, as the guest takes it; there are no references among it."""
        pack = self._pack_one
        if pack is not None and (type(result) is int or type(result) is float):
            try:
                return pack(result)
            except (struct.error, OverflowError, TypeError):
                pass  # an unsigned number, or a mistake
        if not self.results.count:
            return b""
        return self.results.pack(results_from(result, self.results.count), "result", f"host function {self.shown}")

    def _clear_results(self, values: int) -> None:
        """Let references that nobody is to look at be null: the arguments lie there, and a number is no reference."""
        if self.results.has_references:
            ctypes.memset(values, 0, self.results.size)


# Stands where a host function does for a call that was paused at the end of its time slice.
PAUSE: Final = HostFunction(PAUSE_NAME, FunctionShape(-1, (), ()), EXTERNAL)
PAUSE.kind = PAUSE_FUNCTION


def give_up(coroutine: Coroutine[Any, Any, Any], waited_for: Any) -> None:
    """Close a host coroutine that has begun to wait, for something that nobody will see.

    A future of asyncio's is marked between the moment when it is awaited and the moment when a task gets it; one that
    stays marked can be awaited by nobody any more.
    """
    if getattr(waited_for, "_asyncio_future_blocking", None):
        waited_for._asyncio_future_blocking = False
    close(coroutine)


def close(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close a host coroutine, and the asynchronous generators in which it waits.

    Python itself closes those from version 3.13 on. Before, they never hear of it, and neither do the calls of the
    guest that they wait for. What they are asked for shows them to the garbage collector only.
    """
    steps: list[Any] = []
    waiting: Any = coroutine
    while waiting is not None:
        if type(waiting).__name__ in _ASYNCHRONOUS_STEPS:
            steps.append(waiting)
            waiting = next(
                (item for item in gc.get_referents(waiting) if isinstance(item, types.AsyncGeneratorType)), None
            )
        else:
            names = (name for name in ("cr_await", "gi_yieldfrom", "ag_await") if hasattr(waiting, name))
            waiting = next((getattr(waiting, name) for name in names), None)
    try:
        for step in reversed(steps):
            with contextlib.suppress(GeneratorExit, StopAsyncIteration, StopIteration):
                step.throw(GeneratorExit())
    finally:
        coroutine.close()


# What an asynchronous generator is asked for by; these types have no other names.
_ASYNCHRONOUS_STEPS: Final = ("async_generator_asend", "async_generator_athrow")
