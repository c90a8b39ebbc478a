"""Adds what hosts and the module's functions use: memory, globals, the ABI's functions, helpers of frames, thunks."""

from __future__ import annotations

from dataclasses import dataclass

from caesura.abi import (
    ASYNCIFY_MODULE,
    BUILTIN_MODULES,
    ENTRY_PREFIX,
    FOREIGN_HANDLER,
    IMPORTED_START_REWIND,
    IMPORTED_START_UNWIND,
    LEAVING_STATE,
    RECORD_CHANGED,
    RESULTS_PREFIX,
    START_FUNCTION,
    UNSUSPENDABLE,
    State,
)
from caesura.analysis.entries import may_be_referenced
from caesura.analysis.pause_points import NO_PAUSE
from caesura.errors import UnsupportedModule, printable
from caesura.instrument.abi.dummies import Dummies
from caesura.instrument.abi.globals import Globals
from caesura.instrument.abi.guard import (
    CLEARING,
    ENTERING,
    KEEPING,
    NEW_HANDLERS,
    NO_HANDLERS,
    OLD_HANDLERS,
    Guard,
)
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.host_sections import starts_late, write_host_sections
from caesura.instrument.abi.index_spaces import AddedFunctions, AddedTypes, GlobalPool
from caesura.instrument.abi.memory import Memory, choose_memory
from caesura.instrument.abi.pauses import pause_body
from caesura.instrument.abi.recording import RecordingCode
from caesura.instrument.abi.references import References
from caesura.instrument.abi.runtime import Runtime
from caesura.instrument.abi.stack_code import NOT_SHARED, Places, StackCode
from caesura.instrument.abi.thunks import Thunks
from caesura.instrument.facts import Facts
from caesura.instrument.frames.pieces import SHARED
from caesura.instrument.given import Given
from caesura.options import Options
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND
from caesura.wasm.encoded import CALL, CONST_I32, END, I32_EQ, IF_EMPTY, LOCAL_GET
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_name, encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import NewNames
from caesura.wasm.renumber import redirect_exports, redirect_references
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import I64, is_non_null


class Added:
    """What is added to a module, until its sections are put together: functions, entries of sections, names, and what
    stands for results.
    """

    def __init__(self, module: Module) -> None:
        self.functions = AddedFunctions(module, AddedTypes(module))
        self.edits = SectionEdits()
        self.names = NewNames()
        self.dummies = Dummies(module, self.functions, self.edits)


@dataclass(frozen=True, kw_only=True)
class Abi:
    """What new bodies refer to: the memory with the asyncify stacks, the globals through which values are handed over,
    and the helpers that move frames. `import_thunks` are the functions that stand for imports that may suspend where
    they are called, `references` those that do where a reference is made of them. `recording` notes which functions are
    on the stack, if that is wanted; `guard` makes the functions that calls go through where lists leave out functions,
    if these are guarded.
    """

    memory: Memory
    pool: GlobalPool
    helpers: FrameHelpers
    thunks: Thunks | None
    import_thunks: dict[int, int]
    references: dict[int, int]
    recording: RecordingCode | None
    guard: Guard | None


def shares_globals(options: Options) -> bool:
    """Tell whether other modules have the same state."""
    return options.import_globals or options.export_globals


def is_idle(options: Options, facts: Facts) -> bool:
    """Tell whether nothing can suspend, nor other modules by this one's state."""
    instrumented = facts.roles.suspension.instrumented
    return not (any(instrumented) or options.thunks or shares_globals(options) or options.asserts)


