"""WASI preview 1 for programs that wait: coroutines for what blocks, Wasmtime for the rest.

Three functions wait: `poll_oneoff` (sleeping, mostly), `sched_yield`, and `fd_read` of standard input, unless that is
there already. They are coroutines here, so that a thousand programs that sleep share one thread. All others are
Wasmtime's, which are faster and better tested than ours would be, but for these:

* `fd_write`, where output goes to a Python function: Wasmtime would call that from a thread of its own, which
  outlives the interpreter and then aborts the process. Where that function is a coroutine function, writing waits too;
* `path_open`, `fd_close`, `fd_renumber` and `path_rename`, to know what the guest has open (`descriptors`);
* `clock_time_get` in guests that were saved before, where the monotonic clock goes on from where it was;
* `random_get`, since Wasmtime's makes up to 64 MiB at once, which takes 0.2 s, in the middle of a time slice;
* `proc_exit`: Wasmtime's refuses codes above 125.

A module that was instrumented elsewhere may have been told that it is never suspended in WASI's functions (Ruby's is).
There, `blocking` has forms that stop the thread while they wait, as every other runtime does.

`Wasi` takes more keywords than anything else of ours. To take them as an object of options was rejected: users would
make two objects for one program, and `help` and editors would show the kinds of neither.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import wasmtime

from caesura.errors import UsageError
from caesura.host.errors import GuestExit
from caesura.host.imports import COROUTINE_FUNCTION, kind_of
from caesura.host.instance import Instance
from caesura.host.preview_1 import FUNCTIONS, GROUPS, GROUPS_AGAIN, PREVIEW_1
from caesura.host.state import CallState
from caesura.host.uncopied import Uncopied
from caesura.host.wasi.buffers import MOST_BYTES, Buffer, WasiMemory, total_size
from caesura.host.wasi.descriptors import STREAMS, Descriptors, path_is_noted
from caesura.host.wasi.files import WasiFiles
from caesura.host.wasi.forwarding import Forwarder
from caesura.host.wasi.given import Folder, checked_arguments, checked_environment, checked_folders
from caesura.host.wasi.polling import INVALID, SUCCESS, Poll
from caesura.host.wasi.reopening import OnMissing, reopen
from caesura.host.wasi.stdin import Source, input_from, standard_input
from caesura.host.wasi.waits import Waits
from caesura.snapshots.state import CallRecord, WasiState

_STANDARD_INPUT: Final = 0
_STANDARD_OUTPUT: Final = 1
_STANDARD_ERROR: Final = 2

_CODE_BITS: Final = 0xFFFF_FFFF
_RIGHTS_BITS: Final = 0xFFFF_FFFF_FFFF_FFFF
_MONOTONIC: Final = 1
_PRECISION: Final = 1


class Wasi(Uncopied):
    """What a WASI program sees of the world: by default nothing but the standard streams. One for each guest.

    `arguments` begin with the program's name. `directories` maps the guest's paths to the host's;
    `read_only_directories` does, for folders in which the guest can change nothing. `stdin` is bytes, or what they
    arrive in: an asynchronous iterator of bytes, an `asyncio.StreamReader`, a stream socket that does not block; by
    default the process's standard input. `stdout` and `stderr` are called with what is written, at most 16 MiB at
    once, and are the process's by default; where one is a coroutine function, the guest is suspended until it has
    returned.

    Raises UsageError for what is of the wrong kind or no C program could get, and when it is used, for folders that
    cannot be opened.
    """

    _what = "a caesura.Wasi object"
    _instead_of_copy = "it serves one guest; make one for each"
    _instead_of_pickle = "it stands for streams of this process"

    def __init__(
        self,
        arguments: Sequence[str] = ("guest",),
        *,
        environment: Mapping[str, str] | None = None,
        directories: Mapping[str, Folder] | None = None,
        read_only_directories: Mapping[str, Folder] | None = None,
        stdin: Source | None = None,
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
    ) -> None:
        self._arguments = checked_arguments(arguments)
        self._environment = checked_environment(environment)
        self._directories = [
            *[(inside, outside, True) for inside, outside in checked_folders("directories", directories)],
            *[
                (inside, outside, False)
                for inside, outside in checked_folders("read_only_directories", read_only_directories)
            ],
        ]
        self._stdin = input_from(stdin)
        self._descriptors = Descriptors([inside for inside, _, _ in self._directories])
        # The descriptors of standard input, and of what goes to Python functions, as the guest numbers them.
        self._inputs = {_STANDARD_INPUT}
        self._outputs: dict[int, Callable[[bytes], object]] = {}
        # What the monotonic clock showed when the guest was saved, and the process's clock when it went on.
        self._clock_before = 0
        self._clock_since: int | None = None
        self._waits = Waits()
        self._instance: Instance | None = None
        for descriptor, name, write in ((_STANDARD_OUTPUT, "stdout", stdout), (_STANDARD_ERROR, "stderr", stderr)):
            if write is None:
                continue
            if not callable(write):
                raise UsageError(f"{name} is {write!r:.100}: expected a function that is called with bytes")
            self._outputs[descriptor] = write
        self._writing_waits = any(kind_of(write) == COROUTINE_FUNCTION for write in self._outputs.values())
        self._forward: Forwarder | None = None
        self._memory: WasiMemory | None = None

    def configuration(self) -> wasmtime.WasiConfig:
        """Return the configuration of Wasmtime's own functions."""
        configuration = wasmtime.WasiConfig()
        configuration.argv = self._arguments
        configuration.env = list(self._environment.items())
        if self._stdin is standard_input:
            configuration.inherit_stdin()  # never read by Wasmtime, but the guest may ask whether it is a terminal
        configuration.inherit_stdout()
        configuration.inherit_stderr()
        for inside, outside, writable in self._directories:
            try:
                os.stat(os.path.join(outside, "."))  # Wasmtime does not say why, and opens what cannot be used
                _preopen(configuration, outside, inside, writable=writable)
            except (OSError, ValueError, wasmtime.WasmtimeError) as error:
                reason = getattr(error, "strerror", None) or "it cannot be opened"
                raise UsageError(f"cannot give the guest the folder '{outside}': {reason}") from error
        return configuration

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return the functions that are not Wasmtime's."""
        functions: dict[str, Callable[..., Any]] = {
            "poll_oneoff": self._poll_oneoff,
            "sched_yield": self._sched_yield,
            "fd_read": self._fd_read if self._stdin.may_wait else self._fd_read_blocking,
            "path_open": self._path_open,
            "path_rename": self._path_rename,
            "fd_close": self._fd_close,
            "fd_renumber": self._fd_renumber,
            "random_get": self._random_get,
            "proc_exit": _proc_exit,
        }
        if self._outputs:
            functions["fd_write"] = self._fd_write_waiting if self._writing_waits else self._fd_write
        return functions

    def functions_unsaved(self) -> dict[str, Callable[..., Any]]:
        """Return the functions that are not Wasmtime's for a guest that nobody saves, and that never waits."""
        functions = {**self.functions(), **self.blocking()}
        del functions["path_open"], functions["path_rename"], functions["random_get"]
        return functions

    def functions_again(self, waiting: Iterable[str]) -> dict[str, Callable[..., Any]]:
        """Return the functions that are not Wasmtime's for a guest that was saved.

        `waiting` are the names of those in which its calls are suspended, which are to be called anew.
        """
        functions = {"clock_time_get": self._clock_time_get, **self.functions()}
        for name in waiting:
            if name in FUNCTIONS and name not in functions:
                functions[name] = partial(self._call, name)
        return functions

    def blocking(self) -> dict[str, Callable[..., Any]]:
        """Return forms of the functions that wait, for guests that cannot be suspended in them."""
        return {
            "poll_oneoff": self._poll_oneoff_blocking,
            "sched_yield": lambda: SUCCESS,
            "fd_read": self._fd_read_blocking,
        }

    def forwarding(self) -> dict[str, Callable[..., Any]]:
        """Return functions that call Wasmtime's own."""
        return {name: partial(self._call, name) for name in FUNCTIONS}

    def attach(self, instance: Instance) -> None:
        """Connect the functions to the guest that uses them."""
        self._attach(instance, GROUPS)

    def _attach(self, instance: Instance, groups: tuple[tuple[str, ...], ...]) -> None:
        if self._forward is not None:
            raise UsageError("a Wasi object serves one guest: make one for each")
        self._instance = instance
        self._forward = Forwarder(instance, groups)
        self._memory = None if instance.memory is None else WasiMemory(instance.memory)

    def attach_again(
        self, instance: Instance, state: WasiState, calls: Iterable[CallRecord], on_missing: OnMissing | None
    ) -> None:
        """Connect the functions to a guest that was saved with such calls, and open again what it had open.

        Raises SnapshotError for what cannot be opened, and what `on_missing` raises.
        """
        self._attach(instance, GROUPS_AGAIN)
        self._clock_before, self._clock_since = state.monotonic, time.monotonic_ns()
        for call, record in zip(instance.suspended, calls, strict=True):
            if record.waited and _is_poll(record.function):
                self._waits.waited_before(call.asked, record.waited)
        outputs = {STREAMS[number]: write for number, write in self._outputs.items()}
        reopen(self._files(), state, self._descriptors, on_missing)
        opened = self._descriptors.open.items()
        self._inputs = {number for number, item in opened if item.kind == "stdin"}
        self._outputs = {number: outputs[item.kind] for number, item in opened if item.kind in outputs}

    def saved(self) -> WasiState:
        """Return what is needed to open everything again, while no code of the guest runs. Raises SnapshotError."""
        files = self._files()
        return WasiState(
            arguments=tuple(self._arguments),
            environment=self._environment,
            folders=tuple(
                (inside, os.path.abspath(outside), writable) for inside, outside, writable in self._directories
            ),
            descriptors=self._descriptors.saved(files),
            monotonic=0 if files is None else self._monotonic(files),
            highest=self._descriptors.highest,
        )

    def waited(self, call: CallState) -> int:
        """Return for how long a suspended call has slept, in nanoseconds; 0 if it does something else."""
        if call.pending is None or not _is_poll(call.pending.name):
            return 0
        return self._waits.waited(call.asked)

    def _files(self) -> WasiFiles | None:
        return None if self._memory is None else WasiFiles(self._call, self._memory)

    def _monotonic(self, files: WasiFiles) -> int:
        if self._clock_since is None:
            return files.clock(_MONOTONIC)
        return self._clock_before + time.monotonic_ns() - self._clock_since

    def detach(self) -> None:
        """Stop waiting for a guest that is closed."""
        self._stdin.close()

    async def _sched_yield(self) -> int:
        await asyncio.sleep(0)
        return SUCCESS

    async def _fd_read(self, descriptor: int, vectors: int, count: int, result: int) -> int:
        if descriptor not in self._inputs:
            return self._call("fd_read", descriptor, vectors, count, result)
        buffers = self._buffers(vectors, count, result)
        content = await self._stdin.read(total_size(buffers)) if buffers else b""
        return self._deliver(content, buffers, result)

    def _fd_read_blocking(self, descriptor: int, vectors: int, count: int, result: int) -> int:
        if descriptor not in self._inputs:
            return self._call("fd_read", descriptor, vectors, count, result)
        buffers = self._buffers(vectors, count, result)
        content = self._stdin.read_blocking(total_size(buffers)) if buffers else b""
        return self._deliver(content, buffers, result)

    def _deliver(self, content: bytes, buffers: list[Buffer], result: int) -> int:
        memory = self._pointed()
        memory.scatter(buffers, content)
        memory.write_number(result, len(content))
        return SUCCESS

    def _fd_write(self, descriptor: int, vectors: int, count: int, result: int) -> int:
        write = self._outputs.get(descriptor)
        if write is None:
            return self._call("fd_write", descriptor, vectors, count, result)
        content = self._pointed().gather(self._buffers(vectors, count, result))
        if content:
            _check_written(write(content))
        self._pointed().write_number(result, len(content))
        return SUCCESS

    async def _fd_write_waiting(self, descriptor: int, vectors: int, count: int, result: int) -> int:
        write = self._outputs.get(descriptor)
        if write is None or kind_of(write) != COROUTINE_FUNCTION:
            return self._fd_write(descriptor, vectors, count, result)
        content = self._pointed().gather(self._buffers(vectors, count, result))
        if content:
            waiting: Any = write(content)
            await waiting
        self._pointed().write_number(result, len(content))
        return SUCCESS

    def _buffers(self, vectors: int, count: int, result: int) -> list[Buffer]:
        """Return what a call reads into or writes from, once all that it points to is known to be there."""
        memory = self._pointed()
        memory.check(result, 4)
        return memory.buffers(vectors, count)

    def _path_open(
        self,
        below: int,
        lookup: int,
        path: int,
        size: int,
        open_flags: int,
        rights: int,
        inheriting: int,
        flags: int,
        result: int,
    ) -> int:
        name = self._path(path, size)
        error = self._call("path_open", below, lookup, path, size, open_flags, rights, inheriting, flags, result)
        if error == SUCCESS:
            number = int.from_bytes(self._pointed().read(result, 4), "little")
            self._descriptors.opened(
                number,
                below,
                name,
                lookup=lookup & _CODE_BITS,
                rights=rights & _RIGHTS_BITS,
                inheriting=inheriting & _RIGHTS_BITS,
            )
        return error

    def _path_rename(self, below: int, path: int, size: int, new_below: int, new_path: int, new_size: int) -> int:
        name, new_name = self._path(path, size), self._path(new_path, new_size)
        error = self._call("path_rename", below, path, size, new_below, new_path, new_size)
        if error == SUCCESS and name is not None and new_name is not None:
            self._descriptors.renamed(below, name, new_below, new_name)
        return error

    def _path(self, address: int, size: int) -> bytes | None:
        """Return a path of the guest's; None if it is longer than any that systems know."""
        return self._pointed().read(address, size & _CODE_BITS) if path_is_noted(size & _CODE_BITS) else None

    def _clock_time_get(self, number: int, precision: int, result: int) -> int:
        if number != _MONOTONIC or self._clock_since is None:
            return self._call("clock_time_get", number, precision, result)
        passed = self._clock_before + time.monotonic_ns() - self._clock_since
        self._pointed().write(result, struct.pack("<Q", passed & _RIGHTS_BITS))
        return SUCCESS

    def _fd_close(self, descriptor: int) -> int:
        self._inputs.discard(descriptor)
        self._outputs.pop(descriptor, None)
        error = self._call("fd_close", descriptor)
        if error == SUCCESS:
            self._descriptors.closed(descriptor)
        return error

    def _fd_renumber(self, descriptor: int, replaced: int) -> int:
        error = self._call("fd_renumber", descriptor, replaced)
        if error == SUCCESS and descriptor != replaced:
            self._descriptors.renumbered(descriptor, replaced)
            self._inputs.discard(replaced)
            self._outputs.pop(replaced, None)
            if descriptor in self._inputs:
                self._inputs.remove(descriptor)
                self._inputs.add(replaced)
            if descriptor in self._outputs:
                self._outputs[replaced] = self._outputs.pop(descriptor)
        return error

    def _random_get(self, address: int, size: int) -> int:
        size &= _CODE_BITS
        memory = self._pointed()
        memory.check(address, size)
        if size > MOST_BYTES:
            return INVALID
        memory.write(address, os.urandom(size))
        return SUCCESS

    async def _poll_oneoff(self, subscriptions: int, events: int, count: int, result: int) -> int:
        key = subscriptions, events, count, result
        assert self._instance is not None, "the guest does not run before it is attached"
        waited = self._waits.begin(key, self._instance.suspended)
        try:
            return await self._poll(events, waited).run(subscriptions, events, count & _CODE_BITS, result)
        finally:
            self._waits.end(key)

    def _poll_oneoff_blocking(self, subscriptions: int, events: int, count: int, result: int) -> int:
        return self._poll(events).run_blocking(subscriptions, events, count & _CODE_BITS, result)

    def _poll(self, scratch: int, waited: int = 0) -> Poll:
        """Return a call of `poll_oneoff`; `scratch` is where it will write in the guest's memory."""
        memory = self._pointed()

        def clock(number: int) -> tuple[int, int]:
            error = self._clock_time_get(number, _PRECISION, scratch)
            return error, struct.unpack("<Q", memory.read(scratch, 8))[0]

        return Poll(memory, self._stdin, self._inputs, clock, waited)

    def _pointed(self) -> WasiMemory:
        """Return the memory that the guest's pointers point into."""
        if self._memory is None:
            raise UsageError("the guest has no memory, so its calls of WASI have nothing to point into")
        return self._memory

    def _call(self, name: str, *arguments: int) -> int:
        """Call Wasmtime's function; return its error number."""
        assert self._forward is not None, "the guest does not run before it is attached"
        return self._forward.call(name, *arguments)


def _is_poll(function: str) -> bool:
    return function == f"{PREVIEW_1}.poll_oneoff"


def _check_written(result: object) -> None:
    """Refuse a function that takes output and returns something to await: nobody would."""
    if not hasattr(result, "__await__"):
        return
    if asyncio.iscoroutine(result):
        result.close()
    raise UsageError(
        "a function that takes output returned something to await but is no coroutine function: make it `async def`, "
        "so that the guest can be suspended in it"
    )


def _preopen(configuration: wasmtime.WasiConfig, outside: str, inside: str, *, writable: bool) -> None:
    """Give the guest a folder; wasmtime-py before version 48 takes rights where later ones take a truth value."""
    dir_rights, file_rights = getattr(wasmtime, "DirPerms", None), getattr(wasmtime, "FilePerms", None)
    if dir_rights is None or file_rights is None:
        configuration.preopen_dir(outside, inside, writable)
    elif writable:
        configuration.preopen_dir(outside, inside)
    else:
        give: Any = configuration.preopen_dir
        give(outside, inside, dir_rights.READ_ONLY, file_rights.READ_ONLY)


def _proc_exit(code: int) -> None:
    raise GuestExit(code & _CODE_BITS)
