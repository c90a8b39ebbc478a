"""Values that a rewinding frame gets late: not in the function's cold arm, but at the head of a loop on the way.

A landing point inside loops is reached through the heads of all loops around it. With a frame's values in their locals
all along that way, engines must assume at the head of each outer loop that what only an inner loop computes comes in
from outside; they carry it through every iteration of all these loops, and Cranelift and V8 then often keep it in
memory in the innermost one as well, where the time goes. So a value can travel in a global instead, as between two
bodies (see `two_bodies`), until a loop's head puts it in its local. Nothing else runs between the cold arm and the
landing point.

A local is set at the head of a loop if the loop computes it before the landing point: where the program itself has no
use for it at that head, or the loop writes it on the way. Anything else would be merged where the loop only passes it
through. With one body that costs 4 to 5 bytes a value, which pays where engines have few call sites to merge anyway:
so only for the innermost loop around a landing point, if that is in another one, and in functions with few call sites.
What two bodies hand over stands in globals already: there each value is set as far in as it can be.

Taking the values from the frame at the loop's head was rejected: helpers pop whole frames, and where there are none the
frame's address would be one more value that all loops pass through.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from caesura.analysis.body import Body
from caesura.analysis.liveness import Liveness
from caesura.analysis.writes import Writes
from caesura.instrument.plan.plan import Plan
from caesura.instrument.plan.regions import LOOP, Layout
from caesura.wasm import encoded as c
from caesura.wasm.indices import InstructionIndex, LocalIndex
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.types import is_non_null, is_reference

# A function with one body and more call sites sets all its locals in its cold arm.
_FEW_SITES: Final = 8


class LateLocals(NamedTuple):
    """`at_heads` are the locals to set at the heads of regions, by region, and `locals` all of them, ascending; `early`
    are those that the cold arm has to set, which some of the late ones are as well.
    """

    at_heads: dict[int, list[LocalIndex]]
    locals: list[LocalIndex]
    early: set[LocalIndex]


class LateCode(NamedTuple):
    """What sets late locals in a function with one body.

    `setters` are, by local, the code by which the cold arm takes its value from the operand stack; `arms` are, by
    region, the code that sets locals at its head.
    """

    setters: dict[LocalIndex, bytes]
    arms: dict[int, bytes]


NOTHING_LATE: Final = LateCode({}, {})


def late_at_landings(body: Body, layout: Layout, liveness: Liveness, plan: Plan) -> LateLocals | None:
    """Return which locals the landing points of a function with one body get late; None where there are none."""
    sites = len(liveness.each_landing)  # none where every local counts as live everywhere
    if not 0 < sites <= _FEW_SITES:
        return None
    masks = [0] * len(layout.regions)
    numbers = ~_references(body)
    writes: Writes | None = None
    for site in range(sites):
        live = liveness.each_landing[site]
        region = layout.site_regions[site]
        if _sets_late(layout, region) and _is_in_loop(layout, layout.regions[region].parent):
            if writes is None:
                writes = Writes(body)
            loop = InstructionIndex(layout.regions[region].start)
            passed_through = liveness.all_heads.get(loop, 0) & ~writes.between(loop, layout.landings[site])
            masks[region] |= live & ~passed_through & ~_mask(plan.saved.moved_locals) & numbers
            live &= ~masks[region]
        masks[0] |= live
    return _late(body, masks)


def late_handed_over(
    body: Body, normal: Layout, liveness: Liveness, plan: Plan, loops: list[InstructionIndex]
) -> LateLocals | None:
    """Return which locals the hand-off loops of a normal body get late; None where there are none."""
    masks = [0] * len(normal.regions)
    references = _references(body)
    for place in range(len(loops)):
        _, below = plan.constructs.below[loops[place]]
        live = liveness.all_heads.get(loops[place], 0) & ~_mask(below)
        region = normal.regions[normal.site_regions[place]].parent
        while region > 0:
            if _sets_late(normal, region):
                passed_through = liveness.all_heads.get(normal.regions[region].start, 0) | references
                masks[region] |= live & ~passed_through
                live &= passed_through
            region = normal.regions[region].parent
        masks[0] |= live | _mask(below)
    return _late(body, masks)


def take_from(carrier: int, value_type: int) -> bytes:
    """Return the code that gives the value of a global, of a type; of a reference the global keeps nothing."""
    code = c.GLOBAL_GET + encode_unsigned(carrier)
    if is_reference(value_type):
        code += c.zero(value_type) + c.GLOBAL_SET + encode_unsigned(carrier)
    return code + c.REF_AS_NON_NULL if is_non_null(value_type) else code


def _set_from(local: LocalIndex, carrier: int) -> bytes:
    return c.GLOBAL_GET + encode_unsigned(carrier) + c.LOCAL_SET + encode_unsigned(local)


def code_of(late: LateLocals, carriers: dict[LocalIndex, int]) -> LateCode:
    """Return the code for late locals in a function with one body, given the globals that carry them."""
    setters: dict[LocalIndex, bytes] = {}
    for local in late.locals:
        keep = c.LOCAL_TEE + encode_unsigned(local) if local in late.early else b""
        setters[local] = keep + c.GLOBAL_SET + encode_unsigned(carriers[local])
    return LateCode(setters, arms_of(late, carriers))


def arms_of(late: LateLocals, carriers: dict[LocalIndex, int]) -> dict[int, bytes]:
    """Return the code that sets the late locals, by region, given the globals that carry them."""
    return {
        region: b"".join([_set_from(local, carriers[local]) for local in chosen])
        for region, chosen in late.at_heads.items()
    }


def _late(body: Body, masks: list[int]) -> LateLocals | None:
    everything = 0
    at_heads: dict[int, list[LocalIndex]] = {}
    for region in range(1, len(masks)):
        if masks[region]:
            everything |= masks[region]
            at_heads[region] = _bits(masks[region], body)
    if not at_heads:
        return None
    return LateLocals(at_heads, _bits(everything, body), set(_bits(masks[0], body)))


def _sets_late(layout: Layout, region: int) -> bool:
    return layout.regions[region].kind == LOOP and layout.dispatching[region]


def _is_in_loop(layout: Layout, region: int) -> bool:
    while region > 0 and layout.regions[region].kind != LOOP:
        region = layout.regions[region].parent
    return region > 0


def _references(body: Body) -> int:
    """Return the locals that are references, as bits.

    They are never set late: a global that carries one has to forget it when it is read, so only one may read it.
    """
    mask = 0
    for place in range(len(body.run_ends)):
        if is_reference(body.run_types[place]):
            start = body.run_ends[place - 1] if place else 0
            mask |= (1 << body.run_ends[place]) - (1 << start)
    return mask


def _mask(chosen: set[LocalIndex]) -> int:
    mask = 0
    for local in chosen:
        mask |= 1 << local
    return mask


def _bits(mask: int, body: Body) -> list[LocalIndex]:
    return [LocalIndex(local) for local in range(body.local_count) if mask >> local & 1]
