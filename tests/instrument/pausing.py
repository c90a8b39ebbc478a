"""A host that lets modules with pause points pause as soon as they have counted so far, and resumes them.

It drives the plain ABI and thunks as docs/abi.md says, with Wasmtime. Between a pause and its resumption the frames lie
elsewhere, and what they lay in is overwritten. The module must have been instrumented with the asyncify stack in a
memory of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import wasmtime

from caesura import abi
from tests.support.engine import engine

PLENTY: Final = 1 << 40

_BASE: Final = abi.CONTROL_BLOCK + abi.PREEMPT_FRAMES_OFFSET
_PAGE: Final = 1 << 16


@functools.lru_cache(maxsize=4)
def _compiled(module: bytes, *, counts: bool) -> wasmtime.Module:
    return wasmtime.Module(counting_engine() if counts else engine(), module)


@functools.cache
def counting_engine() -> wasmtime.Engine:
    """Return an engine that counts the instructions that it runs, as a yardstick for what guests count."""
    configuration = wasmtime.Config()
    configuration.consume_fuel = True
    configuration.wasm_exceptions = True
    configuration.wasm_function_references = True
    configuration.wasm_gc = True
    configuration.wasm_multi_memory = True
    configuration.wasm_tail_call = True
    return wasmtime.Engine(configuration)


class PausingHost:
    """One instance of a module, which pauses as soon as the count is used up, or by `request` where it looks at that.

    `pauses` counts, and with so many as `pauses_left` a call is given up; with `counts` the engine counts instructions,
    and `ways` has how many there were up to each pause, and to the end.
    """

    def __init__(
        self,
        module: bytes,
        imports: Callable[[wasmtime.Store], list[Any]] | None = None,
        *,
        counts: bool = False,
    ) -> None:
        self.store = wasmtime.Store(counting_engine() if counts else engine())
        if counts:
            self.store.set_fuel(PLENTY)
        given = imports(self.store) if imports is not None else []
        instance = wasmtime.Instance(self.store, _compiled(module, counts=counts), given)
        self.exports: Any = instance.exports(self.store)
        self.memory: Any = self.exports[abi.ASYNCIFY_MEMORY]
        self.is_thunk = abi.SET_DATA_POINTER in self.exports
        self.fuel: Any = self.exports.get(abi.FUEL, None)
        self.counts = counts
        self.ways: list[int] = []
        self.pauses = 0
        self.pauses_left = PLENTY
        self.given = 0 if self.fuel is None else self.left()
        self.place(_BASE)
        self._write(abi.CONTROL_BLOCK + 4, _PAGE)

    def place(self, address: int) -> None:
        """Say where frames shall begin: 0, the guest goes on; -1, it traps."""
        if self.is_thunk:
            self._write(abi.CONTROL_BLOCK + abi.PAUSE_OFFSET, address)
            return
        self._write(abi.CONTROL_BLOCK, _BASE)
        block = abi.CONTROL_BLOCK if address > 0 else address
        self.exports[abi.PAUSE_DATA].set_value(self.store, wasmtime.Val.i32(block))

    def request(self, value: int) -> None:
        """Set or clear the request."""
        self.memory.write(self.store, bytes([value]), abi.CONTROL_BLOCK + abi.REQUEST_BYTE_OFFSET)

    def set_fuel(self, count: int) -> None:
        """Let the guest count so far."""
        self.given += count - self.left()
        self.fuel.set_value(self.store, wasmtime.Val.i64(count))

    def used(self) -> int:
        """Return how much fuel the guest has used."""
        return self.given - self.left()

    def left(self) -> int:
        """Return what is left of the count."""
        return int(self.fuel.value(self.store))

    def call(self, name: str, *arguments: Any, portions: Iterator[int] | None = None) -> Any:
        """Call an export, which goes on at each pause: with another portion to count, or without a request."""
        function = self.exports[f"{abi.ENTRY_PREFIX}{name}" if self.is_thunk else name]
        result = self._enter(function, *arguments)
        while self._is_paused():
            self.pauses += 1
            if self.pauses == self.pauses_left:
                return None
            frames = self._take_frames()
            if portions is not None:
                assert self.left() < 0
                self.set_fuel(next(portions, PLENTY))
            elif self.pauses_left == PLENTY:
                self.request(0)
            self._put_frames(frames)
            result = self._enter(function, *[0 for _ in arguments])
        return result

    def _enter(self, function: Any, *arguments: Any) -> Any:
        before = self.store.get_fuel() if self.counts else 0
        try:
            return function(self.store, *arguments)
        finally:
            if self.counts:
                self.ways.append(before - self.store.get_fuel())

    def _is_paused(self) -> bool:
        if not self.is_thunk:
            return bool(self.exports[abi.GET_STATE](self.store) == abi.State.UNWINDING)
        status = self._read(abi.CONTROL_BLOCK + abi.STATUS_OFFSET)
        assert status in (abi.Status.RUN, abi.Status.PAUSED)
        assert self.exports[abi.GET_STATE](self.store) == abi.State.NORMAL
        return status == abi.Status.PAUSED

    def _take_frames(self) -> bytes:
        if not self.is_thunk:
            self.exports[abi.STOP_UNWIND](self.store)
        current = self._read(abi.CONTROL_BLOCK)
        assert current > _BASE, "something was saved"
        frames = bytes(self.memory.read(self.store, _BASE, current))
        self.memory.write(self.store, b"\xaa" * len(frames), _BASE)
        return frames

    def _put_frames(self, frames: bytes) -> None:
        self.memory.write(self.store, frames, _BASE)
        self._write(abi.CONTROL_BLOCK, _BASE + len(frames))
        if self.is_thunk:
            self._write(abi.CONTROL_BLOCK + abi.STATUS_OFFSET, abi.Status.RESUME)
        else:
            self.exports[abi.START_REWIND](self.store, abi.CONTROL_BLOCK)

    def _read(self, address: int) -> int:
        return int.from_bytes(self.memory.read(self.store, address, address + 4), "little")

    def _write(self, address: int, value: int) -> None:
        self.memory.write(self.store, (value & 0xFFFF_FFFF).to_bytes(4, "little"), address)
