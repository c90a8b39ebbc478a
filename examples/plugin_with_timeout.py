"""Call a plugin that looks things up, with a time limit, and go on using it after the limit struck."""

from __future__ import annotations

import asyncio

import caesura
from examples.compiling import compile_guest

USERS = {"user:1": "Ada", "user:2": "Grace"}


async def lookup(guest: caesura.Guest, key: int, length: int, value: int, size: int) -> int:
    """Look a key up in a slow data base; return the value's size, or -1."""
    name = guest.memory.read_string(key, length)
    if name not in USERS:
        await asyncio.get_running_loop().create_future()  # the data base does not answer
    await asyncio.sleep(0.01)
    content = USERS[name].encode()
    guest.memory.write(value, content[:size])
    return min(size, len(content))


async def greet(guest: caesura.Guest, user: int) -> str:
    """Return the plugin's greeting, or what to say when it takes too long."""
    try:
        async with asyncio.timeout(0.2):
            return guest.memory.read_string(await guest.call("greet", user))
    except TimeoutError:
        return f"(no answer for user {user})"


async def main() -> None:
    """Greet three users, one of whom the data base knows nothing about."""
    flags = ("-mexec-model=reactor", "-Wl,--export=malloc", "-Wl,--export=free")
    async with await caesura.load(compile_guest("plugin", *flags), {"env": {"lookup": lookup}}) as guest:
        for user in (1, 3, 2):
            print(await greet(guest, user))


if __name__ == "__main__":
    asyncio.run(main())
