"""Render what is made of the contract: the tables of docs/abi.md, and js/src/abi.js. `python docs/render_abi.py`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final, NamedTuple

if __name__ == "__main__":  # the source beside this page, not a package that is installed; tests take what they test
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from caesura import abi
from caesura.abi import Fact, State, Status

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "docs" / "abi.md"
JAVASCRIPT: Final = REPOSITORY / "js" / "src" / "abi.js"

# In the page, in front of a table: its name.
MARK: Final = re.compile(r"(<!-- rendered by render_abi.py: ([a-z ]+) -->\n\n)(?:\|.*\n)*")

ABOUT: Final = """/**
 * The contract with instrumented modules: names and numbers of docs/abi.md.
 *
 * Rendered from src/caesura/abi.py by docs/render_abi.py.
 */
"""

EXPORTS: Final = """/**
 * What instrumented modules export.
 * @typedef {object} Exports
"""


class Table(NamedTuple):
    """A table: what stands above its columns, and the cells of its rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


_CURRENT_AND_END: Final = (
    (f"{abi.CURRENT_OFFSET}", "pointer", "*current*: the first free byte of the asyncify stack"),
    ("p", "pointer", "*end*: the first byte behind it"),
)

# The tables by the names that their places in the page give.
TABLES: Final[dict[str, Table]] = {
    "plain exports": Table(
        ("export", "type", "what it does"),
        (
            (
                f"`{abi.START_UNWIND}`",
                "(pointer) → ()",
                f"state {State.UNWINDING}, and this data structure from now on",
            ),
            (f"`{abi.STOP_UNWIND}`", "() → ()", f"state {State.NORMAL}"),
            (
                f"`{abi.START_REWIND}`",
                "(pointer) → ()",
                f"state {State.REWINDING}, and this data structure from now on",
            ),
            (f"`{abi.STOP_REWIND}`", "() → ()", f"state {State.NORMAL}"),
            (f"`{abi.GET_STATE}`", "() → i32", "returns the state"),
            (
                f"`{abi.RESULTS_PREFIX}i`",
                "() → as import *i*",
                "only for imported functions that may suspend and have a result that cannot be null, by function "
                "index: gives what such an import can return when it suspends",
            ),
            (
                f"`{abi.UNSUSPENDABLE}`",
                "mutable i32 global",
                "only where lists leave out functions: not 0 while one is on the stack, see [below](#guard)",
            ),
            (
                f"`{abi.LEAVING_STATE}`",
                "mutable i32 global",
                "only where functions can leave for those of other instances by tail calls: the state, see "
                "[below](#instances-that-call-each-other)",
            ),
            (
                f"`{abi.DROP_REFERENCES}`",
                "(pointer) → ()",
                "only where frames hold references: forgets those of the call suspended on this data structure's stack",
            ),
        ),
    ),
    "states": Table(("state", ""), tuple([(f"{state}", state.text) for state in State])),
    "data structure": Table(("offset", "", ""), _CURRENT_AND_END),
    "sections": Table(
        ("section", ""),
        (
            (
                f"`{abi.CONTRACT_SECTION}`",
                "unsigned LEB128 numbers: the version of the contract, flags for facts, and, if it is known, the "
                "lowest address of the guest's own shadow stack; where no linker's symbol tells, it may lie below that",
            ),
            (
                f"`{abi.FUNCTIONS_SECTION}`",
                "a bitmap over functions, bit *i* & 7 of byte *i* >> 3 for function *i*: it can be on the stack at a "
                "suspension. Functions behind the bitmap's end are not known to be unable to",
            ),
            (
                f"`{abi.RESULTS_SECTION}`",
                f"for each imported function a byte with how many results it has, at most {abi.MOST_RESULTS_TOLD} "
                f"(plus {abi.BUILTIN_RESULTS} if its module's name begins with `{abi.BUILTIN_MODULES}`: engines that "
                "provide such functions themselves do not show them among a module's imports), and for each of these "
                f"results a byte: {abi.NUMBER_RESULT} a number or vector, {abi.REFERENCE_RESULT} a reference. Present "
                "only if an import that may suspend, or any where `asyncify.functions` is present, has "
                "several results or a reference, a module's name begins so, or "
                'the module counts (`preempt="fuel"`)',
            ),
            (
                f"`{abi.EXPORTED_IMPORTS_SECTION}`",
                "in modules with thunks, for each export that is an import which may suspend: the number of the "
                "export, from 0, and the import's function index, in LEB128. The export is a thunk, a function of "
                "this module; who wants to import into another module what this one has imported finds it so",
            ),
            (f"`{abi.STATE_SECTION}`", "with `snapshots`: what the state consists of, see [below](#the-state)"),
            (f"`{abi.FRAMES_SECTION}`", "with `frame_layouts`: what frames hold, see [below](#frame-layouts)"),
            (f"`{abi.RECORD_SECTION}`", "with `record`: which functions are noted, see [below](#recording)"),
            (
                f"`{abi.GUARD_SECTION}`",
                "where lists leave out functions: what those on a stack are, see [above](#guard)",
            ),
        ),
    ),
    "state exports": Table(
        ("export", "type", "what it is"),
        (
            (
                f"`{abi.STATE_MEMORIES}i`",
                "memory",
                "each memory but that of the asyncify stack, if it is not the guest's",
            ),
            (f"`{abi.STATE_GLOBALS}i`", "mutable global", "each mutable global, also imported ones"),
            (
                f"`{abi.STATE_TABLES}i`",
                "table",
                "each table that code of the module writes, or that others reach: it is imported, or exported by "
                "another name",
            ),
            (
                f"`{abi.STATE_SIZE}h`, `{abi.STATE_FIND}h`, `{abi.STATE_CLEAR}h`",
                "() → i32, (i32) → i32, (i32) → i32",
                "for *h* `global:i` or `table:i`, which hosts cannot be shown: how many elements it has; the first "
                "place from one on that is not null, or -1; all elements null, and as many of them, if it can have "
                "so many (1; else 0)",
            ),
            (
                f"`{abi.STATE_FETCH}h`, `{abi.STATE_STORE}h`",
                "(i32) → funcref, (i32 funcref) → ()",
                "of those with references to functions: the one at a place; it is set, or traps for a function of "
                "another type",
            ),
            (
                f"`{abi.STATE_FETCH}h`, `{abi.STATE_STORE}h`",
                "(i32) → i32, (i32 i32) → ()",
                "of those with structures, arrays and numbers: the number at a place, 31 bits without a sign, or -1 "
                "where there is something else; a number is put there, or it traps where only others may be",
            ),
            (
                f"`{abi.STATE_FETCH}h`, `{abi.STATE_STORE}h`",
                "(i32) → (), (i32) → ()",
                "of those with exceptions: the one at a place is kept, to be looked into; the one that is kept is put "
                "there",
            ),
            (
                f"`{abi.STATE_EXCEPTION}i`, `{abi.STATE_MAKE_EXCEPTION}i`",
                "() → (i32 i64...), (i64...) → ()",
                "whether the exception that is kept is of tag *i*, and the bits that it carries, two i64s for a v128, "
                "the lower first; a new one of this tag is kept. The first returns only whether, and there is no "
                "second, if the tag is imported or carries references",
            ),
            (
                f"`{abi.STATE_GET}i`, `{abi.STATE_SET}i`",
                "() → i32, (i32) → (); or with i64",
                "the bits of a global that is an f32 or f64, as an i32 or i64",
            ),
            (
                f"`{abi.STATE_GET}i`, `{abi.STATE_GET_HIGH}i`, `{abi.STATE_SET}i`",
                "() → i64, () → i64, (i64 i64) → ()",
                "the lower and the upper half of a global that is a v128",
            ),
            (
                f"`{abi.STATE_PROBE_DATA}i`, `{abi.STATE_DROP_DATA}i`",
                "() → ()",
                "for each passive data segment that code of the module may drop: traps if it was dropped; drops it",
            ),
            (
                f"`{abi.STATE_PROBE_ELEMENTS}i`, `{abi.STATE_DROP_ELEMENTS}i`",
                "() → ()",
                "the same for passive element segments",
            ),
            (
                f"`{abi.STATE_FUNCTIONS}`",
                "table of funcref",
                f"empty until `{abi.STATE_LIST_FUNCTIONS}` is called; only if the state has funcrefs",
            ),
            (
                f"`{abi.STATE_LIST_FUNCTIONS}`",
                "() → ()",
                "puts all functions that references can be made of into that table, in the order of their indices. "
                "Traps if the table cannot grow",
            ),
            (
                f"`{abi.START_FUNCTION}`",
                "() → ()",
                "the start function, if there is one: the module has no start section then, and the host calls this "
                "once, before anything else, unless it puts back a state. One that may suspend has an entry thunk",
            ),
        ),
    ),
    "facts": Table(("flag", ""), tuple([(f"{fact}", fact.text) for fact in Fact])),
    "thunk exports": Table(
        ("export", "type", ""),
        (
            (
                f"`{abi.ENTRY_PREFIX}f`",
                "as `f`",
                "for each exported function `f` that may suspend, imports that are exported again among them: its "
                "*entry thunk*. Exports without one cannot suspend: call them directly",
            ),
            (f"`{abi.DATA_POINTER}`", "() → pointer", "the control block's address"),
            (f"`{abi.SET_DATA_POINTER}`", "(pointer) → ()", "sets it"),
            (
                f"`{abi.STACK_POINTER}`",
                "mutable global",
                "the shadow stack pointer, if the module has one that was recognised and is as wide as a pointer",
            ),
            (
                f"`{abi.STACK_LOW}`, `{abi.STACK_HIGH}`",
                "mutable globals",
                "what the module keeps its shadow stack's limits in, where it does: the lowest address, and the one "
                "behind the highest. A second global for the same (Emscripten's stack check keeps its own) is "
                f"`{abi.STACK_LOW}:1` and so on",
            ),
            (f"`{abi.ASYNCIFY_MEMORY}`", "memory", "with `in_secondary_memory`"),
            (
                f"`{abi.START_FUNCTION}`",
                "() → ()",
                "the start function, if it may suspend: the module has no start section then, and the host calls this "
                "once, by its entry thunk, before it calls or offers anything else",
            ),
        ),
    ),
    "control block": Table(
        ("offset", "", ""),
        (
            *_CURRENT_AND_END,
            (f"{abi.STATUS_OFFSET}", "i32", "*status*"),
            (
                f"{abi.STACK_POINTER_OFFSET}",
                "pointer",
                "*stack pointer*: the shadow stack pointer to run with, or that was left behind; 0: none",
            ),
            (
                f"{abi.RESULTS_OFFSET} + {abi.RESULT_SIZE} *k*",
                "",
                f"result *k* of the resumed import, in its own type's bytes, at most {abi.MOST_RESULTS} of them",
            ),
            (
                f"{abi.FRAMES_OFFSET}",
                "",
                "a good place for the asyncify stack to begin, but in modules with [pause points](#pause-points)",
            ),
        ),
    ),
    "record exports": Table(
        ("export", "type", ""),
        (
            (
                f"`{abi.RECORDED}`",
                "(i32) → i64",
                "by the number of a function: what was noted of it, 0 if nothing was. The lower 32 bits are how often "
                "it was on the stack when a call was suspended (the largest number stands for all above), the upper "
                "32 bits 1 more than the number of what it had called when that was noted first, or 0",
            ),
            (
                f"`{abi.RECORD_CHANGED}`",
                "mutable i32 global",
                "1 when some function was noted for the first time since a host last made this 0",
            ),
        ),
    ),
    "pause exports": Table(
        ("export", "type", ""),
        (
            (
                f"`{abi.FUEL}`",
                "mutable i64 global",
                "with `preempt=fuel`: what is left to count; the guest pauses where it is below zero",
            ),
            (
                f"`{abi.PAUSE_DATA}`",
                "mutable global, a pointer",
                "in the plain ABI: the data structure for a pause, or one of the two numbers below",
            ),
        ),
    ),
    "pause fields": Table(
        ("offset", "", ""),
        (
            (
                f"{abi.PAUSE_OFFSET}",
                "pointer",
                "*pause*: where the frames of a pause shall begin, or one of the two numbers below",
            ),
            (
                f"{abi.REQUEST_OFFSET}",
                "i32",
                f"*request*, with `preempt=flag`: the guest pauses where it is not 0. The host writes the byte at "
                f"{abi.REQUEST_BYTE_OFFSET} only",
            ),
            (f"{abi.PREEMPT_FRAMES_OFFSET}", "", "a good place for the asyncify stack to begin"),
        ),
    ),
    "no pause": Table(
        ("number", ""),
        (
            (f"{abi.PAUSE_NOT_NOW}", "not now: the guest goes on"),
            ("all bits set", f"the guest traps, in a function that is named `{abi.PAUSE_REFUSED_FUNCTION}`"),
        ),
    ),
    "statuses": Table(
        ("status", "", "written by"),
        tuple([(f"{status}", f"{status.name}: {status.text}", status.writer) for status in Status]),
    ),
}


def render_table(name: str) -> str:
    """Return a table in Markdown."""
    head, rows = TABLES[name]
    lines = (head, tuple(["---"] * len(head)), *rows)
    return "".join(["|" + "".join([f" {cell} |" if cell else " |" for cell in cells]) + "\n" for cells in lines])


def render_page() -> str:
    """Return docs/abi.md with its tables brought up to date."""
    return MARK.sub(lambda mark: mark[1] + render_table(mark[2]), PAGE.read_text())


def render_javascript() -> str:
    """Return abi.js; members of enumerations have the name of that in front of theirs.

    Exports are a type as well: code that looks for one by name is checked against it, and stays small when minified.
    """
    constants = {name: value for name, value in vars(abi).items() if name.isupper() and isinstance(value, int | str)}
    for kind in (State, Status, Fact):
        constants |= {f"{kind.__name__.upper()}_{member.name}": int(member) for member in kind}
    lines = [f"export const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
    properties = [f" * @property {{any}} {name}\n" for name in abi.EXPORTS]
    return "".join([ABOUT, "\n", EXPORTS, *properties, " */\n\n", *lines])


if __name__ == "__main__":
    PAGE.write_text(render_page())
    JAVASCRIPT.write_text(render_javascript())
