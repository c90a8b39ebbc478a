"""Where the references of frames lie: in tables beside the asyncify stack, since memory cannot hold them.

A frame holds an i32 for a reference, its *handle*; so frames, and what moves them, know numbers and vectors only. There
is a table for each hierarchy of reference types that frames need (see `wasm.hierarchies`), and a pair of functions:
one puts a reference into the table and returns its handle, the other takes it out again and leaves null in its place.
Modules that need none get none of all this.

The references of one suspension lie next to each other in each table: that is a *run*. Null has handle 0, another one
its place in the run, counted from 1. When the unwinding stops, where the runs begin and how long they are goes onto the
asyncify stack, behind the frames; when the rewinding starts it is taken off again. So nothing in the frames depends on
where a run lies, and the bytes of the asyncify stack are all that a host must keep of a suspended call.

A place is free if it holds null. A run begins where the last one ended, or where the last one that was taken out began:
who suspends one call at a time uses the same few places. Where a run meets another's reference it moves to a gap in
which it can double, or, if half the table is in use or there is no such gap, to new places at its end. So the table has
room for what was suspended at once at most, and finding places takes constant time on the average.

After a stop nothing is left of a run that was not suspended: where an overflow or a trap ended an unwinding or
rewinding, its places become null at the next stop or start. A host that gives a suspended call up without rewinding it
has them cleared by a function that is exported for that.

Modules that share the two globals have one state, but tables of their own, and hosts stop and start by the functions of
any. So there a handle is the place itself, counted from 1, found by going on from the last one to a free one, and
there are no runs: what a host gives up keeps its references, unless the host rewinds it and lets it trap.

Rejected: a place in the table for each reference, found in a list of free ones. The list would have to be in memory,
and what a trap leaves behind could not be found. So were places in a part of the table of its own while a call unwinds,
and a copy of the run to where it stays: twice the work where runs hardly ever meet. And tables of arrays, one for each
suspended call, which not every engine has.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import DROP_REFERENCES, State
from caesura.instrument.abi.index_spaces import GlobalPool
from caesura.instrument.abi.reference_tables import ONE, Hierarchy, constant_i32, global_get, global_set
from caesura.instrument.abi.stack_code import NOT_SHARED, StackCode
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.hierarchies import narrowed, top_of
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import TABLE_NAMES, NewNames
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import I32, encode_value_type

# How many places a run that moves finds besides twice those that it has; and the table when it is used first.
_SPARE: Final = 8

_SHL: Final = b"\x74"


class References:
    """Adds all this to a module when it is asked for. With `shares_globals` other modules have the same state.

    `returns_two` says that functions may have two results; it is to be changed before anything is asked for.
    """

    def __init__(
        self,
        module: Module,
        stack: StackCode,
        pool: GlobalPool,
        edits: SectionEdits,
        names: NewNames,
        *,
        shares_globals: bool,
    ) -> None:
        self._module = module
        self._stack = stack
        self._pool = pool
        self._edits = edits
        self._names = names
        self._shares_globals = shares_globals
        self.returns_two = True
        self._hierarchies: dict[int, Hierarchy] = {}
        # The functions for the beginning and the end of unwinding and rewinding, once they have been added.
        self._clearing = NOT_SHARED
        self._taking_back = NOT_SHARED
        self._stopping = NOT_SHARED

    def save(self, value_type: int) -> int:
        """Return the function that takes a reference of a type and returns its handle."""
        one = self._hierarchy(value_type)
        if one.save == NOT_SHARED:
            code = c.LOCAL_GET + b"\0" + c.REF_IS_NULL + c.IF_EMPTY + c.CONST_I32 + b"\0" + c.RETURN + c.END
            code += self._save_anywhere(one) if self._shares_globals else self._save_in_run(one)
            one.save = self._stack.functions.add(f"asyncify_save_{one.name}", (one.type,), (I32,), [I32], code)
        return one.save

    def load(self, value_type: int) -> int:
        """Return the function that takes a handle and returns its reference, of the type above all in its hierarchy."""
        one = self._hierarchy(value_type)
        if one.load == NOT_SHARED:
            handle = c.LOCAL_GET + b"\0"
            base = b"" if self._shares_globals else global_get(one.base) + c.I32_ADD
            code = handle + c.I32_EQZ + c.IF_EMPTY + one.null + c.RETURN + c.END
            code += handle + ONE + c.I32_SUB + base + c.LOCAL_TEE + b"\0" + c.TABLE_GET + one.table
            code += handle + one.null + c.TABLE_SET + one.table
            if self._shares_globals:
                code += one.add_live(ONE, c.I32_SUB)
            one.load = self._stack.functions.add(f"asyncify_load_{one.name}", (I32,), (one.type,), [], code)
        return one.load

    def are_stored_together(self, value_types: list[int]) -> bool:
        """Tell whether one call can store references of these types: they are of one hierarchy, in runs."""
        tops = [top_of(self._module, value_type) for value_type in value_types]
        return not self._shares_globals and tops.count(tops[0]) == len(tops)

    def are_moved_together(self, value_types: list[int]) -> bool:
        """Tell whether one call can return handles or references of these types."""
        return self.returns_two and self.are_stored_together(value_types)

    def saved_two(self, value_type: int) -> bytes:
        """Return the code that makes handles of two references, of one hierarchy, on the operand stack."""
        one = self._hierarchy(value_type)
        if one.save_two == NOT_SHARED:
            code = one.save_two_code(self.save(value_type))
            name = f"asyncify_save_two_{one.name}"
            one.save_two = self._stack.functions.add(name, (one.type,) * 2, (I32,) * 2, [I32, I32], code)
        return c.CALL + encode_unsigned(one.save_two)

    def loaded_two(self, value_type: int) -> bytes:
        """Return the code that makes two references of a hierarchy, of the type above all in it, of two handles."""
        one = self._hierarchy(value_type)
        if one.load_two == NOT_SHARED:
            name = f"asyncify_load_two_{one.name}"
            one.load_two = self._stack.functions.add(name, (I32,) * 2, (one.type,) * 2, [one.type], one.load_two_code())
        return c.CALL + encode_unsigned(one.load_two)

    def stored_several(self, value_type: int, count: int) -> bytes:
        """Return the code that takes an address and references of a hierarchy, and stores their handles there."""
        one = self._hierarchy(value_type)
        if count not in one.store_several:
            code = one.store_several_code(count, self._stack.memory, self.save(value_type))
            params = (self._stack.pointer, *[one.type] * count)
            name = f"asyncify_store_{count}_{one.name}"
            one.store_several[count] = self._stack.functions.add(name, params, (), [I32, I32], code)
        return c.CALL + encode_unsigned(one.store_several[count])

    def saved(self, value_type: int) -> bytes:
        """Return the code that makes a handle of a reference on the operand stack."""
        return c.CALL + encode_unsigned(self.save(value_type))

    def narrowed(self, value_type: int) -> bytes:
        """Return the code that makes a reference of this very type of one of the type above all in its hierarchy."""
        return narrowed(self._module, value_type)

    def loaded(self, value_type: int) -> bytes:
        """Return the code that makes a reference of this very type of a handle on the operand stack."""
        return c.CALL + encode_unsigned(self.load(value_type)) + self.narrowed(value_type)

    def has_runs(self) -> bool:
        """Tell whether unwinding and rewinding have anything to do for references."""
        return bool(self._hierarchies) and not self._shares_globals

    def is_used(self) -> bool:
        """Tell whether any frame holds references."""
        return bool(self._hierarchies)

    def unwinding_starts(self) -> bytes:
        """Return the code for when the guest begins to unwind."""
        if self._clearing == NOT_SHARED:
            code = b"".join([one.clear() for one in self._hierarchies.values()])
            self._clearing = self._stack.functions.add("asyncify_clear_references", (), (), [], code)
        return c.CALL + encode_unsigned(self._clearing)

    def rewinding_starts(self) -> bytes:
        """Return the code for when the guest begins to rewind: it takes off the stack where the runs are."""
        if self._taking_back == NOT_SHARED:
            stack = self._stack
            loads: list[bytes] = []
            taken = b""
            for one in self._hierarchies.values():
                counted = encode_unsigned(1 + len(loads) // 2)
                offset = 4 * len(loads)
                loads.append(c.load(I32, stack.memory, offset) + global_set(one.base))
                loads.append(c.load(I32, stack.memory, offset + 4) + c.LOCAL_SET + counted)
                taken += one.take(c.LOCAL_GET + counted)
            code = self.unwinding_starts() + stack.pop_values(loads, 4 * len(loads), b"\0", NOT_SHARED) + taken
            locals_ = [stack.pointer, *[I32] * len(self._hierarchies)]
            self._taking_back = stack.functions.add("asyncify_take_runs", (), (), locals_, code)
        return c.CALL + encode_unsigned(self._taking_back)

    def stops(self) -> bytes:
        """Return the code for when either ends, before the state is normal.

        A run that was saved stays, and where it is goes onto the stack; of any other nothing is left.
        """
        if self._stopping == NOT_SHARED:
            stack = self._stack
            values: list[bytes] = []
            kept = b""
            for one in self._hierarchies.values():
                values += [global_get(one.base), one.count()]
                kept += one.add_live(one.count(), c.I32_ADD) + global_get(one.next) + global_set(one.base)
            offsets = [4 * place for place in range(len(values))]
            size = 4 * len(values)
            push = stack.push_values((I32,) * len(values), offsets, size, b"\0", values, NOT_SHARED, b"")
            code = stack.state_get + c.CONST_I32 + encode_signed(State.UNWINDING) + c.I32_EQ + c.IF_EMPTY
            code += push + kept + c.ELSE + self.unwinding_starts() + c.END
            self._stopping = stack.functions.add("asyncify_keep_runs", (), (), [stack.pointer], code)
        return c.CALL + encode_unsigned(self._stopping)

    def state_globals(self) -> list[int]:
        """Return the globals that say where references lie."""
        return [index for one in self._hierarchies.values() for index in one.globals]

    def state_tables(self) -> list[int]:
        """Return the tables in which references lie."""
        return [one.table_index for one in self._hierarchies.values()]

    def exports(self, begin: int) -> list[tuple[str, int]]:
        """Return the function to export by which a host gives a suspended call up, by name.

        `begin` is the function that sets the pointer to the data structure.
        """
        pointer = (self._stack.pointer,)
        code = c.LOCAL_GET + b"\0" + c.CALL + encode_unsigned(begin) + self.rewinding_starts() + self.unwinding_starts()
        return [(DROP_REFERENCES, self._stack.functions.add(DROP_REFERENCES, pointer, (), [], code))]

    def _hierarchy(self, value_type: int) -> Hierarchy:
        top = top_of(self._module, value_type)
        if top not in self._hierarchies:
            table = len(self._module.tables) + len(self._hierarchies)
            one = Hierarchy(top, table, self._pool)
            self._edits.append(sec.TABLE, encode_value_type(one.type) + b"\0\0")
            self._names.add(TABLE_NAMES, table, f"asyncify_{one.name}")
            self._hierarchies[top] = one
        return self._hierarchies[top]

    def _save_in_run(self, one: Hierarchy) -> bytes:
        """Return the code that puts a reference that is not null behind the current run."""
        code = global_get(one.next) + global_get(one.limit) + c.I32_EQ
        code += c.IF_EMPTY + c.CALL + encode_unsigned(self._room(one)) + c.END
        code += global_get(one.next) + c.LOCAL_TEE + b"\1" + c.LOCAL_GET + b"\0" + c.TABLE_SET + one.table
        code += c.LOCAL_GET + b"\1" + ONE + c.I32_ADD + c.LOCAL_TEE + b"\1" + global_set(one.next)
        return code + c.LOCAL_GET + b"\1" + global_get(one.base) + c.I32_SUB

    def _save_anywhere(self, one: Hierarchy) -> bytes:
        """Return the code that puts a reference that is not null in the next free place."""
        size = c.TABLE_SIZE + one.table
        code = global_get(one.live) + ONE + _SHL + size + c.I32_GE_U + c.IF_EMPTY
        code += self._grown(one, ONE) + global_set(one.next) + c.END
        code += c.LOOP_EMPTY + global_get(one.next) + size + c.I32_GE_U
        code += c.IF_EMPTY + c.CONST_I32 + b"\0" + global_set(one.next) + c.END
        code += one.is_null(global_get(one.next)) + c.I32_EQZ
        step = global_get(one.next) + ONE + c.I32_ADD + global_set(one.next)
        code += c.IF_EMPTY + step + c.BR + b"\1" + c.END + c.END
        code += global_get(one.next) + c.LOCAL_GET + b"\0" + c.TABLE_SET + one.table
        return code + step + one.add_live(ONE, c.I32_ADD) + global_get(one.next)

    def _grown(self, one: Hierarchy, needed: bytes) -> bytes:
        """Return the code that makes the table larger, by what is needed if there cannot be more, and gives its old
        size; it traps, as for an overflow of the asyncify stack, where the table cannot grow.
        """
        failed = c.LOCAL_TEE + b"\1" + c.CONST_I32 + encode_signed(-1) + c.I32_EQ + c.IF_EMPTY
        code = one.grow(needed) + failed + one.null + needed + c.TABLE_GROW + one.table + failed
        code += c.CALL + encode_unsigned(self._stack.overflow()) + c.UNREACHABLE
        return code + c.END + c.END + c.LOCAL_GET + b"\1"

    def _room(self, one: Hierarchy) -> int:
        """Add the function that makes room for another reference of the current run: behind it, or elsewhere."""
        base, count, size = c.LOCAL_GET + b"\4", c.LOCAL_GET + b"\3", c.TABLE_SIZE + one.table
        code = global_get(one.base) + c.LOCAL_SET + b"\2" + one.count() + c.LOCAL_TEE + b"\3"
        code += ONE + _SHL + constant_i32(_SPARE) + c.I32_ADD + c.LOCAL_SET + b"\0" + self._extend(one)
        code += c.BLOCK_EMPTY + self._find_gap(one)
        code += self._grown(one, c.LOCAL_GET + b"\0") + c.LOCAL_SET + b"\4" + size + global_set(one.limit) + c.END
        code += base + c.LOCAL_GET + b"\2" + count + c.TABLE_COPY + one.table + one.table
        code += c.LOCAL_GET + b"\2" + one.null + count + c.TABLE_FILL + one.table
        code += base + global_set(one.base) + base + count + c.I32_ADD + global_set(one.next)
        return self._stack.functions.add(f"asyncify_room_{one.name}", (), (), [I32] * 7, code)

    def _extend(self, one: Hierarchy) -> bytes:
        """Return the code that looks how many places behind the current run are free, up to the number in local 0.

        If there are any it returns from the function.
        """
        limit = global_get(one.limit)
        step = limit + c.TABLE_SIZE + one.table + c.I32_GE_U + c.BR_IF + b"\1"
        step += one.is_null(limit) + c.I32_EQZ + c.BR_IF + b"\1"
        step += limit + ONE + c.I32_ADD + global_set(one.limit)
        step += limit + global_get(one.next) + c.I32_SUB + c.LOCAL_GET + b"\0" + c.I32_LT_U + c.BR_IF + b"\0"
        code = c.BLOCK_EMPTY + c.LOOP_EMPTY + step + c.END + c.END
        return code + limit + global_get(one.next) + c.I32_NE + c.IF_EMPTY + c.RETURN + c.END

    def _find_gap(self, one: Hierarchy) -> bytes:
        """Return the code that looks for a gap, once around; if there is one it sets local 4 to it and leaves a block.

        Local 0 holds how long the gap must be. Where half the places would be in use, nothing is looked for.
        """
        need, place, gap, steps = [c.LOCAL_GET + bytes([local]) for local in (0, 4, 5, 6)]
        size = c.TABLE_SIZE + one.table
        half = global_get(one.live) + one.count() + c.I32_ADD + ONE + _SHL + size + c.I32_LT_U
        step = place + size + c.I32_GE_U + c.IF_EMPTY
        step += c.CONST_I32 + b"\0" + c.LOCAL_SET + b"\4" + c.CONST_I32 + b"\0" + c.LOCAL_SET + b"\5" + c.END
        step += gap + ONE + c.I32_ADD + c.CONST_I32 + b"\0" + one.is_null(place) + c.SELECT + c.LOCAL_SET + b"\5"
        step += place + ONE + c.I32_ADD + c.LOCAL_SET + b"\4"
        step += gap + need + c.I32_EQ + c.IF_EMPTY
        step += place + global_set(one.limit) + place + need + c.I32_SUB + c.LOCAL_SET + b"\4" + c.BR + b"\3" + c.END
        step += steps + ONE + c.I32_SUB + c.LOCAL_TEE + b"\6" + c.BR_IF + b"\0"
        start = global_get(one.next) + c.LOCAL_SET + b"\4" + size + need + c.I32_ADD + c.LOCAL_SET + b"\6"
        return half + c.IF_EMPTY + start + c.LOOP_EMPTY + step + c.END + c.END
