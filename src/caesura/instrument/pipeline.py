"""The transformation from end to end: read, find out what may suspend, rewrite those functions, write.

    module -> names, lists -> who may suspend, who needs no frame for it -> memory, globals, runtime -> each function:
    decode, plan, number the call sites, liveness, frame, rewrite -> sections

Each step stands in a file of its own; this one says in which order, and puts the sections together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from caesura.analysis.body import Body, decode_body
from caesura.analysis.calls import CallGraph, read_calls
from caesura.analysis.entries import entered_from_outside
from caesura.analysis.interpreters import handoff_loops
from caesura.analysis.liveness import live_locals
from caesura.analysis.shadow_stack import find_stack_pointer
from caesura.analysis.suspension import Suspension, find_suspending
from caesura.analysis.wrappers import find_wrappers
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.asserts import Asserter
from caesura.instrument.code import zero_constant
from caesura.instrument.frame import Frame
from caesura.instrument.globals import Globals
from caesura.instrument.lists import resolve_lists
from caesura.instrument.memory import Memory, choose_memory
from caesura.instrument.metadata import write_metadata
from caesura.instrument.naming import FunctionNames
from caesura.instrument.options import Options
from caesura.instrument.pads import Pads, group_by_live
from caesura.instrument.plan import Plan
from caesura.instrument.planner import Planner
from caesura.instrument.prepare import prepare
from caesura.instrument.reasons import reason_of
from caesura.instrument.regions import Layout
from caesura.instrument.report import FunctionReport, Instrumented
from caesura.instrument.rewrite import Rewriter
from caesura.instrument.runtime import Runtime
from caesura.instrument.selection import select_two_bodies
from caesura.instrument.subject import Subject
from caesura.instrument.tables import FunctionTable, GlobalPool, TypeTable
from caesura.instrument.thunks import (
    ENTRY_PREFIX,
    FUNCTIONS_SECTION,
    RESULTS_SECTION,
    STACK_POINTER,
    Thunks,
    result_counts,
    suspending_bitmap,
)
from caesura.instrument.two_bodies import Handoff, NormalBody, ResumeBody, normal_layout, passed_values
from caesura.wasm import sections as sec
from caesura.wasm.leb128 import encode_name, encode_unsigned, read_u32
from caesura.wasm.module import FUNCTION_KIND, GLOBAL_KIND, Module
from caesura.wasm.names import GLOBAL_NAMES, LOCAL_NAMES, NewNames
from caesura.wasm.renumber import redirect_elements
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.types import I32, encode_value_type

Progress = Callable[[str, int, int], None]

# Functions between two reports of progress.
_STRIDE: Final = 64

# Values that the two bodies of a function hand over, at all loops together; interpreters have some hundreds. Without a
# bound, nested loops with many locals would make the output quadratic.
_MAXIMUM_PASSED: Final = 4_000

# One place to unwind from, with nothing to zero.
_ONE_PAD: Final = Pads([], [], [])

_DEFAULT_OPTIONS: Final = Options()


def instrument(
    module: bytes | bytearray | memoryview, options: Options = _DEFAULT_OPTIONS, progress: Progress | None = None
) -> Instrumented:
    """Make a module's call stack pausable.

    `module` is the bytes of a module in the binary format. `progress` is called now and then with a step's name, the
    functions done and the functions to do. Raises MalformedModule, UnsupportedModule (what the transformation
    refuses, with the function and the byte offset) and UsageError (options that do not fit the module).
    """
    start = time.perf_counter()
    try:
        return _Pipeline(bytes(module), options, progress).run(start)
    except IndexError:
        raise MalformedModule("unexpected end of the module, or an index that is out of range", len(module)) from None


class _Pipeline:
    """One run of the transformation."""

    def __init__(self, data: bytes, options: Options, progress: Progress | None) -> None:
        self._options = options
        self._progress = progress
        self._original = Module(data)
        if self._original.custom_section("linking") is not None:
            raise UnsupportedModule("this is a relocatable object file; link it first, then instrument the result")
        self._prepared = prepare(self._original, options)
        self._module = self._prepared.module
        self._names = FunctionNames(self._module)
        self._edits = SectionEdits()
        self._new_names = NewNames()
        self._types = TypeTable(self._module)
        self._functions = FunctionTable(self._module, self._types)
        self._sites: list[int] = [0] * len(self._module.body_starts)
        self._warnings: list[str] = []
        self._exact: list[bool] = []
        self._entered: list[bool] = []
        self._wrappers: dict[int, int] = {}
        self._two_bodies: set[int] = set()
        self._import_thunks: dict[int, int] = {}
        self._pool = GlobalPool(len(self._module.globals) + (0 if options.import_globals else 2))
        self._stack_pointer = find_stack_pointer(self._module)

    def run(self, start: float) -> Instrumented:
        """Return the instrumented module and the report."""
        module = self._module
        options = self._options
        self._tell("reading", 0)
        graph = read_calls(module)
        imports = [f"{item.module}.{item.name}" for item in module.function_imports()]
        lists = resolve_lists(options, imports, self._names.names, self._warnings)
        suspension = find_suspending(module, graph, lists, self._prepared.runtime_functions)
        self._exact = [not instrumented for instrumented in suspension.instrumented]
        self._wrappers = find_wrappers(module, graph, suspension)
        self._entered = entered_from_outside(module, graph, suspension.instrumented, self._wrappers)
        framed = [flag and index not in self._wrappers for index, flag in enumerate(suspension.instrumented)]
        self._two_bodies = select_two_bodies(module, graph, suspension, framed, options, self._names.names)
        memory = choose_memory(module, options, self._edits, self._new_names)
        state_globals = Globals(module, options, memory.pointer, self._edits, self._new_names)
        grows = options.thunks and options.in_secondary_memory
        runtime = Runtime(
            self._functions,
            state_globals.state,
            state_globals.data,
            memory.index,
            memory.pointer,
            grows,
            options.no_multivalue,
        )
        thunks = Thunks(module, self._functions, runtime, self._stack_pointer) if options.thunks else None
        if thunks is not None:
            self._add_import_thunks(thunks, suspension)
        bodies = self._rewrite_all(graph, suspension, runtime)
        self._connect_runtime(bodies, runtime)
        exports = runtime.exports()
        if thunks is not None:
            exports += self._add_entry_thunks(thunks, suspension)
        output = self._assemble(bodies, exports, memory)
        return self._report(output, suspension, time.perf_counter() - start)

    def _add_import_thunks(self, thunks: Thunks, suspension: Suspension) -> None:
        for item in self._module.function_imports():
            if suspension.may_suspend(item.index):
                thunk = thunks.import_thunk(item.index, f"{item.module}.{item.name}")
                self._import_thunks[item.index] = thunk
        payload = redirect_elements(self._module, self._import_thunks)
        if payload:
            self._edits.replace[sec.ELEMENT] = payload

    def _add_entry_thunks(self, thunks: Thunks, suspension: Suspension) -> list[tuple[str, int]]:
        if thunks.stack_pointer >= 0:
            entry = encode_name(STACK_POINTER) + bytes([GLOBAL_KIND]) + encode_unsigned(thunks.stack_pointer)
            self._edits.append(sec.EXPORT, entry)
        counts = result_counts(self._module, self._import_thunks)
        if counts:
            self._edits.custom[RESULTS_SECTION] = counts
        self._edits.custom[FUNCTIONS_SECTION] = suspending_bitmap(suspension, self._import_thunks)
        exports = thunks.accessors()
        for export in self._module.exports:
            if export.kind == FUNCTION_KIND and suspension.instrumented[export.index]:
                exports.append((f"{ENTRY_PREFIX}{export.name}", thunks.entry_thunk(export.index, export.name)))
        return exports

    def _tell(self, step: str, done: int) -> None:
        if self._progress is not None:
            self._progress(step, done, len(self._sites))

    def _rewrite_all(self, graph: CallGraph, suspension: Suspension, runtime: Runtime) -> list[bytes]:
        """Return the new body of every own function, without size field; empty where it stays as it is."""
        module = self._module
        asserter = Asserter(module, runtime, self._functions, self._names, suspension, self._prepared.shift)
        bodies: list[bytes] = []
        for own in range(len(self._sites)):
            if own % _STRIDE == 0:
                self._tell("instrumenting", own)
            function = module.imported_functions + own
            body = b""
            try:
                if function in self._wrappers:
                    self._sites[own] = 1
                elif suspension.instrumented[function]:
                    body = self._rewrite(function, suspension, runtime)
                elif self._options.asserts and not suspension.topmost[function] and not suspension.bottommost[function]:
                    body = asserter.rewrite(function)
            except MalformedModule as error:
                raise MalformedModule(error.reason, *self._place(own, error.offset)) from None
            except UnsupportedModule as error:
                raise UnsupportedModule(error.reason, *self._place(own, error.offset)) from None
            except (IndexError, KeyError):
                raise MalformedModule("this is not valid code", *self._place(own, module.body_starts[own])) from None
            bodies.append(body)
        self._tell("instrumenting", len(self._sites))
        return bodies

    def _place(self, own: int, offset: int) -> tuple[int, str]:
        """Return byte offset and description of a function as they are in the file that was given."""
        function = self._module.imported_functions + own
        original = self._prepared.original_function(function)
        return self._prepared.original_offset(own, offset), self._names.describe(function, original)

    def _rewrite(self, function: int, suspension: Suspension, runtime: Runtime) -> bytes:
        """Return the new body of a function that may suspend; empty where none of its call sites can be reached."""
        module = self._module
        body = decode_body(module, function, suspension, self._options.ignore_unwind_from_catch, False)
        if not body.sites:
            return b""
        if function in self._two_bodies:
            code = self._write_two(function, body, handoff_loops(module.data, body), runtime)
            if code:
                return code
        results = module.function_type(function).results
        plan = Planner(module, body, results, self._exact, set(), False).run()
        sites = len(plan.site_calls)
        if not sites:
            return b""
        self._sites[function - module.imported_functions] = sites
        layout = Layout(plan.regions, plan.region_of, plan.site_landings, plan.site_regions)
        liveness = live_locals(module.data, body, plan.site_landings, plan.site_calls, plan.ignored_reads, set())
        frame = Frame(body, liveness.landings, plan, layout.needs_site_local())
        subject = self._subject(function, body, plan, layout.numbers, frame, _ONE_PAD, runtime)
        rewriter = Rewriter(subject, layout)
        code = rewriter.run(self._entered[function])
        self._name_locals(function, frame)
        return code

    def _write_two(self, function: int, body: Body, loops: set[int], runtime: Runtime) -> bytes:
        """Add the resume body of a function and return its normal body; empty where one body serves better."""
        module = self._module
        definition = module.function_type(function)
        plan = Planner(module, body, definition.results, self._exact, loops, True).run()
        if not plan.site_calls or (loops and not plan.below):  # the loops cannot be reached
            return b""
        layout = Layout(plan.regions, plan.region_of, plan.site_landings, plan.site_regions)
        liveness = live_locals(module.data, body, plan.site_landings, plan.site_calls, plan.ignored_reads, loops)
        if passed_values(plan, liveness) > _MAXIMUM_PASSED:
            return b""
        normal = normal_layout(body, sorted(plan.below))
        frame = Frame(body, liveness.landings, plan, layout.needs_site_local() or normal.dispatches())
        handoff = Handoff(body, plan, liveness, frame, definition.results, self._pool)
        pads = group_by_live(liveness.each_landing, plan.moved_locals) if liveness.each_landing else _ONE_PAD
        subject = self._subject(function, body, plan, layout.numbers, frame, pads, runtime)
        untargeted: set[int] = set()
        resume_body = b""
        for _ in range(2):
            resume = ResumeBody(subject, layout)
            resume_body = resume.write(handoff, definition.params, untargeted)
            untargeted = resume.untargeted
        name = f"asyncify_resume:{self._names.names[function]}"
        index = self._functions.add_body(name, self._types.index_of((), (I32,)), resume_body)
        self._sites[function - module.imported_functions] = len(plan.site_calls)
        code = NormalBody(subject, normal).write(handoff, index)
        self._name_locals(function, frame)
        return code

    def _subject(
        self, function: int, body: Body, plan: Plan, numbers: list[int], frame: Frame, pads: Pads, runtime: Runtime
    ) -> Subject:
        return Subject(
            self._module, function, body, plan, numbers, frame, pads, runtime, self._types, self._import_thunks
        )

    def _name_locals(self, function: int, frame: Frame) -> None:
        if self._names.has_locals:
            for local, name in frame.new_names():
                self._new_names.add_inner(LOCAL_NAMES, function, local, name)

    def _connect_runtime(self, bodies: list[bytes], runtime: Runtime) -> None:
        """Give the functions that stand for the module's `asyncify` imports their bodies."""
        for name, function in self._prepared.runtime_functions:
            bodies[function - self._module.imported_functions] = runtime.forwarding_body(name)

    def _assemble(self, bodies: list[bytes], exports: list[tuple[str, int]], memory: Memory) -> bytes:
        module = self._module
        edits = self._edits
        functions = self._functions
        for definition in self._types.added:
            edits.append(sec.TYPE, definition)
        for value_type in self._pool.types:
            edits.append(sec.GLOBAL, encode_value_type(value_type) + b"\x01" + zero_constant(value_type) + b"\x0b")
        for index, name in self._pool.names:
            self._new_names.add(GLOBAL_NAMES, index, name)
        for type_index in functions.type_indices:
            edits.append(sec.FUNCTION, encode_unsigned(type_index))
        exported = {export.name for export in module.exports}
        for name, index in exports:
            if name in exported:
                raise UnsupportedModule(f"the module exports {name} already; it seems to be instrumented already")
            edits.append(sec.EXPORT, encode_name(name) + bytes([FUNCTION_KIND]) + encode_unsigned(index))
        edits.replace[sec.CODE] = self._code(bodies)
        features: list[str] = [] if self._options.no_multivalue else ["multivalue"]
        if memory.index > 0:
            features.append("multimemory")
        if self._options.import_globals or self._options.export_globals:
            features.append("mutable-globals")
        write_metadata(module, features, bodies, functions, self._new_names, self._options.asserts, edits)
        return write_sections(module.data, module.sections, edits)

    def _code(self, bodies: list[bytes]) -> bytes:
        """Return the payload of the code section; a body that stays keeps the bytes of its size field too."""
        module = self._module
        out = [encode_unsigned(len(bodies) + len(self._functions.bodies))]
        section = module.section(sec.CODE)
        start = 0 if section is None else read_u32(module.data, section.payload)[1]
        for own in range(len(bodies)):
            end = module.body_ends[own]
            if bodies[own]:
                out.append(encode_unsigned(len(bodies[own])))
                out.append(bodies[own])
            else:
                out.append(module.data[start:end])
            start = end
        out += self._functions.bodies
        return b"".join(out)

    def _report(self, output: bytes, suspension: Suspension, seconds: float) -> Instrumented:
        module = self._module
        reports: list[FunctionReport] = []
        for own in range(len(self._sites) - len(self._prepared.runtime_functions)):
            function = module.imported_functions + own
            sites = self._sites[own]
            reason = reason_of(function, sites, suspension, self._names.names)
            index = self._prepared.original_function(function)
            name = self._names.name(function, index)
            is_frameless = function in self._wrappers
            reports.append(FunctionReport(index, name, sites > 0, sites, reason, is_frameless))
        return Instrumented(
            module=output,
            functions=tuple(reports),
            bytes_before=len(self._original.data),
            bytes_after=len(output),
            code_before=_code_size(self._original.data),
            code_after=_code_size(output),
            seconds=seconds,
            stack_pointer=self._stack_pointer,
            warnings=tuple(self._warnings),
        )


def _code_size(data: bytes) -> int:
    for section in sec.read_sections(data):
        if section.id == sec.CODE:
            return section.end - section.payload
    return 0
