"""Puts the sections of the output together: new bodies, what was added, names and other metadata."""

from __future__ import annotations

from typing import Final

from caesura.abi import GUARDED_ENTRY_FUNCTION, NOT_INSTRUMENTED_FUNCTION
from caesura.analysis.limits import check_entries
from caesura.errors import UnsupportedModule
from caesura.instrument.abi.globals import NO_FLAG
from caesura.instrument.abi.index_spaces import GlobalPool
from caesura.instrument.abi.kept_branches import KeptBranch, KeptBranches
from caesura.instrument.abi.metadata import write_metadata
from caesura.instrument.abi.runtime import has_scheduler
from caesura.instrument.adding import Abi, Added, shares_globals
from caesura.instrument.given import Given
from caesura.options import PREEMPT_FLAG, Options
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.encoded import zero_constant
from caesura.wasm.indices import OwnFunction
from caesura.wasm.leb128 import encode_name, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.moved import Moved, MovedTwice
from caesura.wasm.names import FUNCTION_NAMES, GLOBAL_NAMES, MEMORY_NAMES, TABLE_NAMES, NewNames
from caesura.wasm.sections import write_sections
from caesura.wasm.shortest import shorten_body
from caesura.wasm.types import encode_value_type

# Modules of fewer bytes, with a scheduler of their own, get no names for what is added.
_NAMELESS: Final = 1024


def assemble(
    given: Given,
    options: Options,
    added: Added,
    abi: Abi,
    bodies: list[bytes],
    exports: list[tuple[str, int]],
    branches: KeptBranches,
    moved: dict[int, Moved],
    *,
    is_idle: bool,
    shortens: bool,
) -> bytes:
    """Return the instrumented module.

    `bodies` are those of the module's own functions, empty for those that stay; `exports` the functions to export;
    `branches` say where conditional branches are in the former, and `moved`, by own index, where all instructions are
    in those that only call other functions.
    Nothing added is ever called by its hosts where it `is_idle`; with `shortens`, padded numbers become short.
    """
    module = given.module
    edits = added.edits
    for definition in added.functions.types.added:
        edits.append(sec.TYPE, definition)
    _add_globals(abi.pool, added)
    for type_index in added.functions.type_indices:
        edits.append(sec.FUNCTION, encode_unsigned(type_index))
    _export(module, exports, added)
    _check_entries(module, len(exports), added)
    moved = moved.copy()
    edits.pieces[sec.CODE] = _code(module, bodies, added.functions.bodies, moved, branches, shortens=shortens)
    names_functions = not is_idle or any(bodies[: len(bodies) - len(given.renumbered.runtime_functions)])
    names = _new_names(given, options, added, {index for _, index in exports}, names_functions=names_functions)
    features = _features(options, abi)
    followed: dict[int, dict[int, KeptBranch]] = {}
    for function, kept in branches.by_function.items():
        followed[module.own_of(function)] = kept
    named = options.asserts or abi.guard is not None
    write_metadata(module, features, bodies, moved, followed, names, edits, always_named=named)
    return write_sections(module.data, module.sections, edits)


def _add_globals(pool: GlobalPool, added: Added) -> None:
    for value_type in pool.types:
        entry = encode_value_type(value_type) + b"\x01" + zero_constant(value_type) + b"\x0b"
        added.edits.append(sec.GLOBAL, entry)
    for index, name in pool.names:
        if name:
            added.names.add(GLOBAL_NAMES, index, name)


def _export(module: Module, exports: list[tuple[str, int]], added: Added) -> None:
    exported = {export.name for export in module.exports}
    for name, index in exports:
        if name in exported:
            raise UnsupportedModule(f"the module exports {name} already, which is what an export to be added is called")
        added.edits.append(sec.EXPORT, encode_name(name) + bytes([FUNCTION_KIND]) + encode_unsigned(index))


def _check_entries(module: Module, exports: int, added: Added) -> None:
    """Raise UnsupportedModule where the module would have more of something than engines take."""
    functions = len(module.body_starts)
    check_entries(functions + len(added.functions.bodies), functions, "functions")
    check_entries(len(module.types) + len(added.functions.types.added), len(module.types), "types")
    check_entries(len(module.exports) + exports, len(module.exports), "exports")


