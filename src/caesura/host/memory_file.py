"""Files that lie in memory and have no name: code that is not in the cache is mapped from one, as from the cache.

Code that Wasmtime is handed as bytes is copied, and when its first instance is made, the data of its memories is copied
once more, into a file of Wasmtime's own from which instances map it: that stops an event loop, for 37 ms where it is
100 MB. From a file, code and data are mapped as they are, and nothing is left to be copied. Writing the file lets other
threads run.

An instance that is made beforehand in another thread and thrown away was rejected: it makes Wasmtime's file early, but
cannot be made of a module with a start function, copies twice what this copies once, and needs whatever is imported.
Only Linux has such files; elsewhere code is handed over as bytes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def memory_file(content: bytes) -> Iterator[str | None]:
    """Make a file and say where it can be opened; it lasts for as long as somebody has it open or mapped.

    None if there can be none: another system, no more descriptors or memory, no /proc.
    """
    descriptor = _new_file()
    try:
        yield _path(descriptor, content) if descriptor is not None else None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _new_file() -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.memfd_create("caesura-code")
    except (OSError, AttributeError):  # some systems forbid it, some versions of the C library lack it
        return None


def _path(descriptor: int, content: bytes) -> str | None:
    path = f"/proc/self/fd/{descriptor}"
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        return None
    return path if os.path.exists(path) else None
