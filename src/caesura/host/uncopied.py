"""What stands for something in this process can be neither copied nor pickled, and says so.

A guest, its memory, a compiled program, what interrupts one: copies would be of Python's part only. Without a word of
ours Python copies some of them (a copied `Interruptions` interrupts nobody) and says of others that ctypes objects
cannot be pickled, to whoever hands one to `multiprocessing`.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn


class Uncopied:
    """The base of such classes. Raises TypeError, as Python does for what it cannot copy."""

    __slots__ = ()

    _what: ClassVar[str]  # what it is, for messages
    _instead_of_copy: ClassVar[str]
    _instead_of_pickle: ClassVar[str]

    def __copy__(self) -> Any:  # of a class that has a better answer, what it says
        raise TypeError(f"{self._what} cannot be copied: {self._instead_of_copy}")

    def __deepcopy__(self, memo: object) -> Any:
        return self.__copy__()

    def __reduce_ex__(self, version: object) -> NoReturn:
        raise TypeError(f"{self._what} cannot be pickled: {self._instead_of_pickle}")
