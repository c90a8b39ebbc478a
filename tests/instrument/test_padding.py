"""Numbers that a linker padded: code is written with the shortest ones, whatever refers to places in it follows.

Modules are built twice, with padded numbers and with short ones; what comes out must be the same.
"""

from __future__ import annotations

import json

import pytest

import caesura
from caesura.cli.wasm_opt.source_map import carry, decode_mappings, encode_mappings
from caesura.wasm.module import Module
from caesura.wasm.shortest import has_padding, shorten_code
from tests.instrument.building import HEADER, assert_valid, custom, leb, name, part, section, vector
from tests.support.engine import assemble

ASK, QUIET, ASKING = 0, 1, 2
HINTS = "metadata.code.branch_hint"


def signed(value: int, width: int = 0) -> bytes:
    """Return a signed LEB128 number, of exactly `width` bytes if that is given."""
    out = bytearray()
    while len(out) + 1 < width or not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def body(call: int, width: int) -> bytes:
    """A function with numbers of all the kinds that linkers patch: `width` is theirs, of 64-bit ones twice that."""
    return (
        (leb(1, width) + leb(1, width) + b"\x7f")
        + (b"\x41" + signed(-5, width) + b"\x21\x00" + b"\x41" + signed(64, width) + b"\x1a")
        + (b"\x42" + signed(-(2**40), 2 * width) + b"\x1a")
        + (b"\x44" + b"\x80\0\x80\x7f\x80\0\x80\0" + b"\x1a")  # an f64 that looks padded
        + (b"\x23" + leb(0, width) + b"\x04\x40")
        + (b"\x41\x08\x28\x02" + leb(1000, width) + b"\x1a\x0b")
        + (b"\x41\x00\x11" + leb(0, width) + leb(0, width))
        + (b"\x02" + signed(-64, 1) + b"\xd2" + leb(ASK, width) + b"\x1a\x0b")
        + (b"\x10" + leb(call, width) + b"\x20\x00\x24" + leb(0, width) + b"\x0b")
    )


def module(width: int, segment: bytes = b"\3\0\1\0") -> bytes:
    """Return a module with a function that cannot suspend and one that can, and a hint for an `if` in each.

    The element segment only declares the import, which the first function refers to.
    """
    bodies = [body(QUIET, width), body(ASK, width)]
    hints = [
        leb(function) + vector([leb(code.index(b"\x04\x40")) + b"\x01\x01"])
        for function, code in zip((QUIET, ASKING), bodies, strict=True)
    ]
    return (
        HEADER
        + section(1, vector([b"\x60\0\0"]))
        + section(2, vector([name("env") + name("ask") + b"\0\0"]))
        + section(3, vector([b"\0", b"\0"]))
        + section(4, b"\x01\x70\0\x01")
        + section(5, b"\x01\0\x01")
        + section(6, b"\x01\x7f\x01\x41\0\x0b")
        + section(7, vector([name("run") + b"\0" + leb(ASKING), name("quiet") + b"\0" + leb(QUIET)]))
        + section(9, vector([segment]))
        + custom(HINTS, vector(hints))
        + section(10, vector([leb(len(code), width) + code for code in bodies]))
    )


