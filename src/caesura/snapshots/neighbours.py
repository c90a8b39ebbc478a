"""Calls that have arguments on another call's C stack, in a module that goes on with both.

While that other call, their neighbour, is suspended as it was saved, the arguments are where they were. When it goes
on it uses their place. A host notes them before that, and puts them back afterwards (`host.kept_arguments`). Here they
are constants, in a passive data segment: the dependent call writes them when its neighbour has ended meanwhile. A
global for each of the two says where that call is: not gone on yet, on its way, or ended. A call whose neighbour is on
its way, or on whose stack one that is on its way has its arguments, traps before anything has changed. A call that is
suspended again, by a host that knows how, stays on its way: its end is not seen here.

Arguments that were away when the state was saved, with the neighbour's frames in their place, are refused, and so are
those that share a place with other calls': what one of these has changed there would be lost.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from caesura.errors import SnapshotError
from caesura.snapshots.pages import read
from caesura.snapshots.state import CallRecord, KeptState, State
from caesura.wasm import encoded as c
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.types import I32, I64

_ON_ITS_WAY: Final = 1
_ENDED: Final = 2

_MEMORY_INIT: Final = b"\xfc\x08"


class Neighbours:
    """The calls of a state that are neighbours, or have one. `memory` is where C stacks are; the first global that is
    added has the index `first_global`. Raises SnapshotError for arguments that cannot be kept apart.
    """

    def __init__(self, module: Module, state: State, memory: int, first_global: int) -> None:
        self._memory: Final = memory
        self._is_wide: Final = memory < len(module.memories) and module.memories[memory].is64
        self._kept: Final = {place: found for place, call in enumerate(state.calls) if (found := _dependent(call))}
        contents = next((item for item in state.memories if item.index == memory), None)
        for place, kept in self._kept.items():
            where = f"call {place} of the snapshot ({state.calls[place].export})"
            assert kept.neighbour is not None, "of these all have one"
            if kept.neighbour >= len(state.calls) or kept.neighbour == place:
                raise SnapshotError(f"{where} has arguments on the C stack of call {kept.neighbour}, which is no other")
            if kept.noted is not None:
                raise SnapshotError(
                    f"{where} has arguments on the C stack of call {kept.neighbour}, which uses their place, and only "
                    "a host puts them back: let one of them end first"
                )
            if contents is None or not kept.low <= kept.high <= contents.size:
                raise SnapshotError(f"{where} has arguments from {kept.low} to {kept.high}, which is no place for them")
        ranges = sorted((kept.low, kept.high, place) for place, kept in self._kept.items())
        for (_, end, one), (start, _, other) in pairwise(ranges):
            if start < end:
                raise SnapshotError(
                    f"calls {min(one, other)} and {max(one, other)} of the snapshot have arguments in one place on a C "
                    "stack, which only a host keeps apart: let one of them end first"
                )
        runs = contents.runs if contents is not None else ()
        self._contents: Final = [read(runs, kept.low, kept.high) for kept in self._kept.values()]
        places = sorted({place for place, kept in self._kept.items() for place in (place, kept.neighbour or 0)})
        self._globals: Final = {place: first_global + number for number, place in enumerate(places)}

    def globals(self) -> list[bytes]:
        """Return the entries of the globals that are added."""
        return [b"\x7f\x01" + c.CONST_I32 + b"\0" + c.END] * len(self._globals)

    def data(self) -> list[bytes]:
        """Return the data segments with the arguments."""
        return [b"\x01" + encode_unsigned(len(content)) + content for content in self._contents]

    def before(self, place: int, first_segment: int) -> bytes:
        """Return the code with which a call goes on; `first_segment` is the index of the first of the segments."""
        if place not in self._globals:
            return b""
        code = b"".join(
            self._is(one, _ON_ITS_WAY) + c.IF_EMPTY + c.UNREACHABLE + c.END
            for one, kept in self._kept.items()
            if kept.neighbour == place
        )
        kept = self._kept.get(place)
        if kept is not None and kept.neighbour is not None:
            code += self._is(kept.neighbour, _ON_ITS_WAY) + c.IF_EMPTY + c.UNREACHABLE + c.END
            segment = first_segment + list(self._kept).index(place)
            size = kept.high - kept.low
            put = c.unsigned_constant(I64 if self._is_wide else I32, kept.low)
            put += c.CONST_I32 + b"\0" + c.unsigned_constant(I32, size)
            put += _MEMORY_INIT + encode_unsigned(segment) + encode_unsigned(self._memory)
            code += self._is(kept.neighbour, _ENDED) + c.IF_EMPTY + put + c.END
        return code + self._set(place, _ON_ITS_WAY)

    def ended(self, place: int) -> bytes:
        """Return the code for when a call has ended."""
        return self._set(place, _ENDED) if place in self._globals else b""

    def _is(self, place: int, value: int) -> bytes:
        return c.GLOBAL_GET + encode_unsigned(self._globals[place]) + c.CONST_I32 + encode_signed(value) + c.I32_EQ

    def _set(self, place: int, value: int) -> bytes:
        return c.CONST_I32 + encode_signed(value) + c.GLOBAL_SET + encode_unsigned(self._globals[place])


def _dependent(call: CallRecord) -> KeptState | None:
    """Return what a call has on another one's C stack."""
    return call.kept if call.kept is not None and call.kept.neighbour is not None else None
