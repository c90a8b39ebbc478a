"""Whether a folder can be trusted with code: nobody else can have put anything into it.

It must belong to us and be writable for us only; so must what is opened in it; and nobody else may be able to exchange
a folder on the way to it, as ssh asks of its keys. (The root user can do anything, and whoever owns the root folder; a
folder such as /tmp, in which everybody may write but only remove what is his own, is no danger on the way.) The folder
is held open while something in it is opened, so what was looked at is what is used.

Windows has other rights, which the user's own folders have set well; nothing is looked at there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_HAS_OWNERS: Final = hasattr(os, "geteuid") and os.open in os.supports_dir_fd


class Untrusted(Exception):
    """Somebody else could have put something into a folder; the message says how."""


@contextlib.contextmanager
def open_folder(place: Path) -> Iterator[int | None]:
    """Open a folder; what is opened in it, relative to the descriptor, lies in a folder that only we can write.

    The descriptor is None where the system has no such thing. Raises Untrusted, and OSError where there is no folder.
    """
    if not _HAS_OWNERS:
        yield None
        return
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            raise Untrusted("it belongs to somebody else")
        if found.st_mode & _OTHERS_WRITE:
            raise Untrusted("it is writable for others, and compiled code is run as it is (chmod go-w)")
        _check_way(place)
        yield descriptor
    finally:
        os.close(descriptor)


def is_own_file(descriptor: int) -> bool:
    """Tell whether an open file is an ordinary one that only we can write."""
    if not _HAS_OWNERS:
        return True
    found = os.fstat(descriptor)
    own = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    return own and not found.st_mode & _OTHERS_WRITE


def _check_way(place: Path) -> None:
    """Raise Untrusted if somebody else can exchange a folder on the way to one."""
    trusted = {0, os.geteuid(), os.stat("/").st_uid}
    for way in {*place.parents, *Path(os.path.realpath(place)).parents}:
        found = os.stat(way)
        if found.st_uid not in trusted:
            raise Untrusted(f"{way} on the way to it belongs to somebody else")
        writers = found.st_mode & _OTHERS_WRITE
        if writers and not found.st_mode & stat.S_ISVTX and not (writers == stat.S_IWGRP and _is_own_group(found)):
            raise Untrusted(f"{way} on the way to it is writable for others")


def _is_own_group(found: os.stat_result) -> bool:
    """Tell whether a folder's group is root's, or has one user only: the one with the group's name."""
    if found.st_gid == 0:
        return True
    import grp
    import pwd

    try:
        group = grp.getgrgid(found.st_gid)
        return group.gr_name == pwd.getpwuid(os.geteuid()).pw_name and set(group.gr_mem) <= {group.gr_name}
    except KeyError:
        return False
