"""A function body as parallel lists: what the transformation needs to know of every instruction.

Only bodies that are instrumented are decoded this way, one at a time. Lists of ints instead of instruction objects
keep the hot loops native under mypyc and the memory flat. Instruction i has code `codes[i]`, its bytes are
`data[positions[i]:positions[i + 1]]`, and `immediates[i]` is its first immediate where later passes look at it (local,
global, function, type, tag or label index; a block type as the signed number of the specification), else 0.
"""

from __future__ import annotations

from typing import Final, cast

from caesura.analysis.bulk import is_bulk
from caesura.analysis.calls import ANY_INDEX, constant_index
from caesura.analysis.pause_points import NO_PAUSE
from caesura.analysis.suspension import ALL_INDIRECT_SITES, NO_INDIRECT_SITES, NOT_SUSPENDING, Suspension
from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.decode import EMPTY_BLOCK, MAXIMUM_LOCALS
from caesura.wasm.immediates import (
    FORM_BLOCK,
    FORM_LEB,
    FORM_MEMARG,
    FORM_NONE,
    FORM_TRY_TABLE,
    FORM_TWO_LEBS,
    FORM_UNKNOWN,
    FORMS,
    read_prefixed,
    skip_immediates,
    unknown_opcode,
)
from caesura.wasm.indices import ByteOffset, FunctionIndex, InstructionIndex, LocalIndex
from caesura.wasm.leb128 import read_s33, read_u32
from caesura.wasm.module import Module
from caesura.wasm.types import is_non_null, read_value_type

# From a loop to the call of its pause point: the instructions of a look, and the `if`.
_LONGEST_LOOK: Final = 6


class Body:
    """One decoded function body.

    `byte_codes` are the codes as bytes (see `code_table`), with 0xFF for instructions with a prefix, which `prefixed`
    lists. Keys of the dicts are indices of construct-opening instructions (`block`, `loop`, `if`, `try`, `try_table`):
    `ends` gives the closing instruction, `elses` the `else`, `handlers` the first `catch` or the `delegate` of an
    old-form try. `with_sites` holds the constructs that contain call sites, `sites` all call sites in code order, but
    for those in catch bodies of old-form tries, which are in `catch_sites`. `tail_calls` are the tail calls that may
    suspend, which are no call sites, as the function is left by then; `quiet_tail_calls` are the others.
    `pausing_loops` are the loops without parameters that have a pause point at their head, and the calls of these:
    frames land before such a loop, so that the pause point's `if` is not among `with_sites`, nor the loop if it has no
    other call site.
    Locals, `param_count` parameters first, are kept as runs: local x has the type of the first run whose end lies above
    x. The last `declarations` of these are declared by the body, from byte `declarations_start` to `code_start`, the
    last one at `last_declaration`. `has_non_null` tells whether any is a reference that cannot be null.
    """

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.byte_codes = b""
        self.prefixed: list[InstructionIndex] = []
        self.positions: list[ByteOffset] = []
        self.immediates: list[int] = []
        self.ends: dict[InstructionIndex, InstructionIndex] = {}
        self.elses: dict[InstructionIndex, InstructionIndex] = {}
        self.handlers: dict[InstructionIndex, InstructionIndex] = {}
        self.with_sites: set[InstructionIndex] = set()
        self.sites: list[InstructionIndex] = []
        self.tail_calls: list[InstructionIndex] = []
        self.quiet_tail_calls: list[InstructionIndex] = []
        self.catch_sites: list[InstructionIndex] = []
        self.pausing_loops: dict[InstructionIndex, InstructionIndex] = {}
        self.run_ends: list[int] = []
        self.run_types: list[int] = []
        self.local_count = 0
        self.param_count = 0
        self.has_non_null = False
        self.declarations_start = 0
        self.declarations = 0
        self.last_declaration = 0
        self.code_start = 0

    def local_type(self, local: LocalIndex) -> int:
        """Return the type code of a local or parameter."""
        low = 0
        high = len(self.run_ends)
        while low < high:
            middle = (low + high) // 2
            if self.run_ends[middle] > local:
                high = middle
            else:
                low = middle + 1
        return self.run_types[low]


def decode_body(
    module: Module,
    function: FunctionIndex,
    suspension: Suspension,
    *,
    ignore_catch_sites: bool = False,
) -> Body:
    """Decode the body of a function and find its call sites.

    With `ignore_catch_sites`, calls in old-form catch bodies are not looked at. Raises MalformedModule, and
    UnsupportedModule for a call site that the transformation cannot handle; both carry the byte offset.
    """
    body = Body()
    _read_locals(module, function, body)
    _read_code(module, function, body, suspension, ignore_catch_sites=ignore_catch_sites)
    if suspension.pause != NO_PAUSE:
        find_pausing_loops(body, suspension.pause)
    return body


