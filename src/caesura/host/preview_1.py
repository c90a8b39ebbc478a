"""The functions of WASI preview 1, and the parameters of each; all of these return an error number, an i32.

`proc_exit`, which returns nothing, is not among them.
"""

from __future__ import annotations

from typing import Final

_I32: Final = "i32"
_I64: Final = "i64"

PREVIEW_1: Final = "wasi_snapshot_preview1"

FUNCTIONS: Final[dict[str, tuple[str, ...]]] = {
    "args_get": (_I32, _I32),
    "args_sizes_get": (_I32, _I32),
    "clock_res_get": (_I32, _I32),
    "clock_time_get": (_I32, _I64, _I32),
    "environ_get": (_I32, _I32),
    "environ_sizes_get": (_I32, _I32),
    "fd_advise": (_I32, _I64, _I64, _I32),
    "fd_allocate": (_I32, _I64, _I64),
    "fd_close": (_I32,),
    "fd_datasync": (_I32,),
    "fd_fdstat_get": (_I32, _I32),
    "fd_fdstat_set_flags": (_I32, _I32),
    "fd_fdstat_set_rights": (_I32, _I64, _I64),
    "fd_filestat_get": (_I32, _I32),
    "fd_filestat_set_size": (_I32, _I64),
    "fd_filestat_set_times": (_I32, _I64, _I64, _I32),
    "fd_pread": (_I32, _I32, _I32, _I64, _I32),
    "fd_prestat_dir_name": (_I32, _I32, _I32),
    "fd_prestat_get": (_I32, _I32),
    "fd_pwrite": (_I32, _I32, _I32, _I64, _I32),
    "fd_read": (_I32, _I32, _I32, _I32),
    "fd_readdir": (_I32, _I32, _I32, _I64, _I32),
    "fd_renumber": (_I32, _I32),
    "fd_seek": (_I32, _I64, _I32, _I32),
    "fd_sync": (_I32,),
    "fd_tell": (_I32, _I32),
    "fd_write": (_I32, _I32, _I32, _I32),
    "path_create_directory": (_I32, _I32, _I32),
    "path_filestat_get": (_I32, _I32, _I32, _I32, _I32),
    "path_filestat_set_times": (_I32, _I32, _I32, _I32, _I64, _I64, _I32),
    "path_link": (_I32, _I32, _I32, _I32, _I32, _I32, _I32),
    "path_open": (_I32, _I32, _I32, _I32, _I32, _I64, _I64, _I32, _I32),
    "path_readlink": (_I32, _I32, _I32, _I32, _I32, _I32),
    "path_remove_directory": (_I32, _I32, _I32),
    "path_rename": (_I32, _I32, _I32, _I32, _I32, _I32),
    "path_symlink": (_I32, _I32, _I32, _I32, _I32),
    "path_unlink_file": (_I32, _I32, _I32),
    "poll_oneoff": (_I32, _I32, _I32, _I32),
    "proc_raise": (_I32,),
    "random_get": (_I32, _I32),
    "sched_yield": (),
    "sock_accept": (_I32, _I32, _I32),
    "sock_recv": (_I32, _I32, _I32, _I32, _I32, _I32),
    "sock_send": (_I32, _I32, _I32, _I32, _I32),
    "sock_shutdown": (_I32, _I32),
}

MOST_PARAMETERS: Final = max(map(len, FUNCTIONS.values()))

# What calls them from Python is compiled in these groups, each when one of them is called first: every guest needs
# the first one, those with files the second, saving files the third, and only programs that are to be saved anywhere
# the rest. Guests that were saved, and open their files again, need the second and third at once: as one.
_OFTEN: Final = ("clock_time_get", "fd_close", "fd_read", "fd_renumber", "fd_write")
_OPENING: Final = ("path_open", "path_rename")
_ASKING: Final = ("fd_fdstat_get", "fd_filestat_get", "fd_seek", "fd_tell", "path_filestat_get")
_KNOWN: Final = (*_OFTEN, *_OPENING, *_ASKING)
_REST: Final = tuple(name for name in FUNCTIONS if name not in _KNOWN)
GROUPS: Final = (_OFTEN, _OPENING, _ASKING, _REST)
GROUPS_AGAIN: Final = (_OFTEN, (*_OPENING, *_ASKING), _REST)
