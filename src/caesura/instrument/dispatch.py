"""Region heads: the labels opened there and the dispatch of a rewinding frame to its landing points.

A function's own dispatch stands in the cold arm of its prologue and costs ordinary runs nothing. A loop or a try looks
at the site number each time its head is passed: with a comparison where there is only one place to go, else with a
`br_table` whose default is the head itself. The number is forgotten on landing, or at the head where that is shorter
(inner regions then find it in a copy), since a number left over would send the next iteration to a landing point.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body, block_types
from caesura.instrument import code as c
from caesura.instrument.frame import Frame
from caesura.instrument.labels import AT_HEAD, Labels
from caesura.instrument.regions import BLOCK, ELSE_ARM, LANDING, Layout, Region
from caesura.instrument.runtime import Runtime, chunks_of
from caesura.instrument.tables import TypeTable
from caesura.wasm.immediates import skip_block_type
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.types import I32, encode_value_type

# Inner regions with more sites than this are told apart by a comparison instead of by table entries.
_LARGE_REGION: Final = 8

# Below this number, table entries for the numbers before a region's first are shorter than a subtraction.
_PADDING: Final = 3

_FORGET: Final = c.CONST_I32 + b"\0" + c.LOCAL_SET


class Dispatcher:
    """Writes the heads of a function's regions."""

    def __init__(
        self,
        module: Module,
        body: Body,
        layout: Layout,
        frame: Frame,
        labels: Labels,
        runtime: Runtime,
        types: TypeTable,
    ) -> None:
        self._module = module
        self._body = body
        self._layout = layout
        self._frame = frame
        self._labels = labels
        self._runtime = runtime
        self._types = types
        self._site = encode_unsigned(frame.site_local())
        # Regions whose head forgets the site number, so that their landing points need not.
        self._forgetting: set[int] = set()
        # For each region: the local with the site number, and the one for the regions inside.
        self._numbers: list[bytes] = [self._site] * len(layout.regions)
        self._inner_numbers: list[bytes] = [self._site] * len(layout.regions)
        self._copies: list[bytes] = [self._site]

    def enter_function(self, leave: int) -> None:
        """Write the head of the function body; `leave` is the height of the label behind which it returns zeros."""
        self.open_function()
        labels = self._labels
        labels.out.append(self._runtime.state_get)
        head = labels.begin(c.IF_EMPTY)
        self.pop_and_land(leave, head)
        labels.close(head)

    def open_function(self) -> None:
        """Open the labels of the function body's region."""
        self._open_labels(self._layout.regions[0])

    def pop_and_land(self, leave: int, head: int) -> None:
        """Write the code that pops the frame and goes to its landing point.

        `leave` and `head` are the heights of the labels for call site 0 and for landing points at the body's head.
        """
        labels = self._labels
        self._pop_frame()
        if self._frame.has_site_local:
            labels.out.append(c.LOCAL_TEE + self._site)
        targets = [labels.depth(leave)] + self.targets(self._layout.regions[0], labels.depth(head))
        labels.out.append(br_table(targets[:-1], targets[-1]))

    def enter(self, number: int) -> None:
        """Write the head of a loop's or try's region."""
        region = self._layout.regions[number]
        self._open_labels(region)
        site = self._inner_numbers[region.parent]
        self._numbers[number] = site
        self._inner_numbers[number] = site
        if not self._layout.dispatching[number]:
            return
        labels = self._labels
        threshold = self._threshold(region)
        if threshold:
            self._branch_from(site, threshold, self._groups(region, 0)[-1][0])
            return
        head = labels.begin(c.BLOCK_EMPTY)
        groups = self._groups(region, 0)
        out = labels.out
        compares = bool(region.inner) and groups[-1][1] > _LARGE_REGION
        if compares:
            target, count = groups.pop()
            self._branch_from(site, region.low + region.total - count, target)
        targets = _expand(groups)
        out.append(c.LOCAL_GET + site)
        if region.inner and region.own > 1 and not compares:
            self._inner_numbers[number] = self._copy(site)
            out.append(c.LOCAL_TEE + self._inner_numbers[number])
        if region.low <= _PADDING:
            targets = [0] * region.low + targets
        else:
            out.append(c.CONST_I32 + encode_signed(region.low) + c.I32_SUB)
        if region.own > 1 and not compares:
            self._forgetting.add(number)
            out.append(_FORGET + site)
        out.append(br_table(targets, 0))
        labels.close(head)

    def forget_number(self, region: Region) -> None:
        """Forget the site number on landing in a region, where a dispatch may follow."""
        if region.construct < 0 or not self._frame.has_site_local:
            return
        number = self._layout.region_of[region.construct]
        if number not in self._forgetting:
            self._labels.out.append(_FORGET + self._numbers[number])

    def _copy(self, site: bytes) -> bytes:
        """Return the local for the regions inside one that forgets the number in the local `site`."""
        place = self._copies.index(site) + 1
        if place == len(self._copies):
            self._copies.append(encode_unsigned(self._frame.scratch(I32)))
        return self._copies[place]

    def _open_labels(self, region: Region) -> None:
        """Open a label for each landing point of a region and each block that landing points stand in."""
        labels = self._labels
        region.openings.sort(reverse=True)
        for moment, kind, subject in region.openings:
            if kind == BLOCK and subject in labels.elided:
                continue
            if kind == BLOCK:
                labels.blocks[subject] = labels.begin(c.BLOCK + self.result_type(subject))
            elif kind == ELSE_ARM:
                labels.elses[subject] = labels.begin(c.BLOCK_EMPTY)
            elif moment == 2 * region.first:
                continue
            elif kind == LANDING:
                labels.sites[subject] = labels.begin(c.BLOCK_EMPTY)
            elif self._layout.regions[subject].total:
                labels.regions[subject] = labels.begin(c.BLOCK_EMPTY)

    def result_type(self, construct: int) -> bytes:
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

    def _pop_frame(self) -> None:
        """Write the calls that pop the frame, last chunk first, and leave the site number on the stack."""
        out = self._labels.out
        values = self._frame.values
        chunks = chunks_of(self._frame.shape)
        end = len(self._frame.shape)
        for chunk in range(len(chunks) - 1, -1, -1):
            out.append(c.CALL + encode_unsigned(self._runtime.helpers(chunks[chunk])[1]))
            start = end - len(chunks[chunk])
            for place in range(end - 1, max(start, 1) - 1, -1):
                out.append(c.LOCAL_SET + encode_unsigned(values[place - 1]))
            end = start

    def targets(self, region: Region, head: int) -> list[int]:
        """Return the label index for each site number of a region, `head` for what lands at its head."""
        return _expand(self._groups(region, head))

    def _groups(self, region: Region, head: int) -> list[tuple[int, int]]:
        """Return (label index, how many site numbers) for each own site and each inner region, in number order."""
        labels = self._labels
        groups: list[tuple[int, int]] = []
        for site in region.sites:
            height = labels.sites[site]
            groups.append((head if height == AT_HEAD else labels.depth(height), 1))
        for inner in region.inner:
            height = labels.regions[inner]
            target = head if height == AT_HEAD else labels.depth(height)
            groups.append((target, self._layout.regions[inner].total))
        return groups

    def _branch_from(self, site: bytes, number: int, target: int) -> None:
        """Write a branch that is taken for this site number (in the local `site`) and those above it."""
        code = c.LOCAL_GET + site
        if number > 1:
            code += c.CONST_I32 + encode_signed(number) + c.I32_GE_U
        self._labels.out.append(code + c.BR_IF + encode_unsigned(target))

    def _threshold(self, region: Region) -> int:
        """Return the lowest number that leads to the region's only label, where those below it land at its head.

        Returns 0 where there are several labels, or their numbers are mixed with those that land at the head.
        """
        groups = self._groups(region, -1)
        last = groups[-1][0]
        number = region.low
        found = 0
        for target, count in groups:
            if target == last and not found:
                found = number
            if target != last and (found or target != -1):
                return 0
            number += count
        return found if last != -1 else 0


def _expand(groups: list[tuple[int, int]]) -> list[int]:
    targets: list[int] = []
    for target, count in groups:
        targets += [target] * count
    return targets


def br_table(targets: list[int], default: int) -> bytes:
    """Return a br_table, without entries at its end that are the default anyway."""
    count = len(targets)
    while count > 0 and targets[count - 1] == default:
        count -= 1
    table = b"".join([encode_unsigned(target) for target in targets[:count]])
    return c.BR_TABLE + encode_unsigned(count) + table + encode_unsigned(default)
