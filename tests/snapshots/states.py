"""States for tests: of any content that a state can have, and those that come a little later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from caesura.snapshots.state import (
    CHUNK,
    MODES,
    NULL,
    CallRecord,
    Descriptor,
    ExceptionState,
    GlobalState,
    KeptState,
    MemoryState,
    ModuleIdentity,
    StacksState,
    State,
    TableState,
    WasiState,
)
from caesura.wasm import types as t

_WIDTHS: Final = {t.I32: 32, t.I64: 64, t.F32: 32, t.F64: 64, t.V128: 128}
_U32 = st.integers(0, 0xFFFF_FFFF)
_U64 = st.one_of(st.integers(0, 0xFFFF_FFFF_FFFF_FFFF), st.integers(2**53 - 2, 2**53 + 1))
# UTF-8 has no half of a surrogate pair, but names of files may have (not an upper before a lower one: that is a whole).
_TEXT = st.text(st.characters(exclude_categories=["Cs"], include_characters="\udc80\udcff"), max_size=12)
_SIZES: Final = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 65536, 65536 + 5000, 3 * 65536)

IDENTITY: Final = ModuleIdentity(
    original=bytes(32), instrumented=bytes(range(32)), contract=2, imports=("env.ask",), options={}
)


def runs_of(content: bytes) -> tuple[tuple[int, bytes], ...]:
    """Return the runs of a memory, found in the simplest way."""
    runs: list[tuple[int, bytes]] = []
    behind = None
    for place in range(0, len(content), CHUNK):
        chunk = content[place : place + CHUNK]
        if not any(chunk):
            continue
        if behind == place:
            runs[-1] = (runs[-1][0], runs[-1][1] + chunk)
        else:
            runs.append((place // CHUNK, chunk))
        behind = place + CHUNK
    return tuple(runs)


def content_of(memory: MemoryState) -> bytes:
    """Return all bytes of a memory."""
    content = bytearray(memory.size)
    for first, part in memory.runs:
        content[first * CHUNK : first * CHUNK + len(part)] = part
    return bytes(content)


def memory_of(content: bytes, index: int = 0) -> MemoryState:
    """Return a memory with this content."""
    page = 1 if len(content) % 65536 else 65536
    return MemoryState(index=index, size=len(content), page_size=page, runs=runs_of(content))


def state_of(*contents: bytes, **more: Any) -> State:
    """Return a state with these memories, and whatever else."""
    memories = tuple(memory_of(content, index) for index, content in enumerate(contents))
    return State(**{"module": IDENTITY, "memories": memories, "globals": (), **more})


@st.composite
def contents(draw: st.DrawFn, before: bytes = b"") -> bytes:
    """Draw what is in a memory; what was there before may still be."""
    content = bytearray(draw(st.sampled_from([size for size in _SIZES if size >= len(before)])))
    content[: len(before)] = before
    for _ in range(draw(st.integers(0, 4))):
        if content:
            place = draw(st.integers(0, len(content) - 1))
            piece = draw(st.one_of(st.binary(max_size=30), st.integers(0, 9000).map(bytes)))[: len(content) - place]
            content[place : place + len(piece)] = piece
    return bytes(content)


def states() -> st.SearchStrategy[State]:
    """Return a strategy for states."""
    return _states([b"", b""], b"")


def pairs() -> st.SearchStrategy[tuple[State, State]]:
    """Return a strategy for a state and one that came after it, in which any field may be another."""
    return states().flatmap(lambda first: st.tuples(st.just(first), later(first)))


def later(first: State) -> st.SearchStrategy[State]:
    """Return a strategy for states that come after another."""
    before = [content_of(memory) for memory in first.memories]
    fresh = _states(before or [b""], first.embedded or b"")
    kept = st.sets(st.sampled_from([("wasi",), ("module",), ("embedded",), ("memories",), _THAT_BELONG_TOGETHER]))
    return st.tuples(fresh, kept).map(
        lambda drawn: _with_fields_of(first, drawn[0], {n for part in drawn[1] for n in part})
    )


# Fields that name calls, objects and exceptions of the state.
_THAT_BELONG_TOGETHER: Final = ("objects", "exceptions", "globals", "tables", "calls", "stacks")


def _with_fields_of(first: State, other: State, names: set[str]) -> State:
    return replace(other, **{name: getattr(first, name) for name in names})


@st.composite
def _states(draw: st.DrawFn, before: list[bytes], module: bytes) -> State:
    objects = draw(_tuples(st.binary(max_size=8), 3))
    exceptions = draw(_tuples(_exceptions(), 2))
    numbers = st.sampled_from([NULL, *range(len(objects))])
    thrown = st.sampled_from([NULL, *range(len(exceptions))])
    calls = draw(st.integers(0, 3))
    places = st.none() if not calls else st.one_of(st.none(), st.integers(0, calls - 1))
    return State(
        module=draw(_identities()),
        memories=tuple(
            _with_initial(draw, memory_of(draw(contents(content)), 2 * index)) for index, content in enumerate(before)
        ),
        globals=_indexed(draw(_tuples(_globals(numbers, thrown), 4))),
        tables=_indexed(draw(_tuples(_tables(numbers, thrown), 3))),
        dropped_data=tuple(sorted(draw(st.sets(_U32, max_size=3)))),
        dropped_elements=tuple(sorted(draw(st.sets(_U32, max_size=3)))),
        calls=tuple([draw(_calls(numbers, [None, *range(index)])) for index in range(calls)]),
        area=draw(st.one_of(st.none(), st.tuples(_U64, _U64).map(lambda pair: (min(pair), max(pair))))),
        stacks=draw(_stacks(places)),
        wasi=draw(st.one_of(st.none(), _wasi())),
        objects=objects,
        exceptions=exceptions,
        embedded=draw(st.sampled_from([None, module + b"\0asm", b"\0asm" * 100])),
    )


def _with_initial(draw: st.DrawFn, memory: MemoryState) -> MemoryState:
    """Return a memory of which some chunks that are in no run are as the module makes them."""
    used = {first + number for first, part in memory.runs for number in range(-(-len(part) // CHUNK))}
    free = sorted({*range(-(-memory.size // CHUNK))} - used)
    chosen = draw(st.sets(st.sampled_from(free), max_size=4)) if free else set()
    parts: list[tuple[int, int]] = []
    for number in sorted(chosen):
        if parts and sum(parts[-1]) == number:
            parts[-1] = (parts[-1][0], parts[-1][1] + 1)
        else:
            parts.append((number, 1))
    return replace(memory, initial=tuple(parts))


def _tuples(items: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=most).map(tuple)


def _indexed(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([replace(item, index=3 * place) for place, item in enumerate(items)])


def _identities() -> st.SearchStrategy[ModuleIdentity]:
    values = st.one_of(st.booleans(), st.integers(0, 9), _TEXT, _tuples(_TEXT, 2))
    return st.builds(
        ModuleIdentity,
        original=st.binary(min_size=32, max_size=32),
        instrumented=st.binary(min_size=32, max_size=32),
        contract=st.integers(1, 3),
        imports=_tuples(_TEXT, 3),
        options=st.dictionaries(st.sampled_from(["imports", "optimize", "linked", "x1"]), values, max_size=3),
        path=_TEXT,
    )


def _numbers() -> st.SearchStrategy[tuple[int, int]]:
    plain = [st.tuples(st.just(kind), st.integers(0, (1 << width) - 1)) for kind, width in _WIDTHS.items()]
    return st.one_of(*plain)


def _exceptions() -> st.SearchStrategy[ExceptionState]:
    return st.builds(ExceptionState, tag=_U32, values=_tuples(_numbers(), 3))


def _values(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, int]]:
    return st.one_of(_numbers(), st.tuples(st.just(t.FUNCREF), _U32), st.tuples(st.just(t.EXTERNREF), numbers))


def _globals(numbers: st.SearchStrategy[int], thrown: st.SearchStrategy[int]) -> st.SearchStrategy[GlobalState]:
    held = st.one_of(st.tuples(st.just(t.EXNREF), thrown), st.just((t.ANYREF, NULL)))
    return st.one_of(_values(numbers), held).map(lambda value: GlobalState(index=0, type=value[0], bits=value[1]))


@st.composite
def _tables(draw: st.DrawFn, numbers: st.SearchStrategy[int], thrown: st.SearchStrategy[int]) -> TableState:
    held = {t.FUNCREF: _U32, t.EXTERNREF: numbers, t.EXNREF: thrown, t.ANYREF: st.just(NULL)}
    kind = draw(st.sampled_from([*held]))
    elements = draw(st.lists(held[kind], max_size=5))
    return TableState(index=0, type=kind, elements=b"".join(number.to_bytes(4, "little") for number in elements))


def _calls(numbers: st.SearchStrategy[int], neighbours: list[int | None]) -> st.SearchStrategy[CallRecord]:
    kept = st.builds(
        KeptState,
        low=st.integers(0, 5),
        high=st.integers(5, 2**64 - 1),
        stack=_U64,
        neighbour=st.sampled_from(neighbours),
        noted=st.one_of(st.none(), st.binary(max_size=8)),
    )
    return st.builds(
        CallRecord,
        export=_TEXT,
        function=_TEXT,
        arguments=_tuples(_values(numbers), 3),
        frames=st.binary(max_size=40),
        mode=st.sampled_from(MODES),
        waited=_U64,
        stack=_U64,
        stack_pointer=_U64,
        bottom=_U64,
        resting_pointer=_U64,
        kept=st.one_of(st.none(), kept),
    )


def _stacks(places: st.SearchStrategy[int | None]) -> st.SearchStrategy[StacksState]:
    return st.builds(
        StacksState,
        size=_U64,
        stacks=_tuples(_U64, 3),
        spare=_tuples(_U64, 2),
        limits=_tuples(_U64, 2),
        main=places,
        home=st.one_of(st.none(), _U64),
        settled=st.booleans(),
        unclaimed=_U64,
        held=_tuples(_U64, 2),
    )


def _wasi() -> st.SearchStrategy[WasiState]:
    descriptors = st.builds(
        Descriptor,
        number=_U32,
        kind=st.sampled_from(["stdin", "stdout", "stderr", "preopen", "file", "folder"]),
        path=_TEXT,
        below=st.integers(-1, 9),
        lookup=_U32,
        flags=_U32,
        rights=_U64,
        inheriting=_U64,
        offset=_U64,
        identity=_tuples(_U64, 2),
    )
    ascending = st.lists(descriptors, max_size=3, unique_by=lambda item: item.number)
    return st.builds(
        WasiState,
        arguments=_tuples(_TEXT, 3),
        environment=st.dictionaries(_TEXT, _TEXT, max_size=3),
        folders=_tuples(st.tuples(_TEXT, _TEXT, st.booleans()), 2),
        descriptors=ascending.map(lambda items: tuple(sorted(items, key=lambda item: item.number))),
        monotonic=_U64,
        highest=_U32,
    )


def sample() -> State:
    """Return a state that has something in every field."""
    content = bytearray(3 * 65536)
    content[100:200] = b"x" * 100
    content[70_000:90_000] = bytes(range(250)) * 80
    kept = KeptState(low=1024, high=2048, stack=65536, neighbour=1, noted=b"noted")
    call = CallRecord(
        export="run",
        function="env.ask",
        arguments=((t.I32, 17), (t.I64, 2**63 + 1), (t.F64, 0x7FF8_0000_0000_0001), (t.V128, 2**127), (t.EXTERNREF, 1)),
        frames=b"frames of the first" * 10,
        mode="call",
        waited=1_500_000_000,
        stack=70_000,
        stack_pointer=80_000,
        bottom=80_016,
        resting_pointer=65_536,
        kept=kept,
    )
    other = CallRecord(export="é\udc80", function="env.ask", arguments=(), frames=b"", mode="generate")
    descriptors = (
        Descriptor(number=0, kind="stdin"),
        Descriptor(number=3, kind="preopen", path="/data"),
        Descriptor(
            number=10,
            kind="file",
            path="a/b.txt",
            below=3,
            lookup=1,
            flags=4,
            rights=2**64 - 1,
            inheriting=2,
            offset=2**40,
            identity=(2049, 2**60),
        ),
    )
    return State(
        module=replace(
            IDENTITY, options={"optimize": "speed", "add_list": ("a", "b"), "linked": True}, path="/app/app.wasm"
        ),
        memories=(memory_of(bytes(content)), memory_of(b"\1" * 4100, 1)),
        globals=(
            GlobalState(index=0, type=t.I32, bits=66_000),
            GlobalState(index=4, type=t.FUNCREF, bits=NULL),
            GlobalState(index=10, type=t.F32, bits=0xFF80_0001),
        ),
        tables=(
            TableState(index=0, type=t.FUNCREF, elements=bytes(range(24)) + b"\xff" * 4),
            TableState(index=2, type=t.EXTERNREF, elements=b"\1\0\0\0\xff\xff\xff\xff\0\0\0\0"),
        ),
        dropped_data=(0, 2),
        dropped_elements=(1,),
        calls=(call, other),
        area=(1024, 2048),
        stacks=StacksState(
            size=65536,
            stacks=(70_000,),
            spare=(140_000,),
            surplus=(150_000,),
            limits=(0,),
            main=1,
            home=65_536,
            settled=False,
            unclaimed=3,
            held=(1,),
            late=(2,),
        ),
        wasi=WasiState(
            arguments=("app", "--fast"),
            environment={"Z": "1", "A": "2"},
            folders=(("/data", "/srv/data", True),),
            descriptors=descriptors,
            monotonic=2**62,
        ),
        objects=(b"first", b""),
        embedded=b"\0asm\1\0\0\0",
    )


def sample_later() -> State:
    """Return what `sample` became a moment later."""
    before = sample()
    content = bytearray(content_of(before.memories[0]) + bytes(65536))
    content[75_000:75_010] = b"y" * 10
    content[120:121] = b"y"
    content[230_000] = 1
    return replace(
        before,
        memories=(memory_of(bytes(content)), memory_of(bytes(4100), 1)),
        globals=(replace(before.globals[0], bits=65_000), *before.globals[1:]),
        calls=(before.calls[1],),
        stacks=StacksState(),
        wasi=replace(before.wasi, monotonic=2**62 + 5) if before.wasi is not None else None,
    )


def sample_with_initial() -> State:
    """Return `sample` with chunks that are as the module makes them, at the end of a memory, too."""
    state = sample()
    first, second = state.memories
    return replace(
        state, memories=(replace(first, initial=((30, 3), (40, 1))), replace(second, runs=(), initial=((0, 2),)))
    )


def sample_with_initial_later() -> State:
    """Return what that became a moment later: some of these chunks are others now, and others are such chunks."""
    state = sample_later()
    first, second = state.memories
    content = bytearray(content_of(first))
    content[31 * CHUNK] = 1
    content[21 * CHUNK : 22 * CHUNK] = bytes(CHUNK)
    first = replace(memory_of(bytes(content)), initial=((21, 1), (32, 1), (40, 1)))
    return replace(state, memories=(first, replace(second, initial=((1, 1),))))