def add_abi(given: Given, facts: Facts, options: Options, added: Added, moves: int) -> Abi:
    """Add all that does not depend on frames; `moves` says how these are moved (see `frames.pieces`)."""
    module = given.module
    memory = choose_memory(module, options, added.edits, added.names)
    flags = [FOREIGN_HANDLER] if facts.catches.has_foreign_handlers() else []
    if facts.guarded is not None and not shares_globals(options):
        flags.append(UNSUSPENDABLE)
    if facts.roles.tail_calls.are_open:
        flags.append(LEAVING_STATE)
    state_globals = Globals(module, options, memory.pointer, added.edits, added.names, flags)
    pool = GlobalPool(len(module.globals) + state_globals.count)
    places = Places(
        state=state_globals.state,
        data=state_globals.data,
        base=state_globals.base,
        foreign=state_globals.foreign,
        unsuspendable=state_globals.unsuspendable,
        pause_data=state_globals.pause_data,
        memory=memory.index,
        pointer=memory.pointer,
        grows=options.thunks and options.in_secondary_memory,
    )
    stack = StackCode(added.functions, places)
    recording = _recording(given, facts, options, added, pool)
    if recording is not None:
        stack.begin_record = recording.begin
    stubs = given.renumbered.runtime_functions
    runtime = Runtime(stack, stubs, guards=options.leaves_out(), overflows=not is_idle(options, facts))
    held = References(
        module,
        stack,
        pool,
        added.edits,
        added.names,
        shares_globals=shares_globals(options),
    )
    held.returns_two = not options.no_multivalue
    shares_code = moves == SHARED and options.optimize == "size"
    helpers = FrameHelpers(
        runtime,
        held,
        # Where pieces are popped one value at a time, pairs of 4-byte values in 8 bytes cannot be.
        loads_inline=options.no_multivalue and (moves == SHARED or memory.pointer == I64),
        pops_check=moves == SHARED and not options.no_multivalue,
        room=stack.room() if shares_code else NOT_SHARED,
        release=stack.release() if shares_code else NOT_SHARED,
    )
    guard = None if facts.guarded is None else Guard(module, stack, _handlers(facts))
    references: dict[int, int] = {}
    for imported, framing in given.framing.items():
        if imported < module.imported_functions:
            references[imported] = framing
    if not options.thunks:
        exported = references.copy()
        _keep_references(module, guard, references)
        _note_references(module, recording, references, stack, added)
        if references:
            redirect_references(module, references, added.edits)
        _guard_exports(module, facts, guard, exported, added.edits)
        return Abi(
            memory=memory,
            pool=pool,
            helpers=helpers,
            thunks=None,
            import_thunks={},
            references=references,
            recording=recording,
            guard=guard,
        )
    pointer = facts.shadow_stack.pointer
    is_linked = shares_globals(options) or options.linked
    thunks = Thunks(module, helpers, added.dummies, pointer, guard, is_linked=is_linked)
    import_thunks: dict[int, int] = {}
    for item in module.function_imports():
        function = FunctionIndex(item.index)
        if facts.roles.suspension.may_suspend(function):
            _check_runtime(given, f"{item.module}.{item.name}")
            import_thunks[function] = thunks.import_thunk(function, f"{item.module}.{item.name}")
    references = {**import_thunks, **references}
    exported = references.copy()
    if guard is not None:
        guard.import_thunks = import_thunks
        _keep_references(module, guard, references)
    _note_references(module, recording, references, stack, added)
    redirect_references(module, references, added.edits)
    _guard_exports(module, facts, guard, exported, added.edits)
    return Abi(
        memory=memory,
        pool=pool,
        helpers=helpers,
        thunks=thunks,
        import_thunks=import_thunks,
        references=references,
        recording=recording,
        guard=guard,
    )


def _check_runtime(given: Given, suspending: str) -> None:
    """Raise UnsupportedModule where the thunk of an import would read what the guest's own runtime has set as the data
    structure: it would take that for a control block, and leave out calls as the guest's frames say.
    """
    for name, _ in given.renumbered.runtime_functions:
        if name in (IMPORTED_START_UNWIND, IMPORTED_START_REWIND):
            raise UnsupportedModule(
                f"the module imports from '{ASYNCIFY_MODULE}': it has a scheduler of its own, whose data structures "
                f"thunks would take for control blocks, and import {printable(suspending)} may suspend: leave thunks "
                "out, or give an import list that does not have it"
            )