def _features(options: Options, abi: Abi) -> list[str]:
    """Return the features that the output may use newly, as the target features section calls them."""
    features: list[str] = [] if options.no_multivalue else ["multivalue"]
    if shares_globals(options) or abi.helpers.stack.foreign != NO_FLAG or abi.recording is not None:
        features.append("mutable-globals")
    if abi.memory.index > 0:
        features.append("multimemory")
    if abi.helpers.references.is_used():
        features += ["reference-types", "bulk-memory"]
    if options.preempt == PREEMPT_FLAG:
        features.append("atomics")
    return features


def _new_names(given: Given, options: Options, added: Added, exported: set[int], *, names_functions: bool) -> NewNames:
    """Return the names of what is added, but for the functions that exports name already.

    Functions have some only if they can be on the stack while the guest runs. Globals, memories and tables have names
    where the module names others. In small modules all these names would be half of what is added; in those of TinyGo's
    shape, which no host drives, there are none at all.
    """
    names = added.names
    stubs = given.renumbered.runtime_functions
    if options.asserts:
        exported = set()
    elif len(given.renumbered.original.data) < _NAMELESS and has_scheduler(stubs):
        names = _names_of_guard(added, with_entries=True)
        names.nameless.update([function for _, function in stubs])
        return names
    elif not given.names.has_section:
        return _names_of_guard(added, with_entries=bool(stubs))
    else:
        for subsection in (GLOBAL_NAMES, MEMORY_NAMES, TABLE_NAMES):
            if subsection not in given.names.named:
                names.maps.pop(subsection, None)
    if names_functions:
        for index, name in added.functions.names:
            if index not in exported:
                names.add(FUNCTION_NAMES, index, name)
    return names


def _names_of_guard(added: Added, *, with_entries: bool) -> NewNames:
    """Return the name of the function in which a guard traps, if there is one: people have to see why, in any case.

    `with_entries` adds those from which on the stack counts anew: where a guest's own scheduler calls them, nothing
    else tells who is missing.
    """
    names = NewNames()
    for index, name in added.functions.names:
        if name == NOT_INSTRUMENTED_FUNCTION or (with_entries and name == GUARDED_ENTRY_FUNCTION):
            names.add(FUNCTION_NAMES, index, name)
    return names


def _code(
    module: Module,
    bodies: list[bytes],
    added: list[bytes],
    moved: dict[int, Moved],
    branches: KeptBranches,
    *,
    shortens: bool,
) -> list[bytes]:
    """Return the payload of the code section in pieces; `added` are bodies with their size fields.

    Numbers that a linker padded become shorter with `shortens`; where instructions of bodies that stay but for that
    are is noted in `moved`, by own index, and branches move.
    Else a body that stays keeps the bytes of its size field too.
    """
    out = [encode_unsigned(len(bodies) + len(added))]
    section = module.section(sec.CODE)
    start = 0 if section is None else read_u32(module.data, section.payload)[1]
    for own in range(len(bodies)):
        end = module.body_ends[own]
        body = bodies[own]
        if not shortens and not body:
            out.append(module.data[start:end])
        else:
            if shortens:
                body = _shorten(module, own, body, branches, moved) if body else _shorten_original(module, own, moved)
            out += [encode_unsigned(len(body)), body]
        start = end
    out += added
    return out


def _shorten(module: Module, own: int, body: bytes, branches: KeptBranches, moved: dict[int, Moved]) -> bytes:
    """Return a new body with shorter numbers, and say where its branches are then."""
    result = shorten_body(body)
    if own in moved:
        moved[own] = MovedTwice(moved[own], result)
    branches.move(module.function_of(OwnFunction(own)), result)
    return result.code


def _shorten_original(module: Module, own: int, moved: dict[int, Moved]) -> bytes:
    """Return the body of a function that stays but for that, and note it if anything becomes shorter."""
    result = shorten_body(module.data[module.body_starts[own] : module.body_ends[own]])
    if result.ends:
        moved[own] = result
    return result.code
