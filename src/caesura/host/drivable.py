"""Making a module drivable: instrument it where nobody has, and export what the host needs.

A module that is instrumented already is taken as it is, if it has what it claims (`claims`), even if other imports are
coroutine functions now than were on its import list: only its author knows, and a suspension that gets lost is noticed
when it happens.

Exceptions in their old form, which Wasmtime does not know, become new ones: a module that is to be instrumented gets
that on the way, any other here.

Things are exported that a module keeps to itself, because no host could get at them otherwise: the shadow stack
pointer, the globals with the stack's limits, and the memory of a module that exports none. So is all that a module's
state consists of, unless somebody has done it, and its start function, which the host then calls: a guest whose state
is restored does without. A module that has no room for that is driven as it is, and cannot be saved; its start function
is exported where making an instance may take long: that is done in a thread, in which nothing of the guest may run (see
`starting`).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Final

from caesura.abi import (
    ASYNCIFY_MEMORY,
    ASYNCIFY_MODULE,
    ENTRY_PREFIX,
    FUNCTIONS_SECTION,
    GUARD_SECTION,
    SET_DATA_POINTER,
    STACK_POINTER,
    START_FUNCTION,
    STATE_SECTION,
    UNSUSPENDABLE,
    Fact,
)
from caesura.analysis.index_checks import check_indices
from caesura.analysis.instrumented import asyncify_exports, facts_of, state_global, takes_pointer
from caesura.analysis.shadow_stack import ShadowStack, find_shadow_stack, shadow_stack_at
from caesura.analysis.stack_limits import find_stack_limits
from caesura.analysis.suspending_imports import suspending_imports
from caesura.errors import UnsupportedModule
from caesura.host.claims import check_claims, check_contract
from caesura.host.description import CHOSEN_OPTIONS, NONE, PLAIN, THUNKS
from caesura.host.exported import export_name, exported_index, guest_memory
from caesura.host.guard_section import read_guard_section
from caesura.host.instantiation import instantiation_of
from caesura.host.state_claims import check_state
from caesura.instrument.api import instrument
from caesura.instrument.exceptions.translate import translate_to_exnref
from caesura.instrument.state_exports.exports import STATE_KIND, add_state_exports
from caesura.instrument.state_exports.guest_state import Origin, no_bounds
from caesura.options import NO_PREEMPT, Options
from caesura.report import NO_STACK_POINTER, Instrumented
from caesura.snapshots.section import read_section
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, Names
from caesura.wasm.sections import SectionEdits, write_sections

_GUEST_MEMORY: Final = "asyncify_guest_memory"
_HELD_START: Final = "asyncify_held_start"
_NAME_SECTION: Final = "name"


@dataclass(frozen=True)
class Drivable:
    """A module that can be driven, and what only its making tells.

    `abi` is THUNKS, PLAIN or NONE. `stack` is what is known of the shadow stack. `unsuspended` are the imported
    functions in which it cannot be suspended, by index. `state` is the section that tells what its state is,
    `why_unsaved` why that cannot be saved, and `saved` the module that the section is of: without what is exported only
    for the host. The others are those of `Description`.
    """

    abi: str
    module: Module
    stack: ShadowStack
    _: KW_ONLY
    unsuspended: frozenset[int] = frozenset()
    thunks_switch: bool = False
    held_start: str = ""
    guarded: bool = False
    unguarded: bool = False
    guard_section: bytes = b""
    original_functions: int = 0
    uninstrumented: tuple[int, ...] = ()
    names: dict[int, str] = field(default_factory=dict)
    state: bytes = b""
    why_unsaved: str = ""
    saved: bytes = b""


def make_drivable(
    module: Module,
    import_list: tuple[str, ...],
    options: Options,
    *,
    accept_instrumented: bool,
    preempt: str = NO_PREEMPT,
) -> Drivable:
    """Return a module that the host can drive.

    It is instrumented if any import may suspend, or it is to have pause points (`preempt`), and nobody has done it; if
    somebody has, that is refused unless `accept_instrumented`. Raises ModuleError for what cannot be transformed or
    driven, UsageError for options that do not fit the module.
    """
    check_contract(module)
    options = replace(options, translate_to_exnref=True)
    if any(item.module == ASYNCIFY_MODULE for item in module.imports):
        with_runtime = Module(_with_readable_state(module.data, options).module)
        everywhere = frozenset(range(with_runtime.imported_functions))
        removed = len(module.function_imports()) - with_runtime.imported_functions
        drivable = Drivable(
            NONE,
            with_runtime,
            find_shadow_stack(with_runtime),
            unsuspended=everywhere,
            original_functions=len(module.function_types) - removed,
        )
    elif asyncify_exports(module):
        if not accept_instrumented:
            raise UnsupportedModule(
                "the module is instrumented already, and with accept_instrumented=False only modules that are not are "
                "taken: give it as it was before that"
            )
        check_indices(module)
        drivable = _instrumented_elsewhere(translate_to_exnref(module).module)
    elif import_list or preempt != NO_PREEMPT:
        drivable = _instrumented_here(module, import_list, options, preempt)
    else:
        check_indices(module)
        translated = translate_to_exnref(module).module
        drivable = Drivable(NONE, translated, find_shadow_stack(translated))
    drivable = _with_state(drivable, module.data)
    switches = drivable.abi == THUNKS and exported_index(drivable.module, GLOBAL_KIND, STACK_POINTER) is not None
    exported = _with_exports(drivable)
    held, held_start = _with_held_start(exported)
    held_start = held_start or _exported_start(drivable)
    saved = drivable.module.data
    drivable = replace(drivable, module=held, held_start=held_start, thunks_switch=switches, saved=saved)
    return _with_guard(drivable) if drivable.abi != NONE or drivable.original_functions else drivable


def _instrumented_elsewhere(module: Module) -> Drivable:
    pointer = exported_index(module, GLOBAL_KIND, STACK_POINTER)
    stack = shadow_stack_at(module, pointer) if pointer is not None else find_shadow_stack(module, instrumented=True)
    setter = exported_index(module, FUNCTION_KIND, SET_DATA_POINTER)
    thunks = setter is not None and takes_pointer(module, FunctionIndex(setter))
    index = exported_index(module, MEMORY_KIND, ASYNCIFY_MEMORY)
    if index is None:
        index = exported_index(module, MEMORY_KIND, guest_memory(module, instrumented=True)) or 0
    memory = module.memories[index] if index < len(module.memories) else None
    check_claims(module, asyncify_exports(module), memory, thunks=thunks)
    abi = THUNKS if thunks else PLAIN
    return Drivable(abi, module, stack, unsuspended=frozenset(_unsuspended(module, abi)))


def _unsuspended(module: Module, abi: str) -> list[int]:
    """Return the imported functions in which a module cannot be suspended: whoever instrumented it said so.

    A module that does not tell shows it by what stands behind calls. With a guard, that are calls of other functions.
    """
    bitmap = _bitmap(module)
    if abi == PLAIN and not bitmap:
        state = state_global(module)
        suspending = suspending_imports(module, state) if state is not None else [True] * module.imported_functions
        return [function for function, suspends in enumerate(suspending) if not suspends]
    known = range(min(module.imported_functions, 8 * len(bitmap)))
    return [function for function in known if not bitmap[function >> 3] >> (function & 7) & 1]


def _instrumented_here(module: Module, import_list: tuple[str, ...], options: Options, preempt: str) -> Drivable:
    chosen: dict[str, Any] = {"imports": import_list, "preempt": preempt, **CHOSEN_OPTIONS}
    if not import_list:
        chosen["ignore_imports"] = True  # an empty list is none
    options = replace(options, **chosen)
    done = _with_readable_state(module.data, options)
    made = Module(done.module)
    if done.stack_pointer == NO_STACK_POINTER:
        stack = find_shadow_stack(module)
    else:
        stack = shadow_stack_at(module, done.stack_pointer)
    return Drivable(THUNKS, made, stack, original_functions=len(module.function_types))


def _with_guard(drivable: Drivable) -> Drivable:
    """Return a module that tells when it cannot be suspended, since lists left functions out, without its names.

    Wasmtime then goes by the numbers of functions, which is what finding out takes what stands on a stack.
    """
    module = drivable.module
    if exported_index(module, GLOBAL_KIND, UNSUSPENDABLE) is None:
        return replace(drivable, unguarded=bool(facts_of(module) & Fact.BY_LISTS))
    section = module.custom_section(_NAME_SECTION)
    names: dict[int, str] = {}
    if section is not None:
        names = Names(module.data[section.payload : section.end]).maps[FUNCTION_NAMES]
        edits = SectionEdits()
        edits.custom[_NAME_SECTION] = None
        module = Module(write_sections(module.data, module.sections, edits))
    bitmap = _bitmap(module)
    told = module.custom_section(GUARD_SECTION)
    guard_section = b"" if told is None else module.data[told.payload : told.end]
    end = drivable.original_functions or _first_added(module)
    if guard_section:
        functions_told = read_guard_section(guard_section)
        functions_told.check(len(module.function_types))
        end = functions_told.end
    own = range(module.imported_functions, min(8 * len(bitmap), end))
    return replace(
        drivable,
        module=module,
        guarded=True,
        guard_section=guard_section,
        original_functions=end,
        uninstrumented=tuple(function for function in own if not bitmap[function >> 3] >> (function & 7) & 1),
        names=names,
    )


def _first_added(module: Module) -> int:
    """Return the first function that is known to be none of the original's."""
    functions = {item.name: item.index for item in module.exports if item.kind == FUNCTION_KIND}
    added = [functions[name] for name in asyncify_exports(module).values()]
    return min([*added, *(index for name, index in functions.items() if name.startswith(ENTRY_PREFIX))])