def _recording(given: Given, facts: Facts, options: Options, added: Added, pool: GlobalPool) -> RecordingCode | None:
    """Return what notes which functions are on the stack, if that is wanted."""
    if not options.record:
        return None
    module = given.module
    imports = [FunctionIndex(item.index) for item in module.function_imports()]
    suspending = [function for function in imports if facts.roles.suspension.may_suspend(function)]
    end = len(module.function_types) - given.added_functions()
    follows_calls = not shares_globals(options)
    return RecordingCode(added.functions, pool, suspending, end, follows_calls=follows_calls)


def _keep_references(module: Module, guard: Guard | None, references: dict[int, int]) -> None:
    """Let references of imports be of functions of the guard, as calls by name are of these.

    Not those that have others in their place, which call the import by name.
    """
    if guard is None or guard.does_nothing(KEEPING):
        return
    referenced = may_be_referenced(module, by_exports=False)
    for item in module.function_imports():
        is_builtin = item.module.startswith(BUILTIN_MODULES)
        if referenced[item.index] and item.index not in references and not is_builtin:
            references[item.index] = guard.function(FunctionIndex(item.index), KEEPING)


def _note_references(
    module: Module, recording: RecordingCode | None, references: dict[int, int], stack: StackCode, added: Added
) -> None:
    """Let references of imports that may suspend be of functions that note them, if that is wanted: what is called
    through a table or a reference no call site names.

    Those that are exported again stay as they are, since hosts call them as imports.
    """
    if recording is None:
        return
    referenced = may_be_referenced(module)
    for export in module.exports:
        if export.kind == FUNCTION_KIND:
            referenced[export.index] = False
    for function in recording.imports:
        called = references.get(function, int(function))
        if not referenced[function] or called in _own(module):
            continue
        code = b""
        for place in range(len(module.function_type(function).params)):
            code += LOCAL_GET + encode_unsigned(place)
        code += CALL + encode_unsigned(called)
        code += stack.state_get + CONST_I32 + encode_signed(State.UNWINDING) + I32_EQ
        code += IF_EMPTY + recording.note_import(function) + END
        type_index = module.function_types[function]
        references[function] = added.functions.add_of_type("asyncify_noted_import", type_index, [], code)


def _own(module: Module) -> range:
    """Return the functions that have a body in the module that was given, and are written anew."""
    return range(module.imported_functions, len(module.function_types))


def _handlers(facts: Facts) -> int:
    """Return in which form the module catches exceptions, for the guard."""
    if facts.graph.has_try_table:
        return NEW_HANDLERS
    return OLD_HANDLERS if facts.graph.catching else NO_HANDLERS


def _guard_exports(
    module: Module, facts: Facts, guard: Guard | None, references: dict[int, int], edits: SectionEdits
) -> None:
    """Export what can be suspended by functions of the guard, with which what is on the stack is counted anew.

    What is left out needs none: whatever the global was before, nothing can suspend while it is on the stack.
    """
    if guard is None or facts.guarded is None or guard.does_nothing(CLEARING):
        return
    exported = references.copy()
    for export in module.exports:
        is_own = export.kind == FUNCTION_KIND and export.index >= module.imported_functions
        if is_own and facts.guarded.suspends[export.index]:
            exported[export.index] = guard.function(FunctionIndex(export.index), ENTERING)
    redirect_exports(module, exported, edits)


