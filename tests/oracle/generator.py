"""Generates one guest: from a string of decisions to a valid module, the options to instrument it with, and facts.

A module has two entries of one fixed type, some functions, a table (the world's, whose upper half imports may rotate,
or one of its own that nobody else sees, so that fewer calls through it may suspend), and globals, memory and tags of
the world. Functions that may not suspend call nothing that suspends, so that options which instrument less than
everything can be chosen truthfully.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.oracle.bodies import BodyGenerator
from tests.oracle.decisions import Decisions
from tests.oracle.encoder import function_type, limits, name, section, signed, unsigned, vector
from tests.oracle.held_references import HEAPS_ABOVE, looking_functions
from tests.oracle.operators import EXACT, ROUNDING, STORES, TRAPPING, by_result
from tests.oracle.plan import FunctionPlan, ModulePlan, Types
from tests.oracle.structures import STRUCTURE_TYPES
from tests.oracle.world import (
    ALL_TYPES,
    ENTRY_TYPES,
    EXNREF,
    F32,
    F64,
    GLOBALS,
    GROUND_PAGES,
    GROUND_PAGES_MAXIMUM,
    HELD_TYPES,
    I32,
    I64,
    IMPORTS,
    NEVER,
    OLD_HELD_TYPES,
    SECONDARY_PAGES,
    TABLE_SIZE,
    TAGS,
    V128,
    VOLATILE_SLOTS,
)

Option = bool | tuple[str, ...] | str | int

_ALL_OPERATORS: Final = by_result(EXACT + ROUNDING)
_EXACT_OPERATORS: Final = by_result(EXACT)
_TRAPPING_OPERATORS: Final = by_result(TRAPPING)
_ZEROS: Final = {
    I32: b"\x41\x00",
    I64: b"\x42\x00",
    F32: b"\x43" + bytes(4),
    F64: b"\x44" + bytes(8),
    V128: b"\xfd\x0c" + bytes(16),
}
_FIRST_FUNCTION: Final = len(IMPORTS)
_FIRST_OWN_GLOBAL: Final = 1 + len(GLOBALS)
_DUMP_ADDRESS: Final = 0x1000
# How many guest calls a standalone module makes before every function returns at once.
_FUEL: Final = 300
_ALL_IMPORTS: Final = (1 << len(IMPORTS)) - 1


class Features(NamedTuple):
    """What a generated module may use."""

    canonical_nans: bool = True
    """Whether the engine makes NaNs canonical, so that float arithmetic is deterministic."""
    exceptions: bool = True
    legacy_exceptions: bool = False
    translated: bool = False
    """Whether exceptions are translated into the new form when the module is instrumented."""
    memory64: bool = True
    multiple_memories: bool = True
    references: bool = True
    """Whether the engine knows typed references, structs, arrays and casts."""
    wide_arithmetic: bool = True
    tail_calls: bool = True
    standalone: bool = False
    """Whether memory, table, globals and tags are the module's own: all that it imports are functions."""
    pauses: bool = False
    """Whether the module is given pause points, which count."""
    thunks: bool = False
    """Whether a module with pause points is driven by thunks."""
    options: bool = True
    """Whether to draw options; without, always the worst case: every import and every indirect call may suspend."""


_NOT_WITH_PREEMPT: Final = ("only_list", "remove_list", "ignore_indirect", "import_globals", "export_globals")


class Guest(NamedTuple):
    """A generated module and what the runner has to know about it."""

    module: bytes
    options: dict[str, Option]
    suspending_mask: int
    memory64: bool
    entries: int
    throwing: bool
    """Whether it throws and catches exceptions."""