def _bitmap(module: Module) -> bytes:
    """Return which functions can be on the stack at a suspension, as a module tells it, or nothing."""
    section = module.custom_section(FUNCTIONS_SECTION)
    return b"" if section is None else module.data[section.payload : section.end]


def _with_readable_state(data: bytes, options: Options) -> Instrumented:
    """Return an instrumented module whose state can be saved, or just an instrumented one."""
    try:
        return instrument(data, replace(options, snapshots=True))
    except UnsupportedModule as error:
        if error.kind != STATE_KIND:
            raise
        return instrument(data, replace(options, snapshots=False))


def _with_state(drivable: Drivable, given: bytes) -> Drivable:
    """Return the module with what makes its state readable, and what it tells of that; `given` is what it was."""
    module = drivable.module
    section = module.custom_section(STATE_SECTION)
    if section is not None and asyncify_exports(module):
        payload = module.data[section.payload : section.end]
        return replace(drivable, state=payload, why_unsaved=check_state(module, read_section(payload)))
    imports = [
        f"{item.module}.{item.name}" for item in module.function_imports() if item.index not in drivable.unsuspended
    ]
    origin = Origin(given, [] if drivable.abi == NONE else imports, {})
    try:
        made = Module(add_state_exports(module, origin, no_bounds(module)))
    except UnsupportedModule as error:
        if error.kind != STATE_KIND:
            raise
        return replace(drivable, why_unsaved=error.reason)
    section = made.custom_section(STATE_SECTION)
    assert section is not None, "it was added"
    return replace(drivable, module=made, state=made.data[section.payload : section.end])


