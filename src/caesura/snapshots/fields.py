"""Kinds of fields: for each how a value becomes JSON, how JSON becomes a value, and what is refused on either way.

What is read comes from strangers, so nothing is taken for what it should be; and what cannot be read must not be
written, so the same is checked there. Both ways stand together in one class, and a table (`schema`) says which field
is of which kind. Where a mistake is is put together while it rises, so that values without one pay nothing for it.

A library for schemas was rejected: it would be a dependency, and these dozen kinds are what the format has.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

# What JSON of the format is made of: objects, arrays, text, numbers, true and false. There is no null.
Json = Any

# The largest number that JavaScript's numbers hold exactly; larger ones are written as text, in decimal.
LARGEST_NUMBER: Final = 2**53 - 1

# An integer as text; the longest is 2 ** 128 - 1.
_INTEGER: Final = re.compile("0|-?[1-9][0-9]{0,38}")

_MOST_CHARACTERS: Final = 1 << 20

# What would be read as another text than it was: JSON writes a character beyond 16 bits as two halves.
_TWO_HALVES: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class Mistake(Exception):
    """What is wrong with a value; `path` leads to it, from the outside to the inside."""

    def __init__(self, reason: str, *path: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def within(self, name: str) -> Mistake:
        """Return the same, seen from further outside."""
        return Mistake(self.reason, name, *self.path)

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.reason}" if self.path else self.reason


class Bulk:
    """Bytes that lie beside the JSON, one value after the other. What is in the JSON of each is its size."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes. Raises Mistake if there are not so many."""
        end = self._position + size
        if end > len(self._content):
            raise Mistake(f"{size} bytes of bulk are more than there are")
        content = self._content[self._position : end]
        self._position = end
        return content

    def left(self) -> int:
        """Return how many bytes nobody took."""
        return len(self._content) - self._position


class Kind(Protocol):
    """How values of a kind are written and read; both raise Mistake."""

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return a value as JSON, and append what is bulk in it."""

    def read(self, value: Json, bulk: Bulk) -> Any:
        """Return the value that JSON stands for."""


class Integer:
    """An integer within bounds."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._high = high

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return a number, or text if JavaScript's numbers do not hold it."""
        self._check(value)
        return value if -LARGEST_NUMBER <= value <= LARGEST_NUMBER else str(value)

    def read(self, value: Json, bulk: Bulk) -> int:
        """Return the integer."""
        if type(value) is str:
            if _INTEGER.fullmatch(value) is None:
                raise Mistake(f"{shown(value)} is not an integer")
            value = int(value)
            if -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
                raise Mistake(f"{value} is text, and must be a number")
        elif type(value) is int and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise Mistake(f"{shown(value)} is a number, and must be text")
        self._check(value)
        return int(value)

    def _check(self, value: Any) -> None:
        if type(value) is not int:
            raise Mistake(f"{shown(value)} is not an integer")
        if not self._low <= value <= self._high:
            raise Mistake(f"{shown(value)} is not within {self._low} and {self._high}")


class Text:
    """Text."""

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the text."""
        return self.read(value, None)

    def read(self, value: Json, bulk: Bulk | None) -> str:
        """Return the text."""
        if type(value) is not str:
            raise Mistake(f"{shown(value)} is not text")
        if len(value) > _MOST_CHARACTERS:
            raise Mistake(f"{len(value)} characters are more than {_MOST_CHARACTERS}")
        if _TWO_HALVES.search(value):
            raise Mistake("two halves of a character stand for one")
        return value


class Flag:
    """True or false."""

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the flag."""
        return self.read(value, None)

    def read(self, value: Json, bulk: Bulk | None) -> bool:
        """Return the flag."""
        if type(value) is not bool:
            raise Mistake(f"{shown(value)} is neither true nor false")
        return value