def find_pausing_loops(body: Body, pause: FunctionIndex) -> None:
    """Find the loops without parameters that have a pause point at their head, given what that calls."""
    sites = body.sites
    for place in range(len(sites)):
        call = sites[place]
        if body.codes[call] != op.CALL or body.immediates[call] != pause:
            continue
        loop = _loop_of_pause(body, call)
        if loop < 0 or body.immediates[loop] >= 0:
            continue
        body.pausing_loops[loop] = call
        body.with_sites.discard(InstructionIndex(call - 1))
        if place + 1 == len(sites) or sites[place + 1] > body.ends[loop]:
            body.with_sites.discard(loop)


def _loop_of_pause(body: Body, call: InstructionIndex) -> InstructionIndex:
    """Return the loop at whose head a pause point's call stands, behind its look; negative at a function's entry, and
    behind an instruction that must not run again, however near it stands to the loop's head.
    """
    index = InstructionIndex(call - 1)
    while index > call - _LONGEST_LOOK and index > 0 and body.codes[index] != op.LOOP:
        if table.EFFECTS[body.codes[index]] == table.CALL or is_bulk(body.codes[index]):
            return InstructionIndex(-1)
        index = InstructionIndex(index - 1)
    return index if index >= 0 and body.codes[index] == op.LOOP else InstructionIndex(-1)


def label_of_cast(data: bytes, body: Body, index: InstructionIndex) -> int:
    """Return the label of a br_on_cast or br_on_cast_fail: it stands behind the opcode and a byte of flags."""
    _, position = read_u32(data, body.positions[index] + 1)
    return read_u32(data, position + 1)[0]


def second_immediate(data: bytes, body: Body, index: InstructionIndex) -> int:
    """Return the second index or number of an instruction that has a prefix and two of them."""
    _, position = read_u32(data, body.positions[index] + 1)
    _, position = read_u32(data, position)
    return read_u32(data, position)[0]


def _read_locals(module: Module, function: FunctionIndex, body: Body) -> None:
    data = module.data
    own = module.own_of(function)
    for value_type in module.function_type(function).params:
        body.local_count += 1
        if body.run_types and body.run_types[-1] == value_type:
            body.run_ends[-1] = body.local_count
        else:
            body.run_ends.append(body.local_count)
            body.run_types.append(value_type)
        if is_non_null(value_type):
            body.has_non_null = True
    body.param_count = body.local_count
    count, position = read_u32(data, module.body_starts[own])
    body.declarations = count
    body.declarations_start = position
    for _ in range(count):
        start = position
        number, position = read_u32(data, position)
        value_type, position = read_value_type(data, position)
        body.local_count += number
        if body.local_count > MAXIMUM_LOCALS:
            raise MalformedModule(f"more than {MAXIMUM_LOCALS} locals in one function", start)
        body.run_ends.append(body.local_count)
        body.run_types.append(value_type)
        body.last_declaration = start
        if is_non_null(value_type):
            body.has_non_null = True
    body.code_start = position


