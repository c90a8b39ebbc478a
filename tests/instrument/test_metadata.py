"""Custom sections that describe the module follow what was changed: names, used features, branch hints."""

from __future__ import annotations

import pytest

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.wasm.module import Module
from tests.instrument.building import assert_valid, custom, leb, name, number_at, part, parts, vector
from tests.support.engine import assemble

BRANCH_HINTS = "metadata.code.branch_hint"
SOME_HINTS = "metadata.code.other_hints"
# Added functions that no export names.
UNEXPORTED = {"asyncify_begin", "asyncify_stack_overflow"}

NAMED = """
  (module $program
    (import "env" "f" (func $f (param i32) (result i32)))
    (memory $heap (export "memory") 1)
    (global $counter (mut i32) (i32.const 0))
    (func $quiet (param $x i32) (result i32) local.get $x)
    (func $loop (export "run") (param $n i32) (result i32) (local $sum i32)
      (loop $again
        (local.set $sum (i32.add (local.get $sum) (call $f (local.get $n))))
        (br_if $again (call $f (i32.const 0))))
      local.get $sum))
"""


def name_maps(binary: bytes) -> dict[int, bytes]:
    """Return the subsections of a module's name section."""
    payload = part(binary, "name").payload
    found: dict[int, bytes] = {}
    position = 0
    while position < len(payload):
        number = payload[position]
        size, position = number_at(payload, position + 1)
        found[number] = payload[position : position + size]
        position += size
    return found


def names_in(content: bytes, position: int = 0) -> tuple[dict[int, str], int]:
    """Return a name map and the position behind it."""
    names: dict[int, str] = {}
    count, position = number_at(content, position)
    for _ in range(count):
        index, position = number_at(content, position)
        size, position = number_at(content, position)
        assert index not in names
        names[index] = content[position : position + size].decode()
        position += size
    assert list(names) == sorted(names)
    return names, position


def local_names(content: bytes) -> dict[int, dict[int, str]]:
    """Return the names of locals by function."""
    found: dict[int, dict[int, str]] = {}
    count, position = number_at(content, 0)
    for _ in range(count):
        function, position = number_at(content, position)
        found[function], position = names_in(content, position)
    return found


def test_names_of_functions_and_globals() -> None:
    output = caesura.instrument(assemble(NAMED)).module
    assert_valid(output)
    maps = name_maps(output)
    functions, _ = names_in(maps[1])
    assert {index: functions[index] for index in range(3)} == {0: "f", 1: "quiet", 2: "loop"}
    assert set(functions.values()) >= UNEXPORTED
    assert names_in(maps[7])[0] == {0: "counter", 1: "__asyncify_state", 2: "__asyncify_data"}
    assert names_in(maps[6])[0] == {0: "heap"}
    assert maps[0] == name("program")
    # The labels of `loop`, which is rewritten, are others now.
    assert name_maps(assemble(NAMED))[3] == b"\x01\x02" + b"\x01\x00" + name("again")
    assert maps[3] == b"\x00"


@pytest.mark.parametrize("thunks", [False, True])
def test_every_added_function_has_a_name_of_its_own_or_an_export(thunks: bool) -> None:
    output = Module(caesura.instrument(assemble(NAMED), caesura.Options(thunks=thunks)).module)
    named, _ = names_in(name_maps(output.data)[1])
    exported = {item.index for item in output.exports if item.kind == 0}
    added = set(range(3, len(output.function_types)))
    assert added <= named.keys() | exported
    assert not added & named.keys() & exported


def test_globals_and_memories_are_only_named_where_the_module_does() -> None:
    text = NAMED.replace("$heap ", "").replace("$counter ", "")
    maps = name_maps(caesura.instrument(assemble(text), caesura.Options(in_secondary_memory=True)).module)
    assert 6 not in maps and 7 not in maps
    assert set(names_in(maps[1])[0].values()) >= UNEXPORTED


def test_no_added_function_is_named_where_none_is_instrumented() -> None:
    text = '(module (memory (export "memory") 1) (func $quiet (export "quiet") (param $x i32)))'
    assert name_maps(caesura.instrument(assemble(text)).module) == name_maps(assemble(text))


def test_names_of_added_locals() -> None:
    """The function that names its locals goes on doing so; one that is not touched keeps its names."""
    locals_ = local_names(name_maps(caesura.instrument(assemble(NAMED)).module)[2])
    assert locals_[1] == {0: "x"}
    assert locals_[2][0] == "n" and locals_[2][1] == "sum"
    added = [text for index, text in locals_[2].items() if index > 1]
    assert added and all(text.startswith("asyncify_") for text in added)


def test_locals_are_only_named_where_the_module_does() -> None:
    text = NAMED.replace("$sum", "1").replace("(local 1 i32)", "(local i32)")
    text = text.replace("(param $n i32)", "(param i32)").replace("$n", "0").replace("$x", "").replace("get )", "get 0)")
    maps = name_maps(caesura.instrument(assemble(text)).module)
    assert 1 in maps
    assert 2 not in maps


