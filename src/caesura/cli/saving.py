"""The options that save a running program, and the signals that ask for it."""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from caesura.cli.exits import WrongUsage
from caesura.cli.files import InFile
from caesura.cli.messages import say, say_warning
from caesura.cli.run_values import seconds
from caesura.errors import UsageError

if TYPE_CHECKING:
    from caesura.host.autosave import Autosave
    from caesura.host.stopping import Stopper


def add_save_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that save a program."""
    parser.add_argument(
        "--save",
        default=None,
        metavar="STATE",
        help="save the program to this file when it is asked for, which is at its next call of the system (a program "
        "that computes without any is saved at the end of a --time-slice only), and when Ctrl-C ends it; `caesura "
        "resume STATE` goes on",
    )
    parser.add_argument(
        "--save-on",
        action="append",
        default=[],
        metavar="SIGNAL",
        help="save it when this signal arrives, such as SIGUSR1, and go on",
    )
    parser.add_argument("--save-every", default=None, metavar="SECONDS", help="save it again and again after a time")


def autosave_of(arguments: argparse.Namespace, *, embed: bool) -> Autosave | None:
    """Return when a program is to be saved; None if it is not. `embed`: its module goes along."""
    from caesura.host.autosave import Autosave
    from caesura.snapshots.saving import check_place

    if arguments.save is None:
        for option, given in (("--save-on", arguments.save_on), ("--save-every", arguments.save_every)):
            if given:
                raise WrongUsage(f"{option} says when the program is saved: say where, with --save STATE")
        return None
    check_place(arguments.save)  # now, and not when the program is to be saved
    every = None if arguments.save_every is None else seconds(arguments.save_every, "--save-every")
    autosave = Autosave(arguments.save, every=every, embed=embed, report=say_warning)
    autosave.signals = tuple(_signal(name) for name in arguments.save_on)
    return autosave


def handled_signals(autosave: Autosave | None) -> dict[int, float]:
    """Return how often each signal saves the program instead of stopping it: Ctrl-C once."""
    if autosave is None:
        return {}
    return {**dict.fromkeys(autosave.signals, math.inf), signal.SIGINT: 1}


@contextlib.contextmanager
def saving_on_signals(autosave: Autosave | None, stopper: Stopper) -> Iterator[None]:
    """Ask for the program to be saved when signals arrive. The second Ctrl-C stops it at once."""
    if autosave is None:
        yield
        return
    wanted = autosave

    def interrupted(number: int, frame: FrameType | None) -> None:
        if stopper.reason is not None or wanted.ends:
            raise KeyboardInterrupt
        wanted.request(ends=True)

    before = {signal.SIGINT: signal.signal(signal.SIGINT, interrupted)}
    try:
        for number in autosave.signals:
            try:
                before[number] = signal.signal(number, lambda *_: wanted.request())
            except (OSError, ValueError) as error:
                raise UsageError(f"--save-on: nobody can be told of {number.name}") from error
        yield
    except (KeyboardInterrupt, InFile):
        if autosave.has_ended:
            say(f"caesura: the program is saved in '{autosave.place}'")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal(name: str) -> signal.Signals:
    """Return a signal by its name, with or without SIG."""
    known = {item.name: item for item in signal.Signals}
    found = known.get(name.upper()) or known.get(f"SIG{name.upper()}")
    if found is None:
        raise WrongUsage(f"--save-on {name}: expected the name of a signal of this system, such as SIGUSR1")
    if found == signal.SIGINT:
        raise WrongUsage(f"--save-on {name}: with --save, Ctrl-C saves the program and ends it")
    return found
