"""WASI preview 1 for programs that wait: coroutines for what blocks, Wasmtime for the rest.

Three functions wait: `poll_oneoff` (sleeping, mostly), `sched_yield`, and `fd_read` of standard input. They
are coroutines here, so that a thousand programs that sleep share one thread. All others are Wasmtime's, which
are faster and better tested than ours would be. Wasmtime's functions find the memory in the module that calls
them, so Python cannot call one; the calls that we pass on (reading a file that is not standard input, asking
for the time) go through a small module that re-exports the guest's memory.

`fd_write` is ours where output goes to a Python function: Wasmtime would call that from a thread of its own,
which outlives the interpreter and then aborts the process.
"""

from __future__ import annotations

import asyncio
import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache as once
from typing import TYPE_CHECKING, Any, Final

import wasmtime

from caesura.errors import InternalError, UsageError
from caesura.host import native
from caesura.host.stdin import Input, standard_input
from caesura.host.values import SLOT

if TYPE_CHECKING:
    from caesura.host.guest import Guest
    from caesura.host.instance import Instance


_SUCCESS: Final = 0
_INVALID: Final = 28

_STANDARD_INPUT: Final = 0
_STANDARD_OUTPUT: Final = 1
_STANDARD_ERROR: Final = 2

# Kinds of subscriptions and events.
_CLOCK: Final = 0
_READ: Final = 1

_SUBSCRIPTION_SIZE: Final = 48
_EVENT: Final = struct.Struct("<QHBxxxxxQHxxxxxx")
_ABSOLUTE: Final = 1
_NANOSECONDS: Final = 1_000_000_000

_FORWARDER: Final = """(module
  (import "guest" "memory" (memory 0))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (export "memory" (memory 0))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32)
    local.get 0 local.get 1 local.get 2 local.get 3 call $fd_read)
  (func (export "fd_write") (param i32 i32 i32 i32) (result i32)
    local.get 0 local.get 1 local.get 2 local.get 3 call $fd_write)
  (func (export "clock_time_get") (param i32 i64 i32) (result i32)
    local.get 0 local.get 1 local.get 2 call $clock_time_get))
"""


class Wasi:
    """What a WASI program sees of the world: by default nothing but the standard streams. One for each guest.

    `arguments` begin with the program's name. `directories` maps the guest's paths to the host's. `stdin` is
    bytes or, by default, the process's standard input; `stdout` and `stderr` are called with what is written,
    and are the process's by default.
    """

    def __init__(
        self,
        arguments: Sequence[str] = ("guest",),
        *,
        environment: Mapping[str, str] | None = None,
        directories: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
    ) -> None:
        self._arguments = list(arguments)
        self._environment = dict(environment or {})
        self._directories = dict(directories or {})
        self._stdin: Input = standard_input if stdin is None else Input(stdin)
        self._outputs = {
            descriptor: write
            for descriptor, write in ((_STANDARD_OUTPUT, stdout), (_STANDARD_ERROR, stderr))
            if write is not None
        }
        self._forward: _Forwarder | None = None

    def configuration(self) -> wasmtime.WasiConfig:
        """Return the configuration of Wasmtime's own functions."""
        configuration = wasmtime.WasiConfig()
        configuration.argv = self._arguments
        configuration.env = list(self._environment.items())
        configuration.inherit_stdout()
        configuration.inherit_stderr()
        for inside, outside in self._directories.items():
            try:
                configuration.preopen_dir(outside, inside)
            except wasmtime.WasmtimeError:
                raise UsageError(f"cannot give the guest the folder '{outside}': it cannot be opened") from None
        return configuration

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return the functions that are not Wasmtime's."""
        functions: dict[str, Callable[..., Any]] = {
            "poll_oneoff": self._poll_oneoff,
            "sched_yield": self._sched_yield,
            "fd_read": self._fd_read,
        }
        if self._outputs:
            functions["fd_write"] = self._fd_write
        return functions

    def attach(self, instance: Instance) -> None:
        """Connect the functions to the guest that uses them."""
        if self._forward is not None:
            raise UsageError("a Wasi object serves one guest: make one for each")
        self._forward = _Forwarder(instance)

    async def _sched_yield(self) -> int:
        await asyncio.sleep(0)
        return _SUCCESS

    async def _fd_read(self, guest: Guest, descriptor: int, vectors: int, count: int, result: int) -> int:
        if descriptor != _STANDARD_INPUT:
            return self._forwarder().fd_read(descriptor, vectors, count, result)
        memory = guest.memory
        places = _vectors(guest, vectors, count)
        wanted = sum(size for _, size in places)
        chunk = await self._stdin.read(wanted) if wanted else b""
        rest = memoryview(chunk)
        for address, size in places:
            memory.write(address, rest[:size])
            rest = rest[size:]
        memory.write_struct("<I", result & 0xFFFF_FFFF, len(chunk))
        return _SUCCESS

    def _fd_write(self, guest: Guest, descriptor: int, vectors: int, count: int, result: int) -> int:
        write = self._outputs.get(descriptor)
        if write is None:
            return self._forwarder().fd_write(descriptor, vectors, count, result)
        memory = guest.memory
        content = b"".join(memory.read(address, size) for address, size in _vectors(guest, vectors, count))
        write(content)
        memory.write_struct("<I", result & 0xFFFF_FFFF, len(content))
        return _SUCCESS

    async def _poll_oneoff(self, guest: Guest, subscriptions: int, events: int, count: int, result: int) -> int:
        if count <= 0:
            return _INVALID
        memory = guest.memory
        events &= 0xFFFF_FFFF
        now = asyncio.get_running_loop().time()
        content = memory.read(subscriptions & 0xFFFF_FFFF, count * _SUBSCRIPTION_SIZE)
        asked = [
            self._subscription(guest, content[start : start + _SUBSCRIPTION_SIZE], events, now)
            for start in range(0, len(content), _SUBSCRIPTION_SIZE)
        ]
        happened = await self._wait(asked)
        for place, subscription in enumerate(happened):
            event = _EVENT.pack(subscription.user_data, _SUCCESS, subscription.kind, subscription.available, 0)
            memory.write(events + place * _EVENT.size, event)
        memory.write_struct("<I", result & 0xFFFF_FFFF, len(happened))
        return _SUCCESS

    def _subscription(self, guest: Guest, content: bytes, scratch: int, now: float) -> _Subscription:
        user_data, kind = struct.unpack_from("<QB", content)
        if kind != _CLOCK:
            (descriptor,) = struct.unpack_from("<I", content, 16)
            deadline = None if kind == _READ and descriptor == _STANDARD_INPUT else now
            return _Subscription(user_data, kind, deadline)
        clock, timeout, _, flags = struct.unpack_from("<IxxxxQQH", content, 16)
        if flags & _ABSOLUTE:
            self._forwarder().clock_time_get(clock, 1, scratch)
            timeout -= guest.memory.read_struct("<Q", scratch)[0]
        return _Subscription(user_data, kind, now + timeout / _NANOSECONDS)

    async def _wait(self, asked: list[_Subscription]) -> list[_Subscription]:
        """Return the subscriptions that have come true, once there are any."""
        loop = asyncio.get_running_loop()
        earliest = min((item.deadline for item in asked if item.deadline is not None), default=None)
        inputs = [item for item in asked if item.deadline is None]
        if not inputs:
            assert earliest is not None
            await asyncio.sleep(max(0.0, earliest - loop.time()))
        else:
            try:
                async with asyncio.timeout_at(earliest):
                    available = await self._stdin.wait()
                for item in inputs:
                    item.deadline = loop.time()
                    item.available = available
            except TimeoutError:
                pass
        now = loop.time() if earliest is None else max(loop.time(), earliest)
        return [item for item in asked if item.deadline is not None and item.deadline <= now]

    def _forwarder(self) -> _Forwarder:
        assert self._forward is not None, "the guest does not run before it is attached"
        return self._forward


