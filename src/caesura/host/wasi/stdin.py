"""Standard input without blocking the event loop, from whatever it arrives in.

A program reads, and `poll_oneoff` asks how much there is without taking it; so every source has a buffer, and fills it
one chunk at a time, only when somebody waits. What arrives after the reader was cancelled is kept for the next one,
also if that one waits in another event loop: a source that is given up with a loop would lose what was typed between
two.

Reading a terminal or a pipe can take for ever, and no operating system offers one way to wait for all kinds of files:
epoll refuses regular files, Windows knows only sockets. So a thread reads descriptors. It is a daemon: a thread that
is stuck in a read must not keep the process from ending, as those of an executor do. Everything else (asynchronous
iterators, `asyncio.StreamReader`, sockets) is asked in a task of its own, since cancelling an asynchronous generator
ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import stat
import threading
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from caesura.errors import SnapshotError, UsageError

_CHUNK: Final = 65536
_STANDARD_INPUT: Final = 0


@runtime_checkable
class AsyncReader(Protocol):
    """What has a coroutine function `read` that returns some bytes, none at the end, as asyncio.StreamReader does."""

    async def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""


Source = bytes | bytearray | memoryview | AsyncIterable[bytes] | AsyncReader | socket.socket


class Place(NamedTuple):
    """How far somebody has read a file, in bytes, and which that is: device and number."""

    offset: int
    identity: tuple[int, ...]


class Input:
    """Bytes that a program reads; here: bytes that are there already. `may_wait`: reading can take time."""

    may_wait = False

    def __init__(self, content: bytes = b"") -> None:
        self._content = memoryview(content)

    @property
    def available(self) -> int:
        """How many bytes there are without waiting."""
        return len(self._content)

    def take(self, size: int) -> bytes:
        """Return up to `size` of the bytes that are there."""
        chunk = bytes(self._content[:size])
        self._content = self._content[size:]
        return chunk

    async def wait(self) -> int:
        """Wait until reading does not block; return how many bytes there are (0: the end)."""
        return self.available

    async def read(self, size: int) -> bytes:
        """Return some bytes, up to `size`; none at the end."""
        chunk = b""
        while not chunk and await self.wait() != 0:
            chunk = self.take(size)  # none if another thread was faster
        return chunk

    def read_blocking(self, size: int) -> bytes:
        """Do what `read` does, stopping the thread. Raises what `wait_blocking` does."""
        chunk = b""
        while not chunk and self.wait_blocking() != 0:
            chunk = self.take(size)
        return chunk

    def wait_blocking(self, seconds: float = math.inf) -> int | None:
        """Do what `wait` does, stopping the thread, for some time at most (None: it is over).

        Raises UsageError where only an event loop can wait.
        """
        return self.available

    def place(self) -> Place | None:
        """Return how far the program has read, where that is a place to come back to: in a regular file."""
        return None

    def go_to(self, place: Place, *, anyway: bool = False) -> None:
        """Go on where another process has read that far, if it is the same file, or any regular file, `anyway`."""

    def close(self) -> None:
        """Stop waiting for more."""


class DescriptorInput(Input):
    """Bytes from a file descriptor; any number of threads and event loops may wait for them."""

    may_wait = True

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._ended = False
        self._reading = False
        self._changed = threading.Condition()
        self._waiting: set[asyncio.Future[None]] = set()
        os.register_at_fork(after_in_child=self._forget_thread)

    async def wait(self) -> int:
        """Wait until there are bytes or the end; return how many bytes there are."""
        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if self._content or self._ended:
                    return len(self._content)
                self._start_reading()
                future: asyncio.Future[None] = loop.create_future()
                self._waiting.add(future)
            try:
                await future
            finally:
                with self._changed:
                    self._waiting.discard(future)

    def wait_blocking(self, seconds: float = math.inf) -> int | None:
        """Do what `wait` does, stopping the thread, for some time at most (None: it is over)."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._content and not self._ended:
                self._start_reading()
                rest = min(deadline - time.monotonic(), threading.TIMEOUT_MAX)
                if rest <= 0:
                    return None
                self._changed.wait(rest)
            return len(self._content)

    def take(self, size: int) -> bytes:
        """Return up to `size` of the bytes that are there."""
        with self._changed:
            return super().take(size)

    def place(self) -> Place | None:
        """Return how far the program has read: not what was read ahead."""
        with self._changed:
            self._changed.wait_for(lambda: not self._reading or not self._is_regular())
            identity = self._identity()
            if identity is None:
                return None
            return Place(os.lseek(self._descriptor, 0, os.SEEK_CUR) - len(self._content), identity)

    def go_to(self, place: Place, *, anyway: bool = False) -> None:
        """Go on there, and forget what was read ahead. Raises SnapshotError for what is no place in a file."""
        with self._changed:
            identity = self._identity()
            if identity is not None and (anyway or identity == place.identity):
                try:
                    os.lseek(self._descriptor, place.offset, os.SEEK_SET)
                except (OSError, OverflowError):
                    raise SnapshotError(f"standard input cannot be read from byte {place.offset} on") from None
                self._content = memoryview(b"")
                self._ended = False

    def _is_regular(self) -> bool:
        return self._identity() is not None

    def _identity(self) -> tuple[int, int] | None:
        """Return the device and the number of a regular file; None where there is none."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None

    def _start_reading(self) -> None:
        if not self._reading:
            self._reading = True
            threading.Thread(target=self._read_chunk, daemon=True, name="caesura-stdin").start()

    def _read_chunk(self) -> None:
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except OSError:
            chunk = b""
        with self._changed:
            self._reading = False
            self._content = memoryview(bytes(self._content) + chunk)
            self._ended = not chunk
            self._changed.notify_all()
            for future in self._waiting:
                with contextlib.suppress(RuntimeError):  # its loop has ended meanwhile
                    future.get_loop().call_soon_threadsafe(_wake, future)

    def _forget_thread(self) -> None:
        """A forked child has no thread that reads, whatever its parent has."""
        self._changed = threading.Condition()
        self._reading = False
        self._waiting.clear()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class FetchedInput(Input):
    """Bytes that a coroutine function fetches; it returns None at the end."""

    may_wait = True

    def __init__(self, fetch: Callable[[], Awaitable[bytes | None]]) -> None:
        super().__init__()
        self._fetch = fetch
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    async def wait(self) -> int:
        """Wait until there are bytes or the end; return how many bytes there are. Raises what the source raises."""
        while not self._content and not self._ended:
            task = self._task
            if task is None or (task.get_loop() is not asyncio.get_running_loop() and task.get_loop().is_closed()):
                task = self._task = asyncio.get_running_loop().create_task(self._fetch_chunk())
            try:
                await asyncio.shield(task)
            finally:
                if task.done() and self._task is task:
                    self._task = None
        return len(self._content)

    def wait_blocking(self, seconds: float = math.inf) -> int | None:
        """Do what `wait` does, which needs an event loop here."""
        if not self._content and not self._ended:
            raise UsageError(
                "standard input has to wait for its source, but the guest cannot be suspended there: give it bytes, or "
                "instrument the module with all of its imports"
            )
        return len(self._content)

    def close(self) -> None:
        """Stop waiting for more."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()

    async def _fetch_chunk(self) -> None:
        chunk = await self._fetch()
        if chunk is None:
            self._ended = True
        elif isinstance(chunk, bytes | bytearray | memoryview):
            self._content = memoryview(bytes(self._content) + bytes(chunk))
        else:
            raise UsageError(f"the source of standard input gave {chunk!r:.100}: expected bytes")


