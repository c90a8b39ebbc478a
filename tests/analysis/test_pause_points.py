"""Where pause points stand: no cycle is without, few functions have one at their entry, and what a way counts for."""

from __future__ import annotations

import random

import pytest

from caesura.analysis.cycles import break_cycles, callees_first, components
from caesura.analysis.pause_points import find_pause_points
from caesura.analysis.spared_breakers import spare_breakers
from caesura.wasm.indices import OwnFunction
from caesura.wasm.module import Module
from tests.support.engine import assemble


def points_of(text: str) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Return the weights at entries and at loops, by own function."""
    points = find_pause_points(Module(assemble(text)))
    loops: dict[int, list[int]] = {own: [weight for _, weight in points.loops[own]] for own in points.loops}
    return {int(own): points.entries[own] for own in points.entries}, loops


@pytest.mark.parametrize("seed", range(30))
def test_what_is_taken_breaks_all_cycles(seed: int) -> None:
    source = random.Random(seed)
    count = source.choice((3, 20, 200))
    eligible = count - count // 5
    # Nodes that cannot be taken lead only to nodes that can, as calls through tables do.
    graph = [
        [source.randrange(count if node < eligible else eligible) for _ in range(source.randrange(4))]
        for node in range(count)
    ]
    taken = break_cycles(graph, eligible)
    removed = [node in taken for node in range(count)]
    assert all(node < eligible for node in taken)
    assert components(graph, list(range(count)), removed) == []
    order = callees_first(graph, removed)
    place = {node: order.index(node) for node in order}
    for node in order:
        assert all(removed[successor] or place[successor] < place[node] for successor in graph[node])


@pytest.mark.parametrize("seed", range(30))
def test_what_is_spared_leaves_all_cycles_broken(seed: int) -> None:
    source = random.Random(seed)
    count = source.choice((3, 20, 200))
    graph = [[source.randrange(count) for _ in range(source.randrange(4))] for _ in range(count)]
    everywhere = list(range(count))
    kept = {node for node in everywhere if source.random() < 0.2}
    taken = [node in kept or source.random() < 0.8 for node in everywhere]
    for component in components(graph, everywhere, taken):
        for node in component:
            taken[node] = True
    spare_breakers(graph, taken, [node for node in everywhere if node not in kept])
    assert all(taken[node] for node in kept)
    assert components(graph, everywhere, taken) == []
    # None is left that could have been spared, too.
    for node in everywhere:
        if taken[node] and node not in kept:
            taken[node] = False
            assert components(graph, everywhere, taken) != []
            taken[node] = True


def test_functions_that_are_called_everywhere_have_none_where_others_break_the_same_cycles() -> None:
    # As those that free values: what they call when nothing is left of one leads to all that calls them, and is on
    # further cycles of its own.
    callers = "".join(f"(func $c{number} (call $release))" for number in range(30))
    calls = "".join(f"(call $c{number})" for number in range(30))
    entries, _ = points_of(f"""(module
      (func $release (call $one) (call $other))
      (func $one (call $destroy)) (func $other (call $destroy))
      (func $destroy (call $destroy) (call $finalize))
      (func $finalize {calls})
      {callers})""")
    assert list(entries) == [3]


def test_nothing_is_taken_where_there_are_no_cycles() -> None:
    assert break_cycles([[1, 2], [2], []], 3) == []
    assert break_cycles([[0]], 1) == [0]


def test_a_hub_breaks_all_recursion_through_it() -> None:
    spokes = "".join(f"(func $s{number} (call $hub))" for number in range(10))
    calls = "".join(f"(call $s{number})" for number in range(10))
    assert list(points_of(f"(module (func $hub {calls}) {spokes})")[0]) == [0]


def test_leaves_and_straight_calls_have_none() -> None:
    assert points_of(
        "(module (func $leaf (param i32) (result i32) local.get 0) (func (drop (call $leaf (i32.const 1)))))"
    ) == (
        {},
        {},
    )


def test_a_call_in_a_loop_passes_its_head() -> None:
    entries, loops = points_of("(module (func $f (loop $l (call $f) (br $l))))")
    assert entries == {}
    assert list(loops) == [0]


@pytest.mark.parametrize(
    "call",
    [
        "(call_indirect (i32.const 0))",
        "(return_call_indirect (i32.const 0))",
        "(return_call $f)",
        "(call_ref $t (ref.func $f))",
        "(return_call_ref $t (ref.func $f))",
        "(block (try_table (catch_all 0) (call $f)))",
    ],
)
def test_recursion_of_every_kind(call: str) -> None:
    text = f"(module (type $t (func)) (table 1 funcref) (elem (i32.const 0) $f) (func $f (type $t) {call}))"
    assert list(points_of(text)[0]) == [0]


def test_a_subtype_can_be_what_is_called() -> None:
    entries, _ = points_of(
        """(module
          (type $above (sub (func (param (ref null func)) (result (ref null func)))))
          (type $below (sub $above (func (param (ref null func)) (result (ref null nofunc)))))
          (table 1 funcref) (elem (i32.const 0) $f)
          (func $f (type $below)
            (drop (call_indirect (type $above) (ref.null func) (i32.const 0)))
            (ref.null nofunc)))"""
    )
    assert list(entries) == [0]


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ('(func (export "e") (call $host))', [0]),
        ("(func (call $host))", []),
        ('(func (export "e") (call $host)) (func (export "other") (call 1) nop)', [0]),
        (
            '(func (export "e") (call $host)) (func (export "other") (call $host)) (func (call 1) (call 2))',
            [0, 1],
        ),
        # What a host can only call by a reference, and whether it can get one.
        ("(elem declare func $f) (func $f (call $host)) (func (drop (ref.func $f)))", []),
        ('(table (export "t") 1 funcref) (elem (i32.const 0) $f) (func $f (call $host))', [0]),
        ('(global (export "g") (mut funcref) (ref.func $f)) (func $f (call $host))', [0]),
        ('(elem declare func $f) (func $f (call $host)) (func (export "e") (result funcref) (ref.func $f))', [0]),
        ('(tag (export "t") (param funcref)) (elem declare func $f) (func $f (call $host))', [0]),
        ('(table (export "t") 1 externref) (elem declare func $f) (func $f (call $host))', []),
        ('(func (export "e") (call $between)) (func $between (call $host))', [0]),
        ('(func (export "e") (loop (call $host) (br 0)))', []),
        ('(func (export "e") (call $loop)) (func $loop (loop (call $host) (br 0)) nop)', []),
        ('(func (export "e") (call $r)) (func $r (export "r") (call $host) (call $r))', [1]),
        ('(table 1 funcref) (elem (i32.const 0) $host) (func (export "e") (call_indirect (i32.const 0)))', [0]),
        ('(table 1 funcref) (func (export "e") (call_indirect (i32.const 0)))', [0]),
    ],
)
def test_cycles_through_the_host_have_entries(functions: str, expected: list[int]) -> None:
    entries, _ = points_of(f'(module (import "env" "host" (func $host)) {functions})')
    assert list(entries) == expected


def test_calls_that_multiply_have_entries() -> None:
    doubling = "".join(f"(func $f{number} (call $f{number + 1}) (call $f{number + 1}))" for number in range(64))
    entries, _ = points_of(f"(module {doubling} (func $f64 nop nop nop))")
    assert 2 <= len(entries) <= 8


def breaks_of(text: str) -> list[int]:
    """Return how many pause points stand between instructions, by own function."""
    module = Module(assemble(text))
    points = find_pause_points(module)
    return [len(points.breaks.get(own, [])) for own in module.own_functions()]


WORK = "(drop (call $f0))"  # of 5,500 instructions or so
DOUBLING = (
    "".join(f"(func $f{n} (result i32) (i32.add (call $f{n + 1}) (call $f{n + 1})))" for n in range(10))
    + "(func $f10 (result i32) (i32.const 1))"
)


def test_what_comes_together_in_a_function_is_broken() -> None:
    assert breaks_of(f"(module (func {WORK * 100}) {DOUBLING})")[0] == 0
    assert 4 <= breaks_of(f"(module (func {WORK * 1000}) {DOUBLING})")[0] <= 10
    assert 4 <= breaks_of(f"(module (func (loop {WORK * 1000} (br 0))) {DOUBLING})")[0] <= 10
    # Arms of which only one is run do not come together, and what is jumped over does not hide what is run.
    arms = f"(if (local.get 0) (then {WORK * 100}) (else {WORK * 100}))"
    assert breaks_of(f"(module (func (param i32) {arms}) {DOUBLING})")[0] == 0
    jump = f"(block {WORK * 100} (br_if 0 (local.get 0)) {WORK * 100})"
    assert breaks_of(f"(module (func (param i32) {jump * 10}) {DOUBLING})")[0] >= 8
    dead = f"(block {WORK * 100} (br 0) {WORK * 100})"
    assert 2 <= breaks_of(f"(module (func {dead * 10}) {DOUBLING})")[0] <= 6


@pytest.mark.parametrize(
    ("functions", "has_break"),
    [
        (f"(func $r (call $r) {WORK * 5})", False),
        (f"(func $r (call $r) {WORK * 30})", True),
        (f"(func $r {WORK * 30} (call $r))", False),
        (f"(func $r (loop (call $r) (br_if 0 (i32.const 0))) {WORK * 30})", True),
        (f"(func $r (block (loop (call $r) (br 1))) {WORK * 30})", True),
        (f"(func $r (block (try_table (catch_all 0) (call $r))) {WORK * 30})", True),
        (f"(func $r (block (loop (call $r) (br 1))) (loop (br_if 0 (i32.const 0))) {WORK * 30})", False),
        (f"(func $r (call $s) {WORK * 30}) (func $s (call $r))", True),
        (f"(func $r (return_call $s)) (func $s (call $r) {WORK * 30})", True),
        (f"(func $r (call_indirect (i32.const 0)) {WORK * 30}) (table 1 funcref) (elem (i32.const 0) $r)", True),
        (f'(func $r (export "e") (call $host) {WORK * 30})', True),
    ],
)
def test_what_is_done_on_a_way_back_is_broken(functions: str, has_break: bool) -> None:
    module = f'(module (import "env" "host" (func $host)) {functions} {DOUBLING})'
    assert (sum(breaks_of(module)) > 0) == has_break


@pytest.mark.parametrize(
    ("code", "inside", "behind"),
    [
        # At the loop's head it is looked in any case; where control leaves the loop a look stands behind it.
        ("(loop $l (call $host) (br_if $l (local.get 0)))", 0, 1),
        ("(loop $l (if (local.get 0) (then (call $host)) (else (call $host))) (br_if $l (local.get 0)))", 0, 1),
        ("(loop $l (call $host) (br_if $l (local.get 0))) unreachable", 0, 0),
        ("(loop $l (call $host) (br $l))", 0, 0),
        ("(loop $o (loop $l (call $host) (br_if $l (local.get 0))) (br_if $o (local.get 0)))", 0, 1),
        ("(loop $l (call $host) (call $host) (br_if $l (local.get 0)))", 1, 1),
        ("(loop $l (call $host) (call $f) (br_if $l (local.get 0)))", 1, 0),
        ("(loop $l (call $host) (memory.fill (i32.const 0) (i32.const 0) (local.get 0)) (br $l))", 1, 0),
        # There are two ways out.
        ("(loop $l (call $host) (if (local.get 0) (then (return))) (br_if $l (local.get 0)))", 1, 0),
        ("(loop $l (call $host) (br_if 1 (local.get 0)) (br $l))", 1, 0),
        ("(block $out (loop $l (call $host) (br_table $l $out (local.get 0))))", 0, 1),
        # The function's end is no further out than the call.
        ("(call $host) (if (local.get 0) (then (nop)))", 1, 0),
    ],
)
def test_a_call_of_the_host_needs_no_look_where_one_follows(code: str, inside: int, behind: int) -> None:
    module = Module(
        assemble(f'(module (import "env" "host" (func $host)) (memory 1) (func $f) (func (param i32) {code} nop))')
    )
    points = find_pause_points(module)
    own = OwnFunction(1)
    breaks = points.breaks.get(own, [])
    end = module.body_ends[own] - 2  # where the last instruction, a nop, stands
    late = [position for position in breaks if position >= end]
    assert (len(breaks) - len(late), len(late)) == (inside, behind)


def test_ways_through_chains_and_out_of_loops_come_together() -> None:
    chain = "".join(f"(func $c{n} (call $c{n + 1}) {WORK * 30})" for n in range(100))
    assert sum(breaks_of(f"(module {chain} (func $c100 (loop (br_if 0 (i32.const 0)))) {DOUBLING})")) >= 14
    nested = f"{'loop ' * 100} {f'{WORK * 30} end ' * 100}"
    assert breaks_of(f"(module (func {nested}) {DOUBLING})")[0] >= 14


def test_the_longest_way_into_a_catch_clause_counts() -> None:
    way = f"(block $caught (try_table (catch_all $caught) (call $throws) {WORK * 100} (call $throws)) (return)) {{}}"
    text = f"(module (tag $t) (func $throws (throw $t)) (func {way}) {DOUBLING})"
    assert breaks_of(text.format(WORK * 50))[1] == 0
    assert breaks_of(text.format(WORK * 100))[1] == 1


def test_weights_are_those_of_the_longest_way() -> None:
    # A switch with a hundred arms of 23 instructions, each of which goes on with the loop.
    labels = " ".join(str(arm) for arm in range(100))
    arms = f"end {'nop ' * 22} br {{}}\n" * 100
    switch = f"{'block ' * 100} local.get 0 br_table {labels}\n" + arms.format(*range(99, -1, -1))
    _, loops = points_of(f"(module (func (param i32) loop {switch} end))")
    assert 120 < loops[0][0] < 150
    _, loops = points_of(
        "(module (func (param i32) (loop $l (if (local.get 0) (then nop nop nop) (else nop)) (br $l))))"
    )
    assert loops[0][0] == 7


def test_a_loop_in_a_loop_counts_for_itself() -> None:
    _, loops = points_of("(module (func (loop $outer nop (loop $inner nop nop nop nop (br $inner)) (br $outer))))")
    assert loops[0] == [2, 5]


def test_a_call_counts_for_what_it_costs() -> None:
    text = "(module (func $leaf nop nop nop) (func (loop $l (call $leaf) (br $l))))"
    _, loops = points_of(text)
    without = points_of(text.replace("nop nop nop", ""))[1]
    assert loops[OwnFunction(1)][0] == without[OwnFunction(1)][0] + 3


INNER = "(loop $inner (br_if $inner (local.get 0)))"


@pytest.mark.parametrize(
    ("body", "passing"),
    [
        (f"{INNER} (br $outer)", True),
        (f"{INNER} (br_if $outer (local.get 0))", True),
        ("(loop $never nop) (br $outer)", False),
        ("nop", True),
        (f"(block (br_if 0 (local.get 0)) {INNER}) (br $outer)", False),
        (f"(if (local.get 0) (then {INNER})) (br $outer)", False),
        (f"(if (local.get 0) (then {INNER}) (else {INNER})) (br $outer)", True),
        (f"(br_if $outer (local.get 0)) {INNER} (br $outer)", False),
        ("(loop $inner (br_table $outer $inner (local.get 0)))", True),
        (f"(try_table (catch_all $outer) (call $f)) {INNER} (br $outer)", False),
        (f"{INNER} (try_table (catch_all $outer) (call $f))", True),
        (f"(block $caught (try_table (catch_all $caught) (call $f) {INNER})) (br $outer)", False),
        (f"(loop $middle {INNER} (br_if $middle (local.get 0))) (br $outer)", True),
        (f"(loop $middle (br_if $outer (local.get 0)) {INNER} (br $middle))", False),
        ("(call $f) (br $outer)", False),
        ("(call $spins) (br $outer)", True),
        ("(call $calls_it) (br $outer)", True),
        ("(call $returns_before) (br $outer)", False),
        ("(call $may_spin) (br $outer)", False),
        ("(call $tail) (br $outer)", True),
        ("(call $recursive) (br $outer)", True),
        ("(if (local.get 0) (then (call $spins)) (else (return))) (br $outer)", True),
        ("(if (local.get 0) (then (call $spins))) (br $outer)", False),
        ("(block $caught (try_table (catch_all $caught) (call $spins))) (br $outer)", False),
        ("(call $ends_loop_before) (br $outer)", False),
    ],
)
def test_loops_that_pass_another_pause_point(body: str, passing: bool) -> None:
    module = Module(
        assemble(
            f"""(module
              (func $f)
              (func (param i32) (loop $outer {body}))
              (func $spins (loop (br 0)))
              (func $calls_it (call $spins))
              (func $returns_before (br_if 0 (global.get $g)) (call $spins))
              (func $may_spin (if (global.get $g) (then (call $spins))))
              (func $tail (if (global.get $g) (then (return_call $spins)) (else (call $calls_it))))
              (func $recursive (if (global.get $g) (then (call $recursive))))
              (func $ends_loop_before (loop (br_if 1 (global.get $g)) (call $spins) (br 0)))
              (global $g i32 (i32.const 0)))"""
        )
    )
    points = find_pause_points(module)
    outer = points.loops[OwnFunction(1)][0][0]
    assert (outer in points.passing) == passing


def test_calls_in_loops_without_a_pause_point_are_those_of_the_code_around() -> None:
    entries, _ = points_of("(module (func $f (loop (call $spins) (call $f) (br 0))) (func $spins (loop (br 0))))")
    assert list(entries) == [0]


def test_what_a_loop_without_a_pause_point_runs_before_it_passes_one_has_its_cost() -> None:
    """As `calls_that_multiply`, but each call is made by a loop that ends before it comes to what it would pass."""
    calls = "(loop (call $f{0}) (call $f{0}) (br_if 1 (global.get $g)) (call $spins) (br 0))"
    doubling = "".join(f"(func $f{number} {calls.format(number + 1)})" for number in range(64))
    entries, loops = points_of(
        f"(module (global $g i32 (i32.const 0)) {doubling} (func $f64 nop nop nop) (func $spins (loop (br 0))))"
    )
    assert len(loops) == 65
    assert 2 <= len(entries) <= 8


@pytest.mark.parametrize(("fields", "entries", "breaks"), [(10_000, 2, 2), (64, 0, 0)])
def test_structs_of_many_fields_take_long_to_make_though_one_instruction_does_it(
    fields: int, entries: int, breaks: int
) -> None:
    making = "(drop (struct.new_default $s))"
    types = f"(type $s (struct {'(field i64)' * fields}))"
    text = f"(module {types} (func {making * 300}) (func $two {making * 2}) (func (call $two) (call $two)) {DOUBLING})"
    assert breaks_of(text)[0] >= breaks
    assert len([own for own in points_of(text)[0] if own in (0, 1)]) == entries


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ("(func (call $host) (call $host))", [2]),
        ("(func (call $host) unreachable)", [0]),
        ("(func (call $host) (drop (i32.const 1)) (loop (br 0)))", [0]),
        ("(func (return_call $host)) (func (call 3) (call 3))", [0, 2]),
        ("(func (call $length) (call $length))", [0]),
        ("(func (call $builtin) (call $builtin))", [2]),
        ("(func (block (try_table (catch_all 0) (call $host))) (block (try_table (catch_all 0) (call $host))))", [3]),
        ("(func (block (try_table (catch_all 0) (call $host)))) (func (call 3) (call 3))", [1, 2]),
        ("(table 1 funcref) (elem (i32.const 0) $host) (func (call_indirect (i32.const 0)) nop)", [1]),
        ("(table 1 funcref) (func (call_indirect (i32.const 0)) nop)", [0]),
        ('(table (export "t") 1 funcref) (func (call_indirect (i32.const 0)) nop)', [0]),
    ],
)
def test_a_look_stands_behind_what_comes_back_from_the_host(functions: str, expected: list[int]) -> None:
    imports = '(import "env" "host" (func $host)) (import "wasm:engine" "builtin" (func $builtin))'
    imports += '(import "wasm:js-string" "length" (func $length))'
    assert breaks_of(f"(module {imports} {functions})") == expected


def test_tables_that_the_host_fills_may_hold_its_functions() -> None:
    assert breaks_of('(module (import "env" "t" (table 1 funcref)) (func (call_indirect (i32.const 0)) nop))') == [1]
    given = '(func (export "e") (param (ref $f)) (call_ref $f (local.get 0)) nop)'
    assert breaks_of(f"(module (type $f (func)) {given})") == [1]
