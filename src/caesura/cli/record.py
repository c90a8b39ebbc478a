"""`caesura record`: run a command, and make an only-list of what its processes note of suspensions.

The command runs as it would without us, with our standard streams; only its environment says where to note, and Node is
told to load what records there. Signals that are meant to end it go on to it, so that the list is written all the same.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from caesura.cli.commands import start_command
from caesura.cli.exits import BAD_INPUT, WrongUsage
from caesura.cli.files import (
    STANDARD_STREAM,
    about,
    check_output_name,
    is_ordinary,
    read_file,
    read_module,
    write_output,
)
from caesura.cli.messages import say, say_error, say_warning
from caesura.cli.subcommand import SubCommand
from caesura.cli.summary import counted
from caesura.errors import UsageError
from caesura.recording.completing import complete_entries, complete_list, unhashed_entries
from caesura.recording.environment import recording_environment
from caesura.recording.recorded import LARGEST_FILE, Recording, is_recording, read_recording
from caesura.recording.recorded_list import RecordedList, read_recorded_list

_DESCRIPTION: Final = """\
Run a command and write a list of the functions that were on the stack when calls of its guests were suspended: an
only-list for `caesura instrument`. Guests note that if they were instrumented with --record; those of the asyncio host
and of `caesura run` are instrumented so by themselves, and in Node with JSPI any module is recorded as it is. The exit
code is the command's."""

_EXAMPLES: Final = """\
examples:
  caesura record -o list.txt -- npm test
      what all processes of a test suite note together
  caesura record -o list.txt -- caesura run program.wasm
  caesura record --merge list.txt more.txt recording -o list.txt
      what lists, and files that CAESURA_RECORD named, say together
  caesura record -o list.txt --module php.wasm -- node test.mjs
      functions without names get entries that survive a rebuild
"""

# How modules begin.
_MODULE: Final = b"\0asm"

# Signals that end a command, and its exit code where one did.
_ENDING: Final = ("SIGTERM", "SIGHUP")
_SIGNALLED: Final = 128


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--merge",
        metavar="FILE",
        nargs="+",
        default=[],
        help="merge lists and recordings, instead of running a command",
    )
    parser.add_argument(
        "--module",
        metavar="MODULE",
        help="the module that ran, as it was given: functions that are only known by an index get entries with a hash",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        default=STANDARD_STREAM,
        help="where the list goes; of one that is there already, what people have written in it stays; '-' is standard "
        "output, for --merge only",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors and warnings")
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="behind `--`: the command, with its arguments")


def _run(arguments: argparse.Namespace) -> int:
    check_output_name(arguments.output)
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if bool(command) == bool(arguments.merge):
        raise WrongUsage("expected a command behind `--`, or --merge with files" + (", not both" if command else ""))
    return _record(command, arguments) if command else _merge(arguments)


def _merge(arguments: argparse.Namespace) -> int:
    merged = _list_before(arguments.output) if is_ordinary(arguments.output) else RecordedList()
    dropped = merged.forget_entries()
    recording = Recording()
    for path in arguments.merge:
        data = read_file(path, LARGEST_FILE)
        if is_recording(data):
            read_recording(data, path, recording)
        else:
            merged.add_list(read_recorded_list(path))
    _complete(recording, merged, arguments)
    _say_warnings(recording)
    merged.add_recording(recording)
    if not merged.entries():
        raise UsageError(f"nothing is recorded in these files: {_why_nothing(recording)}")
    write_output(arguments.output, [merged.text().encode()])
    _say(arguments, f"{counted(len(merged.entries()), 'function')} in the list{_gone(dropped, merged, 'merged')}")
    return 0


