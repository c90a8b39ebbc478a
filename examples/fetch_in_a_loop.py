"""A C program calls `fetch` as if it were an ordinary function; in Python it is a coroutine.

The program sleeps, fetches and adds; nothing of it was written for an event loop. Run it with `python -m
examples.fetch_in_a_loop`.
"""

from __future__ import annotations

import asyncio

import caesura
from examples.compiling import compile_guest
from examples.http_server import get, serve


async def fetch(guest: caesura.Guest, url: int, length: int, buffer: int, size: int) -> int:
    """Fetch a URL into the guest's buffer; return the size, or -1."""
    content = await get(guest.memory.read_string(url, length))
    if len(content) > size:
        return -1
    guest.memory.write(buffer, content)
    return len(content)


async def main() -> None:
    """Run one program against a server of our own."""
    async with serve() as address:
        wasi = caesura.Wasi(("worker", address, "10", "5"))
        imports = {"env": {"fetch": fetch, "report": lambda done, total: print(f"round {done} of {total}")}}
        async with await caesura.load(compile_guest("worker"), imports, wasi=wasi) as guest:
            code = await guest.run()
    print(f"exit code {code}")


if __name__ == "__main__":
    asyncio.run(main())
