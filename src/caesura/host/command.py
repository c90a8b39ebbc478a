"""Run one program to its end, as a command does: choose what to call, pass text arguments, stop when told to.

Nothing else runs in the process of a command, so nobody gains if the program is suspended while it waits. It is not
even instrumented, unless its caller wants that: what waits stops the thread, as in every other runtime. Nor does its
code look whether it is to stop, which takes a fifth of the time of some programs: a process that only runs this
program can end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caesura.errors import UsageError
from caesura.host.autosave import Autosave
from caesura.host.errors import GuestExit, GuestTrap
from caesura.host.guest import Guest, World
from caesura.host.interruption import Interruptions
from caesura.host.linking import Origin, connect, obtain_program, obtain_program_now
from caesura.host.making import make_guest_now, make_guest_that_begins
from caesura.host.pending import BudgetExhausted
from caesura.host.settings import GuestSettings, ProgramSettings, with_recording
from caesura.host.slices.budget import Budget
from caesura.host.snapshot import Snapshot, restore_guest
from caesura.host.sources import Source
from caesura.host.spectest import spectest
from caesura.host.stopping import Stopper
from caesura.host.wasi.pausing import PausingWasi
from caesura.host.wasi.reopening import OnMissing
from caesura.host.wasi.wasi import Wasi
from caesura.options import NO_PREEMPT, PREEMPT_FLAG, PREEMPT_FUEL, Options
from caesura.recording.place import recording_path

_START: Final = "_start"


@dataclass(frozen=True)
class Slices:
    """How long a program computes at a time, in seconds, and what it may take in all."""

    time_slice: float | None = None
    budget: Budget | None = None

    @property
    def preempt(self) -> str:
        """What the program looks at for that."""
        if self.budget is not None and self.budget.fuel is not None:
            return PREEMPT_FUEL
        return NO_PREEMPT if self == NO_SLICES else PREEMPT_FLAG

    def settings(self) -> GuestSettings:
        """Return the guest's settings."""
        return GuestSettings(time_slice=self.time_slice)


NO_SLICES: Final = Slices()


def run_command(
    source: Source,
    wasi: Wasi,
    *,
    invoke: str = "",
    arguments: Sequence[str] = (),
    stopper: Stopper,
    options: Options | None = None,
    cache: bool = True,
    autosave: Autosave | None = None,
    slices: Slices = NO_SLICES,
) -> tuple[int, Any]:
    """Run a program; return its exit code and the results of the function that was called.

    `invoke` names an export, whose `arguments` are text; without it the program's `_start` runs, or the only export
    there is. With `options` the program is instrumented with them, and suspended where it waits; without, it stops the
    thread. With `autosave`, and a `PausingWasi`, it is saved when that says so. `slices` say how long it computes at a
    time, so that it can be saved then, too, and what it may take in all. Raises TimeoutError when the stopper's time is
    over, KeyboardInterrupt when a signal interrupts the guest, BudgetExhausted, when it has been saved.

    All of it is bounded: a start function and `_initialize`, too, which have their parts of the budget first.
    """
    if slices.preempt != NO_PREEMPT or recording_path() is not None:
        options = options or Options()
    is_interruptible = options is not None and autosave is None
    settings = with_recording(
        ProgramSettings(
            options=options or Options(), cache=cache, interruptible=is_interruptible, preempt=slices.preempt
        )
    )

    def call_of(guest: Guest) -> tuple[str, list[Any]]:
        name = invoke or _only_export(guest)
        return name, [] if name == _START else _values(guest, name, arguments)

    def run() -> Any:
        if autosave is not None:
            return asyncio.run(_run_saving(source, wasi, call_of, stopper, settings, autosave, slices))
        if options is None:
            return _run_blocking(source, wasi, call_of, stopper, settings)
        return asyncio.run(_run_suspending(source, wasi, call_of, stopper, settings, slices))

    return _until_end(run, stopper)


def resume_command(
    snapshot: Snapshot,
    wasi: PausingWasi,
    *,
    module: Source | None = None,
    stopper: Stopper,
    cache: bool = True,
    autosave: Autosave | None = None,
    other_files: bool = False,
    slices: Slices = NO_SLICES,
) -> tuple[int, Any]:
    """Go on with a program that was saved; returns and raises what `run_command` does, and SnapshotError.

    With `other_files`, files that were open may be others now.
    """
    settings = ProgramSettings(cache=cache)
    wasi.suspending = frozenset(snapshot.state.module.imports)
    on_missing: OnMissing | None = (lambda file: file.path) if other_files else None
    return _until_end(
        lambda: asyncio.run(_resume(snapshot, wasi, module, stopper, settings, autosave, on_missing, slices)), stopper
    )


