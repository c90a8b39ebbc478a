"""What is read from the code of functions is what `inspect` says of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from caesura.host.callables import is_coroutine_function, mistake_in, takes_guest


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


class _Holder:
    def method(self, first: int, second: int = 0) -> None: ...

    async def coroutine(self, guest: object) -> None: ...

    def anything(*everything: Any) -> None: ...

    @staticmethod
    def static(guest: object, value: int) -> None: ...

    @classmethod
    def of_class(cls, guest: object) -> None: ...

    def __call__(self, guest: object, value: int) -> None: ...


class _AsyncHolder:
    async def __call__(self, value: int) -> None: ...


def keyword_only(value: int, *, guest: int) -> None: ...


def keyword_default(value: int, *, guest: int = 0) -> None: ...


def positional_only(guest: object, /, value: int = 1) -> None: ...


async def coroutine(guest: object, *values: int) -> None: ...


async def generator(value: int) -> Any:
    yield value


@decorated
def wrapped(guest: object, value: int) -> None: ...


FUNCTIONS: list[Callable[..., Any]] = [
    _Holder().method,
    _Holder().coroutine,
    _Holder().anything,
    _Holder.static,
    _Holder.of_class,
    _Holder(),
    _AsyncHolder(),
    keyword_only,
    keyword_default,
    positional_only,
    coroutine,
    generator,
    wrapped,
    lambda: None,
    lambda guest: None,
    lambda *guest: None,
    lambda first, *, guest=None: None,
    functools.partial(coroutine, object()),
    functools.partial(positional_only, object()),
    functools.partial(keyword_only, guest=1),
    int,
    dict,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_functions_take_is_what_inspect_says(function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        assert not takes_guest(function)
        assert mistake_in(function, 100) is None
        return
    first = next(iter(signature.parameters.values()), None)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert takes_guest(function) == (first is not None and first.name == "guest" and first.kind in positional)
    for count in range(5):
        try:
            signature.bind(*range(count))
            expected = None
        except TypeError as error:
            expected = signature, str(error)
        assert mistake_in(function, count) == expected


def test_coroutine_functions() -> None:
    found = [function for function in FUNCTIONS if is_coroutine_function(function)]
    assert [getattr(function, "__name__", "") for function in found] == ["coroutine", "", "coroutine", ""]