def _vectors(guest: Guest, address: int, count: int) -> list[tuple[int, int]]:
    """Return the (address, size) pairs of the buffers that a program reads into or writes from."""
    content = guest.memory.read(address & 0xFFFF_FFFF, 8 * count)
    return [(start, size) for start, size in struct.iter_unpack("<II", content)]


class _Subscription:
    """One thing that a program waits for; `deadline` is None for standard input, past for what is ready."""

    def __init__(self, user_data: int, kind: int, deadline: float | None) -> None:
        self.user_data = user_data
        self.kind = kind
        self.deadline = deadline
        self.available = 1 if kind != _CLOCK else 0


class _Forwarder:
    """Calls Wasmtime's own functions for a guest."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._functions: dict[str, wasmtime.Func] = {}
        self._buffer = ctypes.create_string_buffer(4 * SLOT)

    def fd_read(self, *arguments: int) -> int:
        """Read from a file."""
        return self._call("fd_read", "<i12xi12xi12xi12x", arguments)

    def fd_write(self, *arguments: int) -> int:
        """Write to a file."""
        return self._call("fd_write", "<i12xi12xi12xi12x", arguments)

    def clock_time_get(self, *arguments: int) -> int:
        """Ask a clock."""
        return self._call("clock_time_get", "<i12xq8xI12x", arguments)

    def _call(self, name: str, layout: str, arguments: tuple[int, ...]) -> int:
        instance = self._instance
        if not self._functions:
            self._functions = _instantiate_forwarder(instance)
        struct.pack_into(layout, self._buffer, 0, *arguments)
        function = ctypes.addressof(self._functions[name]._func)
        buffer = ctypes.addressof(self._buffer)
        if native.call_function(instance.context, function, buffer, len(arguments), instance.trap_address):
            raise InternalError(f"Wasmtime's {name} failed")
        if instance.trap.value:
            trap = native.trap_from(instance.trap.value)
            instance.trap.value = None
            raise UsageError(f"{name} failed: {trap.message}")
        result: int = struct.unpack_from("<i", self._buffer)[0]
        return result


@once
def _forwarder_module(engine: wasmtime.Engine) -> wasmtime.Module:
    return wasmtime.Module(engine, _FORWARDER)


def _instantiate_forwarder(instance: Instance) -> dict[str, wasmtime.Func]:
    linker = wasmtime.Linker(instance.program.engine)
    linker.define_wasi()
    linker.define(instance.store, "guest", "memory", instance.guest_memory())
    exports = linker.instantiate(instance.store, _forwarder_module(instance.program.engine)).exports(instance.store)
    functions: dict[str, wasmtime.Func] = {}
    for name in ("fd_read", "fd_write", "clock_time_get"):
        function = exports[name]
        assert isinstance(function, wasmtime.Func)
        functions[name] = function
    return functions
