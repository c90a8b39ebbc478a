"""The states that `--base` names, which other states hold the changes of.

What is a change may itself be the base of another, as where a program is saved again and again. So there may be any
number of bases, in whatever order: each is read when that is there which it needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from caesura.cli.files import about, read_state

if TYPE_CHECKING:
    from caesura.snapshots.state import State


def add_base(parser: argparse.ArgumentParser, of: str) -> None:
    """Add the option; `of` names the state that has a base."""
    parser.add_argument(
        "--base",
        action="append",
        default=[],
        metavar="STATE",
        help=f"the state that {of} holds the changes of; again for the one that this holds the changes of, and so on",
    )


class Bases:
    """States, by what changes name them. Raises SnapshotError for one whose own base is not among them."""

    def __init__(self, places: Sequence[str]) -> None:
        self._states: dict[bytes, State] = {}
        waiting = [(place, read_state(place)) for place in places]
        while waiting:
            left = [(place, data) for place, data in waiting if not self._take(place, data)]
            if len(left) == len(waiting):
                with about(left[0][0]):
                    self.decode(left[0][1])
            waiting = left

    def add(self, state: State) -> None:
        """Let a state be a base, too."""
        from caesura.snapshots.format import digest_of

        self._states[digest_of(state)] = state

    def decode(self, data: bytes) -> State:
        """Return the state in a file's bytes. Raises SnapshotError, also if it needs another base."""
        from caesura.errors import SnapshotError
        from caesura.snapshots.format import base_of, decode

        digest = base_of(data)
        if digest is not None and digest not in self._states:
            raise SnapshotError(
                f"this holds what changed since the state {digest.hex()}: give the file with that one as --base"
                + (", too" if self._states else "")
            )
        return decode(data, None if digest is None else self._states[digest])

    def _take(self, place: str, data: bytes) -> bool:
        """Add a state from a file, if what it needs is there."""
        from caesura.snapshots.format import base_of

        with about(place):
            digest = base_of(data)
            if digest is not None and digest not in self._states:
                return False
            self.add(self.decode(data))
        return True