def add_exports(
    given: Given, facts: Facts, options: Options, added: Added, abi: Abi, helpers: FrameHelpers
) -> list[tuple[str, int]]:
    """Return the functions to export, by name; add the thunks among them, and the sections that hosts read.

    `helpers` are those with which the module's frames are moved.
    """
    module = given.module
    exports = helpers.runtime.exports() + helpers.runtime.keep(helpers.references)
    is_looked_at = options.thunks or options.snapshots or abi.guard is not None
    if is_looked_at or not given.renumbered.runtime_functions:
        adds_memory = not module.memories and not options.in_secondary_memory
        write_host_sections(
            module,
            options,
            facts.graph,
            facts.roles.suspension,
            facts.shadow_stack,
            set() if facts.guarded is None else facts.guarded.passing,
            added.edits,
            adds_memory=adds_memory,
            has_runs=helpers.references.has_runs(),
        )
    exports += _dummy_results(module, facts, added)
    if given.pause != NO_PAUSE:
        body = pause_body(helpers, thunks=options.thunks)
        helpers.runtime.stub_bodies[given.pause] = body
    if abi.recording is not None:
        exports += abi.recording.export()
        _export_global(module, RECORD_CHANGED, abi.recording.changed, added.edits)
    if abi.thunks is not None:
        abi.thunks.keep_references()
        _export_stack(module, abi.thunks, added.edits)
        if starts_late(module, facts.roles.suspension, options):
            exports += _start_function(module, abi.thunks, abi.import_thunks, helpers, added.edits)
        exports += abi.thunks.accessors()
        exports += _entry_thunks(module, facts, abi.thunks, abi.import_thunks, helpers)
    return exports


def _dummy_results(module: Module, facts: Facts, added: Added) -> list[tuple[str, int]]:
    """Add the functions that give what imports return while unwinding, where null is not enough, and return them."""
    exports: list[tuple[str, int]] = []
    for item in module.function_imports():
        function = FunctionIndex(item.index)
        results = module.function_type(function).results
        if facts.roles.suspension.may_suspend(function) and any(is_non_null(result) for result in results):
            code = added.dummies.values(results)
            name = f"{RESULTS_PREFIX}{function}"
            exports.append((name, added.functions.add(name, (), results, [], code)))
    return exports


def _export_stack(module: Module, thunks: Thunks, edits: SectionEdits) -> None:
    """Export the globals that a host switches with the shadow stack."""
    for name, index in thunks.global_exports():
        _export_global(module, name, index, edits)


def _export_global(module: Module, name: str, index: int, edits: SectionEdits) -> None:
    if any(export.name == name for export in module.exports):
        raise UnsupportedModule(f"the module exports {name} already; it seems to be instrumented already")
    edits.append(sec.EXPORT, encode_name(name) + bytes([GLOBAL_KIND]) + encode_unsigned(index))


def _start_function(
    module: Module, thunks: Thunks, import_thunks: dict[int, int], helpers: FrameHelpers, edits: SectionEdits
) -> list[tuple[str, int]]:
    """Return the exports by which hosts call the start function, which engines do no more."""
    start = module.start
    assert start is not None, "there is one that may suspend"
    edits.dropped.add(sec.START)
    thunk = import_thunks.get(start)
    entry = thunks.entry_thunk(start) if thunk is None else thunks.entry_thunk_of_import(start, thunk, helpers)
    return [(START_FUNCTION, start if thunk is None else thunk), (f"{ENTRY_PREFIX}{START_FUNCTION}", entry)]


def _entry_thunks(
    module: Module, facts: Facts, thunks: Thunks, import_thunks: dict[int, int], helpers: FrameHelpers
) -> list[tuple[str, int]]:
    """Add the thunks of exports that may suspend and return them by name."""
    exports: list[tuple[str, int]] = []
    passing = set() if facts.guarded is None else facts.guarded.passing
    for export in module.exports:
        if export.kind != FUNCTION_KIND:
            continue
        name = f"{ENTRY_PREFIX}{export.name}"
        if facts.roles.suspension.instrumented[export.index] or export.index in passing:
            exports.append((name, thunks.entry_thunk(FunctionIndex(export.index))))
        elif export.index in import_thunks:
            thunk = import_thunks[export.index]
            exports.append((name, thunks.entry_thunk_of_import(FunctionIndex(export.index), thunk, helpers)))
    return exports
