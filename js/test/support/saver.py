"""The other side of the tests of saved states: a process that restores guests, lets them run a step, and saves them.

Reads requests as lines of JSON from standard input, and writes an answer for each. A request has a `state` in base64,
or `begin`, the arguments of calls of `run`; and `answers`, one for each suspended call, which are given to the guest in
that order. An answer has the state afterwards, what the guest's `values` and suspended calls were before and are
afterwards, and the results of calls that have ended.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import caesura


async def wait(*_: object) -> None:
    """Wait for ever: what the guest gets is in the requests."""
    await asyncio.get_running_loop().create_future()


IMPORTS = {"env": {"ask": wait}}


def shown(guest: caesura.Guest) -> dict[str, Any]:
    """Return what the guest is."""
    calls = [[call.export, call.function, [str(value) for value in call.arguments]] for call in guest.pending]
    return {"values": [str(value) for value in guest.call_nowait("values")], "calls": calls}


async def serve(request: dict[str, Any], module: bytes) -> dict[str, Any]:
    """Do what a request asks for."""
    tasks: list[asyncio.Task[Any]] = []
    if "state" in request:
        guest = await caesura.restore(base64.b64decode(request["state"]), IMPORTS, module=module)
    else:
        guest = await caesura.load(module, IMPORTS)
        for arguments in request["begin"]:
            tasks.append(asyncio.create_task(guest.call("run", *arguments)))
            await asyncio.sleep(0)
    before = shown(guest)
    for call, answer in zip(guest.pending, request["answers"], strict=False):
        tasks.append(asyncio.ensure_future(call.resume(answer)))
        await asyncio.sleep(0)
    snapshot = guest.snapshot()
    results = [task.result() for task in tasks if task.done()]
    answer = {"state": base64.b64encode(bytes(snapshot)).decode(), "before": before, "after": shown(guest)}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    guest.close()
    return {**answer, "results": results}


async def main() -> None:
    """Serve until the input ends."""
    module = Path(sys.argv[1]).read_bytes()
    for line in sys.stdin:
        print(json.dumps(await serve(json.loads(line), module)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
