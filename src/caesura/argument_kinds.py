"""Whether what users hand over is of the kind that a parameter takes, said by the parameter's name.

Python looks at no annotation, so a size that is text would fail somewhere inside, with an error about something else,
or not at all. The kinds are those of the annotations: of a dataclass they are read once, and a field that is added is
checked without another line. A library for this was rejected: the kinds are few, and what is inside of tuples and
mappings is looked at by those who know what it means.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from functools import cache
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from caesura.errors import UsageError

# What a module, and what is written into memory, is given as.
BYTES: Final = (bytes, bytearray, memoryview)

# How an error calls what stands for several classes, or is better known by another name; others go by their own.
_WORDS: Final[Mapping[type, str]] = {
    NoneType: "None",
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "text",
    tuple: "a tuple",
    Mapping: "a mapping from names to what they stand for",
    PathLike: "a path",
    bytes: "bytes",
}
# An integer of more bits is no size and no number of anything, and is no float. Long ones Python does not even write.
_MOST_BITS: Final = 1000

# They are `bytes` to whoever reads an error.
_LIKE_BYTES: Final = frozenset([bytearray, memoryview])


def check_kind(name: str, value: object, *kinds: type) -> None:
    """Raise UsageError for a value that is of none of some kinds; True and False are no integers, and huge ones are
    no numbers.
    """
    if not _is_one_of(value, kinds):
        said = [kind for kind in kinds if kind not in _LIKE_BYTES and not (kind is int and float in kinds)]
        words = [_WORDS.get(kind, f"a caesura.{kind.__name__}") for kind in said]
        raise UsageError(f"{name} is {shown(value)}: expected {' or '.join(words)}")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise UsageError(f"{name} is {shown(value)}: expected one of {_MOST_BITS} at most")


def shown(value: object) -> str:
    """Return how an error writes a value, cut off."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"an integer of {value.bit_length()} bits"
    try:
        return reprlib.repr(value)
    except ValueError:  # it has such integers in it
        return f"a {type(value).__name__}"


def check_hook(name: str, value: object) -> None:
    """Raise UsageError for what is to be called, and is neither a function nor None."""
    if value is not None and not callable(value):
        raise UsageError(f"{name} is {shown(value)}: expected a function or None")


def check_fields(checked: Any) -> None:
    """Raise UsageError if a field of a dataclass's object is not of the kind that its annotation says."""
    owner: type = type(checked)
    for name, kinds in _kinds_of_fields(owner):
        value = getattr(checked, name)
        # Nearly always it is, and that takes half of the time.
        if type(value) not in kinds or (type(value) is int and value.bit_length() > _MOST_BITS):
            check_kind(name, value, *kinds)


def _is_one_of(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


@cache
def _kinds_of_fields(owner: type) -> tuple[tuple[str, tuple[type, ...]], ...]:
    """Return the fields of a dataclass and their kinds."""
    return tuple((name, _kinds_of(hint)) for name, hint in get_type_hints(owner).items())


def _kinds_of(hint: Any) -> tuple[type, ...]:
    """Return the classes of an annotation: of a union all, of a generic type the one without its arguments."""
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(get_origin(part) or part for part in parts)
