"""Run one program to its end, as a command does: choose what to call, pass text arguments, stop when told to.

Guest code that computes without end reaches no point where Python could look at a signal or a clock. So the
guest of a command is interruptible, and a thread waits for the two reasons to interrupt it: signals wake it
through Python's wakeup descriptor, which is written in the moment when the signal arrives, and the time limit
through its own waiting time.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from caesura.errors import UsageError
from caesura.host.errors import GuestExit, GuestTrap
from caesura.host.guest import Guest
from caesura.host.interruption import Interruptions
from caesura.host.loading import make_guest, obtain_program
from caesura.host.settings import GuestSettings, ProgramSettings
from caesura.host.spectest import spectest
from caesura.host.wasi import Wasi
from caesura.instrument.options import Options

_START: Final = "_start"

# Seconds between interruptions.
_AGAIN: Final = 0.01


async def run_command(
    source: bytes,
    wasi: Wasi,
    *,
    invoke: str = "",
    arguments: Sequence[str] = (),
    timeout: float | None = None,
    options: Options,
    cache: bool = True,
) -> tuple[int, Any]:
    """Run a program; return its exit code and the results of the function that was called.

    `invoke` names an export, whose `arguments` are text; without it the program's `_start` runs, or the only
    export there is. Raises TimeoutError when the time is over, KeyboardInterrupt when a signal interrupts the
    guest.
    """
    with _stopper(timeout) as stopper:
        try:
            async with asyncio.timeout(timeout):
                settings = ProgramSettings(options=options, cache=cache, interruptible=True)
                program, connections = await obtain_program(source, spectest(), wasi, settings)
                interruptions = Interruptions(program.engine)
                stopper.watch(interruptions)  # before anything of the guest runs: its start function may never end
                async with await make_guest(program, connections, wasi, GuestSettings(), interruptions) as guest:
                    name = invoke or _only_export(guest)
                    values = [] if name == _START else _values(guest, name, arguments)
                    return 0, await guest.call(name, *values)
        except GuestExit as end:
            return end.code, None
        except GuestTrap as trap:
            if trap.kind == "interrupted" and stopper.reason is not None:
                raise stopper.reason from None
            raise


class _Stopper(threading.Thread):
    """Interrupts a program's guest when a signal arrives or the time is over; `reason` is then what to raise."""

    def __init__(self, timeout: float | None) -> None:
        super().__init__(daemon=True, name="caesura-stopper")
        self.reason: BaseException | None = None
        self._interruptions: Interruptions | None = None
        self._stopped = threading.Event()
        self._deadline = None if timeout is None else time.monotonic() + min(timeout, threading.TIMEOUT_MAX)
        self._receiver, self.sender = socket.socketpair()
        self._receiver.setblocking(False)
        self.sender.setblocking(False)

    def run(self) -> None:
        remaining = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        ready, _, _ = select.select([self._receiver], [], [], remaining)
        if not ready:
            self.reason = TimeoutError()
        elif self._receiver.recv(1) != b"":
            self.reason = KeyboardInterrupt()
        while self.reason is not None and not self._stopped.wait(_AGAIN):
            if self._interruptions is not None:
                self._interruptions.interrupt()

    def watch(self, interruptions: Interruptions) -> None:
        """Interrupt this guest from now on, again and again: its next call may begin after an interruption."""
        self._interruptions = interruptions

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self.sender.close()
        self.join()
        self._receiver.close()


@contextlib.contextmanager
def _stopper(timeout: float | None) -> Iterator[_Stopper]:
    stopper = _Stopper(timeout)
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.set_wakeup_fd(stopper.sender.fileno(), warn_on_full_buffer=False) if is_main else -1
    stopper.start()
    try:
        yield stopper
    finally:
        if is_main:
            signal.set_wakeup_fd(before)
        stopper.stop()


def _only_export(guest: Guest) -> str:
    exports = guest.exports
    if _START in exports:
        return _START
    if len(exports) != 1:
        known = ", ".join(exports) or "none"
        raise UsageError(f"the program has no _start: choose an exported function with --invoke (exported: {known})")
    return exports[0]


def _values(guest: Guest, name: str, arguments: Sequence[str]) -> list[Any]:
    """Return text arguments as values of the types that an export takes."""
    params = guest.parameters(name)
    if len(arguments) != len(params):
        raise UsageError(f"{name} takes {len(params)} arguments ({', '.join(params)}), not {len(arguments)}")
    values: list[Any] = []
    for kind, text in zip(params, arguments, strict=True):
        if kind not in _NUMBERS:
            raise UsageError(f"{name} takes a value of type {kind}, which cannot be written as an argument")
        try:
            values.append(_NUMBERS[kind](text))
        except ValueError:
            raise UsageError(f"argument '{text}' of {name} is no {kind}") from None
    return values


def _integer(text: str) -> int:
    return int(text, 0)


_NUMBERS: Final[dict[str, Callable[[str], float]]] = {"i32": _integer, "i64": _integer, "f32": float, "f64": float}
