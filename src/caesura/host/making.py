"""Making guests of a program: new ones, which initialize themselves, and those that go on where another one was.

A guest is there before its instance is, since host functions of its start function get it: so it is begun here, by what
users of a guest have no business with.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable

import wasmtime

from caesura.host import native
from caesura.host.guest import Guest, World
from caesura.host.linking import Origin
from caesura.host.pending import BudgetExhausted
from caesura.host.program import LinkedProgram
from caesura.host.saving.filling import fill_images
from caesura.host.saving.putting_back import SavedGuest
from caesura.host.slices.turns import wait_for_turn
from caesura.host.starting import instantiate, instantiate_in_thread
from caesura.options import NO_PREEMPT

# Called with a guest that was restored, before anything of it runs.
OnRestore = Callable[[Guest], object]


async def make_guest_again(
    program: LinkedProgram, world: World, origin: Origin, saved: SavedGuest, on_restore: OnRestore | None
) -> Guest:
    """Make a guest that goes on where another one was."""
    guest = Guest(program, world, origin)
    try:
        exported = await _instantiate(guest, world, starts=False)
        if saved.images is not None:
            await fill_images(saved.images, guest._instance, exported)
        guest._begin(exported, world.wasi, saved)
        if on_restore is not None:
            waiting = on_restore(guest)
            if isawaitable(waiting):
                await waiting
    except BaseException:
        guest._end()
        raise
    return guest


async def make_guest(program: LinkedProgram, world: World, origin: Origin) -> Guest:
    """Make a guest and let it initialize itself. Raises BudgetExhausted, and closes it, if that takes more than it may.

    Handing out a guest that is suspended there was rejected: who loads one wants one that can be called.
    """
    guest = await make_guest_that_begins(program, world, origin)
    try:
        await guest._begin_within(guest._allowance(world.budget))
    except BudgetExhausted as pause:
        guest._end()
        raise BudgetExhausted(pause.call.export, pause.exhausted, pause.call, is_loaded=False) from None
    except BaseException:
        guest._end()
        raise
    return guest


async def make_guest_that_begins(program: LinkedProgram, world: World, origin: Origin) -> Guest:
    """Make a guest that has to initialize itself yet (`_begin_within`); what its engine calls has run."""
    guest = Guest(program, world, origin)
    try:
        if world.budget is not None:
            guest._instance.check_first_budget(world.budget)
        if program.description.preempt != NO_PREEMPT and native.thread.call is None:
            await wait_for_turn(guest, world.settings.weight, world.settings.priority)
        guest._begin(await _instantiate(guest, world, starts=True), world.wasi)
    except BaseException:
        guest._end()
        raise
    return guest


def make_guest_now(program: LinkedProgram, world: World, origin: Origin) -> Guest:
    """Do what `make_guest` does, but stop the thread: for programs that have nothing else to do."""
    guest = Guest(program, world, origin)
    try:
        guest._begin(instantiate(guest._instance, world.connections, starts=True), world.wasi)
        for name in program.description.beginning():
            guest.call_nowait(name)
    except BaseException:
        guest._end()
        raise
    return guest


async def _instantiate(guest: Guest, world: World, *, starts: bool) -> wasmtime.Instance:
    if guest._instance.program.is_instantiated_quickly:
        return instantiate(guest._instance, world.connections, starts=starts)
    return await instantiate_in_thread(guest._instance, world.connections, starts=starts)
