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

import ctypes
import functools
import inspect
import reprlib
import struct
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from caesura.errors import UsageError
from caesura.host.description import FunctionShape
from caesura.host.values import SLOT, Values, results_from
from caesura.wasm import types as t

if TYPE_CHECKING:
    from caesura.host.call import Call

PLAIN_FUNCTION: Final = 0
COROUTINE_FUNCTION: Final = 1
YIELDING_FUNCTION: Final = 2

_GUEST_PARAMETER: Final = "guest"


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
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__):
        return COROUTINE_FUNCTION
    return PLAIN_FUNCTION


class HostFunction:
    """One imported function of a guest and what implements it. `name` is "module.name"."""

    def __init__(self, name: str, shape: FunctionShape, function: Callable[..., Any]) -> None:
        self.name = name
        self._owner = f"host function {name}"
        self.kind = kind_of(function)
        self.function = function.function if isinstance(function, Yielding) else function
        self.params = Values(shape.params)
        self.results = Values(shape.results)
        self._pack_one = self.results.packer if self.results.count == 1 else None
        self.slots = ctypes.c_char * (SLOT * max(self.params.count, self.results.count, 1))
        unsupported = self.params.unsupported or self.results.unsupported
        if unsupported:
            raise UsageError(
                f"import {name} has a value of type {t.type_name(unsupported)}, which Python functions cannot pass"
            )
        self.takes_guest = _takes_guest(self.function)
        _check_parameters(self.function, self.params, self.takes_guest, name)

    def arguments(self, call: Call, values: int) -> tuple[Any, ...]:
        """Return the arguments of a call of the import."""
        arguments = ()
        if self.params.count:
            arguments = self.params.read(self.slots.from_address(values), 0, call.instance.objects)
        return (call.instance.guest, *arguments) if self.takes_guest else arguments

    def write_result(self, call: Call, values: int, result: Any) -> None:
        """Write what the function returned; a result that nobody wants is dropped."""
        if self.results.count:
            results = results_from(result, self.results.count)
            if self.results.has_references:
                call.instance.objects.collect()
            buffer = self.slots.from_address(values)
            self.results.write(buffer, 0, results, call.instance.objects, "result", self._owner)

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
        return self.results.pack(results_from(result, self.results.count), "result", self._owner)

    def run(self, call: Call, values: int) -> None:
        """Call the function; where it must wait, suspend the guest."""
        if self.kind == COROUTINE_FUNCTION:
            self._start(call, values)
            return
        result = self.function(*self.arguments(call, values))
        if self.kind == YIELDING_FUNCTION:
            self._clear_results(values)
            call.suspend_yielding(self, result)
            return
        if hasattr(result, "__await__"):
            if inspect.iscoroutine(result):
                result.close()
            raise UsageError(
                f"host function {self.name} returned something to await but is no coroutine function: make it "
                "`async def`, so that the guest can be suspended in it"
            )
        if self.results.count:
            self.write_result(call, values, result)

    def _start(self, call: Call, values: int) -> None:
        coroutine: Coroutine[Any, Any, Any] = self.function(*self.arguments(call, values))
        try:
            waited_for = coroutine.send(None)
        except StopIteration as end:
            self.write_result(call, values, end.value)
            return
        self._clear_results(values)
        call.suspend_coroutine(self, coroutine, waited_for)

    def _clear_results(self, values: int) -> None:
        """Let references that nobody is to look at be null: the arguments lie there, and a number is no reference."""
        if self.results.has_references:
            ctypes.memset(values, 0, self.results.size)


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    if inspect.isbuiltin(function):
        return None  # reading it from the documentation takes longer than loading a guest
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None  # some built-in functions do not tell


def _takes_guest(function: Callable[..., Any]) -> bool:
    signature = _signature(function)
    first = next(iter(signature.parameters.values()), None) if signature else None
    return (
        first is not None
        and first.name == _GUEST_PARAMETER
        and first.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    )


def _check_parameters(function: Callable[..., Any], params: Values, takes_guest: bool, name: str) -> None:
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(*range(params.count + takes_guest))
    except TypeError as error:
        guest = ", after the guest" if takes_guest else ""
        raise UsageError(
            f"host function {name}{signature} does not fit: the guest calls it with {params}{guest} ({error})"
        ) from None