class Choice:
    """One of some values, each of which has a word."""

    def __init__(self, words: Mapping[Any, str]) -> None:
        self._words = words
        self._values = {word: value for value, word in words.items()}

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the word."""
        try:
            return self._words[value]
        except (KeyError, TypeError):
            raise self._unknown(value) from None

    def read(self, value: Json, bulk: Bulk) -> Any:
        """Return the value for a word."""
        if type(value) is not str or value not in self._values:
            raise self._unknown(value)
        return self._values[value]

    def _unknown(self, value: Any) -> Mistake:
        return Mistake(f"{shown(value)} is none of {', '.join(self._values)}")


class Digest:
    """32 bytes, as 64 digits."""

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the digits."""
        if type(value) is not bytes or len(value) != 32:
            raise Mistake("this is not a digest of 32 bytes")
        return value.hex()

    def read(self, value: Json, bulk: Bulk) -> bytes:
        """Return the bytes."""
        if type(value) is not str or len(value) != 64 or value.strip("0123456789abcdef"):
            raise Mistake(f"{shown(value)} is not a digest, 64 hexadecimal digits in lower case")
        return bytes.fromhex(value)


class Bytes:
    """Bytes, which lie in the bulk."""

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return how many bytes there are."""
        if type(value) is not bytes:
            raise Mistake(f"{shown(value)} is not bytes")
        bulk.append(value)
        return len(value)

    def read(self, value: Json, bulk: Bulk) -> bytes:
        """Return the bytes."""
        return bulk.take(_SIZE.read(value, bulk))


_SIZE: Final = Integer(0, LARGEST_NUMBER)


class Items:
    """A sequence, as an array."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the array."""
        if type(value) is not tuple:
            raise Mistake(f"{shown(value)} is not a tuple")
        return [_at(index, self._kind.write, item, bulk) for index, item in enumerate(value)]

    def read(self, value: Json, bulk: Bulk) -> tuple[Any, ...]:
        """Return the sequence."""
        _expect(value, list, "an array")
        return tuple([_at(index, self._kind.read, item, bulk) for index, item in enumerate(value)])


class Row:
    """A tuple of a certain length, each part of a kind of its own, as an array."""

    def __init__(self, *kinds: Kind) -> None:
        self._kinds = kinds

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the array."""
        if type(value) is not tuple or len(value) != len(self._kinds):
            raise Mistake(f"{shown(value)} is not a tuple of {len(self._kinds)}")
        return [_at(index, kind.write, value[index], bulk) for index, kind in enumerate(self._kinds)]

    def read(self, value: Json, bulk: Bulk) -> tuple[Any, ...]:
        """Return the tuple."""
        _expect(value, list, "an array")
        if len(value) != len(self._kinds):
            raise Mistake(f"{len(value)} items, and there must be {len(self._kinds)}")
        return tuple([_at(index, kind.read, value[index], bulk) for index, kind in enumerate(self._kinds)])


class Numbered:
    """A sequence as an object, whose keys are the places in decimal: of these, a change can name some."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the object."""
        if type(value) is not tuple:
            raise Mistake(f"{shown(value)} is not a tuple")
        return {str(index): _at(index, self._kind.write, item, bulk) for index, item in enumerate(value)}

    def read(self, value: Json, bulk: Bulk) -> tuple[Any, ...]:
        """Return the sequence."""
        _expect(value, dict, "an object")
        for index in range(len(value)):
            if str(index) not in value:
                raise Mistake(f"there are {len(value)} items, but none with the number {index}")
        return tuple([_at(index, self._kind.read, value[str(index)], bulk) for index in range(len(value))])


class Keyed:
    """A sequence of records, each of which has another number, ascending, as an object whose keys are these numbers."""

    def __init__(self, kind: Kind, key: str) -> None:
        self._kind = kind
        self._key = key

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the object."""
        if type(value) is not tuple:
            raise Mistake(f"{shown(value)} is not a tuple")
        written: dict[str, Json] = {}
        last = -1
        for place, item in enumerate(value):
            record = _at(place, self._kind.write, item, bulk)
            number = record.pop(self._key)
            if number <= last:
                raise Mistake(f"{self._key} {number} comes after {last}", str(place))
            written[str(number)] = record
            last = number
        return written

    def read(self, value: Json, bulk: Bulk) -> tuple[Any, ...]:
        """Return the sequence."""
        _expect(value, dict, "an object")
        numbers = sorted(map(_number_of_key, value))
        return tuple([_at(number, self._read, value[str(number)], bulk, number) for number in numbers])

    def _read(self, record: Json, bulk: Bulk, number: int) -> Any:
        _expect(record, dict, "an object")
        if self._key in record:
            raise Mistake("this is what its key says already", self._key)
        return self._kind.read({**record, self._key: number}, bulk)


class Pairs:
    """A mapping from text to text, as an array of arrays of two, whose order is that of the mapping."""

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the array."""
        if not isinstance(value, Mapping):
            raise Mistake(f"{shown(value)} is not a mapping")
        return _PAIRS.write(tuple(value.items()), bulk)

    def read(self, value: Json, bulk: Bulk) -> dict[str, str]:
        """Return the mapping."""
        pairs = _PAIRS.read(value, bulk)
        mapping = dict(pairs)
        if len(mapping) != len(pairs):
            raise Mistake("a name stands twice")
        return mapping


