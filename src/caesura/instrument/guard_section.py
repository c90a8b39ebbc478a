"""The section of the guard: what hosts need to say, in words of the original, which functions a list leaves out.

A stack has functions that were added, which mean different things to who looks at it: behind one of the guard's nothing
can be suspended, a second body stands for the function below it, a copy for the function whose code it has. Names would
tell them apart, but modules come without, and tools drop them. So each of these few is told, by how far it is behind
the one before: a byte for most, and two or three more for a second body or a copy, with the function that it is of.
With that comes which kind of list was given, since what to do about a function depends on it; how many imports were
removed, as lists go by indices of the original; and where its functions end.
"""

from __future__ import annotations

from caesura.abi import ADDED_BITS, ADDED_COPY, ADDED_SECOND_BODY, INDIRECT_IGNORED, ONLY_LIST, REMOVE_LIST
from caesura.instrument.abi.guard import Guard
from caesura.instrument.given import Given
from caesura.options import Options
from caesura.wasm.leb128 import encode_unsigned


def guard_section(given: Given, options: Options, guard: Guard) -> bytes:
    """Return the payload of the section, once all functions are added that ever are."""
    end = len(given.module.function_types) - given.added_functions()
    out = encode_unsigned(_kind_of_list(options)) + encode_unsigned(given.renumbered.shift) + encode_unsigned(end)
    before = end
    functions = {ADDED_SECOND_BODY: 0, ADDED_COPY: 0}
    for added, kind, function in guard.added():
        if function >= end:  # of one that was added itself, by which nobody would know it
            continue
        out += encode_unsigned((added - before) << ADDED_BITS | kind)
        before = added
        if kind in functions:
            out += encode_unsigned(function - functions[kind])
            functions[kind] = function
    return out


def _kind_of_list(options: Options) -> int:
    """Return which kind of list leaves functions out; with several the one that leaves out most."""
    if options.only_list:
        return ONLY_LIST
    return REMOVE_LIST if options.remove_list else INDIRECT_IGNORED
