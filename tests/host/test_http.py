"""A real HTTP client, called from C, against a server on this machine."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import caesura
from tests.host.support import c_library, run

pytestmark = pytest.mark.one_form


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    page = int(request.split(b" ", 2)[1].rpartition(b"/")[2])
    body = bytes([ord("a") + page % 26]) * (10 * page)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


def test_a_client_library_is_called_from_c() -> None:
    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, httpx.AsyncClient(trust_env=False) as client:

            async def fetch(guest: caesura.Guest, url: int, length: int, buffer: int, size: int) -> int:
                response = await client.get(guest.memory.read_string(url, length))
                response.raise_for_status()
                guest.memory.write(buffer, response.content[:size])
                return min(size, len(response.content))

            guest = await caesura.load(c_library("host_fetch"), {"env": {"fetch": fetch}})
            totals = await asyncio.gather(*[guest.call("total_size", port, pages) for pages in range(1, 12)])
            assert totals == [sum(10 * page for page in range(pages)) for pages in range(1, 12)]

            with pytest.raises(httpx.ConnectError) as caught:
                await guest.call("total_size", 1, 1)  # nothing listens there
            assert "total_size" in "".join(caught.value.__notes__)

    run(main())