def _record(command: Sequence[str], arguments: argparse.Namespace) -> int:
    if arguments.output == STANDARD_STREAM:
        raise WrongUsage("name a file for the list with -o: standard output is the command's")
    if not is_ordinary(arguments.output):
        raise WrongUsage(f"'{arguments.output}' is no file: name one for the list with -o")
    _check_folder(arguments.output)
    before = _list_before(arguments.output)
    with tempfile.TemporaryDirectory(prefix="caesura-") as folder:
        path = os.path.join(folder, "recording")
        code = _run_command(command, recording_environment(path))
        recording = Recording()
        if os.path.exists(path):
            read_recording(read_file(path, LARGEST_FILE), path, recording)
    dropped = before.forget_entries()
    _complete(recording, before, arguments)
    _say_warnings(recording)
    if code:
        say_warning(f"the command failed with exit code {code}: what it did not come to is not recorded")
    if not recording.functions:
        say_error(f"nothing is recorded, and no list written: {_why_nothing(recording)}")
        return code or BAD_INPUT
    before.add_recording(recording)
    write_output(arguments.output, [before.text().encode()])
    recorded = counted(len(before.entries()), "function")
    _say(arguments, f"{recorded} recorded, in {arguments.output}{_gone(dropped, before, 'recorded')}")
    return code


def _gone(dropped: Sequence[str], kept: RecordedList, done: str) -> str:
    """Return what is to be said of entries that a list had before, and has no more."""
    gone = len(frozenset(dropped) - frozenset(kept.entries()))
    return f"; {gone} that the list had were not {done} now, and are not in it any more" if gone else ""


def _list_before(path: str) -> RecordedList:
    """Return the list that is to be replaced, if there is one; raises UsageError for a file that is something else."""
    if not os.path.exists(path):
        return RecordedList()
    data = read_file(path)
    if data.startswith(_MODULE) or is_recording(data):
        raise UsageError(
            f"'{path}' is a {'module' if data.startswith(_MODULE) else 'recording'}, and no list: name another"
        )
    return read_recorded_list(path)


def _check_folder(path: str) -> None:
    """Raise UsageError if nothing can be written to a file's folder, before the command has taken its time."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise UsageError(f"cannot write '{path}': there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write '{path}': the folder '{folder}' cannot be written to")


def _run_command(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command to its end; return its exit code, as shells have it."""
    process = start_command(command, environment)
    with _signals_for(process):
        code = process.wait()
    return code if code >= 0 else _SIGNALLED - code


@contextmanager
def _signals_for(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand signals on that are to end the command; Ctrl-C reaches it by itself, and is not for us."""

    def hand_on(number: int, _: Any) -> None:
        process.send_signal(number)

    before = {signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None)}
    for name in _ENDING:
        number = getattr(signal, name, None)  # some are missing on Windows
        if number is not None:
            before[number] = signal.signal(number, hand_on)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _complete(recording: Recording, listed: RecordedList, arguments: argparse.Namespace) -> None:
    """Give functions that are only known by their index entries that survive a rebuild, if the module is given."""
    unhashed = unhashed_entries(dict.fromkeys([*recording.functions, *listed.entries()]))
    if not unhashed:
        return
    if arguments.module is None:
        say_warning(
            f"{counted(len(unhashed), 'function')} without a name, such as {unhashed[0]}, cannot be matched by that: "
            "--module with the module that ran, as it was given, completes the entries (now or with --merge)"
        )
        return
    data = read_module(arguments.module)
    with about(arguments.module):
        complete_list(listed, data)
        complete_entries(recording, data)
    left = unhashed_entries(recording.functions)
    if left:
        modules = sorted({name for entry in left for name in recording.functions[entry].modules})
        say_warning(
            f"{counted(len(left), 'function')} without a name, such as {left[0]}, cannot be matched by that: not of "
            f"this module, but of {', '.join(modules)}"
        )


def _why_nothing(recording: Recording) -> str:
    if recording.unrecorded:
        return "; ".join(recording.unrecorded)
    if recording.warnings:
        return "what was noted had to be left out"
    if recording.guests:
        return f"none of the {counted(recording.guests, 'guest')} that ran was suspended"
    return (
        "no guest has noted anything. Modules that others than the asyncio host run have to be instrumented with "
        "--record and run by Node (in browsers the page loads `caesura/record`); Node records modules as they are only "
        "where it has JSPI"
    )


def _say_warnings(recording: Recording) -> None:
    for warning in recording.warnings:
        say_warning(warning)


def _say(arguments: argparse.Namespace, line: str) -> None:
    if not arguments.quiet:
        say(f"caesura: {line}")


COMMAND: Final = SubCommand(
    name="record",
    help="run a command and write a list of what it has suspended",
    description=_DESCRIPTION,
    epilog=_EXAMPLES,
    add_arguments=_add_arguments,
    run=_run,
)