def input_from(source: object) -> Input:
    """Return what a program reads from; raises UsageError for what nothing arrives in. None: standard input."""
    if source is None:
        return standard_input
    if isinstance(source, bytes | bytearray | memoryview):
        return Input(bytes(source))
    if isinstance(source, socket.socket):
        return _socket_input(source)
    if isinstance(source, AsyncIterable) and not isinstance(source, asyncio.StreamReader):
        return FetchedInput(_fetch_from_iterable(source))
    if isinstance(source, AsyncReader) and asyncio.iscoroutinefunction(source.read):
        return FetchedInput(_fetch_from_reader(source))
    hint = "; encode it" if isinstance(source, str) else ""
    raise UsageError(
        f"stdin is {source!r:.100}: expected bytes{hint}, an asynchronous iterator of bytes, an asyncio.StreamReader, "
        "or a socket that does not block"
    )


def _socket_input(source: socket.socket) -> Input:
    if source.type != socket.SOCK_STREAM or source.gettimeout() != 0:
        raise UsageError(
            "stdin is a socket that would block the event loop: call setblocking(False) on a stream socket"
        )

    async def fetch() -> bytes | None:
        return await asyncio.get_running_loop().sock_recv(source, _CHUNK) or None

    return FetchedInput(fetch)


def _fetch_from_iterable(source: AsyncIterable[Any]) -> Callable[[], Awaitable[bytes | None]]:
    iterator = aiter(source)

    async def fetch() -> bytes | None:
        return await anext(iterator, None)

    return fetch


def _fetch_from_reader(source: AsyncReader) -> Callable[[], Awaitable[bytes | None]]:
    async def fetch() -> bytes | None:
        return await source.read(_CHUNK) or None

    return fetch


# All guests of a process share its standard input, as its subprocesses do.
standard_input: Final = DescriptorInput(_STANDARD_INPUT)
