"""The guests of the host's benchmarks, and how one is driven through wasmtime-py's public API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import wasmtime

# The smallest guest that waits.
GUEST: Final = b"""(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1 1)
  (func (export "loop") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (call $wait (local.get 0))))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if 0 (local.get 0)))
    (local.get 1))
  (func (export "maybe") (param i32) (result i32)
    (if (local.get 0) (then (return (call $wait (local.get 0)))))
    (local.get 0))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
"""

# The same as a compiler writes it: with a C stack in its memory, and malloc.
C_STACK_GUEST: Final = b"""(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 32)
  (global $__stack_pointer (mut i32) (i32.const 65536))
  (global $heap (mut i32) (i32.const 65536))
  (func (export "malloc") (param i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func (export "free") (param i32))
  (func $once (export "once") (param i32) (result i32) (local i32)
    (global.set $__stack_pointer (local.tee 1 (i32.sub (global.get $__stack_pointer) (i32.const 16))))
    (i32.store (local.get 1) (call $wait (local.get 0)))
    (global.set $__stack_pointer (i32.add (local.get 1) (i32.const 16)))
    (i32.load (local.get 1)))
  (func (export "maybe") (param i32) (result i32)
    (if (local.get 0) (then (return (call $once (local.get 0)))))
    (local.get 0))
  (func (export "loop") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (call $once (local.get 0))))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if 0 (local.get 0)))
    (local.get 1)))
"""


class PublicApi:
    """GUEST, instrumented for the plain ABI, driven with nothing but wasmtime-py's public API."""

    def __init__(self, module: bytes, wait: Callable[[int], Awaitable[int]]) -> None:
        self._wait = wait
        self._store = wasmtime.Store(wasmtime.Engine())
        self._address, self._end = 1024, 65536
        self._rewinding = False
        kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
        imported = wasmtime.Func(self._store, kind, self._host_wait)
        instance = wasmtime.Instance(self._store, wasmtime.Module(self._store.engine, module), [imported])
        exports = instance.exports(self._store)
        self._memory: Any = exports["memory"]
        self._loop: Any = exports["loop"]
        self._start_unwind: Any = exports["asyncify_start_unwind"]
        self._stop_unwind: Any = exports["asyncify_stop_unwind"]
        self._start_rewind: Any = exports["asyncify_start_rewind"]
        self._stop_rewind: Any = exports["asyncify_stop_rewind"]
        self._get_state: Any = exports["asyncify_get_state"]

    def _host_wait(self, value: int) -> int:
        if self._rewinding:
            self._stop_rewind(self._store)
            self._rewinding = False
            return value
        structure = (self._address + 8).to_bytes(4, "little") + self._end.to_bytes(4, "little")
        self._memory.write(self._store, structure, self._address)
        self._start_unwind(self._store, self._address)
        return 0

    async def loop(self, count: int) -> None:
        """Let the guest wait that many times."""
        self._loop(self._store, count)
        while self._get_state(self._store) == 1:
            self._stop_unwind(self._store)
            await self._wait(0)
            self._start_rewind(self._store, self._address)
            self._rewinding = True
            self._loop(self._store, 0)
