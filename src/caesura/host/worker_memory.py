"""How much memory a process may take that instruments and compiles a module: a stranger's must not take the machine's.

Both the transformation and Wasmtime's compiler take memory in proportion to a module's size, mostly, and the compiler
10 KiB besides for each function, which it keeps until all are done: however short they are, in parallel or not,
optimized or not. (An export that may suspend is two functions in the end.) There are small modules for which they take
thousands of times as much. (A table with millions of elements that are there from the start: Wasmtime compiles code
that puts them in, one by one.) So worker processes have a limit, which goes with the size of the module and the number
of its functions; since small modules can have a million of those, what goes with the number is bounded by the machine.
The limit is the operating system's, since nothing else holds for compilers: memory beyond it is refused. What a process
does then is its own affair, Python raises MemoryError and Wasmtime ends the process; see `workers` for what becomes of
that.

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

from caesura.errors import MalformedModule, UnsupportedModule
from caesura.host.cache_limit import parse_size
from caesura.host.text import is_text

VARIABLE: Final = "CAESURA_WORKER_MEMORY"

# What real programs take is less than half of it.
_LEAST: Final = 1 << 30
_FOR_EACH_BYTE: Final = 64
_FOR_EACH_FUNCTION: Final = 12 << 10

# How many sections are looked at: a module has at most a dozen, and some custom ones before.
_MOST_SECTIONS: Final = 100
_PREAMBLE: Final = 8

# How functions and exports begin in the text format.
_IN_TEXT: Final = (b"(func", b"(export")

IS_LIMITED: Final = sys.platform == "linux"


def memory_for(data: bytes) -> int:
    """Return how many bytes of memory a process may take for a module.

    That is `CAESURA_WORKER_MEMORY` from the environment, or 1 GiB and 64 times the module's size, and 12 KiB for each
    of its functions and exports as long as it is no more than half of the machine's memory. Raises UsageError for what
    is no number of bytes.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return parse_size(given, VARIABLE)
    least = _LEAST + _FOR_EACH_BYTE * len(data)
    count = sum(map(data.count, _IN_TEXT)) if is_text(data) else _functions_and_exports(data)
    return max(least, min(least + _FOR_EACH_FUNCTION * count, _memory_of_machine() // 2))


def _functions_and_exports(data: bytes) -> int:
    """Return how many functions and exports a binary module says that it has, or fewer where it is malformed."""
    from caesura.wasm import sections as sec  # programs from the cache do without
    from caesura.wasm.leb128 import read_u32

    count, position = 0, _PREAMBLE
    try:
        for _ in range(_MOST_SECTIONS):
            if position >= len(data):
                break
            section = data[position]
            size, start = read_u32(data, position + 1)
            if section in (sec.FUNCTION, sec.EXPORT):
                count += min(read_u32(data, start)[0], size)
            position = start + size
    except MalformedModule:
        pass  # who reads all of it says so
    return count


def _memory_of_machine() -> int:
    """Return how many bytes of memory the machine has; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


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
