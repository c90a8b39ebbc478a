"""Locks that are held while a thread is inside Wasmtime for long: a `fork` waits for them.

Wasmtime has locks of its own, which a child would find locked for ever if another thread held them. The child begins
with new locks of ours, since nobody is left in it who could be inside.
"""

from __future__ import annotations

import os
import threading
from typing import Final


class _Locks:
    """`mapping` is for compiled code that is mapped, read or linked, `compiling` for what is compiled.

    `instantiating` is for instances that are made in a thread of ours.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin with locks that nobody holds."""
        self.mapping = threading.Lock()
        self.compiling = threading.Lock()
        self.instantiating = threading.Lock()

    def acquire(self) -> None:
        """Wait until no thread is inside."""
        self.mapping.acquire()
        self.compiling.acquire()
        self.instantiating.acquire()

    def release(self) -> None:
        """Let threads go in again."""
        self.mapping.release()
        self.compiling.release()
        self.instantiating.release()


inside: Final = _Locks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=inside.acquire, after_in_parent=inside.release, after_in_child=inside.renew)
