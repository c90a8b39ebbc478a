"""A C program with open files: its process is killed while it reads and writes, and another one goes on.

    python -m examples.open_files

The program (examples/guests/notes.c) copies a file line by line, and asks for a remark on each. Whenever it asks, it is
saved, with its files: which are open, by which path, and where in them it stands. What it has read ahead and not yet
written is in its memory. Its first process is killed with signal 9 at the fifth line. The second one opens the files
again and goes on; what the first had written since it was saved is written once more, at the same place.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import caesura
from examples.compiling import compile_guest

LINES = 8
KILLED_AT = 5


def remark(number: int) -> str:
    """Return what there is to say of a line."""
    return "odd" if number % 2 else f"twice {number // 2}"


def run(folder: Path) -> None:
    """Run the program from its beginning or, if it was saved, from there on; save it at each question."""
    state = folder / "state.caesura"
    imports = {"env": {"remark": caesura.EXTERNAL}}
    wasi = caesura.Wasi(("notes",), directories={"/notes": folder})
    if state.exists():
        guest = asyncio.run(caesura.restore(state, imports, wasi=wasi))
        step = guest.pending[0]
    else:
        guest = asyncio.run(caesura.load(compile_guest("notes"), imports, wasi=wasi))
        step = guest.start("_start")
    try:
        while isinstance(step, caesura.PendingCall):
            guest.snapshot().save(state)
            number, place, size = step.arguments
            print(number, flush=True)
            if sys.stdin.readline() == "":
                raise SystemExit("nobody is left to answer to")
            content = remark(number).encode()[:size]
            guest.memory.write(place, content)
            step = step.resume(len(content))
    except caesura.GuestExit as end:
        raise SystemExit(end.code) from None


def main() -> None:
    """Run the program in two processes, the first of which is killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.txt").write_text("".join(f"line {number}\n" for number in range(1, LINES + 1)))
        seen = [run_process(folder, KILLED_AT), run_process(folder, None)]
        print("the first process was asked for lines", *seen[0], "and is killed; the second for", *seen[1])
        print((folder / "out.txt").read_text(), end="")


def run_process(folder: Path, last: int | None) -> list[int]:
    """Run a process until it asks for a line, where it is killed, or to its end; return the lines that it asks for."""
    command = [sys.executable, "-m", "examples.open_files", str(folder)]
    asked: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            asked.append(int(line))
            if asked[-1] == last:
                process.kill()
                break
            process.stdin.write("\n")
            process.stdin.flush()
    if last is None and process.returncode:
        raise SystemExit(f"the program ended with {process.returncode}")
    return asked


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        main()
