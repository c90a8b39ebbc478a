"""A module that refers to what it does not have stays refused: what instrumenting adds does not come in its place.

Each module here is valid but for one index, which is that of the first memory, global, table, function and so on behind
the module's own. Engines refuse it, and caesura does, with the function and the byte offset, whatever it would add.
"""

from __future__ import annotations

import pytest

import caesura
from caesura.errors import MalformedModule
from tests.host.support import run
from tests.instrument.building import HEADER, NOTHING, is_valid, leb, name, section, vector
from tests.support.engine import assemble

OPTIONS = {
    "plain": caesura.Options(),
    "own memory": caesura.Options(in_secondary_memory=True, thunks=True),
    "pauses": caesura.Options(preempt="fuel", thunks=True),
    "snapshots": caesura.Options(snapshots=True, thunks=True, in_secondary_memory=True),
    "record": caesura.Options(record=True),
    "list": caesura.Options(only_list=("nothing",)),
}
# Code of a function without parameters and results, and what it names. Functions 0 to 2 are there, and type 0 and 1.
ZERO = b"\x41\0"
CODE = {
    "memory": {
        "i32.load": ZERO + b"\x28\x02\0\x1a",
        "i64.store32": ZERO + b"\x42\0\x3e\x02\0",
        "i32.load of memory 1": ZERO + b"\x28\x42\x01\0\x1a",
        "memory.size": b"\x3f\0\x1a",
        "memory.grow": ZERO + b"\x40\0\x1a",
        "memory.fill": 3 * ZERO + b"\xfc\x0b\0",
        "memory.copy": 3 * ZERO + b"\xfc\x0a\0\0",
        "v128.load": ZERO + b"\xfd\0\x04\0\x1a",
        "v128.load8_lane": ZERO + b"\xfd\x0c" + bytes(16) + b"\xfd\x54\0\0\0\x1a",
        "i32.atomic.load": ZERO + b"\xfe\x10\x02\0\x1a",
        "i32.atomic.rmw.add": 2 * ZERO + b"\xfe\x1e\x02\0\x1a",
        "memory.atomic.notify": 2 * ZERO + b"\xfe\0\x02\0\x1a",
    },
    "global": {
        "global.get": b"\x23\0\x1a",
        "global.get of a later one": b"\x23\x02\x1a",
        "global.set": ZERO + b"\x24\0",
    },
    "table": {
        "table.get": ZERO + b"\x25\0\x1a",
        "table.set": ZERO + b"\xd0\x70\x26\0",
        "table.size": b"\xfc\x10\0\x1a",
        "table.grow": b"\xd0\x70\x41\0\xfc\x0f\0\x1a",
        "table.fill": ZERO + b"\xd0\x70\x41\0\xfc\x11\0",
        "table.copy": 3 * ZERO + b"\xfc\x0e\0\0",
        "call_indirect": ZERO + b"\x11\0\0",
    },
    "function": {"call": b"\x10\x03", "ref.func": b"\xd2\x03\x1a", "ref.func of a later one": b"\xd2\x05\x1a"},
    "type": {
        "ref.null": b"\xd0\x02\x1a",
        "struct.new": b"\xfb\0\x02\x1a",
        "a block": b"\x02\x02\x0b",
        "a loop of references": b"\x03\x63\x02\xd0\x02\x0b\x1a",
        "call_ref": b"\xd0\0\x14\x02",
    },
    "data segment": {"data.drop": b"\xfc\x09\0"},
    "element segment": {"elem.drop": b"\xfc\x0d\0"},
    "tag": {"throw": b"\x08\0", "a catch clause": b"\x1f\x40\x02\x02\0\0\0\0\x0b"},
}
CASES = [(what, title) for what, titles in CODE.items() for title in titles]