def _until_end(run: Callable[[], Any], stopper: Stopper) -> tuple[int, Any]:
    """Run a program; return its exit code, and what was called returns."""
    try:
        return 0, run()
    except GuestExit as end:
        return end.code, None
    except GuestTrap as trap:
        if trap.kind == "interrupted" and stopper.reason is not None:
            raise stopper.reason from None
        raise
    except KeyboardInterrupt:
        raise stopper.reason or KeyboardInterrupt from None


_ChooseCall = Callable[[Guest], tuple[str, list[Any]]]


def _run_blocking(source: Source, wasi: Wasi, call_of: _ChooseCall, stopper: Stopper, settings: ProgramSettings) -> Any:
    program, connections = obtain_program_now(source, spectest(), wasi, settings)
    stopper.wake_and_give_up()  # before anything of the guest runs: its start function may never end
    with _as_other_programs_end():
        guest = make_guest_now(program, World(connections, wasi, GuestSettings()), Origin(source, (), settings))
        name, values = call_of(guest)
        try:
            return guest.call_nowait(name, *values)
        finally:
            guest.close()


async def _run_suspending(
    source: Source, wasi: Wasi, call_of: _ChooseCall, stopper: Stopper, settings: ProgramSettings, slices: Slices
) -> Any:
    async with asyncio.timeout(stopper.remaining()):
        connections = connect(spectest(), wasi)
        program = await obtain_program(source, connections, settings, wasi=True)
        if program.description.shared:
            raise UsageError(
                "the program has a memory that is shared between threads, and what waits for another thread could not "
                f"be stopped: run it without {_options_that_suspend(slices)}"
            )
        interruptions = Interruptions()
        stopper.watch(interruptions)  # before anything of the guest runs: its start function may never end
        with _as_other_programs_end():
            world = World(connections, wasi, slices.settings(), interruptions, slices.budget)
            origin = Origin(source, connections.import_list, settings)
            async with await make_guest_that_begins(program, world, origin) as guest:
                return await _begin_and_call(guest, *call_of(guest), slices.budget)


async def _run_saving(
    source: Source,
    wasi: Wasi,
    call_of: _ChooseCall,
    stopper: Stopper,
    settings: ProgramSettings,
    autosave: Autosave,
    slices: Slices,
) -> Any:
    assert isinstance(wasi, PausingWasi), "who wants to save a program gives it that"
    async with asyncio.timeout(stopper.remaining()):
        connections = connect(spectest(), wasi)
        program = await obtain_program(source, connections, settings, wasi=True)
        stopper.wake_and_give_up()
        with _as_other_programs_end():
            world = World(connections, wasi, slices.settings(), budget=slices.budget)
            origin = Origin(source, connections.import_list, settings)
            async with await make_guest_that_begins(program, world, origin) as guest:
                name, values = call_of(guest)
                if name != _default_export(guest):
                    autosave.why_not = (
                        f"its start function, or _initialize, has not ended, and the state would not say that {name} "
                        "is to be called then"
                    )

                def has_begun() -> None:
                    autosave.why_not = ""

                running = _begin_and_call(guest, name, values, slices.budget, has_begun)
                return await _watched(running, guest, wasi, autosave)


async def _resume(
    snapshot: Snapshot,
    wasi: PausingWasi,
    module: Source | None,
    stopper: Stopper,
    settings: ProgramSettings,
    autosave: Autosave | None,
    on_missing: OnMissing | None,
    slices: Slices,
) -> Any:
    _check_slices(slices, snapshot.state.module.options.get("preempt", NO_PREEMPT))
    async with asyncio.timeout(stopper.remaining()):
        world = World(connect(spectest(), wasi, state=snapshot.state), wasi, slices.settings())
        guest = await restore_guest(
            snapshot, world, module, settings, load_object=None, on_missing=on_missing, on_restore=None
        )
        stopper.wake_and_give_up()
        with _as_other_programs_end():
            async with guest:
                calls = guest.pending
                if len(calls) != 1:
                    raise UsageError(f"the snapshot has {len(calls)} suspended calls: a program that goes on has one")
                running = guest._go_on(calls[0], slices.budget, lambda: _call_after_beginning(guest, snapshot))
                if autosave is None:
                    return await running
                return await _watched(running, guest, wasi, autosave)


