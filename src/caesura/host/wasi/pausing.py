"""WASI in which a program can be suspended at every call, so that it can be saved wherever it calls the system.

Every function is a coroutine function here, which runs at once unless somebody wants to save the program: then it
waits, before it does anything, until that is done. In the program that is made of the snapshot it is called anew. So
nothing is done twice, and nothing is left out. Where standard input is a file, it says how far the program has read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from caesura.host.imports import COROUTINE_FUNCTION, kind_of
from caesura.host.instance import Instance
from caesura.host.preview_1 import FUNCTIONS, PREVIEW_1
from caesura.host.wasi.reopening import OnMissing
from caesura.host.wasi.stdin import Place
from caesura.host.wasi.wasi import Wasi
from caesura.snapshots.state import CallRecord, WasiState


class PausingWasi(Wasi):
    """A `Wasi` for programs that are saved from outside.

    `pause` is asked at every call; where it returns a future, the call waits for that first.
    """

    pause: Callable[[], asyncio.Future[None] | None] = staticmethod(lambda: None)

    # The functions in which a program that was saved may be suspended, as "module.name"; None: in all of them.
    suspending: frozenset[str] | None = None

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return the functions that are not Wasmtime's, which are all of them here."""
        return {name: self._pausing(function) for name, function in self._all(super().functions()).items()}

    def functions_again(self, waiting: Iterable[str]) -> dict[str, Callable[..., Any]]:
        """Return them for a program that was saved."""
        every = self._all({**super().functions(), "clock_time_get": self._clock_time_get})
        blocking = super().blocking()
        return {
            name: self._pausing(function) if self._suspends(name) else blocking.get(name, function)
            for name, function in every.items()
        }

    def blocking(self) -> dict[str, Callable[..., Any]]:
        """Return forms of them for programs that cannot be suspended there."""
        plain = {name: item for name, item in super().functions().items() if kind_of(item) != COROUTINE_FUNCTION}
        return {**self._all(plain), **super().blocking()}

    def saved(self) -> WasiState:
        """Return what is needed to open everything again, and how far standard input was read, if that is a file."""
        state = super().saved()
        place = self._stdin.place()
        if place is None:
            return state
        descriptors = [
            replace(item, offset=place.offset, identity=place.identity) if item.kind == "stdin" else item
            for item in state.descriptors
        ]
        return replace(state, descriptors=tuple(descriptors))

    def attach_again(
        self, instance: Instance, state: WasiState, calls: Iterable[CallRecord], on_missing: OnMissing | None
    ) -> None:
        """Connect the functions to a program that was saved, which reads on where it was.

        Only a command's program has the process's standard input to itself.
        """
        super().attach_again(instance, state, calls, on_missing)
        for item in state.descriptors:
            if item.kind == "stdin" and item.identity:
                anyway = on_missing is not None and on_missing(item) is not None
                self._stdin.go_to(Place(item.offset, item.identity), anyway=anyway)

    def _suspends(self, name: str) -> bool:
        return self.suspending is None or f"{PREVIEW_1}.{name}" in self.suspending

    def _all(self, own: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
        return {**{name: partial(self._call, name) for name in FUNCTIONS}, **own}

    def _pausing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        waits = kind_of(function) == COROUTINE_FUNCTION

        async def call(*arguments: int) -> Any:
            future = self.pause()
            if future is not None:
                await future
            result = function(*arguments)
            return await result if waits else result

        return call