OPTIONS = [
    pytest.param({}, id="default"),
    pytest.param({"ignore_indirect": True}, id="one function stays"),
    pytest.param({"imports": ("env.none",)}, id="all functions stay"),
    pytest.param({"two_bodies": "all"}, id="two bodies"),
    pytest.param({"thunks": True}, id="thunks"),
    pytest.param({"import_globals": True}, id="renumbered"),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_padded_or_not_the_output_is_the_same(options: dict[str, object]) -> None:
    padded, short = module(5), module(0)
    assert len(padded) > len(short)
    assert_valid(padded)
    output = caesura.instrument(padded, caesura.Options(**options)).module  # type: ignore[arg-type]
    assert output == caesura.instrument(short, caesura.Options(**options)).module  # type: ignore[arg-type]
    assert_valid(output)


def hints_of(output: bytes) -> bytes:
    """Return hints for the `if` in the function that cannot suspend and in the other one, as they should be."""
    read = Module(output)
    hints: list[bytes] = []
    for own in (0, 1):
        code = output[read.body_starts[own] : read.body_ends[own]]
        hints.append(leb(own + 1) + vector([leb(code.index(b"\x04\x40\x41\x08")) + b"\x01\x01"]))
    return vector(hints)


def test_hints_point_to_their_instructions() -> None:
    options = caesura.Options(ignore_indirect=True, no_guard=True)
    output = caesura.instrument(module(5), options).module
    read = Module(output)
    assert part(output, HINTS).payload == hints_of(output)
    code = output[read.body_starts[0] : read.body_ends[0]]
    assert code == body(QUIET, 0)


def test_padding_is_kept_where_that_is_asked_for() -> None:
    options = caesura.Options(ignore_indirect=True, keep_padding=True, no_guard=True)
    output = caesura.instrument(module(5), options).module
    assert leb(len(body(QUIET, 5)), 5) + body(QUIET, 5) in output
    assert part(output, HINTS).payload == hints_of(output)
    shorter = caesura.Options(ignore_indirect=True, no_guard=True)
    assert len(output) > len(caesura.instrument(module(5), shorter).module)


@pytest.mark.parametrize(
    "lists", [{"only_list": ("run",)}, {"remove_list": ("quiet",)}], ids=["only-list", "remove-list"]
)
def test_where_padding_is_kept_calls_of_what_a_list_leaves_out_stay_as_long(lists: dict[str, tuple[str, ...]]) -> None:
    """They are calls of other functions, by name; those through a table become shorter, so something stands behind.

    References of imports are of others, too.
    """
    before = body(QUIET, 5)
    binary = module(5, b"\0\x41\0\x0b\1\0")  # the import is in the table
    output = caesura.instrument(binary, caesura.Options(keep_padding=True, **lists)).module  # type: ignore[arg-type]
    assert_valid(output)
    read = Module(output)
    now = output[read.body_starts[0] : read.body_ends[0]]
    through_table = before.index(b"\x11" + leb(0, 5))
    assert now[:through_table] == before[:through_table]
    assert (now[through_table], now[through_table + 6 : through_table + 11]) == (0x10, b"\x01" * 5)
    assert len(now) == len(before)
    reference = before.index(b"\xd2" + leb(ASK, 5))
    assert now[through_table + 11 : reference + 1] == before[through_table + 11 : reference + 1]
    assert now[reference + 6 :] == before[reference + 6 :]
    assert part(output, HINTS).payload == hints_of(output)
    short = caesura.instrument(binary, caesura.Options(**lists)).module  # type: ignore[arg-type]
    assert len(short) < len(output)


def test_a_source_map_follows() -> None:
    """Each instruction of a function that stays is mapped to where it is now."""
    padded, short = module(5), module(0)
    before, now = Module(padded), Module(short)
    old_places, new_places = _opcodes(padded, before, 0), _opcodes(short, now, 0)
    assert len(old_places) == len(new_places)
    document = {
        "version": 3,
        "sources": ["a"],
        "mappings": encode_mappings([(place, (0, line, 0)) for line, place in enumerate(old_places)]),
    }
    output = caesura.instrument(padded, caesura.Options(ignore_indirect=True)).module
    carried = decode_mappings(json.loads(carry(json.dumps(document), padded, output))["mappings"])
    start = Module(output).body_starts[0]
    mapped = {offset - start: place[1] for offset, place in carried}
    for line, place in enumerate(new_places):
        assert mapped[place - now.body_starts[0]] == line


def _opcodes(binary: bytes, read: Module, own: int) -> list[int]:
    """Return where instructions begin that these tests know without decoding: the two calls and the `if`."""
    code = binary[read.body_starts[own] : read.body_ends[own]]
    return [read.body_starts[own] + code.index(opcode) for opcode in (b"\x04\x40", b"\x41\x08\x28", b"\x41\x00\x11")]


def test_messages_have_the_offsets_of_the_file() -> None:
    """A function that is refused is named with the byte offset that it has in the module that was given."""
    call = b"\x10" + leb(7, 5)
    code = b"\0\x41" + signed(1, 5) + b"\x1a" + call + b"\x0b"
    binary = (
        HEADER
        + section(1, vector([b"\x60\0\0"]))
        + section(2, vector([name("env") + name("ask") + b"\0\0"]))
        + section(3, vector([b"\0"]))
        + section(5, b"\x01\0\x01")
        + section(10, vector([leb(len(code)) + code]))
    )
    with pytest.raises(caesura.MalformedModule, match="function index 7 is out of range") as refused:
        caesura.instrument(binary)
    assert refused.value.offset == binary.index(call)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (b"\x41\x80\x80\x80\x80\x00", b"\x41\x00"),
        (b"\x41\xff\xff\xff\xff\x7f", b"\x41\x7f"),
        (b"\x41\xc0\x00", b"\x41\xc0\x00"),  # 64: with one byte it would be -64
        (b"\x41\xbf\x7f", b"\x41\xbf\x7f"),  # -65
        (b"\x41\xc0\x80\x00", b"\x41\xc0\x00"),
        (b"\x10\xff\x80\x00", b"\x10\x7f"),  # an index: unsigned
        (b"\x10\xff\x7f", b"\x10\xff\x7f"),
        (b"\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", b"\x42\x00"),
        (b"\x28\x82\x00\x88\x80\x00", b"\x28\x02\x08"),
        (b"\x28\x42\x81\x00\x88\x80\x00", b"\x28\x42\x01\x08"),  # of another memory
        (b"\x11\x81\x00\x82\x00", b"\x11\x01\x02"),
        (b"\x02\x83\x00\x0b", b"\x02\x03\x0b"),
        (b"\x02\x63\x83\x00\x0b", b"\x02\x63\x03\x0b"),
        (b"\x1f\x40\x02\x00\x81\x00\x00\x02\x00\x0b", b"\x1f\x40\x02\x00\x01\x00\x02\x00\x0b"),
        (b"\xd0\xf0\x7f", b"\xd0\x70"),  # a heap type: signed
        (b"\xd0\x83\x80\x00", b"\xd0\x03"),
        (b"\xfd\x54\x80\x00\x80\x00\x03", b"\xfd\x54\x00\x00\x03"),  # a lane stays
        (b"\xfc\x0a\x81\x00\x80\x00", b"\xfc\x0a\x01\x00"),
        (b"\x43\x80\x00\x80\x00", b"\x43\x80\x00\x80\x00"),
        (b"\xfd\x0c" + b"\x80\x00" * 8, b"\xfd\x0c" + b"\x80\x00" * 8),
    ],
)
def test_shortest_forms(long: bytes, short: bytes) -> None:
    assert shorten_code(b"\x01" + long + b"\x1a") == b"\x01" + short + b"\x1a"


@pytest.mark.parametrize("constant", ["i32.const 64", "i32.const -65", "i64.const 64"])
def test_numbers_that_are_not_padded_are_no_padding(constant: str) -> None:
    assert not has_padding(Module(assemble(f"(module (func (drop ({constant}))))")))


def test_what_is_not_padded_stays_byte_for_byte() -> None:
    binary = assemble('(module (memory 1) (func (export "f") (result i32) (i32.const 128)))')
    assert part(binary, 10).payload[1:] in caesura.instrument(binary).module