def test_name_of_an_added_memory() -> None:
    output = caesura.instrument(assemble(NAMED), caesura.Options(in_secondary_memory=True)).module
    assert names_in(name_maps(output)[6])[0] == {0: "heap", 1: "asyncify_memory"}


def test_a_module_without_names_gets_none() -> None:
    binary = assemble('(module (import "env" "f" (func)) (memory 1) (func (export "x") call 0))')
    binary = binary[: len(binary) - len(part(binary, "name").raw)] if "name" in titles(binary) else binary
    assert titles(caesura.instrument(binary).module) == []


def titles(binary: bytes) -> list[str]:
    """Return the names of a module's custom sections."""
    return [item.title for item in parts(binary) if item.number == 0]


def features(binary: bytes) -> list[str]:
    """Return the entries of the target features section, each with its prefix."""
    payload = part(binary, "target_features").payload
    count, position = number_at(payload, 0)
    found: list[str] = []
    for _ in range(count):
        prefix = chr(payload[position])
        size, position = number_at(payload, position + 1)
        found.append(prefix + payload[position : position + size].decode())
        position += size
    assert position == len(payload)
    return found


@pytest.mark.parametrize(
    ("known", "options", "wanted"),
    [
        ([], {}, ["+multivalue"]),
        (["+simd128"], {}, ["+simd128", "+multivalue"]),
        (["+multivalue", "-atomics"], {}, ["+multivalue", "-atomics"]),
        (["-multivalue", "=atomics"], {}, ["+multivalue", "=atomics"]),
        (["-multivalue"], {"no_multivalue": True}, ["-multivalue"]),
        (["+multivalue"], {"thunks": True, "in_secondary_memory": True}, ["+multivalue", "+multimemory"]),
        ([], {"in_secondary_memory": True}, ["+multivalue", "+multimemory"]),
        ([], {"export_globals": True}, ["+multivalue", "+mutable-globals"]),
        ([], {"import_globals": True}, ["+multivalue", "+mutable-globals"]),
    ],
)
def test_target_features(known: list[str], options: dict[str, bool], wanted: list[str]) -> None:
    """What the output newly uses is declared, what was declared stays, nothing is declared twice."""
    payload = vector([text[0].encode() + name(text[1:]) for text in known])
    binary = assemble(NAMED) + custom("target_features", payload)
    output = caesura.instrument(binary, caesura.Options(**options)).module  # type: ignore[arg-type]
    assert features(output) == wanted


def test_target_features_are_not_invented() -> None:
    assert "target_features" not in titles(caesura.instrument(assemble(NAMED)).module)


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x01+\x7f", b"\x01\x2b\x02\xff\xfe"])
def test_broken_target_features_are_kept(payload: bytes) -> None:
    """A custom section never makes a module invalid."""
    binary = assemble(NAMED) + custom("target_features", payload)
    assert part(caesura.instrument(binary).module, "target_features").payload == payload


def hint(function: int, *offsets: int) -> bytes:
    """Return the branch hints of one function: likely, at some offsets in its body."""
    return leb(function) + vector([leb(offset) + b"\x01\x01" for offset in offsets])


def with_hints(text: str, payload: bytes) -> bytes:
    """Return a module with branch hints, which come before the code."""
    binary = assemble(text)
    raw = part(binary, 10).raw
    start = binary.index(raw)
    return binary[:start] + custom(BRANCH_HINTS, payload) + binary[start:]


BRANCHES = """
  (module
    (import "env" "f" (func $f (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $quiet (param i32)
      (if (i32.and (local.get 0) (i32.const 101))
        (then (memory.fill (local.get 0) (local.get 0) (local.get 0)))))
    (func $run (export "run") (param i32) (result i32)
      (if (i32.and (local.get 0) (i32.const 102)) (then (memory.fill (local.get 0) (local.get 0) (local.get 0))))
      (if (i32.and (local.get 0) (i32.const 103)) (then (drop (call $f (i32.const 1)))))
      (if (i32.eqz (i32.and (local.get 0) (i32.const 104)))
        (then (drop (call $f (i32.const 1)))) (else (drop (call $f (i32.const 2)))))
      (block $out
        (loop $again
          (br_if $out (i32.and (local.get 0) (i32.const 105)))
          (local.set 0 (call $f (local.get 0)))
          (if (i32.and (local.get 0) (i32.const 106)) (then (br $out)))
          (br_if $again (i32.and (local.get 0) (i32.const 107)))))
      (i32.add (local.get 0) (call $f (i32.const 3)))))
"""
# The constant before each branch of $run, and whether it is likely to be taken.
HINTED = {102: True, 103: True, 104: False, 105: False, 106: True, 107: False}


def branches(binary: bytes, own: int) -> dict[int, tuple[int, bool]]:
    """Return where the branch behind each of these constants is in a function, and whether it is the opposite one."""
    module = Module(binary)
    body = binary[module.body_starts[own] : module.body_ends[own]]
    found: dict[int, tuple[int, bool]] = {}
    for constant in range(101, 108):
        condition = bytes([0x41, constant | 0x80, 0, 0x71])
        if body.count(condition) == 1:
            place = body.index(condition) + len(condition)
            is_negated = body[place] == 0x45
            place += is_negated
            assert body[place] in (0x04, 0x0D)
            found[constant] = place, is_negated
    return found


