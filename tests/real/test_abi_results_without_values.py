"""Functions that never return, since their results have types without any value, can be suspended all the same.

They end by exceptions and traps, which callers see as in the module that was given, wherever the guest was suspended
before: called by name, through tables and references, as a subtype, and by tail calls.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wasmtime

import caesura
from caesura.errors import MalformedModule
from caesura.instrument.frames.pieces import AUTOMATIC, INLINE, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.plan.grouping import EVERYWHERE
from caesura.wasm.module import Module
from caesura.wasm.names import LABEL_NAMES, LOCAL_NAMES, Names
from tests.instrument.building import assert_valid, bodies, custom, leb, part, vector
from tests.support.engine import assemble
from tests.support.node import newer_node, run_driver
from tests.support.plain_abi import PlainGuest, always, never, some

TEXT = """
  (module
    (type $empty (struct (field (ref none))))
    (rec (type $one (struct (field (ref $other)))) (type $other (struct (field i32) (field (ref $one)))))
    (type $any (sub (func (param i32) (result (ref any)))))
    (type $below (sub $any (func (param i32) (result (ref none)))))
    (type $null (sub (func (param i32) (result anyref))))
    (type $below_null (sub $null (func (param i32) (result (ref none)))))
    (type $never (func (param i32) (result (ref none))))
    (type $value (func (result (ref none))))
    (type $sum (func (param i32) (result i32)))
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (tag $thrown (param i32))
    (table $t (export "t") 4 funcref)
    (elem (table $t) (i32.const 0) func $fail $as_any $as_null $small)
    (elem declare func $fail $as_any $as_null $small)
    (global $calls (export "depth") (mut i32) (i32.const 0))

    (func $throw (param i32) (result (ref nofunc))
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (throw $thrown (call $ask (local.get 0))))
    (func $fail (type $never)
      (drop (call $throw (i32.add (local.get 0) (i32.const 1)))) (unreachable))
    (func $as_any (type $below) (call $fail (i32.add (local.get 0) (i32.const 2))))
    (func $as_null (type $below_null) (call $fail (call $ask (local.get 0))))
    (func $small (type $any) (ref.i31 (call $ask (local.get 0))))

    (func $no_extern (param i32) (result (ref noextern)) (drop (call $throw (local.get 0))) (unreachable))
    (func $no_exception (param i32) (result (ref noexn)) (drop (call $throw (local.get 0))) (unreachable))
    (func $structure (param i32) (result (ref $empty)) (struct.new $empty (call $fail (local.get 0))))
    (func $ring (param i32) (result (ref $one)) (drop (call $throw (local.get 0))) (unreachable))
    (func $several (param i32) (result i32 (ref none) i64 (ref $other))
      (local.get 0) (call $fail (local.get 0)) (i64.const 3)
      (struct.new $other (i32.const 1) (call $ring (i32.const 4))))
    ;; what is left behind a branch that is not taken has the label's types
    (func $branches (param i32) (result (ref none)) (local $x (ref none))
      (call $fail (local.get 0))
      (br_if 0 (local.get 0))
      (local.set $x)
      (block $here (type $value) (br_if $here (local.get $x) (i32.const 0)) (br_if 1 (i32.const 1))))

    (func $again (param i32) (result (ref none))
      (if (i32.eqz (call $ask (local.get 0))) (then (return_call $fail (i32.const 9))))
      (return_call $no_values (i32.sub (local.get 0) (i32.const 1))))
    (func $no_values (param i32) (result (ref none))
      (if (i32.lt_s (local.get 0) (i32.const 1)) (then (return_call $fail (i32.const 8))))
      (return_call $again (local.get 0)))
    ;; exceptions of what took its place are none of a function's own tries'
    (func $leaves (param i32) (result (ref any))
      (block $caught (result i32)
        (try_table (catch $thrown $caught)
          (if (i32.eq (local.get 0) (i32.const 1)) (then (return_call $fail (call $ask (local.get 0)))))
          (if (i32.eq (local.get 0) (i32.const 2))
            (then (return_call_indirect $t (type $never) (call $ask (i32.const 5)) (i32.const 0))))
          (if (i32.eq (local.get 0) (i32.const 3))
            (then (return_call_ref $never (call $ask (i32.const 6)) (ref.func $fail))))
          (if (i32.eq (local.get 0) (i32.const 4)) (then (return_call $fail (i32.const 2))))
          (return_call $small (local.get 0)))
        (i32.const 3))
      (ref.i31))

    (func $catching (export "catching") (param $how i32) (param $n i32) (result i32)
      (block $caught (result i32)
        (try_table (catch $thrown $caught)
          (block (block (block (block (block (block (block (block (block (block (block (block
            (br_table 0 1 2 3 4 5 6 7 8 9 10 11 (local.get $how)))
            (drop (call $fail (local.get $n))))
            (drop (call_indirect $t (type $never) (local.get $n) (i32.const 0))))
            (drop (call_ref $never (local.get $n) (ref.func $fail))))
            (drop (call_indirect $t (type $any) (local.get $n) (i32.and (local.get $n) (i32.const 3)))))
            (drop (call_indirect $t (type $null) (local.get $n) (i32.const 2))))
            (drop (call_ref $any (local.get $n) (ref.func $as_any))))
            (drop (call $no_extern (local.get $n))))
            (drop (call $no_exception (local.get $n))))
            (drop (call $structure (local.get $n))))
            (call $several (local.get $n)) (drop) (drop) (drop) (drop))
            (drop (call $branches (local.get $n))))
          (drop (call $again (local.get $n))))
        (i32.const -1))
      (i32.add (call $ask (local.get $n))))
    (func (export "leaving") (param $n i32) (result i32)
      (block $caught (result i32)
        (try_table (catch $thrown $caught)
          (return (i31.get_u (ref.cast (ref i31) (call $leaves (local.get $n))))))
        (unreachable))
      (i32.add (i32.const 100000)))
    (func (export "cast") (param $n i32) (result i32)
      (i32.add (ref.test (ref $never) (table.get $t (local.get $n)))
        (i32.add (i32.mul (i32.const 10) (ref.test (ref $any) (table.get $t (local.get $n))))
          (i32.mul (i32.const 100) (ref.test (ref $below) (table.get $t (local.get $n)))))))
    (func (export "trapping") (param i32) (result (ref noextern))
      (drop (call $ask (local.get 0))) (unreachable)))
