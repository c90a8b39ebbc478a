"""A small HTTP server for the examples: it answers /square/N with N*N, after a moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
        request = await reader.readuntil(b"\r\n\r\n")
        number = int(request.split(b" ", 2)[1].rpartition(b"/")[2])
        await asyncio.sleep(0.01)
        body = str(number * number).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def serve() -> AsyncIterator[str]:
    """Serve on a free port of this machine; yields the server's address."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1024)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def get(url: str) -> bytes:
    """Return what a server answers; enough of a client for the server above."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port or 80))
    try:
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    return answer.partition(b"\r\n\r\n")[2]
