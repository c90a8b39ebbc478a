"""The frame of one function: which locals it saves, in which order, and the locals that instrumentation adds.

A frame holds the call site's number and then one value for each local that is live at any landing point of the
function and each temporary that stands across one. Values are ordered by type, so that functions share the helpers
that move them. A set per call site was considered: it saves stack bytes, but each site then pays its own code.
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.analysis.limits import check_locals
from caesura.instrument.abi.chunks import POPPED_AT_ONCE, PUSHED_AT_ONCE, Shape, chunks_of, parts_of
from caesura.instrument.abi.runtime import NOT_SHARED
from caesura.instrument.plan.plan import Saved
from caesura.instrument.plan.unsaved import unsaved_value
from caesura.wasm.code import LOCAL_SET
from caesura.wasm.decode import MAXIMUM_LOCALS
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.types import I32


class Frame:
    """`values` are the locals saved, in their order in the frame; `shape` the types of the whole frame, the call site
    number's i32 coming first. `has_site_local` tells whether a local holds the number while landing. `pushed` and
    `popped` are the pieces that helpers move, or nothing where the function moves the frame itself.
    """

    def __init__(self, body: Body, live: list[int], saved: Saved, has_site_local: bool) -> None:
        self._first_new = body.local_count
        self.has_site_local = has_site_local
        self._new_types: list[int] = [I32] if has_site_local else []
        self._temporaries: list[int] = [0] * len(saved.temporary_types)
        by_type = [(-saved.temporary_types[number], number) for number in range(len(saved.temporary_types))]
        by_type.sort()
        for _, number in by_type:
            self._temporaries[number] = self._first_new + len(self._new_types)
            self._new_types.append(saved.temporary_types[number])
        values = [(-_saved_type(body, local), local) for local in sorted(saved.locals.union(live))]
        values += [(-saved.temporary_types[number], self._temporaries[number]) for number in saved.temporaries]
        values.sort()
        self.values: list[int] = [pair[1] for pair in values]
        self.shape: Shape = tuple([I32] + [-pair[0] for pair in values])
        self.pushed: list[Shape] = chunks_of(self.shape)
        self.popped: list[Shape] = self.pushed
        # What is to be added to the number in the frame to have that of the call site.
        self.number_bias = 0
        # Where the function moves the frame itself: the shared functions that make room and free it, if it uses them.
        self.room = NOT_SHARED
        self.release = NOT_SHARED
        # For locals that are set late: the code that sets them, or what carries their values, in the cold arm.
        self.setters: dict[int, bytes] = {}
        self._address_local = -1
        self._number_local = self._first_new if has_site_local else -1

    def cut(self, pointer_size: int) -> None:
        """Let helpers move less at once, so that their calls take less of the native stack."""
        chunks = self.pushed
        self.pushed = parts_of(chunks, PUSHED_AT_ONCE, pointer_size)
        self.popped = parts_of(chunks, POPPED_AT_ONCE, pointer_size)

    def site_local(self) -> int:
        """Return the local that holds the number of the call site to land at."""
        return self._first_new

    def temporary(self, number: int) -> int:
        """Return the local of a temporary of the plan."""
        return self._temporaries[number]

    def type_of(self, body: Body, local: int) -> int:
        """Return the type code of a local, be it the function's own or an added one."""
        return body.local_type(local) if local < self._first_new else self._new_types[local - self._first_new]

    def setter(self, local: int) -> bytes:
        """Return the code with which the cold arm takes a value from the operand stack."""
        return self.setters[local] if local in self.setters else LOCAL_SET + encode_unsigned(local)

    def scratch(self, value_type: int) -> int:
        """Return a new local for a moment's use."""
        self._new_types.append(value_type)
        return self._first_new + len(self._new_types) - 1

    def address_local(self, pointer: int) -> int:
        """Return the local that holds the frame's address where the function moves it itself."""
        if self._address_local < 0:
            self._address_local = self.scratch(pointer)
        return self._address_local

    def number_local(self) -> int:
        """Return a local that holds the number of the call site while the frame is pushed."""
        if self._number_local < 0:
            self._number_local = self.scratch(I32)
        return self._number_local

    def is_full(self) -> bool:
        """Tell whether the function has no room for the locals that moving the frame inline takes."""
        return self._first_new + len(self._new_types) + 2 > MAXIMUM_LOCALS

    def new_names(self) -> list[tuple[int, str]]:
        """Return the added locals with names."""
        names: list[tuple[int, str]] = []
        if self.has_site_local:
            names.append((self._first_new, "asyncify_site"))
        for number in range(len(names), len(self._new_types)):
            local = self._first_new + number
            if local == self._address_local:
                names.append((local, "asyncify_address"))
            elif local == self._number_local:
                names.append((local, "asyncify_number"))
            else:
                names.append((local, f"asyncify_temporary{number}"))
        return names

    def check_count(self, body: Body) -> None:
        """Raise UnsupportedModule where the function would have more locals than engines allow."""
        check_locals(self._first_new + len(self._new_types), body.code_start)

    def new_runs(self) -> list[tuple[int, int]]:
        """Return the added locals as (type, count) runs."""
        runs: list[tuple[int, int]] = []
        for value_type in self._new_types:
            if runs and runs[-1][0] == value_type:
                runs[-1] = (value_type, runs[-1][1] + 1)
            else:
                runs.append((value_type, 1))
        return runs


def _saved_type(body: Body, local: int) -> int:
    value_type = body.local_type(local)
    if value_type < 0x7B or value_type > 0x7F:
        raise unsaved_value(f"local {local}", value_type, body.code_start)
    return value_type
