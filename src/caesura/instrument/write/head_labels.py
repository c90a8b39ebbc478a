"""The labels that are opened at the heads of regions, and what each of them stands for.

A region's head opens a label for each landing point in it, for each inner region that frames land in, and for each
block that landing points stand in (see `plan.regions`). Whoever writes the code behind the head closes them, branches
to them, and asks here which label it is. Only `open` adds to what is known here: a head is written once.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import block_types
from caesura.instrument.plan.regions import BLOCK, ELSE_ARM, LANDING, Layout, Region
from caesura.instrument.planned_function import PlannedFunction
from caesura.instrument.write.labels import AT_HEAD, Labels
from caesura.instrument.write.output import Output
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.indices import InstructionIndex, LabelDepth
from caesura.wasm.leb128 import encode_signed
from caesura.wasm.types import encode_value_type

# In place of a label that a block can share, or of the moment where it ends: there is none.
_NONE: Final = -1


class HeadLabels:
    """The labels opened at the heads of one body's regions, of which `layout` says where frames land.

    `sites`, `regions`, `blocks` and `elses` hold their heights by call site, inner region and construct, AT_HEAD where
    none is needed. `elided` are blocks that nothing branches to: they are not written. Neither are `sharing` ones: they
    end where another label does, and branches to them go there.
    """

    def __init__(
        self, output: Output, planned: PlannedFunction, layout: Layout, labels: Labels, elided: set[InstructionIndex]
    ) -> None:
        self.layout: Final = layout
        self.labels: Final = labels
        self.elided: Final = elided
        self.sites: Final[list[int]] = [AT_HEAD] * len(layout.landings)
        self.regions: Final[list[int]] = [AT_HEAD] * len(layout.regions)
        self.blocks: Final[dict[InstructionIndex, int]] = {}
        self.elses: Final[dict[InstructionIndex, int]] = {}
        self.sharing: Final[set[InstructionIndex]] = set()
        self._module = output.module
        self._types = output.functions.types
        self._body = planned.body
        self._reads = planned.plan.crossing.reads

    def open(self, region: Region) -> None:
        """Open a label for each landing point of a region and each block that landing points stand in.

        A block that ends just before a landing point, or before another block's end, takes that label: it is the same
        place.
        """
        labels = self.labels
        # The label opened last, if a block can share it, and the moment where it ends.
        last = _NONE
        last_moment = _NONE
        for moment, kind, what in region.openings:
            if kind == BLOCK:
                block = InstructionIndex(what)
                if block in self.elided:
                    continue
                is_plain = self.is_plain(block)
                if is_plain and last != _NONE and last_moment - moment <= 2:
                    self.blocks[block] = last
                    self.sharing.add(block)
                else:
                    self.blocks[block] = labels.begin(c.BLOCK + self.result_type(block))
                    last = self.blocks[block] if is_plain else _NONE
            elif kind == ELSE_ARM:
                self.elses[InstructionIndex(what)] = labels.begin(c.BLOCK_EMPTY)
                last = _NONE
            elif kind == LANDING:
                last = self.sites[what] = labels.begin(c.BLOCK_EMPTY)
            else:
                last = self.regions[what] = labels.begin(c.BLOCK_EMPTY)
            last_moment = moment

    def is_plain(self, construct: InstructionIndex) -> bool:
        """Tell whether a construct is a block or if with nothing on the stack, nor put there, at its end."""
        body = self._body
        if body.codes[construct] == op.LOOP or 2 * body.ends[construct] + 1 in self._reads:
            return False
        return not block_types(self._module, body.immediates[construct], body.positions[construct] + 1)[1]

    def result_type(self, construct: InstructionIndex) -> bytes:
        """Return the block type with a construct's results and without its parameters."""
        body = self._body
        offset = body.positions[construct] + 1
        params, results = block_types(self._module, body.immediates[construct], offset)
        if not params:
            return self._module.data[offset : skip_block_type(self._module.data, offset)]
        return self.block_type(results)

    def block_type(self, results: tuple[int, ...]) -> bytes:
        """Return the block type with these results and no parameters."""
        if not results:
            return b"\x40"
        if len(results) == 1:
            return encode_value_type(results[0])
        return encode_signed(self._types.index_of((), results))

    def is_opened_at_head(self, construct: InstructionIndex) -> bool:
        """Tell whether the label of a construct is opened at the head of its region, or left out there."""
        return construct in self.blocks or construct in self.elided

    def lands_at_head(self, region: Region) -> bool:
        """Tell whether a frame lands at a region's head, the labels opened there being known."""
        for site in region.destinations.sites:
            if self.sites[site] == AT_HEAD:
                return True
        for inner in region.destinations.inner:
            if self.regions[inner] == AT_HEAD:
                return True
        return False

    def groups(self, region: Region, head: LabelDepth) -> list[tuple[LabelDepth, int]]:
        """Return (label index, how many site numbers) for each own site and each inner region, in number order.

        `head` is the label index for what lands at the region's head.
        """
        labels = self.labels
        groups: list[tuple[LabelDepth, int]] = []
        for site in region.destinations.sites:
            height = self.sites[site]
            groups.append((head if height == AT_HEAD else labels.depth(height), 1))
        for inner in region.destinations.inner:
            height = self.regions[inner]
            target = head if height == AT_HEAD else labels.depth(height)
            groups.append((target, len(self.layout.regions[inner].destinations.numbers)))
        return groups
