"""Functions that only make a call through a table share that call, and with it the frame.

Adapters, like the one that links a component's modules, consist of dozens of functions of this kind:

    (func $wrapper (param i32 i64)  local.get 0  local.get 1  i32.const 7  call_indirect $imports (type $t))

What is called through a table must get its real arguments again in a rewind, be it an import or a function of the host;
so each of these functions would need a frame for its parameters, of some hundred bytes. Instead a function is added for
each type and table that makes the call, and takes the table index as one more argument. The others call that one: it
restores its parameters itself, which makes them frameless wrappers (see `analysis.wrappers`), byte for byte as long
as before.

This happens before anything looks at the module, in modules where an eighth of all functions gain by it: elsewhere it
would save little, and ordinary runs make one more call. Only tables that others can reach count, since calls through
these suspend whatever they hold, and only where no list of functions is given, which would have to speak of the added
ones too.

Frameless wrappers of calls with a constant index, by themselves, were rejected: their arguments are real where an
instrumented module calls them, but a host may enter them with any arguments to rewind (docs/abi.md), and what is in the
table would see these.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import private_tables, read_calls
from caesura.analysis.wrappers import call_at_end
from caesura.errors import MalformedModule
from caesura.instrument.abi.index_spaces import AddedTypes
from caesura.options import Options
from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.indices import OwnFunction
from caesura.wasm.leb128 import encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, NewNames, extend_names
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.types import I32, I64

# The part of a module's functions that has to become frameless.
_LEAST_PART: Final = 8

# Longer functions do more than pass their arguments on.
_LONGEST: Final = 128

_Call = tuple[int, int]


def share_calls(module: Module, options: Options) -> tuple[Module, list[int]]:
    """Return the module, with functions added at its end that others share calls through tables by, and these.

    Bodies keep their length. Raises MalformedModule as `read_calls` does.
    """
    if options.add_list or options.remove_list or options.only_list or options.ignore_indirect or options.asserts:
        return module, []
    if options.record:  # who calls what is added would not be noted
        return module, []
    groups = _groups(module)
    gained = sum([len(places) - 1 for places in groups.values()])
    if gained == 0 or gained * _LEAST_PART < len(module.body_starts):
        return module, []
    read_calls(module)  # what is malformed is refused with the offset that it has here
    return _Sharing(module).write(groups)


def _groups(module: Module) -> dict[_Call, list[int]]:
    """Return where calls stand that can be shared, by type and table."""
    groups: dict[_Call, list[int]] = {}
    private = private_tables(module)
    if False not in private:
        return groups
    for own in range(len(module.body_starts)):
        if module.body_ends[own] - module.body_starts[own] > _LONGEST:
            continue
        try:
            call = call_at_end(module, module.function_of(OwnFunction(own)), op.CALL_INDIRECT)
            if call is None:
                continue
            type_index, table = _of(module, call)
        except (MalformedModule, IndexError, KeyError):
            continue  # refused, with its place, when the calls are read
        if type_index < len(module.types) and table < len(private) and not private[table]:
            groups.setdefault((type_index, table), []).append(call)
    return {key: calls for key, calls in groups.items() if len(calls) > 1}


def _of(module: Module, call: int) -> _Call:
    """Return type and table of a call through a table."""
    type_index, position = read_u32(module.data, call + 1)
    return type_index, read_u32(module.data, position)[0]


class _Sharing:
    def __init__(self, module: Module) -> None:
        self._module = module
        self._code = bytearray(module.data)
        self._edits = SectionEdits()
        self._types = AddedTypes(module)

    def write(self, groups: dict[_Call, list[int]]) -> tuple[Module, list[int]]:
        """Return the module with a function for each group, which the group's functions call, and these functions."""
        module = self._module
        added: list[int] = []
        new_names = NewNames()
        for (type_index, table), calls in groups.items():
            shared = len(module.function_types) + len(added)
            fitting = [call for call in calls if self._fits(call, shared)]
            if len(fitting) < 2:
                continue
            added.append(shared)
            new_names.add(FUNCTION_NAMES, shared, f"asyncify_call_indirect_{type_index}_{table}")
            self._add(type_index, table)
            for call in fitting:
                self._redirect(call, shared)
        if not added:
            return module, []
        for definition in self._types.added:
            self._edits.append(sec.TYPE, definition)
        section = module.section(sec.CODE)
        if section is not None:
            self._edits.replace[sec.CODE] = bytes(self._code[section.payload : section.end])
        names = module.custom_section("name")
        if names is not None:
            self._edits.custom["name"] = extend_names(module.data[names.payload : names.end], new_names)
        return Module(write_sections(module.data, module.sections, self._edits)), added

    def _fits(self, call: int, function: int) -> bool:
        """Tell whether a call of a function fits in the place of a call through a table."""
        return len(encode_unsigned(function)) < self._behind(call) - call

    def _behind(self, call: int) -> int:
        return read_u32(self._module.data, read_u32(self._module.data, call + 1)[1])[1]

    def _add(self, type_index: int, table: int) -> None:
        """Add the function that makes a call through a table, the index being its last parameter."""
        module = self._module
        definition = module.types[type_index]
        index = I64 if module.tables[table].limits.is64 else I32
        shared_type = self._types.index_of((*definition.params, index), definition.results)
        code = b"\0"
        for place in range(len(definition.params) + 1):
            code += b"\x20" + encode_unsigned(place)
        code += bytes([op.CALL_INDIRECT]) + encode_unsigned(type_index) + encode_unsigned(table) + b"\x0b"
        self._edits.append(sec.FUNCTION, encode_unsigned(shared_type))
        self._edits.append(sec.CODE, encode_unsigned(len(code)) + code)

    def _redirect(self, call: int, function: int) -> None:
        """Put a call of a function, with a padded index, in the place of a call through a table."""
        behind = self._behind(call)
        index = encode_unsigned(function)
        padding = behind - call - 1 - len(index)
        if padding:
            index = index[:-1] + bytes([index[-1] | 0x80]) + b"\x80" * (padding - 1) + b"\0"
        self._code[call:behind] = bytes([op.CALL]) + index