def _read_code(
    module: Module,
    function: FunctionIndex,
    body: Body,
    suspension: Suspension,
    *,
    ignore_catch_sites: bool,
) -> None:
    data = module.data
    end = module.body_ends[module.own_of(function)]
    forms = FORMS
    indirect_sites = suspension.indirect_sites[function]
    reason = suspension.reason
    indirect = indirect_sites != NO_INDIRECT_SITES
    quiet = set() if indirect_sites == ALL_INDIRECT_SITES else suspension.quiet_table_calls
    codes = body.codes
    positions: list[int] = []
    immediates = body.immediates
    open_constructs: list[InstructionIndex] = []
    open_sites: list[bool] = []  # whether the construct contains a call site
    open_catch: list[bool] = []  # whether we are in a catch body of the construct
    catch_depth = 0
    position = body.code_start
    index = -1
    while position < end:
        opcode = position
        code = data[position]
        position += 1
        if code >= 0xFB:
            code, position = read_prefixed(data, opcode)
            body.prefixed.append(InstructionIndex(index + 1))
        index += 1
        codes.append(code)
        positions.append(opcode)
        form = forms[code]
        if form == FORM_LEB:
            immediate = data[position]
            if immediate < 0x80:
                position += 1
            elif code == op.I32_CONST:
                position = skip_immediates(data, position, form)
            else:
                immediate, position = read_u32(data, position)
            immediates.append(immediate)
            if code > op.CALL_REF + 1:
                if code <= op.LOCAL_TEE and code >= op.LOCAL_GET and immediate >= body.local_count:
                    raise MalformedModule(
                        f"local index {immediate} is out of range; the function has {body.local_count}", opcode
                    )
                if code == op.DELEGATE:
                    construct = open_constructs.pop()
                    body.handlers[construct] = InstructionIndex(index)
                    body.ends[construct] = InstructionIndex(index)
                    open_catch.pop()
                    if open_sites.pop():
                        body.with_sites.add(construct)
                        if open_sites:
                            open_sites[-1] = True
                continue
            if code == op.CALL:
                is_site = reason[immediate] != NOT_SUSPENDING
            elif code == op.CALL_REF:
                is_site = indirect
            elif code == op.RETURN_CALL:
                calls = body.tail_calls if reason[immediate] != NOT_SUSPENDING else body.quiet_tail_calls
                calls.append(InstructionIndex(index))
                continue
            elif code == op.RETURN_CALL_REF:
                calls = body.tail_calls if indirect else body.quiet_tail_calls
                calls.append(InstructionIndex(index))
                continue
            elif code == op.CATCH:
                if _enter_handler(body, open_constructs, open_catch, index, opcode):
                    catch_depth += 1
                continue
            else:
                continue
        elif form == FORM_NONE:
            immediates.append(0)
            if code > op.CATCH_ALL:
                continue
            if code == op.END:
                if not open_constructs:
                    break
                construct = open_constructs.pop()
                body.ends[construct] = InstructionIndex(index)
                if open_catch.pop():
                    catch_depth -= 1
                if open_sites.pop():
                    body.with_sites.add(construct)
                    if open_sites:
                        open_sites[-1] = True
            elif code == op.ELSE:
                if not open_constructs or codes[open_constructs[-1]] != op.IF or open_constructs[-1] in body.elses:
                    raise MalformedModule("else without if", opcode)
                body.elses[open_constructs[-1]] = InstructionIndex(index)
            elif code == op.CATCH_ALL:
                if _enter_handler(body, open_constructs, open_catch, index, opcode):
                    catch_depth += 1
            continue
        elif form == FORM_MEMARG:
            immediates.append(0)
            if data[position] < 0x40 and data[position + 1] < 0x80:
                position += 2
            else:
                position = skip_immediates(data, position, form)
            continue
        elif form == FORM_BLOCK or form == FORM_TRY_TABLE:
            if data[position] == 0x63 or data[position] == 0x64:
                immediates.append(0)
            else:
                immediates.append(read_s33(data, position)[0])
            position = skip_immediates(data, position, form)
            open_constructs.append(InstructionIndex(index))
            open_sites.append(False)
            open_catch.append(False)
            continue
        elif form == FORM_TWO_LEBS:
            is_tail_call = code == op.RETURN_CALL_INDIRECT
            if code != op.CALL_INDIRECT and not is_tail_call:
                immediates.append(0)
                position = skip_immediates(data, position, form)
                continue
            immediate, position = read_u32(data, position)
            table, position = read_u32(data, position)
            immediates.append(immediate)
            is_site = indirect
            if indirect and quiet:
                table_index = ANY_INDEX
                if index > 0 and codes[index - 1] == op.I32_CONST:
                    table_index = constant_index(data, positions[index - 1])
                is_site = (table, immediate, table_index) not in quiet
            if is_tail_call:
                calls = body.tail_calls if is_site else body.quiet_tail_calls
                calls.append(InstructionIndex(index))
                continue
        elif form == FORM_UNKNOWN:
            raise unknown_opcode(code, opcode)
        else:
            immediates.append(0)
            position = skip_immediates(data, position, form)
            continue
        if not is_site:
            continue
        if catch_depth:
            if not ignore_catch_sites:
                body.catch_sites.append(InstructionIndex(index))
            continue
        body.sites.append(InstructionIndex(index))
        if open_sites:
            open_sites[-1] = True
    positions.append(position)
    body.positions = cast("list[ByteOffset]", positions)
    body.byte_codes = _one_byte_each(codes, body.prefixed)


def _one_byte_each(codes: list[int], prefixed: list[InstructionIndex]) -> bytes:
    if not prefixed:
        return bytes(codes)
    first_bytes = codes.copy()
    for index in prefixed:
        first_bytes[index] = 0xFF
    return bytes(first_bytes)


def _enter_handler(
    body: Body, open_constructs: list[InstructionIndex], open_catch: list[bool], index: int, offset: int
) -> bool:
    """Note a catch clause; return whether it is the first of its try."""
    if not open_constructs or body.codes[open_constructs[-1]] != op.TRY:
        raise MalformedModule("catch without try", offset)
    if open_catch[-1]:
        return False
    body.handlers[open_constructs[-1]] = InstructionIndex(index)
    open_catch[-1] = True
    return True


def block_types(module: Module, block_type: int, offset: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the parameter and result types of a block type (the signed number read at `offset`)."""
    if block_type >= 0:
        byte = module.data[offset]
        if block_type == 0 and (byte == 0x63 or byte == 0x64):
            return (), (read_value_type(module.data, offset)[0],)
        if block_type >= len(module.types):
            raise MalformedModule(f"block type {block_type} is out of range", offset)
        definition = module.types[block_type]
        return definition.params, definition.results
    if block_type == EMPTY_BLOCK:
        return (), ()
    return (), (read_value_type(module.data, offset)[0],)