def _check_slices(slices: Slices, preempt: str) -> None:
    """Refuse what a saved program has no pause points for, which it got, or not, when it was run first."""
    if slices.preempt == PREEMPT_FUEL != preempt:
        raise UsageError(
            "the program does not count, since it was run without --fuel: bound its processor time by --cpu, or run it "
            "with --fuel from the beginning"
        )
    if slices != NO_SLICES and preempt == NO_PREEMPT:
        raise UsageError(
            "the program cannot be paused while it computes, since it was run without --time-slice, --cpu and --fuel: "
            "run it with one of these from the beginning"
        )


def _options_that_suspend(slices: Slices) -> str:
    """Return the options for which a program is instrumented though it is not saved."""
    budget = slices.budget or Budget(cpu=1)
    given = {"--time-slice": slices.time_slice, "--cpu": slices.budget and budget.cpu, "--fuel": budget.fuel}
    names = [name for name, value in given.items() if value is not None]
    return " and ".join(names) or "--stack-size"


async def _begin_and_call(
    guest: Guest, name: str, values: Sequence[Any], budget: Budget | None, has_begun: Callable[[], object] = bool
) -> Any:
    """Let a guest begin, and call one of its exports, within one budget."""
    allowance = guest._allowance(budget)
    await guest._begin_within(allowance)
    has_begun()
    return await guest._call_within(allowance, name, values)


async def _watched(running: Coroutine[Any, Any, Any], guest: Guest, wasi: PausingWasi, autosave: Autosave) -> Any:
    """Run a program and save it when it is time. Raises KeyboardInterrupt when it was saved to end."""
    autosave.begin(wasi)
    program, watching = asyncio.create_task(running), asyncio.create_task(autosave.watch(guest))
    try:
        await asyncio.wait({program, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching
            raise KeyboardInterrupt
        return await program
    except BudgetExhausted:
        autosave.save_at_end(guest)
        raise
    finally:
        program.cancel()
        watching.cancel()
        await asyncio.gather(program, watching, return_exceptions=True)


@contextlib.contextmanager
def _as_other_programs_end() -> Iterator[None]:
    """Let a guest end by SIGPIPE, as native programs do: most never look whether anybody reads what they write.

    Python ignores that signal. Nothing of ours writes into pipes while the guest runs.
    """
    pipe_signal = getattr(signal, "SIGPIPE", None)  # there is none on Windows
    if pipe_signal is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(pipe_signal, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(pipe_signal, before)


def _call_after_beginning(guest: Guest, snapshot: Snapshot) -> tuple[str, list[Any]]:
    """Return what is called of a program that was saved while it began, and with what."""
    assert snapshot.state.wasi is not None, "it is a program"
    name = _only_export(guest)
    return name, [] if name == _START else _values(guest, name, snapshot.state.wasi.arguments[1:])


def _only_export(guest: Guest) -> str:
    name = _default_export(guest)
    if not name:
        known = ", ".join(guest.exports) or "none"
        raise UsageError(f"the program has no _start: choose an exported function with --invoke (exported: {known})")
    return name


def _default_export(guest: Guest) -> str:
    """Return what is called of a program of which nobody says: "" where that is not clear."""
    exports = guest.exports
    if _START in exports:
        return _START
    return exports[0] if len(exports) == 1 else ""


def _values(guest: Guest, name: str, arguments: Sequence[str]) -> list[Any]:
    """Return text arguments as values of the types that an export takes."""
    params = guest.parameters(name)
    if len(arguments) != len(params):
        raise UsageError(f"{name} takes {len(params)} arguments ({', '.join(params)}), not {len(arguments)}")
    values: list[Any] = []
    for kind, text in zip(params, arguments, strict=True):
        if kind not in _NUMBERS:
            raise UsageError(f"{name} takes a value of type {kind}, which cannot be written as an argument")
        try:
            values.append(_NUMBERS[kind](text))
        except ValueError:
            raise UsageError(f"argument '{text}' of {name} is no {kind}") from None
    return values


def _integer(text: str) -> int:
    return int(text, 0)


_NUMBERS: Final[dict[str, Callable[[str], float]]] = {"i32": _integer, "i64": _integer, "f32": float, "f64": float}
