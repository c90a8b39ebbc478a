"""Loading modules: `load`, which makes a guest, and `compile`, which keeps a program from which guests are made.

A program is found again for as long as a guest of it lives, and in the cache on the disk afterwards; whoever makes
guests of it again and again keeps it with `compile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Never

from caesura.errors import UsageError
from caesura.host.compiling import WASI, Provided
from caesura.host.connect import Imports
from caesura.host.guest import Guest, World
from caesura.host.interruption import Interruptions, interruptions_of
from caesura.host.linking import Origin, check_loop, connect, obtain_compiled_for, obtain_program
from caesura.host.making import make_guest
from caesura.host.native_stack import NATIVE_STACK_SIZE
from caesura.host.obtaining import link
from caesura.host.program import CompiledModule, LinkedProgram
from caesura.host.settings import (
    DEFAULT_OPTIONS,
    RECURSION_LIMIT,
    REFUSE,
    GuestSettings,
    ProgramSettings,
    with_recording,
)
from caesura.host.slices.budget import Budget
from caesura.host.sources import Source
from caesura.host.uncopied import Uncopied
from caesura.host.wasi.wasi import Wasi
from caesura.options import NO_PREEMPT, PREEMPT_FLAG, Options

# Which parameters of `load` are whose, where the two parts of its work are done one after the other.
_PROGRAM_PARAMETERS: Final = ProgramSettings.names()
_GUEST_PARAMETERS: Final = (*GuestSettings.names(), "interruptions", "budget")


async def load(
    source: Source,
    imports: Imports | None = None,
    *,
    external: Sequence[str] = (),
    wasi: Wasi | None = None,
    options: Options = DEFAULT_OPTIONS,
    cache: bool = True,
    shadow_stack_size: int | None = None,
    single_stack: bool | None = None,
    stack_space: tuple[int, int] | int | None = None,
    interruptible: bool | Interruptions = False,
    accept_instrumented: bool = True,
    time_slice: float | int | None = None,
    weight: float | int = 1.0,
    priority: int = 0,
    preempt: str | None = None,
    recursion_limit: int = RECURSION_LIMIT,
    memory_limit: int | None = None,
    table_limit: int | None = None,
    memories: int | None = None,
    tables: int | None = None,
    instances: int | None = None,
    suspended_calls: int | None = None,
    when_unsuspendable: str = REFUSE,
    memory_reservation: int | None = None,
    native_stack_size: int = NATIVE_STACK_SIZE,
    budget: Budget | None = None,
) -> Guest:
    """Load a module and make a guest of it.

    `source` is a path or the bytes of a module, binary or text. `imports` has a callable for each imported
    function; the coroutine functions among them (and those marked with `yielding`) are what may suspend the
    guest, and so are functions without a body, for which `caesura.EXTERNAL` stands there, or their names
    ("module.name") in `external`. An imported global is a number, an imported memory or table a
    `wasmtime.MemoryType` or `wasmtime.TableType`, of which a new one is made. `wasi` gives a program the WASI
    functions that `imports` leaves out.

    `options` are the transformation's (lists, mostly); `cache` says whether compiled modules are kept on the disk.
    `shadow_stack_size` is bytes, for each call of a compiled program that begins while another has not ended; None is
    as many as the program's own stack has. With `single_stack` such calls are refused, for guests that scan their
    stack; None is for those that seem to need it. `stack_space` is a place (first address, address behind it) for the
    asyncify stack in a module that was instrumented elsewhere and has no `malloc`, or a number of bytes by which its
    memory grows. `interruptible` guests can be stopped in mid-computation with `interrupt`, and run a little slower;
    with an `Interruptions` object, while they are loaded too. With `accept_instrumented=False`, modules that say that
    they are instrumented already are refused: best for strangers'.

    A guest with a `time_slice` (seconds) that computes is suspended when that is over, and goes on when it is its turn:
    docs/slices.md. `weight` and `priority` say which share of its event loop it gets. `preempt` is what it looks at for
    that: "flag", or "fuel", which it counts, so that budgets can be given in fuel. `budget` is what its start function
    and its `_initialize` may take together, and needs one of these; calls have budgets of their own.

    `memory_limit` (bytes, for each memory), `table_limit` (elements, for each table) and `instances` are what the
    guest may take. With these limits it may have one memory of its own and one table, unless `memories` and `tables`
    say how many. `suspended_calls` is how many of its calls may be suspended when another begins.
    `when_unsuspendable` says what happens where a host function has to wait below functions that a list in `options`
    leaves out: it is an "error" that names them, or the thread waits, with a warning ("block").
    `recursion_limit` is how many calls deep the guest and host functions may call each other. `memory_reservation` is
    bytes of address space for each memory: by default 4 GiB, or 16 MiB where the process's address space is limited;
    with less than 4 GiB, code checks bounds and runs slower.
    `native_stack_size` is bytes of the thread's stack that guest code may take before it traps (512 KiB); the thread
    needs 256 KiB more.

    Raises UsageError for a file that cannot be read, imports or options that do not fit the module, ModuleError for a
    module that is malformed or uses what is not supported, and what its start function raises (GuestTrap, or a host
    function's exception). BudgetExhausted says that it has used its `budget` up: there is no guest then.
    """
    preempt = preempt or (NO_PREEMPT if time_slice is None else PREEMPT_FLAG)
    parameters = {**locals(), "interruptible": bool(interruptible)}
    interruptions = interruptions_of(interruptible)
    program_settings = with_recording(ProgramSettings.among(parameters))
    guest_settings = GuestSettings.among(parameters)
    connections = connect(imports, wasi, external)
    program = await obtain_program(source, connections, program_settings, wasi=wasi is not None)
    world = World(connections, wasi, guest_settings, interruptions, budget)
    return await make_guest(program, world, Origin(source, connections.import_list, program_settings))


async def compile(  # noqa: A001 - users write `caesura.compile`
    source: Source,
    imports: Imports | None = None,
    *,
    external: Sequence[str] = (),
    wasi: bool | Wasi = False,
    options: Options = DEFAULT_OPTIONS,
    cache: bool = True,
    interruptible: bool = False,
    accept_instrumented: bool = True,
    preempt: str = NO_PREEMPT,
    memory_reservation: int | None = None,
    native_stack_size: int = NATIVE_STACK_SIZE,
    **others: Never,
) -> Program:
    """Compile a module and keep it: `await program.load(...)` makes guests of it, in a fraction of a millisecond.

    `imports` is what guests get that are given nothing else, and says which imports may suspend; `wasi` is whether
    they are WASI programs. A `Wasi` object says it, too, and is a pattern: where its output waits (`stdout` is a
    coroutine function), that of the guests may. No guest gets it.

    The other parameters, and the errors, are those of `load`. What `load` takes beyond these is each guest's own, and
    goes to `program.load`: it is a UsageError here.
    """
    parameters = locals()
    _check_others(others, "compile", "program.load", _GUEST_PARAMETERS)
    if not isinstance(wasi, bool | Wasi):
        raise UsageError(f"wasi is {wasi!r}: compile expects True, False, or a Wasi object as a pattern")
    _refuse_interruptions(interruptible)
    interruptions_of(interruptible)
    settings = with_recording(ProgramSettings.among(parameters))
    pattern = wasi if isinstance(wasi, Wasi) else Wasi() if wasi else None
    connections = connect(imports, pattern, external)
    compiled = await obtain_compiled_for(source, connections, settings, wasi=pattern is not None)
    linked = await link(compiled, Provided(connections.provided, wasi=pattern is not None))
    given = imports or {}, external
    return Program(compiled, linked, given, Origin(source, connections.import_list, settings))


class Program(Uncopied):
    """A compiled module from which any number of guests are made, in any thread. Made by `compile`."""

    _what = "a compiled caesura program"
    _instead_of_copy = "any number of guests and threads share it"
    _instead_of_pickle = (
        "it belongs to this process; compile the module where it is needed, which the cache makes quick"
    )

    def __init__(
        self, compiled: CompiledModule, linked: LinkedProgram, given: tuple[Imports, Sequence[str]], origin: Origin
    ) -> None:
        self._compiled = compiled
        self._given = given  # the imports, and the names of those without a body
        self._origin = origin
        self._wasi = linked.provided.wasi
        self._linked = linked  # guests that are like each other share it

    async def load(
        self,
        imports: Imports | None = None,
        *,
        external: Sequence[str] = (),
        wasi: Wasi | None = None,
        shadow_stack_size: int | None = None,
        single_stack: bool | None = None,
        stack_space: tuple[int, int] | int | None = None,
        recursion_limit: int = RECURSION_LIMIT,
        memory_limit: int | None = None,
        table_limit: int | None = None,
        memories: int | None = None,
        tables: int | None = None,
        instances: int | None = None,
        suspended_calls: int | None = None,
        when_unsuspendable: str = REFUSE,
        time_slice: float | int | None = None,
        weight: float | int = 1.0,
        priority: int = 0,
        interruptions: Interruptions | None = None,
        budget: Budget | None = None,
        **others: Never,
    ) -> Guest:
        """Make a guest. `imports` are its own; by default those that were given to `compile`. `interruptions` can stop
        what it computes, also while it is being loaded, if the program was compiled with `interruptible=True`.

        The other parameters, and the errors, are those of `caesura.load`; it is a UsageError, too, if a function may
        suspend that was no coroutine function when the module was compiled.
        """
        settings = GuestSettings.among(locals())
        _check_others(others, "program.load", "compile", _PROGRAM_PARAMETERS)
        if not (interruptions is None or isinstance(interruptions, Interruptions)):
            raise UsageError(f"interruptions is {interruptions!r}: expected a caesura.Interruptions object")
        check_loop()
        if self._wasi and wasi is None:
            wasi = Wasi()
        if wasi is not None and not self._wasi:
            raise UsageError("the module was compiled without WASI: compile it with wasi=True")
        if imports is None:
            imports, external = self._given[0], external or self._given[1]
        connections = connect(imports, wasi, external)
        added = self._origin.added(self._compiled.description, connections)
        if added:
            raise UsageError(
                f"{', '.join(added)} may suspend now, and was no coroutine function among the imports that the module "
                f"was compiled with: {_advice(added)}"
            )
        program = await link(self._compiled, Provided(connections.provided, wasi=self._wasi))
        if interruptions is not None and not program.settings.interruptible:
            raise UsageError("the module was compiled without interruptible=True")
        return await make_guest(program, World(connections, wasi, settings, interruptions, budget), self._origin)

    @property
    def exports(self) -> tuple[str, ...]:
        """The names of the exported functions."""
        return self._compiled.description.public_functions


def _check_others(given: Iterable[str], here: str, there: str, known_there: Iterable[str]) -> None:
    """Raise for parameters that a function does not take: UsageError if the other part of `load` does."""
    for name in given:
        if name == "interruptible":
            raise UsageError(
                "interruptible belongs to compile; program.load takes interruptions=caesura.Interruptions()"
            )
        if name in known_there:
            raise UsageError(f"{name} belongs to {there}, not to {here}")
        raise TypeError(f"{here}() got an unexpected keyword argument '{name}'")


def _refuse_interruptions(given: object) -> None:
    if isinstance(given, Interruptions):
        raise UsageError(
            "an Interruptions object serves one guest, and compile makes none: compile with interruptible=True and "
            "give the object to program.load(interruptions=...)"
        )


def _advice(added: list[str]) -> str:
    if all(name.startswith(f"{WASI}.") for name in added):
        return (
            "compile it with a Wasi object as a pattern whose stdout or stderr is a coroutine function, too "
            "(wasi=caesura.Wasi(stdout=...))"
        )
    return "compile it with the imports that guests get"
