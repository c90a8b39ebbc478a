"""Processes that instrument and compile for this one, because such work can be neither hurried nor stopped in a thread.

The transformation holds Python's lock while it runs compiled: seconds for a large module, in which an event loop
stands still. And nothing can stop it half-way, in a thread; a process can be killed. So a large module goes to a
process of its own, which is kept for the next one.

The processes are started by name, with `subprocess`, and talk over their standard input and output. `multiprocessing`
was rejected: its `spawn` runs the program's main file again, which breaks programs without a guard, and its `fork`
copies threads' locks. A process ends when its input does, so none outlives the program that started it, however that
ends; one that has had nothing to do for a while ends too. After a `fork` the child starts its own.

Requests and answers are a pickled head and bytes behind it, which are large and not copied. Both sides are the same
user's and the same code: the first message says which.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import subprocess
import sys
from typing import IO, Any, Final, cast

from caesura.errors import InternalError
from caesura.host import messages, worker_memory

_INTERPRETERS: Final = ("python", "pypy")

# How a process ends that gets no more memory: Wasmtime aborts, the compiled transformation exits.
_OUT_OF_MEMORY: Final = (-signal.SIGABRT, 1)

# What a worker runs. It has our module path, whatever that was when we were started.
_MAIN: Final = """
import sys
sys.path[:] = {path}
from caesura.host.worker import main
main()
"""


class NoWorker(Exception):
    """No process can be started here; the message says why."""


class WorkerKilled(Exception):
    """A worker was ended from outside while it worked; the message says by which signal."""


class WorkerGone(Exception):
    """A worker ended before it took the request: it had had nothing to do for too long."""


class Worker:
    """One process. Only one thread at a time may ask it; any thread may kill it."""

    def __init__(self) -> None:
        self.process = _start()
        _running.add(self)
        try:
            assert self.process.stdout is not None
            self._answers = io.BufferedReader(cast("io.RawIOBase", self.process.stdout))
            hello = messages.read_head(self._answers)
        except Exception as error:  # whatever was started may say anything
            self.end()
            raise NoWorker(f"{sys.executable} does not run caesura (exit code {self.process.returncode})") from error
        if hello != messages.versions():
            self.end()
            raise NoWorker(f"{sys.executable} has other versions: {hello}, not {messages.versions()}")

    def ask(self, request: messages.Request, data: bytes) -> tuple[Any, bytes]:
        """Send a request and return the answer, each a head and bytes.

        Raises what the worker raised, WorkerGone if it has not taken the request; WorkerKilled, UnsupportedModule or
        InternalError if it ended in the middle.
        """
        sender, receiver = self.process.stdin, self._answers
        assert sender is not None
        accepted = False
        try:
            messages.send(sender, request, data)
            accepted = messages.read_head(receiver) == messages.ACCEPTED
            answer = messages.read_head(receiver)
            content = messages.read_bytes(receiver)
        except (EOFError, OSError, ValueError) as error:
            self._bury()
            if not accepted:
                raise WorkerGone from error
            raise self._obituary(request.memory) from error
        except BaseException:  # Ctrl-C, in a program that waits for it
            self._bury()
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer, content

    def kill(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(OSError):
            self.process.kill()

    def is_alive(self) -> bool:
        """Tell whether the process can be asked again, as far as is known."""
        return self in _running

    def end(self) -> None:
        """End the process and wait until it has."""
        self._bury()

    def abandon(self) -> None:
        """Let go of another process's worker, after a fork: it must not wait for us too before it ends."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                _close(pipe)
        self.process.returncode = 0

    def _bury(self) -> None:
        _running.discard(self)
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                _close(pipe)

    def _obituary(self, memory: int) -> Exception:
        code = self.process.returncode
        if worker_memory.IS_LIMITED and code in _OUT_OF_MEMORY:
            return worker_memory.too_much(memory)
        if code in (-signal.SIGTERM, -getattr(signal, "SIGKILL", 9)):
            return WorkerKilled(f"by signal {-code}")
        return InternalError(f"the process that was to instrument and compile the module ended with code {code}")


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(OSError, ValueError):
        pipe.close()


def _start() -> subprocess.Popen[bytes]:
    name = os.path.basename(sys.executable or "").lower()
    if getattr(sys, "frozen", False) or not name.startswith(_INTERPRETERS):
        raise NoWorker(f"sys.executable ({sys.executable or 'nothing'}) is no Python interpreter")
    path: list[str] = []
    for entry in sys.path:
        with contextlib.suppress(OSError):  # the current directory may be gone
            path.append(os.path.abspath(entry))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONINSPECT"}
    command = [sys.executable, "-c", _MAIN.format(path=ascii(path))]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C is for the program, which decides what it ends
        )
    except (OSError, ValueError) as error:
        raise NoWorker(f"cannot start {sys.executable}: {error}") from error


_running: Final[set[Worker]] = set()


def end_workers() -> None:
    """End all workers of this process."""
    for worker in list(_running):
        worker.end()


atexit.register(end_workers)


def abandon_workers() -> None:
    """Let go of the workers of the process that this one was forked from."""
    for worker in list(_running):
        worker.abandon()
    _running.clear()
