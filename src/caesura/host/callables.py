"""What a Python function takes, and whether it is a coroutine function: asked of each import of each guest.

`inspect` answers for everything that can be called, and takes longer for the functions of a guest than making the guest
does. So of plain functions and methods, which nearly all are, the answer is read from their code.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, Final

_GUEST_PARAMETER: Final = "guest"


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Tell whether calling a function gives a coroutine."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    plain, _ = _plain_function(inner)
    if plain is not None:
        return bool(plain.__code__.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def takes_guest(function: Callable[..., Any]) -> bool:
    """Tell whether a function's first parameter is the guest."""
    plain, bound = _plain_function(function)
    if plain is not None:
        code = plain.__code__
        return code.co_argcount > bound and code.co_varnames[bound] == _GUEST_PARAMETER
    signature = _signature(function)
    first = next(iter(signature.parameters.values()), None) if signature else None
    return (
        first is not None
        and first.name == _GUEST_PARAMETER
        and first.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    )


def mistake_in(function: Callable[..., Any], count: int) -> tuple[inspect.Signature, str] | None:
    """Return why a function cannot be called with so many arguments: its signature, and what is wrong; None if it can,
    or does not tell.
    """
    plain, bound = _plain_function(function)
    if plain is not None and _fits(plain, count + bound):
        return None
    signature = _signature(function)
    if signature is None:
        return None
    try:
        signature.bind(*range(count))
    except TypeError as error:
        return signature, str(error)
    return None


def _plain_function(function: Callable[..., Any]) -> tuple[FunctionType | None, int]:
    """Return the function that is called, and how many arguments that gets from a method; None if it is no such."""
    bound = isinstance(function, MethodType)
    inner: object = function.__func__ if isinstance(function, MethodType) else function
    # What a decorator has left says what `inspect` looks at instead.
    if type(inner) is not FunctionType or inner.__dict__:
        return None, 0
    if inner.__code__.co_argcount < bound:
        return None, 0  # it gets itself among `*arguments`
    return inner, int(bound)


def _fits(function: FunctionType, count: int) -> bool:
    code = function.__code__
    if code.co_kwonlyargcount > len(function.__kwdefaults__ or ()):
        return False
    most = code.co_argcount
    least = most - len(function.__defaults__ or ())
    return least <= count and (count <= most or bool(code.co_flags & inspect.CO_VARARGS))


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    if inspect.isbuiltin(function):
        return None  # reading it from the documentation takes longer than loading a guest
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None  # some built-in functions do not tell