_PAIRS: Final = Items(Row(Text(), Text()))


class Maybe:
    """What may be None, which is left out."""

    def __init__(self, kind: Kind) -> None:
        self.write = kind.write
        self.read = kind.read


class Record:
    """A dataclass, as an object. What has its default value is left out, and what is left out has it.

    `parts` are the kinds of all fields, in the order in which their bulk lies, but for those that are no part of the
    document: what these are when it is read is `apart`. `check` raises Mistake for what single fields do not tell.
    """

    def __init__(
        self,
        made: Callable[..., Any],
        check: Callable[[Any], None] | None = None,
        *,
        apart: Mapping[str, Any] | None = None,
        **parts: Kind,
    ) -> None:
        self._made = made
        self._check = check
        self._parts = parts
        fields = {item.name: item for item in dataclasses.fields(made)}  # type: ignore[arg-type]
        self._apart = dict(apart or {})
        assert fields.keys() == parts.keys() | self._apart.keys(), fields.keys() ^ parts.keys()
        self._defaults = {name: _default_of(fields[name], kind) for name, kind in parts.items()}

    def write(self, value: Any, bulk: list[bytes]) -> Json:
        """Return the object."""
        if type(value) is not self._made:
            raise Mistake(f"{shown(value)} is of another type")
        written = {}
        for name, kind in self._parts.items():
            content = getattr(value, name)
            if not _same(content, self._defaults[name]):
                written[name] = _at(name, kind.write, content, bulk)
        if self._check is not None:
            self._check(value)
        return written

    def read(self, value: Json, bulk: Bulk) -> Any:
        """Return the object."""
        _expect(value, dict, "an object")
        unknown = value.keys() - self._parts.keys()
        if unknown:
            raise Mistake("there is no such field", min(unknown))
        contents = dict(self._apart)
        for name, kind in self._parts.items():
            if name in value:
                contents[name] = _at(name, kind.read, value[name], bulk)
                if _same(contents[name], self._defaults[name]):
                    raise Mistake("this is the value of which nothing is written", name)
            elif self._defaults[name] is dataclasses.MISSING:
                raise Mistake("this is missing", name)
            else:
                contents[name] = self._defaults[name]
        made = self._made(**contents)
        if self._check is not None:
            self._check(made)
        return made


def shown(value: Any) -> str:
    """Return a value for a message, of which a stranger may have made a long one."""
    if type(value) is int and value.bit_length() > _SHOWN_BITS:
        return f"a number of {value.bit_length()} bits"
    text = repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


_SHOWN: Final = 60
_SHOWN_BITS: Final = 160


def _at(name: str | int, function: Callable[..., Any], *values: Any) -> Any:
    try:
        return function(*values)
    except Mistake as mistake:
        raise mistake.within(str(name)) from None


def _expect(value: Json, kind: type, name: str) -> None:
    if type(value) is not kind:
        raise Mistake(f"{shown(value)} is not {name}")


def _number_of_key(key: str) -> int:
    if key.isascii() and key.isdigit() and len(key) <= _LONGEST_KEY:
        number = int(key)
        if str(number) == key and number <= _HIGHEST_KEY:
            return number
    raise Mistake("a number of 32 bits must stand here", shown(key))


_LONGEST_KEY: Final = 10
_HIGHEST_KEY: Final = 0xFFFF_FFFF


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _default_of(field: dataclasses.Field[Any], kind: Kind) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if isinstance(kind, Maybe) else field.default