def generate(data: bytes, features: Features) -> Guest:
    """Generate a guest from decisions."""
    decisions = Decisions(data)
    plan = ModulePlan()
    options: dict[str, Option] = {}
    only = remove = add = False
    if features.options:
        only, remove, add = _choose_options(plan, decisions, features, options)
    if features.translated:
        options["translate_to_exnref"] = True
    extra_memory = "memory" in options
    entries = 1 + decisions.below(3)
    plan.exceptions = features.exceptions and decisions.below(2) == 1
    plan.legacy_exceptions = features.legacy_exceptions
    plan.throwing = plan.exceptions or plan.legacy_exceptions
    plan.references = features.references
    plan.first_function_type = len(STRUCTURE_TYPES) if plan.references else 0
    plan.counting = features.pauses
    plan.wide_arithmetic = features.wide_arithmetic
    plan.tail_calls = features.tail_calls and decisions.below(3) > 0
    plan.operators = _ALL_OPERATORS if features.canonical_nans else _EXACT_OPERATORS
    plan.trapping = _TRAPPING_OPERATORS
    plan.own_table = decisions.below(2) == 1
    plan.tags = [*TAGS, (I64,)]
    if decisions.below(3):
        plan.held = HELD_TYPES if plan.references else OLD_HELD_TYPES
        if plan.references and plan.exceptions:
            plan.held += (EXNREF,)
        plan.value_types = (*ALL_TYPES, *ALL_TYPES, *plan.held)
        if decisions.below(2):
            plan.tags[-1] = (I64, decisions.choose(plan.held))
    for index, valtype in enumerate(GLOBALS):
        plan.globals_by_type[valtype] += [1 + index, _FIRST_OWN_GLOBAL + index]
    for function in IMPORTS:
        plan.type_index(function.params, function.results)
    _plan_functions(plan, decisions)
    _fill_table(plan, decisions)
    plan.referable = sorted({f.index for f in plan.slots if f is not None})
    first = _FIRST_FUNCTION + len(plan.functions) + 1
    tops = sorted({HEAPS_ABOVE[held] for held in plan.held})
    plan.looking = {top: first + place for place, top in enumerate(tops)}
    if plan.references and plan.exceptions:
        _plan_never(plan, first + len(tops), decisions)
    bodies = []
    for planned in plan.functions:
        body = BodyGenerator(plan, planned, decisions)
        bodies.append(body.generate())
        planned.called = body.called
        planned.calls_indirectly = body.calls_indirectly
    truly = _truly_suspending(plan)
    if only:
        # Never empty: an empty list counts as not given.
        named = (*plan.functions, *plan.never)
        options["only_list"] = tuple(f.name for f in named if f.index in truly) or ("entry0",)
    quiet = tuple(f.name for f in plan.functions if f.index not in truly)
    if remove and quiet:
        options["remove_list"] = quiet
    if add and quiet:
        options["add_list"] = quiet[:1]
        options["propagate_addlist"] = decisions.below(2) == 1
    if features.pauses:
        options = {key: value for key, value in options.items() if key not in _NOT_WITH_PREEMPT}
        options["preempt"] = "fuel"
        asks = not features.legacy_exceptions and decisions.below(2) == 1
        if asks:
            options["preempt"] = "flag"
        if features.thunks:
            options["thunks"] = True
        if asks or features.thunks:
            options.pop("memory", None)
            _in_secondary_memory(options)
    module = _assemble(plan, bodies, extra_memory, standalone=features.standalone)
    return Guest(module, options, plan.suspending_mask, plan.memory64, entries, plan.throwing)


def _choose_options(
    plan: ModulePlan, decisions: Decisions, features: Features, options: dict[str, Option]
) -> tuple[bool, bool, bool]:
    """Choose options; the lists of functions, whose contents are known later, as flags: only, remove, add."""
    kind = decisions.below(12)
    only = remove = add = False
    if kind in (6, 7, 8, 9):
        plan.suspending_mask = decisions.byte() | (decisions.byte() & 0xF) << 8
    if kind in (6, 7):
        # Never empty: an empty list means that every import may suspend.
        plan.suspending_mask |= 1
        options["imports"] = tuple(f"env.{f.name}" for i, f in enumerate(IMPORTS) if plan.suspending_mask >> i & 1)
    if kind in (7, 8):
        plan.indirect_may_suspend = False
        options["ignore_indirect"] = True
        if kind == 8:
            plan.suspending_mask = _ALL_IMPORTS
    if not features.legacy_exceptions:
        only = kind == 9
        remove = kind == 10
        if remove:
            plan.suspending_mask = 0x3FF
        add = kind == 11
    elif kind == 9:
        plan.suspending_mask = _ALL_IMPORTS
    flags = decisions.below(16)
    if flags == 1:
        options["asserts"] = True
    elif flags == 2 and features.multiple_memories:
        _in_secondary_memory(options)
    elif flags == 3 and features.memory64:
        plan.memory64 = True
        if decisions.below(4) == 3:
            _in_secondary_memory(options)
    elif flags == 4 and features.multiple_memories:
        options["memory"] = "memory"
    elif flags == 5:
        options["import_globals"] = True
    elif flags == 6:
        options["export_globals"] = True
    elif flags > 9:
        options["two_bodies"] = "all"
    return only, remove, add