def _with_exports(drivable: Drivable) -> Module:
    """Return the module with the shadow stack pointer, its limits and a memory among its exports."""
    module = drivable.module
    exports: list[bytes] = []
    pointer = drivable.stack.pointer
    if pointer is not None and not export_name(module, GLOBAL_KIND, pointer):
        exports.append(_export(module, STACK_POINTER, GLOBAL_KIND, pointer))
    for name, index in find_stack_limits(module, pointer).exports():
        if not export_name(module, GLOBAL_KIND, index):
            exports.append(_export(module, name, GLOBAL_KIND, index))
    instrumented = drivable.abi != NONE
    has_own_memory = instrumented and exported_index(module, MEMORY_KIND, ASYNCIFY_MEMORY) is not None
    if len(module.memories) > has_own_memory and not guest_memory(module, instrumented=instrumented):
        exports.append(_export(module, _GUEST_MEMORY, MEMORY_KIND, 0))
    if not exports:
        return module
    edits = SectionEdits()
    for entry in exports:
        edits.append(sec.EXPORT, entry)
    return Module(write_sections(module.data, module.sections, edits))


def _with_held_start(module: Module) -> tuple[Module, str]:
    """Return the module without a start function that engines call, and the export by which the host does; or as it is.

    That is where making an instance may take long.
    """
    if module.start is None or instantiation_of(module).is_quick(mapped=False):
        return module, ""
    name = _free_name(module, _HELD_START)
    edits = SectionEdits()
    edits.dropped.add(sec.START)
    edits.append(sec.EXPORT, encode_name(name) + bytes([FUNCTION_KIND]) + encode_unsigned(module.start))
    return Module(write_sections(module.data, module.sections, edits)), name


def _exported_start(drivable: Drivable) -> str:
    """Return the export of a start function that the host calls where an engine would; one with a thunk may suspend."""
    module = drivable.module
    has_thunk = exported_index(module, FUNCTION_KIND, ENTRY_PREFIX + START_FUNCTION) is not None
    if has_thunk or exported_index(module, FUNCTION_KIND, START_FUNCTION) is None:
        return ""
    starts = drivable.abi == THUNKS or (bool(drivable.state) and read_section(drivable.state).starts)
    return START_FUNCTION if starts else ""


def _export(module: Module, name: str, kind: int, index: int) -> bytes:
    """Return an export of an item that has none, under a name that is free."""
    return encode_name(_free_name(module, name)) + bytes([kind]) + encode_unsigned(index)


def _free_name(module: Module, name: str) -> str:
    """Return a name that no export has yet, which begins with another."""
    taken = {item.name for item in module.exports}
    while name in taken:
        name += "_"
    return name
