"""The other side of the tests of fuel: guests that count, in Python.

Reads one request as JSON from standard input: `module`, a file, and `calls`, each an export, its arguments and a budget
or null; or `state`, in base64, whose paused call goes on, with a budget or null. Writes an object: the `outcomes`, each
a result and the fuel that was used, or "exhausted" and that, where the call goes on without a budget as the next
outcome; and the `state` in base64 at the last exhaustion.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import caesura


async def later(value: int) -> int:
    """Wait a little."""
    await asyncio.sleep(0)
    return value


IMPORTS = {"env": {"again": lambda value: value, "later": later}}


async def main() -> None:
    """Answer the request."""
    request = json.load(sys.stdin)
    module = Path(request["module"]).read_bytes()
    outcomes: list[tuple[str, int]] = []
    state: str | None = None

    async def run(guest: caesura.Guest, begun: Any) -> None:
        nonlocal state
        before = guest.usage.fuel or 0
        try:
            outcomes.append((str(await begun), (guest.usage.fuel or 0) - before))
        except caesura.BudgetExhausted as pause:
            outcomes.append(("exhausted", (guest.usage.fuel or 0) - before))
            state = base64.b64encode(bytes(guest.snapshot())).decode()
            await run(guest, pause.call.resume())

    if "state" in request:
        guest = await caesura.restore(base64.b64decode(request["state"]), IMPORTS, module=module)
        [call] = guest.pending
        assert call.function == "pause"
        await run(guest, call.resume(budget=budget_of(request["budget"])))
    else:
        guest = await caesura.load(module, IMPORTS, time_slice=0.001)
        for export, arguments, fuel in request["calls"]:
            await run(guest, guest.call(export, *arguments, budget=budget_of(fuel)))
    json.dump({"outcomes": outcomes, "state": state}, sys.stdout)


def budget_of(fuel: int | None) -> caesura.Budget | None:
    """Return the budget that a request names."""
    return None if fuel is None else caesura.Budget(fuel=fuel)


if __name__ == "__main__":
    asyncio.run(main())
