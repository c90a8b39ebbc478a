"""Extreme modules: work, size and memory grow with the input, and nothing recurses.

Each shape is built at a quarter of a size and at that size. A cost that is linear grows fourfold, a quadratic one
sixteenfold; the limits lie between. Work is counted, never timed (tests/support/counting.py says why), which only the
interpreted form allows; the compiled form runs the same lines, and is held to the sizes of its output. What such
counts cannot see, the benchmark's timed growth (`python -m benchmarks.transform`) shows. Memory is what the
interpreter allocates. Work and memory are measured at smaller sizes, since measuring is slow.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Final

import pytest

import caesura
from caesura.analysis.limits import check_sites
from tests.instrument.building import HEADER, NOTHING, TO_I32, assert_valid, leb, module, parts, section
from tests.support.counting import executed_lines, interpreted_only

F: Final = b"\x10\0"
DROP: Final = b"\x1a"
END: Final = b"\x0b"
AGAIN: Final = b"\x41\0\x0d\0"  # i32.const 0, br_if 0
GROWTH: Final = 10
GROWTH_OF_WORK: Final = 5  # it is exact, and sorted tables may take n log n

Shape = Callable[[int], bytes]


def function(code: bytes, locals_: bytes = b"\0") -> bytes:
    """Return a module with one function, whose callee `f` returns nothing."""
    return module(locals_ + code + END)


def giving(code: bytes, locals_: bytes = b"\0") -> bytes:
    """Return a module with one function, whose callee `f` returns an i32."""
    return module(locals_ + code + END, types=(NOTHING, TO_I32), imported_type=1)


def nested(start: bytes, end: bytes = END) -> Shape:
    """Return the shape of a construct nested in itself, around one call site."""
    return lambda count: function(start * count + F + end * count)


def locals_read_behind(count: int) -> bytes:
    sets = b"".join(b"\x41\x01\x21" + leb(local) for local in range(count))
    gets = b"".join(b"\x20" + leb(local) + DROP for local in range(count))
    return function(sets + F + gets, b"\x01" + leb(count) + b"\x7f")


def locals_live_at_call_sites(count: int) -> bytes:
    """Each call site has another set of live locals, so that bits of sets are the number of locals squared."""
    calls = b"".join(F + b"\x41\x01\x21" + leb(local) for local in range(count))
    gets = b"".join(b"\x20" + leb(local) + DROP for local in range(count))
    return function(calls + gets, b"\x01" + leb(count) + b"\x7f")


def locals_around_a_loop(count: int) -> bytes:
    gets = b"".join(b"\x20" + leb(local) + DROP for local in range(count))
    sets = b"".join(b"\x41\x01\x21" + leb(local) for local in range(count))
    return function(b"\x03\x40" + gets + F + sets + AGAIN + END, b"\x01" + leb(count) + b"\x7f")


def declarations(count: int) -> bytes:
    """A declaration for each local, as some compilers write them."""
    return function(F + b"\x20\0" + DROP, leb(count // 2 * 2) + b"\x01\x7f\x01\x7e" * (count // 2))


def nested_loops_with_locals(count: int) -> bytes:
    """Every loop has a call site and a local of its own, and the innermost looks like an interpreter."""
    heads = b"".join(b"\x03\x40" + F + b"\x20" + leb(local) + DROP for local in range(count))
    return function(heads + _switch(24, F * 25) + END * count, b"\x01" + leb(count) + b"\x7f")


def _switch(count: int, code: bytes) -> bytes:
    """Blocks inside each other and a br_table to each of them, with code behind each block."""
    labels = b"".join(leb(label) for label in range(count))
    return b"\x02\x40" * count + b"\x20\0\x0e" + leb(count - 1) + labels + (END + code) * count


def interpreter(count: int) -> bytes:
    """A loop around a br_table whose every target has a call site and goes on with the loop."""
    labels = b"".join(leb(label) for label in range(count))
    cases = b"".join(END + F + b"\x0c" + leb(count - 1 - case) for case in range(count))
    start = b"\x03\x40" + b"\x02\x40" * count + b"\x20\0\x0e" + leb(count - 1) + labels
    return function(start + cases + END, b"\x01\x01\x7f")


def table_of_one_label(count: int) -> bytes:
    return function(b"\x02\x40" + F + b"\x41\0\x0e" + leb(count // 2 * 2) + b"\0\x01" * (count // 2) + b"\0" + END)


def functions(count: int) -> bytes:
    return module(*[b"\0" + F + END] * count)


def chain(count: int) -> bytes:
    """Each function calls the next one, so that the reason of the last is a path through all."""
    return module(b"\0" + F + END, *[b"\0\x10" + leb(callee) + END for callee in range(1, count)])


def callers(count: int) -> bytes:
    """One function calls all others."""
    calls = b"".join(b"\x10" + leb(callee) for callee in range(2, count + 1))
    return module(b"\0" + calls + END, *[b"\0" + F + END] * (count - 1))


def with_table(binary: bytes, size: int, segments: list[bytes]) -> bytes:
    """Return a module with a table that nobody else sees."""
    added = {4: b"\x01\x70\0" + leb(size), 9: leb(len(segments)) + b"".join(segments)}
    found = sorted([*((item.number, item.payload) for item in parts(binary)), *added.items()])
    return HEADER + b"".join(section(number, payload) for number, payload in found)


def constant_table_calls(count: int) -> bytes:
    """Each function calls the next one through a table that holds all, the last one calls the import."""
    calls = [b"\0\x41" + leb(callee, 3) + b"\x11\0\0" + END for callee in range(1, count)]
    segments = [b"\0\x41" + leb(place, 3) + b"\x0b\x01" + leb(1 + place) for place in range(count)]
    return with_table(module(*calls, b"\0" + F + END), count, segments)


def table_calls_of_many_types(count: int) -> bytes:
    """All types are the same, and each is named by a call that reaches all functions."""
    calls = [b"\0\x41\0\x41\0\x6a\x11" + leb(number) + b"\0" + END for number in range(count - 1)]
    segment = b"\0\x41\0\x0b" + leb(count) + b"".join(leb(1 + place) for place in range(count))
    return with_table(module(*calls, b"\0" + F + END, types=[NOTHING] * count), count, [segment])


def calls_through_many_tables(count: int) -> bytes:
    """A table for each call, with a segment of its own."""
    code = b"".join(b"\x41\0\x11\0" + leb(table) for table in range(count))
    segments = [b"\x02" + leb(table) + b"\x41\0\x0b\0\x01\x01" for table in range(count)]
    added = {4: leb(count) + b"\x70\0\x01" * count, 9: leb(count) + b"".join(segments)}
    binary = module(b"\0" + F + code + END)
    found = sorted([*((item.number, item.payload) for item in parts(binary)), *added.items()])
    return HEADER + b"".join(section(number, payload) for number, payload in found)


OLD_FORM: Final = "nested old-form tries"
LOAD: Final = b"\x41\0\x28\0\0"

SHAPES: dict[str, tuple[Shape, int]] = {
    "nested blocks": (nested(b"\x02\x40"), 50_000),
    "nested loops": (nested(b"\x03\x40"), 50_000),
    "nested ifs": (nested(b"\x41\x01\x04\x40"), 50_000),
    "nested ifs with else": (nested(b"\x41\x01\x04\x40" + F + b"\x05"), 25_000),
    "nested try_tables": (nested(b"\x1f\x40\x01\x02\0"), 50_000),
    OLD_FORM: (nested(b"\x06\x40", b"\x19" + END), 50_000),
    "nested blocks with call sites": (nested(b"\x02\x40" + F), 25_000),
    "nested loops with call sites": (nested(b"\x03\x40" + F), 5_000),
    "nested loops with call sites behind": (nested(b"\x03\x40", F + AGAIN + END), 5_000),
    "nested try_tables with call sites": (nested(b"\x1f\x40\x01\x02\0" + F), 5_000),
    "nested loops with locals": (nested_loops_with_locals, 1_000),
    "blocks one behind the other": (lambda count: function((b"\x02\x40" + F + END) * count), 20_000),
    "loops one behind the other": (lambda count: function((b"\x03\x40" + F + AGAIN + END) * count), 10_000),
    "locals read behind a call": (locals_read_behind, 50_000),
    "locals live at call sites": (locals_live_at_call_sites, 16_000),
    "locals around a loop": (locals_around_a_loop, 48_000),
    "declarations of locals": (declarations, 50_000),
    "call sites": (lambda count: function(F * count), 100_000),
    "call sites in a loop": (lambda count: function(b"\x03\x40" + F * count + AGAIN + END), 50_000),
    "call sites that take each other's results": (lambda count: giving(F + (F + b"\x6a") * count + DROP), 20_000),
    "constants below a call": (lambda count: function(b"\x41\0" * count + F + DROP * count), 100_000),
    "loads below a call": (lambda count: function(LOAD * count + F + DROP * count), 40_000),
    "results of branches": (lambda count: giving(b"\x02\x7f" + F + (F + b"\x0d\0") * count + END + DROP), 20_000),
    "br_table": (table_of_one_label, 50_000),
    "interpreter": (interpreter, 8_000),
    "functions": (functions, 8_000),
    "chain of callers": (chain, 8_000),
    "callers of all": (callers, 6_000),
    "calls of constants through a table": (constant_table_calls, 8_000),
    "calls of many types through a table": (table_calls_of_many_types, 6_000),
}


@interpreted_only
@pytest.mark.parametrize("shape", SHAPES)
def test_work_is_linear(shape: str) -> None:
    build, size = SHAPES[shape]
    small_module, large_module = build(size // 16), build(size // 4)
    small = executed_lines(lambda: caesura.instrument(small_module))
    large = executed_lines(lambda: caesura.instrument(large_module))
    assert size // 16 < small < large < GROWTH_OF_WORK * small


@pytest.mark.parametrize("shape", SHAPES)
def test_size_is_linear(shape: str) -> None:
    build, size = SHAPES[shape]
    small, large = build(size // 4), build(size)
    smaller, larger = caesura.instrument(small), caesura.instrument(large)
    assert 0 < smaller.sites <= larger.sites
    assert larger.bytes_after < GROWTH * smaller.bytes_after
    if shape != OLD_FORM:  # which Wasmtime does not know
        assert_valid(small)
        assert_valid(smaller.module)
        assert_valid(larger.module)


@pytest.mark.parametrize("shape", SHAPES)
def test_memory_is_linear(shape: str) -> None:
    build, size = SHAPES[shape]
    peaks: list[int] = []
    for count in (size // 64, size // 16):
        binary = build(count)
        tracemalloc.start()
        try:
            caesura.instrument(binary)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < GROWTH * peaks[0] + 100_000


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda count: giving(F * count + DROP * count), id="calls"),
        pytest.param(
            lambda count: giving(F * count + (b"\x02\x40" + F + DROP + END) * count + DROP * count), id="blocks"
        ),
    ],
)
def test_operands_that_cross_call_after_call(shape: Shape) -> None:
    """Thousands of results that stay on the stack while more calls are made are refused before they cost much."""
    assert_valid(caesura.instrument(shape(500)).module)
    with pytest.raises(caesura.UnsupportedModule, match="operands") as error:
        caesura.instrument(shape(24_000))
    assert error.value.function == "function 1"


@interpreted_only
def test_tables_beyond_what_engines_take_are_read_once() -> None:
    small_module, large_module = calls_through_many_tables(200), calls_through_many_tables(800)
    small = executed_lines(lambda: caesura.instrument(small_module))
    assert executed_lines(lambda: caesura.instrument(large_module)) < GROWTH_OF_WORK * small


@interpreted_only
def test_groups_are_not_searched_for_where_sets_of_locals_are_large() -> None:
    """A line of the search looks at all locals, for 64 groups that begin at each call site."""
    within, beyond = locals_live_at_call_sites(3_500), locals_live_at_call_sites(5_000)
    assert executed_lines(lambda: caesura.instrument(beyond)) < executed_lines(lambda: caesura.instrument(within))


def test_a_hundred_thousand_functions() -> None:
    assert caesura.instrument(functions(100_000)).instrumented == 100_000


@pytest.mark.parametrize(
    "binary",
    [
        pytest.param(function(b"\x03\x40" + F + F + AGAIN + END, b"\x01" + leb(50_000) + b"\x7f"), id="locals"),
        pytest.param(function(LOAD * 50_001 + F + DROP * 50_001), id="temporaries"),
    ],
)
def test_more_locals_than_engines_allow(binary: bytes) -> None:
    """Where the new locals do not fit, the function is refused; an invalid module never comes out."""
    assert_valid(binary)
    with pytest.raises(caesura.UnsupportedModule, match="locals") as error:
        caesura.instrument(binary)
    assert error.value.function == "function 1"


def test_calls_that_take_more_bytes_than_engines_allow() -> None:
    """The function is refused when so many call sites are counted, long before it is written."""
    check_sites(950_000, 2_000_000, 7)
    check_sites(1_000_000, 8_000_000, 7)  # it was too large before
    with pytest.raises(caesura.UnsupportedModule, match="more than 8,000,000 bytes") as error:
        check_sites(1_000_000, 2_000_000, 7)
    assert error.value.offset == 7


def test_the_most_locals_that_there_may_be() -> None:
    assert_valid(caesura.instrument(locals_read_behind(50_000)).module)
