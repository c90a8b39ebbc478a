"""Plans one function: where rewinding frames land, and which operands leave the stack meanwhile.

A walk over the body with an abstract operand stack. For every call site it finds the landing point: back from the
call over code that can be run again, at best to where the region's operand stack is empty. Operands that must stand
across a landing point, or across a construct with call sites, cross (see `crossing`). Operands are only (producer,
last read of mutable state, first instruction) triples, since five in six never cross; types are looked up for those
that do. Backward walks from each call were rejected: they visit long argument lists again and again.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis import actions
from caesura.analysis.actions import ACTION_TABLE, ACTIONS, GIVEN, TAKEN
from caesura.analysis.body import Body, block_types
from caesura.analysis.limits import check_sites
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.plan.crossing import Crossing
from caesura.instrument.plan.plan import SLOT, Plan
from caesura.instrument.plan.regions import BLOCK, ELSE_ARM, INNER_REGION, LANDING, LOOP, TRY, Region
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import instruction_name
from caesura.wasm.instructions import RESULTS
from caesura.wasm.module import Module

# Call sites between two looks at their number, less one.
_SITES_UNCHECKED: Final = 0xFFFF


class _Construct:
    """An open construct that contains call sites, during the walk."""

    def __init__(self, start: int, opcode: int, outer_base: int, base: int, region: int) -> None:
        self.start = start
        self.opcode = opcode
        self.outer_base = outer_base
        self.base = base
        self.region = region
        self.in_else = False
        self.params: tuple[int, ...] = ()
        self.results: tuple[int, ...] = ()
        self.used: list[int] = []


class Planner:
    """Walks one function body and fills a `Plan`.

    `exact_arguments[f]` tells whether a call of function f must get its real arguments again in a rewind (it is an
    import or part of the guest's own runtime). `handoff_loops` are no regions: the resume body runs through their
    code only once (see `two_bodies`); `has_two_bodies` tells whether the function gets two bodies at all.
    `restores_nothing` says that locals are not restored in a rewind, so that what may trap cannot be run again.
    """

    def __init__(
        self,
        module: Module,
        body: Body,
        results: tuple[int, ...],
        exact_arguments: list[bool],
        handoff_loops: set[int],
        has_two_bodies: bool,
        restores_nothing: bool = False,
    ) -> None:
        self._restores_nothing = restores_nothing
        self._handoff_loops = handoff_loops
        self._has_two_bodies = has_two_bodies
        self.module = module
        self.body = body
        self.plan = Plan()
        self._results = results
        self._exact = exact_arguments
        # The operand stack: producer, the last instruction that read mutable state for it (-1: none), first
        # instruction.
        self._producers: list[int] = []
        self._reads: list[int] = []
        self._starts: list[int] = []
        self._base = 0
        # Code before this instruction cannot be run again.
        self._fence = 0
        # Where the operand stack was last empty.
        self._empty = 0
        self._last_read: dict[int, int] = {}
        self._below: dict[int, list[int]] = {}
        self._crossing = Crossing(module, body, results, self.plan, self._producers)
        self._region = 0
        self._constructs: list[_Construct] = []
        # What each instruction does to the operand stack.
        self._actions = ACTION_TABLE.of(body)

    def run(self) -> Plan:
        """Return the plan; raises MalformedModule and UnsupportedModule with the byte offset."""
        try:
            self._walk()
        except IndexError:
            raise MalformedModule("the function body is not valid code", self.body.code_start) from None
        self._crossing.collect_reads()
        self._resolve_below()
        return self.plan

    def _walk(self) -> None:
        body = self.body
        codes = body.codes
        immediates = body.immediates
        producers = self._producers
        reads = self._reads
        starts = self._starts
        last_read = self._last_read
        actions_of = self._actions
        count = len(codes)
        index = 0
        sites = body.sites
        next_site = 0
        while index < count:
            code = codes[index]
            action = actions_of[index]
            if action == actions.LOCAL_GET:
                producers.append(index)
                reads.append(-1)
                starts.append(index)
                last_read[immediates[index]] = index
                index += 1
                continue
            if action == actions.CONSTANT:
                producers.append(index)
                reads.append(-1)
                starts.append(index)
                index += 1
                continue
            if action == actions.PURE:
                taken = TAKEN[code]
                if taken == 1:
                    producers[-1] = index
                else:
                    read = reads[-1]
                    for _ in range(taken - 1):
                        producers.pop()
                        reads.pop()
                        starts.pop()
                        if reads[-1] > read:
                            read = reads[-1]
                    producers[-1] = index
                    reads[-1] = read
                if GIVEN[code] == 2:
                    # A landing point cannot stand between the two: they are not run again.
                    self.plan.several[index] = RESULTS[code]
                    self._push(index + SLOT, -1, index)
                    self._fence = index + 1
                index += 1
                continue
            if action == actions.READ_TRAPPING and TAKEN[code] == 1:
                if reads[-1] >= self._fence:
                    self._fence = reads[-1] + 1
                producers[-1] = index
                reads[-1] = index
                index += 1
                continue
            if action == actions.LOCAL_SET or action == actions.LOCAL_TEE:
                self._write_local(index, immediates[index], action)
            elif action == actions.EFFECT:
                self._take(TAKEN[code])
                self._fence = index + 1
                if GIVEN[code] == 1:
                    self._push(index, -1, index)
            elif action == actions.CALL or action == actions.CALL_INDIRECT or action == actions.CALL_REF:
                while next_site < len(sites) and sites[next_site] < index:
                    next_site += 1
                self._call(index, action, next_site < len(sites) and sites[next_site] == index)
            elif action == actions.GLOBAL_GET:
                mutable = self._crossing.is_mutable_global(index)
                self._push(index, index if mutable else -1, index)
            elif action == actions.TRAPPING or action == actions.READ or action == actions.READ_TRAPPING:
                self._read_or_trap(index, code, action)
            elif action == actions.DROP:
                self._take(1)
            elif action == actions.SELECT:
                self._select(index)
            elif action == actions.BR_IF:
                self._branch_if(index)
            elif action == actions.NOP:
                pass
            else:
                index = self._control(index, code, action)
                continue
            if len(producers) == self._base:
                self._empty = index + 1
            index += 1
        if self._constructs:
            raise MalformedModule("the function body ends inside a block", body.positions[-1])

    # The operand stack.

    def _push(self, producer: int, read: int, start: int) -> None:
        self._producers.append(producer)
        self._reads.append(read)
        self._starts.append(start)

    def _take(self, count: int) -> None:
        """Remove operands."""
        if len(self._producers) - count < self._base:
            raise IndexError
        producers = self._producers
        reads = self._reads
        starts = self._starts
        while count > 0:  # one is what most take; slices would be objects
            producers.pop()
            reads.pop()
            starts.pop()
            count -= 1

    def _push_results(self, index: int, types: tuple[int, ...]) -> None:
        if len(types) > 1:
            self.plan.several[index] = types
        for slot in range(len(types)):
            self._push(index + slot * SLOT, -1, index)

    # Instructions.

    def _write_local(self, index: int, local: int, action: int) -> None:
        read = self._reads[-1]
        if read >= self._fence or self._last_read.get(local, -1) >= self._empty:
            self._fence = index + 1
        self._crossing.last_write[local] = index
        if action == actions.LOCAL_TEE:
            self._producers[-1] = index
            self._reads[-1] = -1
        else:
            self._take(1)

    def _read_or_trap(self, index: int, code: int, action: int) -> None:
        taken = TAKEN[code]
        start = index
        for _ in range(taken):
            read = self._reads[-1]
            if read >= self._fence:
                self._fence = read + 1
            start = self._starts[-1]
            self._take(1)
        runs_again = action == actions.TRAPPING and not self._restores_nothing
        self._push(index, -1 if runs_again else index, start)

    def _select(self, index: int) -> None:
        read = max(self._reads[-1], self._reads[-2], self._reads[-3])
        source = self._producers[-3]
        start = self._starts[-3]
        self._take(3)
        self._crossing.select_sources[index] = source
        self._push(index, read, start)

    def _call(self, index: int, action: int, is_site: bool) -> None:
        body = self.body
        immediate = body.immediates[index]
        exact = True
        if action == actions.CALL:
            definition = self.module.function_type(immediate)
            exact = self._exact[immediate]
            taken = len(definition.params)
        else:
            if immediate >= len(self.module.types):
                raise MalformedModule(f"type index {immediate} is out of range", body.positions[index])
            definition = self.module.types[immediate]
            taken = len(definition.params) + 1
        if is_site:
            self._site(index, taken, exact)
        self._take(taken)
        self._fence = index + 1
        self._push_results(index, definition.results)
        if is_site:
            self.plan.operands_behind.append(len(self._producers) - self._base)

    def _site(self, index: int, taken: int, exact: bool) -> None:
        """Place the landing point of a call site."""
        reads = self._reads
        starts = self._starts
        height = len(starts)
        if height - taken < self._base:
            raise IndexError
        fence = self._fence
        for operand in range(self._base, height if exact else height - taken):
            if reads[operand] >= fence:
                fence = reads[operand] + 1
        lowest = height
        while lowest > self._base and starts[lowest - 1] >= fence:
            lowest -= 1
        landing = starts[lowest] if lowest < height else index
        arguments = height if exact else height - taken
        self._crossing.cross(self._base, lowest, 2 * landing, True, False, arguments)
        for operand in range(max(lowest, arguments), height):
            self._ignore_reads(starts[operand], self._producers[operand])
        plan = self.plan
        site = len(plan.site_calls)
        if site & _SITES_UNCHECKED == 0:
            check_sites(site, self.body.positions[-1] - self.body.code_start, self.body.code_start)
        plan.site_calls.append(index)
        plan.site_landings.append(landing)
        plan.site_regions.append(self._region)
        region = plan.regions[self._region]
        region.sites.append(site)
        region.openings.append((2 * landing, LANDING, site))

    def _ignore_reads(self, start: int, producer: int) -> None:
        """Note the reads of locals for an argument that is ignored, where nothing else depends on them."""
        actions_of = self._actions
        reads: list[int] = []
        for index in range(start, (producer & (SLOT - 1)) + 1):
            action = actions_of[index]
            if action == actions.LOCAL_GET:
                reads.append(index)
            elif action != actions.CONSTANT and action != actions.PURE and action != actions.SELECT:
                return
        self.plan.ignored_reads.update(reads)

    def _branch_if(self, index: int) -> None:
        self._take(1)
        types = self._label_types(index, self.body.immediates[index])
        if types:
            self._crossing.branch_types[index] = types
            self._take(len(types))
            self._push_results(index, types)
        self._fence = index + 1

    def _label_types(self, index: int, depth: int) -> tuple[int, ...]:
        if depth < len(self._constructs):
            construct = self._constructs[-1 - depth]
            return construct.params if construct.opcode == op.LOOP else construct.results
        if depth == len(self._constructs):
            return self._results
        raise MalformedModule(f"branch to label {depth} is out of range", self.body.positions[index])

    # Control.

    def _control(self, index: int, code: int, action: int) -> int:
        """Handle a control instruction and return the next instruction's index."""
        if action == actions.CONSTRUCT:
            return self._open(index, code)
        if action == actions.END:
            return self._end(index)
        if action == actions.ELSE:
            return self._else(index)
        if action == actions.HANDLER:
            end = self.body.ends[self._constructs[-1].start]
            self._note_writes(index, end)
            return self._end(end)
        if action == actions.LEAVE:
            return self._leave(index)
        raise UnsupportedModule(
            f"{instruction_name(code)} is not supported yet in a function that may suspend; leave the function out "
            "with --remove-list NAME if it never suspends",
            self.body.positions[index],
            kind=instruction_name(code),
        )

    def _open(self, index: int, code: int) -> int:
        body = self.body
        params, results = block_types(self.module, body.immediates[index], body.positions[index] + 1)
        if code == op.IF:
            self._take(1)
        outer_base = self._base
        base = len(self._producers) - len(params)
        if base < outer_base:
            raise IndexError
        if index not in body.with_sites:
            end = body.ends[index]
            self._take(len(params))
            if self._producers:
                self._note_writes(index, end)
            self._push_results(end, results)
            self._crossing.openers[end] = index
            self._fence = end + 1
            if len(self._producers) == self._base:
                self._empty = end + 1
            return end + 1
        construct = _Construct(index, code, outer_base, base, self._region)
        construct.params = params
        construct.results = results
        construct.used = self._crossing.used.copy()
        end_moment = 2 * body.ends[index] + 1
        self._crossing.cross(outer_base, base, end_moment, True, False)
        self._crossing.count_used(outer_base, base)
        self._base = base
        if index in self._handoff_loops:
            self._open_handoff_loop(index, end_moment)
        elif code == op.BLOCK:
            self._open_block(index, end_moment)
            if params and self._has_two_bodies:
                # The normal body has the block in its place, where some parameters may be on the stack, some not.
                self._crossing.cross(base, len(self._producers), 2 * index + 1, False, True)
                self.plan.without_parameters.add(index)
        elif code == op.IF:
            self._open_if(index, end_moment, construct)
        else:
            self._open_region(index, LOOP if code == op.LOOP else TRY, params)
        self._constructs.append(construct)
        self._fence = index + 1
        self._empty = index + 1
        return index + 1

    def _note_writes(self, index: int, end: int) -> None:
        """Note the locals that are written in code without call sites, which is not walked through."""
        actions_of = self._actions
        for inside in range(index + 1, end):
            action = actions_of[inside]
            if action == actions.LOCAL_SET or action == actions.LOCAL_TEE:
                self._crossing.last_write[self.body.immediates[inside]] = inside

    def _open_block(self, index: int, end_moment: int) -> None:
        region = self.plan.regions[self._region]
        region.openings.append((end_moment, BLOCK, index))
        if region.first == index:
            region.first = index + 1

    def _open_handoff_loop(self, index: int, end_moment: int) -> None:
        plan = self.plan
        plan.regions[self._region].openings.append((end_moment, BLOCK, index))
        self._below[index] = self._producers.copy()

    def _resolve_below(self) -> None:
        """Say in the plan what holds the operands below hand-off loops, now that it is known which could move."""
        plan = self.plan
        for index, producers in self._below.items():
            temporaries: set[int] = set()
            locals_: set[int] = set()
            for producer in producers:
                if producer in plan.temporaries:
                    temporaries.add(plan.temporaries[producer])
                elif ACTIONS[self.body.codes[producer]] in (actions.LOCAL_GET, actions.LOCAL_TEE):
                    locals_.add(self.body.immediates[producer])
            plan.below[index] = (temporaries, locals_)

    def _open_if(self, index: int, end_moment: int, construct: _Construct) -> None:
        region = self.plan.regions[self._region]
        region.openings.append((end_moment, BLOCK, index))
        if index in self.body.elses:
            region.openings.append((2 * self.body.elses[index] + 1, ELSE_ARM, index))
            # Both arms need the parameters: the else arm reads them again from the temporaries.
            self._crossing.cross(self._base, len(self._producers), 2 * index + 1, False, True)
            self.plan.else_parameters[self.body.elses[index]] = self._producers[self._base :]
            self.plan.without_parameters.add(index)
        elif construct.params:
            # The branch around the then arm carries the parameters as results, and gives them again.
            self._take(len(construct.params))
            self._push_results(index, construct.params)

    def _open_region(self, index: int, kind: int, params: tuple[int, ...]) -> None:
        plan = self.plan
        parent = plan.regions[self._region]
        parent.openings.append((2 * index, INNER_REGION, len(plan.regions)))
        # The parameters cross twice: the landing point before the construct, and the dispatch at its head, where the
        # same temporaries take them in again.
        self._crossing.cross(self._base, len(self._producers), 2 * index, False, True)
        region = Region(kind, index, self._region)
        parent.inner.append(len(plan.regions))
        self._region = len(plan.regions)
        plan.region_of[index] = self._region
        plan.regions.append(region)
        if len(params) > 1:
            plan.several[index] = params
        for slot in range(len(params)):
            outer = self._producers[self._base + slot]
            inner = index + slot * SLOT
            self._producers[self._base + slot] = inner
            self._reads[self._base + slot] = -1
            self._starts[self._base + slot] = index
            self._crossing.take_over(outer, inner, 2 * index + 1)

    def _else(self, index: int) -> int:
        construct = self._constructs[-1]
        self._take(len(self._producers) - construct.base)
        construct.in_else = True
        self._crossing.openers[index] = construct.start
        self._push_results(index, construct.params)
        self._fence = index + 1
        self._empty = index + 1
        return index + 1

    def _end(self, index: int) -> int:
        if not self._constructs:
            self.plan.ends_live = True
            if len(self._producers) != len(self._results):
                raise IndexError
            return index + 1
        construct = self._constructs.pop()
        self._take(len(self._producers) - construct.base)
        self._push_results(index, construct.results)
        self._crossing.openers[index] = construct.start
        self._base = construct.outer_base
        self._crossing.used = construct.used
        self._region = construct.region
        if construct.base > construct.outer_base:
            # What stands below is read again here, and the results come on top of it.
            self._crossing.cross(construct.outer_base, len(self._producers), 2 * index + 1, False, False)
        self._fence = index + 1
        if len(self._producers) == self._base:
            self._empty = index + 1
        return index + 1

    def _leave(self, index: int) -> int:
        body = self.body
        boundary = len(body.codes) - 1
        if self._constructs:
            construct = self._constructs[-1]
            boundary = body.ends[construct.start]
            if construct.start in body.handlers:
                boundary = body.handlers[construct.start]
            elif construct.start in body.elses and not construct.in_else:
                boundary = body.elses[construct.start]
        self.plan.dead[index + 1] = boundary
        if not self._constructs:
            return len(body.codes)
        return boundary
