"""A guest: one instance of a module whose host functions may be coroutines.

    async def fetch(guest, url_ptr: int, url_len: int) -> int: ...

    guest = await caesura.load("app.wasm", imports={"env": {"fetch": fetch, "log": print}})
    answer = await guest.call("handle", 42)

There are four ways to call an export, told apart by who waits when the guest must: `call` (the task that
awaits it), `generate` (whoever iterates the generator), `agenerate` (both), `call_nowait` (nobody: it is an error). One
method that guesses was rejected; what it returns would depend on what the guest happens to do.

Any number of calls may be suspended in one guest, and resume in any order. A guest belongs to the thread that
loaded it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from types import TracebackType
from typing import Any, Final

from caesura.errors import UsageError
from caesura.host.call import AGENERATE, AWAIT, GENERATE, NOWAIT, Call
from caesura.host.connect import Connections, Imports
from caesura.host.errors import GuestExit
from caesura.host.instance import Instance
from caesura.host.making import order_program
from caesura.host.memory import GuestMemory
from caesura.host.program import WASI, Program, Recipe, find_program, read_source
from caesura.host.settings import RECURSION_LIMIT, SHADOW_STACK_SIZE, GuestSettings, ProgramSettings
from caesura.host.wasi import Wasi
from caesura.instrument.options import Options
from caesura.wasm.types import type_name

_DEFAULT_OPTIONS: Final = Options()


async def load(
    source: str | os.PathLike[str] | bytes,
    imports: Imports | None = None,
    *,
    wasi: Wasi | None = None,
    options: Options = _DEFAULT_OPTIONS,
    cache: bool = True,
    shadow_stack_size: int = SHADOW_STACK_SIZE,
    stack_space: tuple[int, int] | None = None,
    interruptible: bool = False,
    accept_instrumented: bool = True,
    recursion_limit: int = RECURSION_LIMIT,
) -> Guest:
    """Load a module and make a guest of it.

    `source` is a path or the bytes of a module, binary or text. `imports` has a callable for each imported
    function; the coroutine functions among them (and those marked with `yielding`) are what may suspend the
    guest. An imported global is a number, an imported memory or table a `wasmtime.MemoryType` or
    `wasmtime.TableType`, of which a new one is made. `wasi` gives a program the WASI functions that `imports`
    leaves out.

    `options` are the transformation's (lists, mostly); `cache` says whether compiled modules are kept on the disk.
    `shadow_stack_size` is bytes, for each concurrent call of a compiled program. `stack_space` is a place (first
    address, address behind it) for the asyncify stack in a module that was instrumented elsewhere and has no
    `malloc`. `interruptible` guests can be stopped in mid-computation with `interrupt`, and run a little slower. With
    `accept_instrumented=False`, modules that say that they are instrumented already are refused: best for strangers'.
    `recursion_limit` is how many calls deep the guest and host functions may call each other.

    Raises UsageError for a file that cannot be read, imports or options that do not fit the module, ModuleError for a
    module that is malformed or uses what is not supported, and what its start function raises (GuestTrap, or a host
    function's exception).
    """
    program_settings = ProgramSettings(
        options=options, cache=cache, interruptible=interruptible, accept_instrumented=accept_instrumented
    )
    guest_settings = GuestSettings(
        shadow_stack_size=shadow_stack_size, stack_space=stack_space, recursion_limit=recursion_limit
    )
    program, connections = await obtain_program(source, imports, wasi, program_settings)
    return await make_guest(program, connections, wasi, guest_settings)


async def obtain_program(
    source: str | os.PathLike[str] | bytes, imports: Imports | None, wasi: Wasi | None, settings: ProgramSettings
) -> tuple[Program, Connections]:
    """Do the part of `load` that runs nothing of the guest: return a program, and the imports for its guests."""
    data = read_source(source)
    connections = connect(imports or {}, wasi)
    recipe = Recipe(data, connections.import_list, connections.provided, wasi is not None, settings)
    program = find_program(recipe)
    if program is None:
        program = await order_program(recipe)
    return program, connections


def connect(imports: Imports, wasi: Wasi | None) -> Connections:
    """Return what a guest is given for its imports."""
    if wasi is None:
        return Connections(imports, {}, {})
    return Connections(imports, {WASI: wasi.functions()}, {WASI: wasi.blocking()})


async def make_guest(program: Program, connections: Connections, wasi: Wasi | None, settings: GuestSettings) -> Guest:
    """Do the rest: make an instance and let it initialize itself."""
    guest = Guest(program, connections, wasi, settings)
    if "_initialize" in guest.exports:
        await guest.call("_initialize")
    return guest


class Guest:
    """An instance of a module. Made by `load`; `async with` closes it."""

    def __init__(self, program: Program, connections: Connections, wasi: Wasi | None, settings: GuestSettings) -> None:
        wanted = program.description.imports
        self._instance = Instance(
            program,
            self,
            connections.host_functions(wanted, program.description.unsuspended),
            wasi.configuration() if wasi is not None else None,
            lambda store: connections.items(wanted, store),
            settings,
        )
        self._wasi = wasi
        if wasi is not None:
            wasi.attach(self._instance)

    async def call(self, name: str, *arguments: Any) -> Any:
        """Call an export; while a host coroutine waits the guest is suspended, and other tasks run.

        Returns None, the result, or a tuple of results. Raises what a host function raises, GuestTrap, GuestExit,
        and UsageError for what does not fit: names, arguments, results of host functions, the thread.
        """
        instance = self._instance
        instance.check()
        return await Call(instance, instance.export(name), arguments, AWAIT)

    def call_nowait(self, name: str, *arguments: Any) -> Any:
        """Call an export that does not have to wait: it is an error if a host coroutine does.

        Returns and raises what `call` does.
        """
        instance = self._instance
        instance.check()
        return Call(instance, instance.export(name), arguments, NOWAIT).run()

    def generate(self, name: str, *arguments: Any) -> Generator[Any, Any, Any]:
        """Call an export as a generator: it yields at host functions marked with `yielding`.

        What is sent into it is what the host function returns to the guest; what is thrown into it is raised
        there. The export's results are the generator's return value. Any thread may iterate it: in others than the
        guest's own, the guest's event loop runs each step. Raises what `call` does.
        """
        instance = self._instance
        instance.check()
        return Call(instance, instance.export(name), arguments, GENERATE).generate()

    def agenerate(self, name: str, *arguments: Any) -> AsyncGenerator[Any, Any]:
        """Call an export as an asynchronous generator: it yields at host functions marked with `yielding`, and waits
        where coroutine functions do.

        What is sent and thrown into it goes where `generate` says. What the export returns is dropped, since
        asynchronous generators have no return value. Raises what `call` does.
        """
        instance = self._instance
        instance.check()
        return Call(instance, instance.export(name), arguments, AGENERATE).agenerate()

    async def run(self) -> int:
        """Run the guest's program (a WASI command) and return its exit code, 0 to 2**32 - 1."""
        try:
            await self.call("_start")
        except GuestExit as end:
            return end.code
        return 0

    @property
    def memory(self) -> GuestMemory:
        """The guest's memory."""
        memory = self._instance.memory
        if memory is None:
            raise UsageError("the guest has no memory")
        return memory

    @property
    def exports(self) -> tuple[str, ...]:
        """The names of the exported functions."""
        return self._instance.description.public_functions()

    def parameters(self, name: str) -> tuple[str, ...]:
        """Return the types of an export's parameters, as in the text format."""
        return tuple(type_name(kind) for kind in self._instance.export(name).params.types)

    @property
    def suspended(self) -> int:
        """How many calls are suspended."""
        self._instance.end_abandoned()
        return len(self._instance.suspended)

    def interrupt(self) -> None:
        """Make guest code that is running trap with the kind "interrupted"; may be called from any thread.

        Only a guest that was loaded with `interruptible=True` can be interrupted. One that is suspended, or
        does not run, traps when it runs next.
        """
        if not self._instance.program.interruptible:
            raise UsageError("only a guest that was loaded with interruptible=True can be interrupted")
        self._instance.program.interrupt()

    def close(self) -> None:
        """Close the guest: suspended calls are abandoned, and the tasks that await them cancelled."""
        instance = self._instance
        if instance.closed:
            return
        instance.check()
        tasks = {call.task for call in instance.suspended if call.task is not None}
        instance.closed = True
        if self._wasi is not None:
            self._wasi.detach()
        for task in tasks:
            task.cancel("the guest was closed")

    async def aclose(self) -> None:
        """Close the guest, and wait until the calls that were suspended have ended."""
        own = asyncio.current_task()
        tasks = {call.task for call in self._instance.suspended if call.task is not None and call.task is not own}
        self.close()
        if tasks:
            await asyncio.wait(tasks)

    async def __aenter__(self) -> Guest:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
