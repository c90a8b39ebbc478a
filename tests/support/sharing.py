"""Files that tests build once and then share, though several processes run tests at the same time.

Whoever comes first builds, the others wait. A file that is written under another name and renamed needs no lock, but
two processes may then do the same work at once; and what a compiler writes beside its output, such as the path of the
folder that it ran in, speaks against building whole folders elsewhere.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that builds this file or folder; the folder that it stands in is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the file
        yield


def write_whole(path: Path, content: str | bytes, *, executable: bool = False) -> None:
    """Write a file so that others find it whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    if executable:
        unfinished.chmod(0o755)
    unfinished.replace(path)
