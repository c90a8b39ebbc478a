"""The table of one hierarchy of references, and the code that uses it: for one of them, and for several at once.

A call for each reference of a frame was near half of what it cost (`abi.references` says what the calls do). So where
references of a hierarchy stand next to each other in a frame, a call puts two or four into the table, or takes two out
of it. Two results are what engines return in registers; for more of them the function that pops would keep room in its
native frame. Taking handles and storing them in the frame is one call where the function moves its frame inline.

Null takes no place: what comes next is written over it. So there are no branches, but for where the free places do not
suffice for all.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.abi.index_spaces import GlobalPool
from caesura.instrument.abi.stack_code import NOT_SHARED
from caesura.wasm import encoded as c
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32, encode_value_type, make_reference, type_name

# How many references one call puts into a table and into the frame at most, or takes out.
STORED_AT_ONCE: Final = (4, 2)
MOVED_AT_ONCE: Final = 2

# What a hierarchy's globals are for.
_USES: Final = ("base", "next", "limit", "live")

_GT_U: Final = b"\x4b"
_OR: Final = b"\x72"
_MUL: Final = b"\x6c"
_IF: Final = b"\x04"


class Hierarchy:
    """The table of one hierarchy, the globals that say where its run is, and the functions that use them.

    The current run lies from `base` to before `next`, and the places from there to before `limit` are free; `live` are
    those that suspended calls use.
    """

    def __init__(self, top: int, table: int, pool: GlobalPool) -> None:
        self.top: Final = top
        self.type: Final = make_reference(top, nullable=True)
        self.name: Final = type_name(self.type)
        self.null: Final = c.ref_null(top)
        self.table_index: Final = table
        self.globals: Final = [pool.add(I32, f"asyncify_{self.name}_{use}") for use in _USES]
        self.table: Final = encode_unsigned(table)
        self.base: Final = encode_unsigned(self.globals[0])
        self.next: Final = encode_unsigned(self.globals[1])
        self.limit: Final = encode_unsigned(self.globals[2])
        self.live: Final = encode_unsigned(self.globals[3])
        # The functions that were added; `store_several` has them by the number of references.
        self.save = NOT_SHARED
        self.load = NOT_SHARED
        self.save_two = NOT_SHARED
        self.load_two = NOT_SHARED
        self.store_several: dict[int, int] = {}

    def count(self) -> bytes:
        """Return the code that gives the length of the current run."""
        return global_get(self.next) + global_get(self.base) + c.I32_SUB

    def is_null(self, place: bytes) -> bytes:
        """Return the code that tells whether a place, given by code, is free."""
        return place + c.TABLE_GET + self.table + c.REF_IS_NULL

    def add_live(self, count: bytes, sign: bytes) -> bytes:
        """Return the code that adds to the places in use, or subtracts from them."""
        return global_get(self.live) + count + sign + global_set(self.live)

    def clear(self) -> bytes:
        """Return the code that makes the current run empty.

        It is cleared if that has not been done by loading all of it. The first reference is the last to be loaded,
        with the innermost frame that has any.
        """
        base = global_get(self.base)
        code = global_get(self.next) + base + c.I32_NE + c.IF_EMPTY + self.is_null(base) + c.I32_EQZ + c.IF_EMPTY
        code += base + self.null + self.count() + c.TABLE_FILL + self.table + c.END
        return code + base + global_set(self.next) + c.END

    def take(self, count: bytes) -> bytes:
        """Return the code that makes a run from `base` on, whose length some code gives, the current one.

        What lies in memory may be wrong; then it traps, and there is no current run.
        """
        base, end = global_get(self.base), global_get(self.next)
        code = base + count + c.I32_ADD + global_set(self.next)
        code += end + base + c.I32_LT_U + end + c.TABLE_SIZE + self.table + _GT_U + _OR + c.IF_EMPTY
        code += c.CONST_I32 + b"\0" + global_set(self.base) + c.CONST_I32 + b"\0" + global_set(self.next)
        code += c.CONST_I32 + b"\0" + global_set(self.limit) + c.UNREACHABLE + c.END
        return code + end + global_set(self.limit) + self.add_live(self.count(), c.I32_SUB)

    def grow(self, needed: bytes) -> bytes:
        """Return the code that makes the table twice as large, if that is `needed` at least, and gives its old size,
        or all ones if that was not possible.
        """
        size = c.TABLE_SIZE + self.table
        return self.null + size + needed + size + needed + _GT_U + c.SELECT + c.TABLE_GROW + self.table

    def save_two_code(self, save: int) -> bytes:
        """Return the code of the function that takes two references and returns their handles.

        `save` is the function that does so for one.
        """
        one_by_one = b"".join([c.LOCAL_GET + place + c.CALL + encode_unsigned(save) for place in (b"\0", b"\1")])
        code = self._unless_free(2, one_by_one) + global_get(self.next) + c.LOCAL_SET + b"\2"
        code += self._saved(b"\0", b"\2", b"\3") + self._saved(b"\1", b"\2", b"\3")
        return code + c.LOCAL_GET + b"\2" + global_set(self.next)

    def store_several_code(self, count: int, memory: int, save: int) -> bytes:
        """Return the code of the function that takes an address and references, and stores their handles there."""
        place, taken = encode_unsigned(count + 1), encode_unsigned(count + 2)
        one_by_one = b""
        fast = global_get(self.next) + c.LOCAL_SET + place
        for number in range(count):
            reference = encode_unsigned(number + 1)
            stored = c.store(I32, memory, 4 * number)
            one_by_one += c.LOCAL_GET + b"\0" + c.LOCAL_GET + reference + c.CALL + encode_unsigned(save) + stored
            fast += c.LOCAL_GET + b"\0" + self._saved(reference, place, taken) + stored
        return self._unless_free(count, one_by_one) + fast + c.LOCAL_GET + place + global_set(self.next)

    def load_two_code(self) -> bytes:
        """Return the code of the function that takes two handles and returns their references.

        The first one of a run is taken out last, as `clear` wants it.
        """
        return self._loaded(b"\1") + c.LOCAL_SET + b"\2" + self._loaded(b"\0") + c.LOCAL_GET + b"\2"

    def _unless_free(self, count: int, otherwise: bytes) -> bytes:
        """Return the code that returns from the function with other code if not so many places are known to be free."""
        free = global_get(self.limit) + global_get(self.next) + c.I32_SUB
        return free + constant_i32(count) + c.I32_LT_U + c.IF_EMPTY + otherwise + c.RETURN + c.END

    def _saved(self, reference: bytes, place: bytes, taken: bytes) -> bytes:
        """Return the code that puts a reference, given its local, at a place, moves on, and gives the handle.

        `place` and `taken` are locals: the latter becomes 1, or 0 for null.
        """
        code = c.LOCAL_GET + place + c.LOCAL_GET + reference + c.TABLE_SET + self.table
        code += c.LOCAL_GET + place + c.LOCAL_GET + reference + c.REF_IS_NULL + c.I32_EQZ + c.LOCAL_TEE + taken
        code += c.I32_ADD + c.LOCAL_TEE + place + global_get(self.base) + c.I32_SUB
        return code + c.LOCAL_GET + taken + _MUL

    def _loaded(self, handle: bytes) -> bytes:
        """Return the code that takes out the reference of a handle, given its local."""
        read = c.LOCAL_GET + handle
        code = read + _IF + encode_value_type(self.type) + read + ONE + c.I32_SUB + global_get(self.base) + c.I32_ADD
        code += c.LOCAL_TEE + handle + c.TABLE_GET + self.table + read + self.null + c.TABLE_SET + self.table
        return code + c.ELSE + self.null + c.END


def global_get(index: bytes) -> bytes:
    """Return the code that reads a global."""
    return c.GLOBAL_GET + index


def global_set(index: bytes) -> bytes:
    """Return the code that sets a global."""
    return c.GLOBAL_SET + index


def constant_i32(value: int) -> bytes:
    """Return the code of a constant."""
    return c.CONST_I32 + encode_signed(value)


ONE: Final = c.CONST_I32 + b"\1"
