"""What a worker process does: wait for modules, instrument and compile them, answer, and end with its input.

See `workers` for the other side. What a worker prints goes nowhere, and it takes no notice of Ctrl-C: whoever started
it decides. It must not outlive that process, so its input is watched while it works, too: on Linux the kernel ends it
when the other end is closed; elsewhere it finds out when it answers.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
from typing import IO, Final

from caesura.errors import InternalError
from caesura.host import cache, messages, worker_memory
from caesura.host.compiling import compile_module
from caesura.host.text import assemble, is_text

# Seconds without work after which a worker ends.
_PATIENCE: Final = 30.0


def main() -> None:
    """Serve the process at the other end of standard input and output until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing else may write there
    requests = os.fdopen(os.dup(0), "rb")
    try:
        messages.send_head(answers, messages.versions())
        while _waits(requests):
            _serve(requests, answers)
    except (EOFError, OSError):
        pass  # the other side is gone
    os._exit(0)


def _waits(requests: IO[bytes]) -> bool:
    """Wait for a request; False if none comes for a while."""
    if sys.platform == "win32":
        return True  # pipes cannot be asked there
    ready, _, _ = select.select([requests], [], [], _PATIENCE)
    return bool(ready)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    request = messages.read_head(requests)
    messages.send_head(answers, messages.ACCEPTED)
    data = messages.read_bytes(requests)
    _end_with_input(wanted=True)
    head: messages.Answer | Exception
    try:
        with worker_memory.limited(request.memory):
            head, content = _answer(request, data)
    except MemoryError:
        head, content = worker_memory.too_much(request.memory), b""
    except Exception as error:
        head, content = _sendable(error), b""
    _end_with_input(wanted=False)
    messages.send(answers, head, content)


def _answer(request: messages.Request, data: bytes) -> tuple[messages.Answer, bytes]:
    module = assemble(data) if is_text(data) else data
    made = compile_module(module, request.recipe, request.provided, parallel=True)
    if request.place is None:
        return messages.Answer(made.description, ""), made.code
    reason = cache.write(request.place, request.key, made)
    if reason:
        return messages.Answer(made.description, reason), made.code
    return messages.Answer(b"", ""), b""  # a description can be long, and unpacking one stops whoever asked


def _sendable(error: Exception) -> Exception:
    """Return an exception that can be sent: itself, or what it says."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return InternalError(f"unexpected {type(error).__name__}: {error}")
    error.__traceback__ = None
    return error


def _end_with_input(*, wanted: bool) -> None:
    """Let the kernel end this process, from now on or no more, when the other end of its input is closed.

    Nothing is sent while a request is worked on: whatever happens to the input then is its end.
    """
    if sys.platform != "linux":
        return
    import fcntl

    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    if wanted:
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)
        poll = select.poll()
        poll.register(0, 0)
        if poll.poll(0):  # it was closed before
            os._exit(0)
    else:
        fcntl.fcntl(0, fcntl.F_SETFL, flags & ~os.O_ASYNC)