"""

WAYS = {
    "as it is": (caesura.Options(), AUTOMATIC, None),
    "two bodies": (caesura.Options(two_bodies="all"), AUTOMATIC, None),
    "for size": (caesura.Options(optimize="size"), SHARED, None),
    "inline and groups": (caesura.Options(two_bodies="never"), INLINE, EVERYWHERE),
}
CALLS: list[tuple[str, tuple[int, ...]]] = [
    *[("catching", (how, number)) for how in range(12) for number in (0, 1, 2, 3)],
    *[("leaving", (number,)) for number in range(6)],
    *[("cast", (number,)) for number in range(4)],
]
# What lies there has not the type that is called.
TRAPPING = [("catching", (3, 0)), ("catching", (3, 2))]


def ask(number: int) -> int:
    return (number * 7 + 3) & 15


@pytest.mark.parametrize("way", WAYS)
def test_they_end_as_ever(way: str) -> None:
    original = assemble(TEXT)
    options, moves, groups = WAYS[way]
    module = instrument_as(original, options, None, moves, groups).module
    runs = []
    for binary, suspend_at in ((original, never), (module, always), (module, some(list(WAYS).index(way), 0.5))):
        guest = PlainGuest(binary, {("env", "ask"): ask}, suspend_at=suspend_at)
        results = [_outcome(guest, name, *arguments) for name, arguments in CALLS]
        bad = [CALLS[place] for place in range(len(CALLS)) if results[place] == wasmtime.TrapCode.BAD_SIGNATURE]
        assert bad == TRAPPING
        assert _outcome(guest, "trapping", 7) == wasmtime.TrapCode.UNREACHABLE
        runs.append((results, guest.globals(), guest.log))
        assert guest.suspensions > 0 or binary is original
    assert runs[1] == runs[0]
    assert runs[2] == runs[0]


def _outcome(guest: PlainGuest, name: str, *arguments: int) -> object:
    try:
        return guest.call(name, *arguments)
    except wasmtime.Trap as trap:
        return trap.trap_code


def test_they_end_as_ever_in_node(tmp_path: Path) -> None:
    original = assemble(TEXT)
    module = tmp_path / "guest.wasm"
    module.write_bytes(caesura.instrument(original).module)
    calls = [call for call in CALLS if call not in TRAPPING]
    guest = PlainGuest(original, {("env", "ask"): lambda number: (number * 31 + 7) & 0xFFFF})
    results = [guest.call(name, *arguments) for name, arguments in calls]
    told = run_driver(
        "plain.mjs", module, "1", json.dumps([[name, *arguments] for name, arguments in calls]), node=newer_node()
    )
    assert told["results"] == results
    assert told["suspensions"] == len(guest.log) > 100
    assert told["depth"] == guest.globals()["depth"]


def test_what_never_suspends_stays() -> None:
    text = TEXT.replace('(import "env" "ask" (func $ask (param i32) (result i32)))', "")
    original = assemble(text.replace("(memory", "(func $ask (param i32) (result i32) (local.get 0)) (memory"))
    module = caesura.instrument(original, caesura.Options(ignore_indirect=True)).module
    assert bodies(module)[: len(bodies(original))] == bodies(original)


@pytest.mark.parametrize("thunks", [False, True])
@pytest.mark.parametrize("heap", ["none", "nofunc", "noextern"])
def test_an_import_that_never_returns(heap: str, thunks: bool, tmp_path: Path) -> None:
    """It can be suspended as any other; what it throws when it is resumed arrives."""
    module = tmp_path / "guest.wasm"
    original = assemble(f"""
      (module
        (import "env" "fail" (func $fail (param i32) (result i32 (ref {heap}))))
        (memory (export "memory") 5)
        (export "fail" (func $fail))
        (func (export "run") (param i32) (local $kept i32)
          (local.set $kept (i32.add (local.get 0) (i32.const 1)))
          (call $fail (local.get $kept)) (drop) (drop)))
    """)
    module.write_bytes(caesura.instrument(original, caesura.Options(thunks=thunks)).module)
    told = run_driver("never.mjs", module, node=newer_node())
    assert told == {"run": "failed with 8", "fail": "failed with 7"}


def test_a_long_chain_of_structures_without_null() -> None:
    """What stands for a value that nobody looks at is made of one of each structure that it has to hold."""
    types = "".join(f"(type $s{place} (struct (field (ref $s{place - 1}))))" for place in range(1, 3000))
    original = assemble(f"""
      (module
        (type $s0 (struct (field i32))) {types}
        (import "env" "ask" (func $ask))
        (memory 1)
        (global $s (mut (ref null $s2999)) (ref.null $s2999))
        (func (export "run") (result (ref $s2999)) (call $ask) (ref.as_non_null (global.get $s))))
    """)
    assert_valid(caesura.instrument(original).module)


def test_hints_follow_their_branches_and_names_of_labels_go() -> None:
    text = """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (func $fail (param i32) (result (ref none)) (drop (call $ask (i32.const 0))) (unreachable))
        (func $quiet (param $x i32)
          (block $label (br_if $label (local.get $x)) (drop (call $quiet_fail (i32.const 1)))))
        (func $quiet_fail (param i32) (result (ref none)) (block $label (br_if $label (local.get 0))) (unreachable)))
    """
    original = Module(assemble(text))
    places = [_branch(original, own) for own in (1, 2)]
    hints = [leb(own + 1) + vector([leb(place) + b"\1\1"]) for own, place in zip((1, 2), places, strict=True)]
    made = caesura.instrument(original.data + custom("metadata.code.branch_hint", vector(hints))).module
    assert_valid(made)
    moved = [_branch(Module(made), own) for own in (1, 2)]
    assert moved == [places[0], places[1] + 3]
    hints = [leb(own + 1) + vector([leb(place) + b"\1\1"]) for own, place in zip((1, 2), moved, strict=True)]
    assert part(made, "metadata.code.branch_hint").payload == vector(hints)
    section = Module(made).custom_section("name")
    assert section is not None
    labels = Names(made[section.payload : section.end])
    assert (labels.inner(LOCAL_NAMES, 2), labels.inner(LABEL_NAMES, 2)) == ({0: "x"}, {})


def _branch(module: Module, own: int) -> int:
    """Return where the first br_if of a function is."""
    start = module.body_starts[own]
    return module.data.index(b"\x0d", start) - start


def test_errors_say_where_in_the_module_that_was_given() -> None:
    binary = bytearray(
        assemble("""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (func $fail (param i32) (result (ref none)) (drop (call $ask (i32.const 0x3f))) (unreachable))
        (func $run (drop (call $fail (i32.const 2))) (drop (i32.const 0x3f))))
    """)
    )
    place = binary.rindex(b"\x41\x3f")
    binary[place] = 0x20
    with pytest.raises(MalformedModule, match="local index 63 is out of range") as caught:
        caesura.instrument(bytes(binary))
    assert (caught.value.offset, caught.value.function) == (place, "function 2 (run)")
