"""Stop a command when its time is over or a signal arrives, whatever it is doing.

Guest code that computes without end reaches no point where Python could look at a signal or a clock. So the guest of a
command is interruptible, and a thread waits for the two reasons to interrupt it: signals wake it through Python's
wakeup descriptor, which is written in the moment when the signal arrives, and the time limit through its own waiting
time. A program may also be stuck in the operating system, where no interruption reaches it: it writes what nobody
reads, opens a FIFO that has no other end, waits for a disk. Where interrupting does not help for a while, whoever runs
the command is asked to give up, which can only mean to end the process. Making all such calls wait in threads of their
own was rejected: a process that only runs this program loses nothing by ending.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from caesura.host.interruption import Interruptions

# Seconds between interruptions.
_AGAIN: Final = 0.01

# Seconds for which only interruptions are tried.
_PATIENCE: Final = 1.0

# Seconds for which a thread may take to end that waits in Python.
_PATIENCE_WITH_A_THREAD: Final = 0.1


class Stopper(threading.Thread):
    """Interrupts a program's guest when a signal arrives or the time is over; `reason` is then what to raise.

    `give_up` is called with the reason, in this thread, where that does not help. `handled` says how often each of some
    signals, by its number, is somebody else's business.
    """

    def __init__(
        self, timeout: float | None, give_up: Callable[[BaseException], object], handled: Mapping[int, float]
    ) -> None:
        super().__init__(daemon=True, name="caesura-stopper")
        self._handled = dict(handled)
        self.reason: BaseException | None = None
        self._interruptions: Interruptions | None = None
        self._wakes = False
        self._give_up = give_up
        self._stopped = threading.Event()
        self._deadline = None if timeout is None else time.monotonic() + min(timeout, threading.TIMEOUT_MAX)
        self._receiver, self.sender = socket.socketpair()
        self._receiver.settimeout(0)
        self.sender.settimeout(0)

    def remaining(self) -> float | None:
        """Return how many seconds are left (None: any number)."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def run(self) -> None:
        """Wait for a reason, then interrupt until that helps."""
        self.reason = self._wait_for_reason()
        if self.reason is None:
            return
        patience = time.monotonic() + _PATIENCE
        while not self._stopped.wait(_AGAIN):
            if self._interruptions is not None:
                self._interruptions.interrupt()
            if self._wakes:
                self._wakes = False
                patience = time.monotonic() + _PATIENCE_WITH_A_THREAD
                self._wake()
            if time.monotonic() > patience:
                self._give_up(self.reason)
                return

    def _wait_for_reason(self) -> BaseException | None:
        """Return what to raise; None when the thread is to end."""
        while select.select([self._receiver], [], [], self.remaining())[0]:
            received = self._receiver.recv(1)
            if not received:
                return None
            left = self._handled.get(received[0], 0)
            if not left:
                return KeyboardInterrupt()
            self._handled[received[0]] = left - 1
        return TimeoutError()

    def watch(self, interruptions: Interruptions) -> None:
        """Interrupt this guest from now on, again and again: its next call may begin after an interruption."""
        self._interruptions = interruptions

    def wake_and_give_up(self) -> None:
        """Do something else from now on: let the main thread end what it waits for, or give up if it computes."""
        self._wakes = True

    def _wake(self) -> None:
        """Let the main thread raise KeyboardInterrupt; a signal has done so if that is the reason."""
        main = threading.main_thread().ident
        if isinstance(self.reason, TimeoutError) and main is not None and hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, signal.SIGINT)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self.sender.close()
        self.join()
        self._receiver.close()


@contextlib.contextmanager
def stopping(
    timeout: float | None, give_up: Callable[[BaseException], object], handled: Mapping[int, float] | None = None
) -> Iterator[Stopper]:
    """Make a stopper that watches while a command runs."""
    stopper = Stopper(timeout, give_up, handled or {})
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.set_wakeup_fd(stopper.sender.fileno(), warn_on_full_buffer=False) if is_main else -1
    stopper.start()
    try:
        yield stopper
    finally:
        if is_main:
            signal.set_wakeup_fd(before)
        stopper.stop()