def _in_secondary_memory(options: dict[str, Option]) -> None:
    options["in_secondary_memory"] = True
    options["secondary_memory_size"] = SECONDARY_PAGES


def _plan_functions(plan: ModulePlan, decisions: Decisions) -> None:
    signatures: list[tuple[Types, Types]] = []
    # A function can leave by a tail call only of what has its results.
    same_results = plan.tail_calls and decisions.below(3) > 0
    for _ in range(2 + decisions.below(3)):
        params = tuple(decisions.choose(plan.value_types) for _ in range(decisions.below(5)))
        results = tuple(decisions.choose(plan.value_types) for _ in range(decisions.choose((0, 1, 1, 1, 2, 3))))
        if same_results and signatures:
            results = signatures[0][1]
        signatures.append((params, results))
    for index in range(2 + decisions.below(9)):
        if index < 2:
            function = FunctionPlan(_FIRST_FUNCTION + index, f"entry{index}", ENTRY_TYPES, ENTRY_TYPES)
            function.burns_fuel = decisions.below(2) == 1
            function.budget = 110 if index == 0 else 50
            function.interpreter = index == 0 and decisions.chance(16)
            if index == 1 and plan.functions[0].burns_fuel:
                function.wrapper = decisions.below(4) == 3
        else:
            params, results = decisions.choose(signatures)
            function = FunctionPlan(_FIRST_FUNCTION + index, f"f{index}", params, results)
            function.may_suspend = decisions.below(3) != 2
            function.burns_fuel = decisions.below(4) != 0
            function.budget = decisions.choose((8, 14, 14, 20, 30, 50, 80, 140))
            function.wrapper = decisions.below(3) == 2
        function.burns_fuel = function.burns_fuel and not function.wrapper
        plan.functions.append(function)


def _plan_never(plan: ModulePlan, first: int, decisions: Decisions) -> None:
    """Plan the functions that never return; each calls one of two imports."""
    for place, payload in enumerate(plan.tags):
        function = FunctionPlan(first + place, f"never{place}", payload, (NEVER,))
        function.called = {decisions.below(2)}
        plan.never.append(function)


def _never_body(function: FunctionPlan, tag: int) -> bytes:
    """The body of a function that throws its parameters, with a call of an import before."""
    code = b"\0" + (b"\x41\x05\x10\x01\x1a" if 1 in function.called else b"\x10\x00")
    for place in range(len(function.params)):
        code += b"\x20" + unsigned(place)
    code += b"\x08" + unsigned(tag) + b"\x0b"
    return unsigned(len(code)) + code


def _fill_table(plan: ModulePlan, decisions: Decisions) -> None:
    """The lower half: functions by signature. The upper half: functions that cannot suspend, of one signature."""
    allowed = [f for f in plan.functions[2:] if plan.indirect_may_suspend or not f.may_suspend]
    allowed.sort(key=lambda f: (f.params, f.results))
    slots: list[FunctionPlan | None] = list(allowed[:VOLATILE_SLOTS])
    slots += [None] * (VOLATILE_SLOTS - len(slots))
    quiet = [f for f in plan.functions[2:] if not f.may_suspend]
    if quiet:
        leader = decisions.choose(quiet)
        group = [f for f in quiet if (f.params, f.results) == (leader.params, leader.results)]
        slots += [group[i % len(group)] for i in range(TABLE_SIZE - VOLATILE_SLOTS)]
    plan.set_slots(slots)


def _truly_suspending(plan: ModulePlan) -> set[int]:
    """The functions that can be on the stack when an import of the mask is called."""
    in_table = {f.index for f in plan.slots if f is not None}
    suspending = {i for i in range(len(IMPORTS)) if plan.suspending_mask >> i & 1}
    changed = True
    while changed:
        changed = False
        for function in (*plan.functions, *plan.never):
            if function.index not in suspending and (
                function.called & suspending or (function.calls_indirectly and in_table & suspending)
            ):
                suspending.add(function.index)
                changed = True
    return suspending - set(range(len(IMPORTS)))


