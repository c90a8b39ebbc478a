"""Pause points are written into the module before anything else looks at it, as code that it might have had itself.

At the head of a loop, or of a function, and behind some instructions stands (see `analysis.pause_points` for where):

    i32.const 0  i32.atomic.load $stacks request  if  call $asyncify_pause  end                preempt="flag"

    global.get $fuel  i64.const 0  i64.lt_s  if  call $asyncify_pause  end                     preempt="fuel"
    global.get $fuel  i64.const weight  i64.sub  global.set $fuel

`$asyncify_pause` is added as the module's last function. It counts as one that may suspend, and is what begins and ends
suspensions here (`abi.pauses` writes it). So everything that is made for call sites serves these, too: what is live is
saved, a resumed frame lands before the call, or before a loop that has no other call site, and what may stand on the
stack meanwhile is instrumented. What is counted is counted behind the call, so that it counts once either way. Where
nothing is looked at, only counted, the last line stands alone. The counter is a global of the module's own, and with
that part of its state.

What an instruction fills or copies is counted and looked at besides (`counted_bulk`), what engines' own functions may
take is counted (`counted_builtins`), and loops that count their
iterations run in chunks, with a pause point before each (`chunked_loops`), but with `optimize=size`.

Only functions with such code change; offsets in messages are led back as for other modules that are copied.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import ASYNCIFY_MODULE, CONTROL_BLOCK, FUEL, PAUSE_FUNCTION, REQUEST_OFFSET
from caesura.analysis.bulk import find_bulk
from caesura.analysis.calls import read_calls
from caesura.analysis.limits import check_body, check_locals
from caesura.analysis.pause_points import NO_PAUSE, PausePoints, find_pause_points
from caesura.errors import UnsupportedModule
from caesura.instrument.abi.index_spaces import AddedTypes
from caesura.instrument.added_scratch import AddedScratch
from caesura.instrument.calling_imports import put_calling_functions
from caesura.instrument.chunked_loops import ChunkedLoops, Edit
from caesura.instrument.copied_code import CopiedCode, Places, PlacesTwice
from caesura.instrument.copied_module import CopiedModule, NewBody, unchanged, write_copied
from caesura.instrument.counted_builtins import put_counting_functions
from caesura.instrument.counted_bulk import NO_FUEL, CountedBulk
from caesura.options import NO_PREEMPT, PREEMPT_FUEL, Options
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.decode import read_locals
from caesura.wasm.definitions import GLOBAL_KIND
from caesura.wasm.immediates import skip_locals
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.leb128 import encode_name, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, GLOBAL_NAMES, NewNames, extend_names
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.types import I64, encode_value_type

# The counter begins where it takes centuries to use it up: who knows nothing of it need not.
_PLENTY: Final = (1 << 63) - 1

_I64_LT_S: Final = b"\x53"


def add_pause_points(module: Module, options: Options) -> tuple[CopiedModule, FunctionIndex]:
    """Return the module with the pause points that options ask for, and the function that these call.

    That is NO_PAUSE where options ask for none. Raises MalformedModule, and UnsupportedModule for a module with a
    scheduler of its own, or where a function would be larger than engines allow.
    """
    if options.preempt == NO_PREEMPT:
        return unchanged(module), NO_PAUSE
    if any(item.module == ASYNCIFY_MODULE for item in module.function_imports()):
        raise UnsupportedModule(
            f"the module imports from '{ASYNCIFY_MODULE}': it has a scheduler of its own, which would take a pause for "
            "one that it asked for (leave preempt out)"
        )
    read_calls(module)  # what is malformed is refused before anything is made of it
    counting = unchanged(module)
    if options.preempt == PREEMPT_FUEL:
        counting = put_counting_functions(module, len(module.globals))
    with_functions = put_calling_functions(counting.module)
    points = find_pause_points(with_functions, chunks=options.optimize != "size")
    copied, pause = _Pausing(with_functions, options).write(points)
    return CopiedModule(module, copied.module, _in_both(counting.places, copied.places)), pause


def _in_both(first: dict[int, Places], second: dict[int, Places]) -> dict[int, Places]:
    """Return where instructions are in bodies that were copied first, or then, or both times."""
    places = {**first, **second}
    for own in first:
        if own in second:
            places[own] = PlacesTwice(first[own], second[own])
    return places


class _Pausing:
    """Writes the module."""

    def __init__(self, module: Module, options: Options) -> None:
        self._module = module
        self._counts = options.preempt == PREEMPT_FUEL
        self._pause = FunctionIndex(len(module.function_types))
        self._fuel = len(module.globals)
        # The memory with the asyncify stacks comes behind the module's own.
        look = c.CONST_I32 + b"\0" + c.atomic_load(len(module.memories), CONTROL_BLOCK + REQUEST_OFFSET)
        if self._counts:
            look = c.GLOBAL_GET + encode_unsigned(self._fuel) + c.ZERO[I64] + _I64_LT_S
        self._look = look + c.IF_EMPTY + c.CALL + encode_unsigned(self._pause) + c.END

    def write(self, points: PausePoints) -> tuple[CopiedModule, FunctionIndex]:
        """Return the module with these pause points, and the function that they call."""
        module = self._module
        bodies: dict[int, NewBody] = {}
        for own in module.own_functions():
            declared, code_start = read_locals(module.data, module.body_starts[own])
            params = len(module.function_type(module.function_of(own)).params)
            scratch = AddedScratch(params + len(declared))
            edits = self._edits(own, points, scratch, code_start)
            if edits:
                bodies[own] = self._body(own, edits, scratch)
        copied = write_copied(module, bodies, SectionEdits(), [])
        return CopiedModule(module, self._with_additions(copied.module), copied.places), self._pause

    def _edits(self, own: OwnFunction, points: PausePoints, scratch: AddedScratch, code_start: int) -> list[Edit]:
        """Return what is written into a function, and where, in the order of places."""
        fuel = self._fuel if self._counts else NO_FUEL
        bulk = CountedBulk(self._module, scratch, fuel, self._look)
        chunks = ChunkedLoops(self._module.data, scratch, fuel)
        edits: list[Edit] = []
        if own in points.entries:
            edits.append(_inserted(code_start, self._look + bulk.count(points.entries[own])))
        elif self._counts and own in points.counted:
            edits.append(_inserted(code_start, bulk.count(points.counted[own])))
        for behind, weight in points.loops.get(own, []):
            look = b"" if behind in points.passing else self._look
            if behind in points.chunked:
                edits += chunks.edits(points.chunked[behind], look, weight)
            elif look or self._counts:
                edits.append(_inserted(behind, look + bulk.count(weight)))
        edits += [_inserted(position, self._look) for position in points.breaks.get(own, [])]
        for instruction in find_bulk(self._module, own):
            edits.append(_inserted(instruction.start, bulk.before(instruction)))
            edits.append(_inserted(instruction.behind, bulk.behind(instruction)))
        edits = [edit for edit in edits if edit[1]]
        edits.sort(key=_place)
        return edits

    def _body(self, own: OwnFunction, edits: list[Edit], scratch: AddedScratch) -> NewBody:
        """Return a function with these edits, and the locals that they take."""
        module = self._module
        data = module.data
        start = module.body_starts[own]
        end = module.body_ends[own]
        code_start = skip_locals(data, start)
        copy = CopiedCode(data, start, code_start)
        for position, code, behind in edits:
            copy.replace(position, code, behind)
        runs, declarations = read_u32(data, start)
        head = encode_unsigned(runs + len(scratch.types)) + data[declarations:code_start]
        for value_type in scratch.types:
            head += b"\x01" + encode_value_type(value_type)
        code = copy.finish(end, head)
        try:
            check_locals(scratch.first + len(scratch.types), start)
            check_body(len(code), end - start, start)
        except UnsupportedModule as error:
            function = f"function {module.function_of(own)}"
            raise UnsupportedModule(error.reason, error.offset, function, error.kind) from None
        return NewBody(code, copy.places)

    def _with_additions(self, module: Module) -> Module:
        """Return a module with the function at its end, and the counter if there is one."""
        edits = SectionEdits()
        names = NewNames()
        types = AddedTypes(module)
        index = types.index_of((), ())
        for definition in types.added:
            edits.append(sec.TYPE, definition)
        edits.append(sec.FUNCTION, encode_unsigned(index))
        body = b"\0" + c.END  # until it is known what is to be done
        edits.append(sec.CODE, encode_unsigned(len(body)) + body)
        names.add(FUNCTION_NAMES, self._pause, PAUSE_FUNCTION)
        if self._counts:
            if any(export.name == FUEL for export in module.exports):
                raise UnsupportedModule(f"the module exports {FUEL} already; it seems to be instrumented already")
            edits.append(sec.GLOBAL, encode_value_type(I64) + b"\x01" + c.constant(I64, _PLENTY) + c.END)
            edits.append(sec.EXPORT, encode_name(FUEL) + bytes([GLOBAL_KIND]) + encode_unsigned(self._fuel))
            names.add(GLOBAL_NAMES, self._fuel, FUEL)
        section = module.custom_section("name")
        if section is not None:
            edits.custom["name"] = extend_names(module.data[section.payload : section.end], names)
        return Module(write_sections(module.data, module.sections, edits))


def _inserted(position: int, code: bytes) -> Edit:
    return position, code, position


def _place(edit: Edit) -> int:
    return edit[0]
