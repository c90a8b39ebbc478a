"""How much memory a process may take that instruments and compiles a module: a stranger's must not take the machine's.

Both the transformation and Wasmtime's compiler take memory in proportion to a module's size, mostly; there are small
modules for which they take thousands of times as much. (A table with millions of elements that are there from the
start: Wasmtime compiles code that puts them in, one by one.) So worker processes have a limit, which goes with the size
of the module. It is the operating system's, since nothing else holds for compilers: memory beyond it is refused. What a
process does then is its own affair, Python raises MemoryError and Wasmtime ends the process; see `workers` for what
becomes of that.

The limit is on what may be written to (RLIMIT_DATA): address space that is only reserved takes nothing, and threads
reserve much of it. It works on Linux; elsewhere there is none. A parameter of `load` was rejected: processes are shared
by all loads of a program.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Final

from caesura.errors import UnsupportedModule
from caesura.host.cache_limit import parse_size

VARIABLE: Final = "CAESURA_WORKER_MEMORY"

# What real programs take is less than half of it.
_LEAST: Final = 1 << 30
_FOR_EACH_BYTE: Final = 64

IS_LIMITED: Final = sys.platform == "linux"


def memory_for(size: int) -> int:
    """Return how many bytes of memory a process may take for a module of `size` bytes.

    That is `CAESURA_WORKER_MEMORY` from the environment, or 1 GiB and 64 times the module's size. Raises UsageError for
    what is no number of bytes.
    """
    given = os.environ.get(VARIABLE)
    return parse_size(given, VARIABLE) if given else _LEAST + _FOR_EACH_BYTE * size


def too_much(memory: int) -> UnsupportedModule:
    """Return what is to be said of a module for which `memory` bytes are not enough."""
    return UnsupportedModule(
        f"it takes more than {memory:,} bytes of memory to instrument and compile the module, which is what a process "
        f"may take for one of its size ({VARIABLE} names another number)"
    )


@contextlib.contextmanager
def limited(most: int) -> Iterator[None]:
    """Let the process take `most` bytes of memory at most, or less if it may have less."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before, allowed = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [most, *(bound for bound in (before, allowed) if bound != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), allowed))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, allowed))