@pytest.mark.parametrize("moves", [AUTOMATIC, SHARED])
@pytest.mark.parametrize("two_bodies", ["never", "all"])
def test_branch_hints_follow_their_branches(two_bodies: str, moves: int) -> None:
    """An `if` with a call site becomes a branch around its arm, which is likely where the arm was not."""
    binary = assemble(BRANCHES)
    before = branches(binary, 1)
    assert list(before) == list(HINTED)
    hints = [leb(before[constant][0]) + bytes([1, is_likely]) for constant, is_likely in HINTED.items()]
    quiet = branches(binary, 0)
    payload = vector([hint(1, quiet[101][0]), leb(2) + vector(hints)])
    options = caesura.Options(two_bodies=two_bodies)
    output = instrument_as(with_hints(BRANCHES, payload), options, None, moves, None).module
    assert_valid(output)
    after = branches(output, 1)
    assert list(after) == list(HINTED)
    wanted: list[bytes] = []
    for constant, is_likely in HINTED.items():
        place, is_negated = after[constant]
        wanted.append(leb(place) + bytes([1, is_likely != (is_negated != before[constant][1])]))
    assert part(output, BRANCH_HINTS).payload == vector([hint(1, quiet[101][0]), leb(2) + vector(wanted)])


@pytest.mark.parametrize("asks", ["", "padded"])
def test_hints_follow_in_functions_that_are_guarded(asks: str) -> None:
    """What lists leave out calls other functions than before, by longer or shorter instructions."""
    text = """
      (module
        (import "env" "f" (func $f (param i32) (result i32)))
        (memory (export "memory") 1)
        (type $t (func (param i32) (result i32)))
        (table 1 funcref) (elem (i32.const 0) $inner)
        (func $inner (type $t) (i32.add (call $f (local.get 0)) (i32.const 1)))
        (func $left (export "left") (param i32) (result i32)
          (local.set 0 (call_indirect (type $t) (local.get 0) (i32.const 0)))
          (if (i32.and (local.get 0) (i32.const 102)) (then (local.set 0 (i32.const 1))))
          (block $out
            (local.set 0 (call_indirect (type $t) (local.get 0) (i32.const 0)))
            (br_if $out (i32.and (local.get 0) (i32.const 105))))
          (local.get 0)))
    """
    before = branches(assemble(text), 1)
    payload = vector([hint(2, before[102][0], before[105][0])])
    options = caesura.Options(only_list=("inner",), keep_padding=bool(asks))
    output = caesura.instrument(with_hints(text, payload), options).module
    assert_valid(output)
    after = branches(output, 1)
    assert [after[constant][0] - before[constant][0] for constant in (102, 105)] == ([0, 0] if asks else [-1, -2])
    assert part(output, BRANCH_HINTS).payload == vector([hint(2, after[102][0], after[105][0])])


def test_hints_of_other_places_in_rewritten_functions_are_dropped() -> None:
    binary = with_hints(NAMED, vector([hint(1, 3), hint(2, 5, 9)]))
    assert part(caesura.instrument(binary).module, BRANCH_HINTS).payload == vector([hint(1, 3)])


def test_branch_hints_stay_where_nothing_is_rewritten() -> None:
    payload = vector([hint(1, 3), hint(2, 5, 9)])
    output = caesura.instrument(with_hints(NAMED, payload), caesura.Options(ignore_imports=True)).module
    assert part(output, BRANCH_HINTS).payload == payload


def test_metadata_of_code_that_is_not_known() -> None:
    """All sections of the kind have one format: what is said of whole functions stays, what of instructions goes."""
    payload = vector([hint(1, 0, 3), hint(2, 0, 5, 9)])
    binary = with_hints(NAMED, payload).replace(name(BRANCH_HINTS), name(SOME_HINTS))
    output = caesura.instrument(binary).module
    assert part(output, SOME_HINTS).payload == vector([hint(1, 0, 3), hint(2, 0)])


def test_hints_that_name_functions_go_where_functions_are_renumbered() -> None:
    text = NAMED.replace("(import", '(import "asyncify" "stop_unwind" (func $stop)) (import', 1)
    title = "metadata.code.call_targets"
    for source, kept in ((NAMED, [title]), (text, [])):
        binary = assemble(source)
        start = binary.index(part(binary, 10).raw)
        binary = binary[:start] + custom(title, vector([hint(1, 3)])) + binary[start:]
        assert [found for found in titles(caesura.instrument(binary).module) if found == title] == kept


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x01\x01\x7f", b"\0\0", b"\x01\x63\x00"])
def test_broken_branch_hints_do_not_matter(payload: bytes) -> None:
    output = caesura.instrument(with_hints(NAMED, payload)).module
    assert_valid(output)
    assert part(output, BRANCH_HINTS).payload == b"\0"
