"""The frame of one function: which locals it saves, in which order, and how a rewind puts them back.

A frame holds the call site's number and then one value for each local that is live at any landing point of the
function and each temporary that stands across one. Values are ordered by type, so that functions share the helpers
that move them. A set per call site was considered: it saves stack bytes, but each site then pays its own code.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.instrument.abi.chunks import Shape
from caesura.instrument.frames.late_locals import LateCode
from caesura.instrument.plan.plan import Saved, Temporary
from caesura.instrument.plan.regions import Layout
from caesura.wasm.decode import MAXIMUM_LOCALS
from caesura.wasm.indices import LocalIndex
from caesura.wasm.types import I32, defaultable, is_non_null, is_reference

# Constants from -64 to 63 take one byte. So from so many call sites on, the numbers in frames begin below 0; to make up
# for it, and to look whether to leave, takes nine bytes.
_MANY_SITES: Final = 75
_BIAS: Final = 63


def number_bias(sites: int) -> int:
    """Return what is to be added to the numbers in a function's frames to have those of its call sites."""
    return _BIAS if sites >= _MANY_SITES else 0


class Frame:
    """`values` are the locals saved, in their order in the frame; `shape` the types of the whole frame, the call site
    number's i32 coming first. `references` has the types with which references are put back, by local: they are i32s in
    the frame (see `abi.references`). `added_types` are the types of the locals that it adds to the function, behind the
    `first_added` own ones: `has_site_local` tells whether the first of them holds the number while landing, the others
    are the plan's temporaries. `layout` says where frames land in the body that pops them, `late` is the code for
    values that are set late.

    `live` are the locals live at any landing point; None where nothing is saved or pushed, since the function needs no
    frame (see `analysis.tail_sites`).
    """

    def __init__(
        self,
        body: Body,
        saved: Saved,
        live: list[LocalIndex] | None,
        layout: Layout,
        late: LateCode,
        *,
        has_site_local: bool,
    ) -> None:
        self.is_saved = live is not None
        self.has_site_local = has_site_local
        self.layout = layout
        self.late = late
        self.number_bias = number_bias(len(layout.landings))
        self.first_added = body.local_count
        self.added_types: list[int] = [I32] if has_site_local else []
        self._temporaries: list[LocalIndex] = [LocalIndex(0)] * len(saved.temporary_types)
        by_type = [(-saved.temporary_types[number], number) for number in range(len(saved.temporary_types))]
        by_type.sort()
        for _, number in by_type:
            self._temporaries[number] = LocalIndex(self.first_added + len(self.added_types))
            self.added_types.append(saved.temporary_types[number])
        self.references: dict[LocalIndex, int] = {}
        # By type; references of a type are next to each other behind the i32s, so that one call can move several.
        values: list[tuple[int, int, LocalIndex]] = []
        if live is not None:
            for local in sorted(saved.moved_locals.union(live)):
                values.append(self._value(body.local_type(local), local))
                if is_reference(body.local_type(local)):
                    self.references[local] = self.held_type(body, local)
            for number in saved.temporaries:
                value_type = saved.temporary_types[number]
                values.append(self._value(value_type, self._temporaries[number]))
                if is_reference(value_type):
                    self.references[self._temporaries[number]] = value_type
            values.sort()
        self.values: list[LocalIndex] = [value[2] for value in values]
        self.shape: Shape = tuple([I32] + [-value[0] for value in values])

    def _value(self, value_type: int, local: LocalIndex) -> tuple[int, int, LocalIndex]:
        """Return what values of a frame are ordered by."""
        if is_reference(value_type):
            return -I32, defaultable(value_type), local
        return -value_type, 0, local

    def site_local(self) -> LocalIndex:
        """Return the local that holds the number of the call site to land at."""
        return LocalIndex(self.first_added)

    def temporary(self, number: Temporary) -> LocalIndex:
        """Return the local of a temporary of the plan."""
        return self._temporaries[number]

    def type_of(self, body: Body, local: LocalIndex) -> int:
        """Return the type code of a local, be it the function's own or one that the frame adds."""
        return body.local_type(local) if local < self.first_added else self.added_types[local - self.first_added]

    def widen_parameters(self) -> None:
        """Let parameters be put back into a body in which they are plain locals, which can be null."""
        for local in self.references:
            self.references[local] = defaultable(self.references[local])

    def held_type(self, body: Body, local: LocalIndex) -> int:
        """Return the type that a local has in bodies with the original's parameters: others can be null there."""
        value_type = self.type_of(body, local)
        return value_type if local < body.param_count else defaultable(value_type)

    def can_be_zero(self, body: Body, local: LocalIndex) -> bool:
        """Tell whether a local can be set to zero, or null, in every body."""
        return not is_non_null(self.held_type(body, local))

    def has_non_null(self) -> bool:
        """Tell whether a reference is put back that cannot be null: zeros cannot be popped then."""
        for value_type in self.references.values():
            if is_non_null(value_type):
                return True
        return False

    def is_full(self) -> bool:
        """Tell whether the function has no room for the locals that moving the frame inline takes."""
        return self.first_added + len(self.added_types) + 2 > MAXIMUM_LOCALS