def module_with(code: bytes, *sections: tuple[int, bytes]) -> bytes:
    """Return a module with an import, a function that calls it, one with this code, and these sections besides."""
    bodies = [b"\0\x41\0\x10\0\x1a\x0b", b"\0" + code + b"\x0b"]
    all_sections = [
        (1, vector([b"\x60\x01\x7f\x01\x7f", NOTHING])),
        (2, vector([name("env") + name("f") + b"\0\0"])),
        (3, vector([b"\x01", b"\x01"])),
        (7, vector([name("run") + b"\0\x01", name("other") + b"\0\x02"])),
        (10, vector([leb(len(body)) + body for body in bodies])),
        *sections,
    ]
    # The data count stands before the code, the tags before the globals.
    order = {12: 9.5, 13: 5.5}
    all_sections.sort(key=lambda one: order.get(one[0], one[0]))
    return HEADER + b"".join(section(number, payload) for number, payload in all_sections)


def test_the_module_is_valid_without_the_index() -> None:
    binary = module_with(b"")
    assert is_valid(binary)
    for options in OPTIONS.values():
        assert is_valid(caesura.instrument(binary, options).module)


@pytest.mark.parametrize("way", OPTIONS)
@pytest.mark.parametrize(("what", "title"), CASES)
def test_in_code(what: str, title: str, way: str) -> None:
    binary = module_with(CODE[what][title])
    with pytest.raises(MalformedModule) as refused:
        caesura.instrument(binary, OPTIONS[way])
    assert what in str(refused.value) and "function 2" in str(refused.value)
    assert refused.value.offset is not None and binary.index(CODE[what][title]) <= refused.value.offset < len(binary)


SECTIONS = {
    "global": [(6, vector([b"\x7f\0\x23\x02\x0b"])), (6, vector([b"\x7f\0\x41\0\x0b", b"\x7f\0\x23\x05\x0b"]))],
    "function": [
        (6, vector([b"\x70\0\xd2\x03\x0b"])),
        (9, vector([b"\x01\0\x01\x03"])),
        (9, vector([b"\x05\x70\x01\xd2\x05\x0b"])),
    ],
    "table": [(9, vector([b"\0\x41\0\x0b\x01\x01"])), (9, vector([b"\x02\x01\x41\0\x0b\0\x01\x01"]))],
    "memory": [(11, vector([b"\0\x41\0\x0b\x01a"])), (11, vector([b"\x02\x01\x41\0\x0b\x01a"]))],
}


@pytest.mark.parametrize("way", OPTIONS)
@pytest.mark.parametrize(("what", "number"), [(what, k) for what, kinds in SECTIONS.items() for k in range(len(kinds))])
def test_in_initializers_and_segments(what: str, number: int, way: str) -> None:
    binary = module_with(b"", SECTIONS[what][number])
    assert not is_valid(binary)
    with pytest.raises(MalformedModule, match=f"{what} index"):
        caesura.instrument(binary, OPTIONS[way])


@pytest.mark.parametrize("imports", [{}, {"env": {"f": lambda value: value}}], ids=["waits", "answers"])
def test_a_host_refuses_it_too(imports: dict[str, dict[str, object]]) -> None:
    async def waiting(value: int) -> int:
        return value

    async def main() -> None:
        for what, title in (("memory", "i32.load"), ("global", "global.set"), ("function", "ref.func")):
            with pytest.raises(MalformedModule, match=f"{what} index"):
                await caesura.load(module_with(CODE[what][title]), imports or {"env": {"f": waiting}}, cache=False)

    run(main())


def test_a_host_refuses_it_if_others_have_instrumented_it() -> None:
    """The host adds exports for saved states to what has none."""
    text = assemble("""(module
      (import "env" "f" (func $f (param i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "run") (result i32) (call $f (i32.const 1)))
      (func (export "other") (result i32) (i32.const 77)))""")
    instrumented = caesura.instrument(text).module
    before = b"\x41\xcd\0\x0b"
    assert instrumented.count(before) == 1
    forged = instrumented.replace(before, b"\x23\x09\x01\x0b")  # global.get 9, nop, end

    async def main() -> None:
        with pytest.raises(MalformedModule, match="global index 9 is out of range"):
            await caesura.load(forged, {"env": {"f": lambda value: value}}, stack_space=(1024, 2048), cache=False)

    run(main())
