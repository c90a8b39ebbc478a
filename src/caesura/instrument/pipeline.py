"""The transformation from end to end: read, find out what may suspend, rewrite those functions, write.

    module -> names, lists -> who may suspend, who needs no frame for it -> memory, globals, runtime -> each function:
    decode, plan, number the call sites, liveness, frame, rewrite -> sections

Each step stands in a file of its own; this one says in which order, and puts the sections together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from caesura.abi import ENTRY_PREFIX
from caesura.analysis.calls import CallGraph, read_calls
from caesura.analysis.decoder import Decoder
from caesura.analysis.entries import entered_from_outside
from caesura.analysis.instrumented import refuse_instrumented
from caesura.analysis.limits import check_entries
from caesura.analysis.lists import resolve_lists
from caesura.analysis.reasons import Reasons
from caesura.analysis.shadow_stack import find_shadow_stack
from caesura.analysis.suspension import Suspension, find_suspending
from caesura.analysis.tail_sites import find_tail_sites
from caesura.analysis.wrappers import find_wrappers
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.abi.globals import Globals
from caesura.instrument.abi.host_sections import write_host_sections
from caesura.instrument.abi.memory import Memory, choose_memory
from caesura.instrument.abi.metadata import write_metadata
from caesura.instrument.abi.naming import FunctionNames
from caesura.instrument.abi.outdated import drop_outdated
from caesura.instrument.abi.prepare import prepare
from caesura.instrument.abi.runtime import Runtime, has_scheduler
from caesura.instrument.abi.shared_calls import share_calls
from caesura.instrument.abi.tables import FunctionTable, GlobalPool, TypeTable
from caesura.instrument.abi.thunks import Thunks
from caesura.instrument.frames.pieces import AUTOMATIC, PIECES, SHARED, choose_moves, default_moves
from caesura.instrument.plan.grouping import GroupRule, default_rule
from caesura.instrument.plan.selection import select_two_bodies
from caesura.instrument.refusals import Refusals
from caesura.instrument.write.asserts import Asserter
from caesura.instrument.write.bodies import Additions, BodyWriter, Prepared
from caesura.options import Options
from caesura.report import FunctionReport, Instrumented
from caesura.wasm import sections as sec
from caesura.wasm.code import zero_constant
from caesura.wasm.leb128 import encode_name, encode_unsigned, read_u32
from caesura.wasm.module import FUNCTION_KIND, GLOBAL_KIND, Module
from caesura.wasm.names import FUNCTION_NAMES, GLOBAL_NAMES, MEMORY_NAMES, NewNames
from caesura.wasm.renumber import redirect_in_code, redirect_references
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.shortest import Shortened, has_padding, shorten_body
from caesura.wasm.types import I64, encode_value_type

Progress = Callable[[str, int, int], None]

# Functions between two reports of progress.
_STRIDE: Final = 64

# Modules of fewer bytes, with a scheduler of their own, get no names for what is added.
_NAMELESS: Final = 1024


def instrument_as(
    module: bytes | bytearray | memoryview,
    options: Options,
    progress: Progress | None,
    moves: int,
    group_rule: GroupRule | None,
) -> Instrumented:
    """Do what `caesura.instrument.api.instrument` says, in a form that matters for bytes and time only.

    `moves` says how frames are moved (`frames.pieces`), `group_rule` which call sites are grouped
    (`plan.grouping`; None: as options and module say). Tests use it, so that small modules stand for large ones.
    """
    start = time.perf_counter()
    try:
        return _Pipeline(bytes(module), options, progress, moves, group_rule).run(start)
    except IndexError:
        raise MalformedModule("unexpected end of the module, or an index that is out of range", len(module)) from None


class _Pipeline:
    """One run of the transformation."""

    def __init__(
        self, data: bytes, options: Options, progress: Progress | None, moves: int, group_rule: GroupRule | None
    ) -> None:
        self._options = options
        self._moves = moves
        self._group_rule = group_rule
        self._progress = progress
        self._original = Module(data)
        if self._original.custom_section("linking") is not None:
            raise UnsupportedModule("this is a relocatable object file; link it first, then instrument the result")
        refuse_instrumented(self._original)
        sharing, self._shared_calls = share_calls(self._original, options)
        self._prepared = prepare(sharing, options, self._original)
        self._module = self._prepared.module
        self._names = FunctionNames(self._module)
        for function in self._shared_calls:
            own = function - self._original.imported_functions
            self._names.names[self._module.imported_functions + own] = "the call that they share"
        self._edits = SectionEdits()
        self._new_names = NewNames()
        self._types = TypeTable(self._module)
        self._functions = FunctionTable(self._module, self._types)
        self._sites: list[int] = [0] * len(self._module.body_starts)
        self._warnings: list[str] = []
        self._refusals = Refusals()
        # Those that the output may use newly, as the target features section calls them.
        self._features: list[str] = [] if options.no_multivalue else ["multivalue"]
        if options.import_globals or options.export_globals:
            self._features.append("mutable-globals")
        # Functions without a frame that stay as they are, and all functions without one, with what each calls.
        self._wrappers: dict[int, int] = {}
        self._frameless: dict[int, int] = {}
        self._import_thunks: dict[int, int] = {}
        self._shortens = not options.keep_padding and has_padding(self._module)
        self._shadow_stack = find_shadow_stack(self._module)
        self._is_idle = False  # nothing can suspend, nor other modules by this one's state

    def run(self, start: float) -> Instrumented:
        """Return the instrumented module and the report."""
        module = self._module
        options = self._options
        self._tell("reading", 0)
        graph = read_calls(module)
        imports = [f"{item.module}.{item.name}" for item in module.function_imports()]
        drop_outdated(module, options.keep_dwarf, self._edits, self._warnings)
        lists = resolve_lists(options, imports, self._names.names, self._warnings)
        suspension = find_suspending(module, graph, lists, self._prepared.runtime_functions)
        self._wrappers = find_wrappers(module, graph, suspension)
        decoder = Decoder(module, suspension, ignores_catches=options.ignore_unwind_from_catch)
        tails = find_tail_sites(module, graph, suspension, self._wrappers, decoder)
        self._frameless = {**self._wrappers, **tails}
        framed = [flag and index not in self._frameless for index, flag in enumerate(suspension.instrumented)]
        memory = choose_memory(module, options, self._edits, self._new_names)
        state_globals = Globals(module, options, memory.pointer, self._edits, self._new_names)
        pool = GlobalPool(len(module.globals) + state_globals.count)
        grows = options.thunks and options.in_secondary_memory
        moves = default_moves(module, framed) if self._moves == AUTOMATIC else self._moves
        shares_globals = options.import_globals or options.export_globals
        self._is_idle = not (any(suspension.instrumented) or options.thunks or shares_globals or options.asserts)
        runtime = Runtime(
            self._functions,
            state_globals.state,
            state_globals.data,
            memory.index,
            memory.pointer,
            grows,
            # Where pieces are popped one value at a time, pairs of 4-byte values in 8 bytes cannot be.
            shares_release=options.no_multivalue and (moves == SHARED or memory.pointer == I64),
            pops_check=moves == SHARED and not options.no_multivalue,
            stubs=self._prepared.runtime_functions,
            guards=options.leaves_out(),
            base=state_globals.base,
            overflows=not self._is_idle,
        )
        if moves == SHARED and options.optimize == "size":
            runtime.push_room = runtime.room()
            runtime.pop_release = runtime.release()
        thunks = None
        if options.thunks:
            thunks = Thunks(module, self._functions, runtime, self._shadow_stack.pointer, shares_globals)
        if thunks is not None:
            self._add_import_thunks(thunks, suspension)
        entered = entered_from_outside(module, graph, suspension.instrumented, self._frameless)
        writer = BodyWriter(
            module,
            options,
            suspension,
            entered,
            select_two_bodies(module, graph, suspension, self._frameless, options, self._names.names, decoder, entered),
            decoder,
            tails,
            Additions(
                self._types,
                self._functions,
                pool,
                self._names,
                self._new_names,
                self._import_thunks,
                {module.imported_functions + own for own in graph.referring},
                self._shortens,
            ),
            runtime,
            default_rule(options.optimize, moves == PIECES) if self._group_rule is None else self._group_rule,
        )
        bodies = self._rewrite_all(suspension, graph, runtime, writer, moves)
        self._redirect_in_code(bodies, graph)
        self._connect_runtime(bodies, runtime)
        exports = runtime.exports()
        if options.thunks or not self._prepared.runtime_functions:
            added_memory = not module.memories and not options.in_secondary_memory
            write_host_sections(module, options, graph, suspension, self._shadow_stack, added_memory, self._edits)
        if thunks is not None:
            exports += self._add_entry_thunks(thunks, suspension)
        output = self._assemble(bodies, exports, memory, pool)
        reasons = Reasons(graph, suspension, lists, self._names.names, has_imports=len(options.imports) > 0)
        return self._report(output, reasons, time.perf_counter() - start)

    def _add_import_thunks(self, thunks: Thunks, suspension: Suspension) -> None:
        for item in self._module.function_imports():
            if suspension.may_suspend(item.index):
                thunk = thunks.import_thunk(item.index, f"{item.module}.{item.name}")
                self._import_thunks[item.index] = thunk
        redirect_references(self._module, self._import_thunks, self._edits)

    def _redirect_in_code(self, bodies: list[bytes], graph: CallGraph) -> None:
        """Let references that code makes of imports be references to their thunks."""
        if not self._import_thunks:
            return
        module = self._module
        for own in graph.referring:
            body = bodies[own] if bodies[own] else module.data[module.body_starts[own] : module.body_ends[own]]
            bodies[own] = redirect_in_code(body, self._import_thunks)

    def _add_entry_thunks(self, thunks: Thunks, suspension: Suspension) -> list[tuple[str, int]]:
        exported = {export.name for export in self._module.exports}
        for name, index in thunks.global_exports():
            if name in exported:
                raise UnsupportedModule(f"the module exports {name} already; it seems to be instrumented already")
            self._edits.append(sec.EXPORT, encode_name(name) + bytes([GLOBAL_KIND]) + encode_unsigned(index))
        exports = thunks.accessors()
        for export in self._module.exports:
            if export.kind != FUNCTION_KIND:
                continue
            if suspension.instrumented[export.index]:
                exports.append((f"{ENTRY_PREFIX}{export.name}", thunks.entry_thunk(export.index)))
            elif export.index in self._import_thunks:
                thunk = thunks.entry_thunk(export.index, self._import_thunks[export.index])
                exports.append((f"{ENTRY_PREFIX}{export.name}", thunk))
        return exports

    def _tell(self, step: str, done: int) -> None:
        if self._progress is not None:
            self._progress(step, done, len(self._sites))

    def _rewrite_all(
        self, suspension: Suspension, graph: CallGraph, runtime: Runtime, writer: BodyWriter, moves: int
    ) -> list[bytes]:
        """Return the new body of every own function, without size field; empty where it stays as it is."""
        module = self._module
        asserter = Asserter(module, runtime, self._functions, self._names, suspension, self._prepared.shift)
        # By thunks it is the code behind the import that begins to unwind, and here there is none.
        checks_left_out = runtime.guards and not self._options.thunks
        waiting: list[Prepared | None] = []
        if moves != SHARED:
            waiting = [self._prepare(own, suspension, writer) for own in range(len(self._sites))]
            choose_moves(
                [prepared for prepared in waiting if prepared is not None and prepared.subject.has_frame],
                runtime,
                self._options,
                moves,
            )
        bodies: list[bytes] = []
        for own in range(len(self._sites)):
            if own % _STRIDE == 0:
                self._tell("instrumenting", own)
            function = module.imported_functions + own
            prepared = waiting[own] if waiting else self._prepare(own, suspension, writer)
            body = b""
            try:
                if prepared is not None:
                    body = writer.write(prepared)
                elif not (
                    suspension.instrumented[function] or suspension.topmost[function] or suspension.bottommost[function]
                ):
                    if self._options.asserts:
                        body = asserter.rewrite(function)
                    elif checks_left_out and asserter.calls_suspending_import(graph.callees[own]):
                        body = asserter.rewrite_left_out(function)
            except UnsupportedModule as error:
                self._refuse(own, error)
            except (MalformedModule, IndexError, KeyError) as error:
                raise self._located(own, error) from None
            bodies.append(body)
        self._tell("instrumenting", len(self._sites))
        self._refusals.check()
        return bodies

    def _prepare(self, own: int, suspension: Suspension, writer: BodyWriter) -> Prepared | None:
        """Find out what the new body of a function needs; None where the function stays as it is."""
        function = self._module.imported_functions + own
        if function in self._wrappers:
            self._sites[own] = 1
            return None
        if not suspension.instrumented[function]:
            return None
        try:
            prepared = writer.prepare(function)
        except UnsupportedModule as error:
            self._refuse(own, error)
            return None
        except (MalformedModule, IndexError, KeyError) as error:
            raise self._located(own, error) from None
        if prepared is not None:
            self._sites[own] = len(prepared.subject.plan.sites.calls)
        return prepared

    def _refuse(self, own: int, error: UnsupportedModule) -> None:
        offset, function = self._place(own, error.offset)
        self._refusals.add(UnsupportedModule(error.reason, offset, function, error.kind))

    def _located(self, own: int, error: Exception) -> MalformedModule:
        """Return what is wrong with a function as an error that says where."""
        if isinstance(error, MalformedModule):
            return MalformedModule(error.reason, *self._place(own, error.offset))
        return MalformedModule("this is not valid code", *self._place(own, self._module.body_starts[own]))

    def _place(self, own: int, offset: int) -> tuple[int, str]:
        """Return byte offset and description of a function as they are in the file that was given."""
        function = self._module.imported_functions + own
        original = self._prepared.original_function(function)
        return self._prepared.original_offset(own, offset), self._names.describe(function, original)

    def _connect_runtime(self, bodies: list[bytes], runtime: Runtime) -> None:
        """Give the functions that stand for the module's `asyncify` imports their bodies."""
        for function, body in runtime.stub_bodies.items():
            bodies[function - self._module.imported_functions] = body

    def _assemble(self, bodies: list[bytes], exports: list[tuple[str, int]], memory: Memory, pool: GlobalPool) -> bytes:
        module = self._module
        edits = self._edits
        functions = self._functions
        for definition in self._types.added:
            edits.append(sec.TYPE, definition)
        for value_type in pool.types:
            edits.append(sec.GLOBAL, encode_value_type(value_type) + b"\x01" + zero_constant(value_type) + b"\x0b")
        for index, name in pool.names:
            self._new_names.add(GLOBAL_NAMES, index, name)
        for type_index in functions.type_indices:
            edits.append(sec.FUNCTION, encode_unsigned(type_index))
        exported = {export.name for export in module.exports}
        for name, index in exports:
            if name in exported:
                raise UnsupportedModule(
                    f"the module exports {name} already, which is what an export to be added is called"
                )
            edits.append(sec.EXPORT, encode_name(name) + bytes([FUNCTION_KIND]) + encode_unsigned(index))
        self._check_entries(len(exports))
        shortened: dict[int, Shortened] = {}
        edits.pieces[sec.CODE] = self._code(bodies, shortened)
        if memory.index > 0:
            self._features.append("multimemory")
        changed = bodies[: len(bodies) - len(self._prepared.runtime_functions)]
        self._name_what_is_added({index for _, index in exports}, any(changed))
        write_metadata(module, self._features, bodies, shortened, self._new_names, self._options.asserts, edits)
        return write_sections(module.data, module.sections, edits)

    def _name_what_is_added(self, exported: set[int], calls_them: bool) -> None:
        """Name the added functions that no export names, if some can be on the stack while the guest runs.

        Globals and memories that were added have names where the module names others. In small modules all these names
        would be half of what is added; in those of TinyGo's shape, which no host drives, there are none at all.
        """
        if self._options.asserts:
            exported = set()
        elif len(self._original.data) < _NAMELESS and has_scheduler(self._prepared.runtime_functions):
            self._new_names = NewNames()
            self._new_names.nameless.update([function for _, function in self._prepared.runtime_functions])
            return
        else:
            for subsection in (GLOBAL_NAMES, MEMORY_NAMES):
                if subsection not in self._names.named:
                    self._new_names.maps.pop(subsection, None)
        if not self._is_idle or calls_them:
            for index, name in self._functions.names:
                if index not in exported:
                    self._new_names.add(FUNCTION_NAMES, index, name)

    def _check_entries(self, exports: int) -> None:
        """Raise UnsupportedModule where the module would have more of something than engines take."""
        module = self._module
        functions = len(module.body_starts)
        check_entries(functions + len(self._functions.bodies), functions, "functions")
        check_entries(len(module.types) + len(self._types.added), len(module.types), "types")
        check_entries(len(module.exports) + exports, len(module.exports), "exports")

    def _code(self, bodies: list[bytes], shortened: dict[int, Shortened]) -> list[bytes]:
        """Return the payload of the code section in pieces.

        Numbers that a linker padded become shorter, unless options say to keep them; bodies that stay but for that are
        noted by own index. Else a body that stays keeps the bytes of its size field too.
        """
        module = self._module
        out = [encode_unsigned(len(bodies) + len(self._functions.bodies))]
        section = module.section(sec.CODE)
        start = 0 if section is None else read_u32(module.data, section.payload)[1]
        for own in range(len(bodies)):
            end = module.body_ends[own]
            if not self._shortens and not bodies[own]:
                out.append(module.data[start:end])
            else:
                body = self._shorten(own, bodies[own], shortened)
                out += [encode_unsigned(len(body)), body]
            start = end
        out += self._functions.bodies
        return out

    def _shorten(self, own: int, body: bytes, shortened: dict[int, Shortened]) -> bytes:
        """Return a function's body with the shortest numbers, if a linker padded them; empty: it stays but for that."""
        module = self._module
        if body:
            return shorten_body(body).code if self._shortens else body
        body = module.data[module.body_starts[own] : module.body_ends[own]]
        if not self._shortens:
            return body
        result = shorten_body(body)
        if result.ends:
            shortened[own] = result
        return result.code

    def _report(self, output: bytes, reasons: Reasons, seconds: float) -> Instrumented:
        module = self._module
        reports: list[FunctionReport] = []
        added = len(self._shared_calls) + len(self._prepared.runtime_functions)
        for own in range(len(self._sites) - added):
            function = module.imported_functions + own
            sites = self._sites[own]
            reason = reasons.of(function, sites)
            index = self._prepared.original_function(function)
            name = self._names.name(function, index)
            is_frameless = function in self._frameless
            reports.append(FunctionReport(index, name, sites > 0, sites, reason, is_frameless))
        return Instrumented(
            module=output,
            functions=tuple(reports),
            bytes_before=len(self._original.data),
            bytes_after=len(output),
            code_before=_code_size(self._original.data),
            code_after=_code_size(output),
            seconds=seconds,
            stack_pointer=self._shadow_stack.pointer,
            warnings=tuple(self._warnings),
        )


def _code_size(data: bytes) -> int:
    for section in sec.read_sections(data):
        if section.id == sec.CODE:
            return section.end - section.payload
    return 0
