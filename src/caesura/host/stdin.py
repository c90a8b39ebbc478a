"""Standard input without blocking the event loop.

Reading a terminal or a pipe can take for ever, and no operating system offers one way to wait for all kinds
of files: epoll refuses regular files, Windows knows only sockets. So a thread reads, one chunk ahead at most
and only when somebody waits. It is a daemon: a thread that is stuck in a read must not keep the process from
ending, as those of an executor do. What arrives after the reader was cancelled is kept for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import Final

_CHUNK: Final = 65536
_STANDARD_INPUT: Final = 0


class Input:
    """Bytes that a program reads; here: bytes that are there already."""

    def __init__(self, content: bytes = b"") -> None:
        self._content = content

    async def wait(self) -> int:
        """Wait until reading does not block; return how many bytes there are (0: the end)."""
        return len(self._content)

    async def read(self, size: int) -> bytes:
        """Return some bytes, up to `size`; none at the end."""
        await self.wait()
        chunk, self._content = self._content[:size], self._content[size:]
        return chunk


class DescriptorInput(Input):
    """Bytes from a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._ended = False
        self._reading = False
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait(self) -> int:
        """Wait until there are bytes or the end; return how many bytes there are."""
        while not self._content and not self._ended:
            loop = asyncio.get_running_loop()
            if not self._reading:
                self._reading = True
                threading.Thread(target=self._read_chunk, args=(loop,), daemon=True, name="caesura-stdin").start()
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        return len(self._content)

    def _read_chunk(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except OSError:
            chunk = b""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._arrive, chunk)

    def _arrive(self, chunk: bytes) -> None:
        self._reading = False
        self._content += chunk
        self._ended = not chunk
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


# All guests of a process share its standard input, as its subprocesses do.
standard_input: Final = DescriptorInput(_STANDARD_INPUT)
