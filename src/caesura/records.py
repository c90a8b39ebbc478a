"""Records: frozen dataclasses that are compared and shown by one piece of code.

`dataclass` writes and compiles methods for each class: 0.3 ms where a field or ten are compared, shown and hashed, 0.2
without. A process that goes on with a saved guest imports twenty such classes, and shows or compares none of them.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Record:
    """What a frozen dataclass with `eq=False` and `repr=False` is derived from, to be equal and shown by its fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__dataclass_fields__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__dataclass_fields__))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
        return f"{type(self).__qualname__}({fields})"