def _assemble(plan: ModulePlan, bodies: list[bytes], extra_memory: bool, *, standalone: bool) -> bytes:
    dump_type = plan.type_index((), ())
    looking = looking_functions(plan)
    never = [(plan.type_index(f.params, f.results), _never_body(f, tag)) for tag, f in enumerate(plan.never)]
    added = [*looking, *never]
    function_types = [plan.type_index(f.params, f.results) for f in plan.functions]
    tag_types = [plan.type_index(payload, ()) for payload in plan.tags]
    imports = [name("env") + name(f.name) + b"\x00" + unsigned(plan.type_index(f.params, f.results)) for f in IMPORTS]
    memory = limits(GROUND_PAGES, GROUND_PAGES_MAXIMUM, plan.memory64)
    table = b"\x70\x00" + unsigned(TABLE_SIZE)
    if not standalone:
        imports.append(name("ground") + name("memory") + b"\x02" + memory)
        if not plan.own_table:
            imports.append(name("env") + name("table") + b"\x01" + table)
        imports.append(name("env") + name("fuel") + b"\x03\x7f\x01")
        imports += [name("env") + name(f"global{i}") + b"\x03" + bytes((t, 1)) for i, t in enumerate(GLOBALS)]
        if plan.throwing:
            imports += [name("env") + name(f"tag{i}") + b"\x04\x00" + unsigned(tag_types[i]) for i in range(len(TAGS))]
    dump_index = _FIRST_FUNCTION + len(plan.functions)
    exports = [name(f.name) + b"\x00" + unsigned(f.index) for f in plan.functions[:2]]
    exports += [name("dump") + b"\x00" + unsigned(dump_index), name("memory") + b"\x02\x00"]
    own_globals = [bytes((t, 1)) + _ZEROS[t] + b"\x0b" for t in GLOBALS]
    own_tags = [b"\x00" + unsigned(tag_types[-1])]
    own_memories = [limits(1, 1, is_64=False)] if extra_memory else []
    if standalone:  # the same indices as what is imported otherwise has
        own_globals = [b"\x7f\x01\x41" + signed(_FUEL) + b"\x0b", *own_globals, *own_globals]
        own_tags = [b"\x00" + unsigned(tag_types[i]) for i in range(len(TAGS))] + own_tags
        own_memories = [memory, *own_memories]
    elements = b"".join(
        b"\x00\x41" + signed(slot) + b"\x0b\x01" + unsigned(function.index)
        for slot, function in enumerate(plan.slots)
        if function is not None
    )
    element_count = sum(function is not None for function in plan.slots)
    parts = [b"\0asm\1\0\0\0"]
    structures = STRUCTURE_TYPES if plan.references else ()
    parts.append(section(1, vector([*structures, *[function_type(p, r) for p, r in plan.types]])))
    parts.append(section(2, vector(imports)))
    parts.append(section(3, vector(unsigned(t) for t in (*function_types, dump_type, *[one for one, _ in added]))))
    if plan.own_table or standalone:
        parts.append(section(4, vector([table])))
    if own_memories:
        parts.append(section(5, vector(own_memories)))
    if plan.throwing:
        parts.append(section(13, vector(own_tags)))
    parts.append(section(6, vector(own_globals)))
    parts.append(section(7, vector(exports)))
    parts.append(section(9, unsigned(element_count) + elements))
    parts.append(section(10, vector([*bodies, _dump_body(plan), *[body for _, body in added]])))
    parts.append(section(0, name("name") + _name_section(plan, dump_index)))
    return b"".join(parts)


def _dump_body(plan: ModulePlan) -> bytes:
    """A function that stores the module's own globals, bit for bit, into memory."""
    code = bytearray(b"\x00")
    for index, valtype in enumerate(GLOBALS):
        code += (b"\x42" if plan.memory64 else b"\x41") + signed(_DUMP_ADDRESS + 16 * index)
        code += b"\x23" + unsigned(_FIRST_OWN_GLOBAL + index)
        code += STORES[valtype][0] + b"\x00\x00"
    code.append(0x0B)
    return unsigned(len(code)) + bytes(code)


def _name_section(plan: ModulePlan, dump_index: int) -> bytes:
    names = [unsigned(i) + name(f"env.{f.name}") for i, f in enumerate(IMPORTS)]
    names += [unsigned(f.index) + name(f.name) for f in plan.functions]
    names.append(unsigned(dump_index) + name("dump"))
    names += [unsigned(f.index) + name(f.name) for f in plan.never]
    return section(1, vector(names))
