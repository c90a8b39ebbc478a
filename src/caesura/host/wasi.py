"""WASI preview 1 for programs that wait: coroutines for what blocks, Wasmtime for the rest.

Three functions wait: `poll_oneoff` (sleeping, mostly), `sched_yield`, and `fd_read` of standard input. They
are coroutines here, so that a thousand programs that sleep share one thread. All others are Wasmtime's, which
are faster and better tested than ours would be, but for these:

* `fd_write`, where output goes to a Python function: Wasmtime would call that from a thread of its own, which
  outlives the interpreter and then aborts the process;
* `fd_close` and `fd_renumber`, to know which descriptors still are the standard streams (`freopen`);
* `proc_exit`: Wasmtime's refuses codes above 125.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import wasmtime

from caesura.errors import UsageError
from caesura.host.errors import GuestExit
from caesura.host.forwarding import Forwarder
from caesura.host.stdin import Input, standard_input

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


class Wasi:
    """What a WASI program sees of the world: by default nothing but the standard streams. One for each guest.

    `arguments` begin with the program's name. `directories` maps the guest's paths to the host's. `stdin` is
    bytes or, by default, the process's standard input; `stdout` and `stderr` are called with what is written,
    and are the process's by default.

    Raises UsageError for text that no C program could get, and when it is used, for folders that cannot be opened.
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
        self._arguments = [_checked_text("argument", text) for text in arguments]
        self._environment = {
            _checked_text("environment variable", name): _checked_text(f"value of {name}", value)
            for name, value in (environment or {}).items()
        }
        self._directories = dict(directories or {})
        self._stdin: Input = standard_input if stdin is None else Input(stdin)
        # The descriptors of standard input, and of what goes to Python functions, as the guest numbers them.
        self._inputs = {_STANDARD_INPUT}
        self._outputs = {
            descriptor: write
            for descriptor, write in ((_STANDARD_OUTPUT, stdout), (_STANDARD_ERROR, stderr))
            if write is not None
        }
        self._forward: Forwarder | None = None

    def configuration(self) -> wasmtime.WasiConfig:
        """Return the configuration of Wasmtime's own functions."""
        configuration = wasmtime.WasiConfig()
        configuration.argv = self._arguments
        configuration.env = list(self._environment.items())
        if self._stdin is standard_input:
            configuration.inherit_stdin()  # never read by Wasmtime, but the guest may ask whether it is a terminal
        configuration.inherit_stdout()
        configuration.inherit_stderr()
        for inside, outside in self._directories.items():
            try:
                os.stat(os.path.join(outside, "."))  # Wasmtime does not say why, and opens what cannot be used
                configuration.preopen_dir(outside, inside)
            except (OSError, ValueError, wasmtime.WasmtimeError) as error:
                reason = getattr(error, "strerror", None) or "it cannot be opened"
                raise UsageError(f"cannot give the guest the folder '{outside}': {reason}") from error
        return configuration

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return the functions that are not Wasmtime's."""
        functions: dict[str, Callable[..., Any]] = {
            "poll_oneoff": self._poll_oneoff,
            "sched_yield": self._sched_yield,
            "fd_read": self._fd_read,
            "fd_close": self._fd_close,
            "fd_renumber": self._fd_renumber,
            "proc_exit": _proc_exit,
        }
        if self._outputs:
            functions["fd_write"] = self._fd_write
        return functions

    def attach(self, instance: Instance) -> None:
        """Connect the functions to the guest that uses them."""
        if self._forward is not None:
            raise UsageError("a Wasi object serves one guest: make one for each")
        self._forward = Forwarder(instance)

    async def _sched_yield(self) -> int:
        await asyncio.sleep(0)
        return _SUCCESS

    async def _fd_read(self, guest: Guest, descriptor: int, vectors: int, count: int, result: int) -> int:
        if descriptor not in self._inputs:
            return self._call("fd_read", descriptor, vectors, count, result)
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
            return self._call("fd_write", descriptor, vectors, count, result)
        memory = guest.memory
        content = b"".join(memory.read(address, size) for address, size in _vectors(guest, vectors, count))
        write(content)
        memory.write_struct("<I", result & 0xFFFF_FFFF, len(content))
        return _SUCCESS

    def _fd_close(self, descriptor: int) -> int:
        self._inputs.discard(descriptor)
        self._outputs.pop(descriptor, None)
        return self._call("fd_close", descriptor)

    def _fd_renumber(self, descriptor: int, replaced: int) -> int:
        error = self._call("fd_renumber", descriptor, replaced)
        if error == _SUCCESS and descriptor != replaced:
            self._inputs.discard(replaced)
            self._outputs.pop(replaced, None)
            if descriptor in self._inputs:
                self._inputs.remove(descriptor)
                self._inputs.add(replaced)
            if descriptor in self._outputs:
                self._outputs[replaced] = self._outputs.pop(descriptor)
        return error

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
            event = _EVENT.pack(
                subscription.user_data, subscription.error, subscription.kind, subscription.available, 0
            )
            memory.write(events + place * _EVENT.size, event)
        memory.write_struct("<I", result & 0xFFFF_FFFF, len(happened))
        return _SUCCESS

    def _subscription(self, guest: Guest, content: bytes, scratch: int, now: float) -> _Subscription:
        user_data, kind = struct.unpack_from("<QB", content)
        if kind != _CLOCK:
            (descriptor,) = struct.unpack_from("<I", content, 16)
            deadline = None if kind == _READ and descriptor in self._inputs else now
            return _Subscription(user_data, kind, deadline)
        clock, timeout, _, flags = struct.unpack_from("<IxxxxQQH", content, 16)
        if flags & _ABSOLUTE:
            error = self._call("clock_time_get", clock, 1, scratch)
            if error != _SUCCESS:
                return _Subscription(user_data, kind, now, error)
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

    def _call(self, name: str, *arguments: int) -> int:
        """Call Wasmtime's function; return its error number."""
        assert self._forward is not None, "the guest does not run before it is attached"
        return self._forward.call(name, *arguments)


def _checked_text(what: str, text: str) -> str:
    """Return a text that becomes a C string."""
    try:
        if "\0" not in text:
            text.encode()
            return text
        reason = "it has a zero character in it"
    except UnicodeEncodeError:
        reason = "it is not Unicode"
    raise UsageError(f"the {what} {text!a} cannot be given to the guest: {reason}")


def _proc_exit(code: int) -> None:
    raise GuestExit(code & 0xFFFF_FFFF)


def _vectors(guest: Guest, address: int, count: int) -> list[tuple[int, int]]:
    """Return the (address, size) pairs of the buffers that a program reads into or writes from."""
    content = guest.memory.read(address & 0xFFFF_FFFF, 8 * count)
    return [(start, size) for start, size in struct.iter_unpack("<II", content)]


class _Subscription:
    """One thing that a program waits for; `deadline` is None for standard input, past for what is ready."""

    def __init__(self, user_data: int, kind: int, deadline: float | None, error: int = _SUCCESS) -> None:
        self.user_data = user_data
        self.error = error
        self.kind = kind
        self.deadline = deadline
        self.available = 1 if kind != _CLOCK else 0
