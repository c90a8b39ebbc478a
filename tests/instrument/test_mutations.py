"""Whatever bytes come in: what goes wrong is one of our errors, and what comes out of a valid module is a valid module.

Valid modules with much of WebAssembly in them are damaged at random, in a byte or in their structure, and instrumented
and printed with random options. Most are invalid then; readers must find that out before anything relies on it. Those
that an engine still takes must be instrumented, or refused as unsupported, and their output must be taken too.

Some hundreds are tried in each run. More: `pytest tests/instrument/test_mutations.py --mutations=100000
--mutations-seed=1`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import pytest
import wasmtime

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, INLINE, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.wasm.module import Module
from caesura.wasm.print_module import write_text
from tests.instrument.building import custom, leb, name, parts, section
from tests.support.engine import assemble, engine
from tests.support.guests import text_guest

PORTIONS = 5
"""The mutations are divided into tests, so that a run shows progress."""

EVERYTHING = """
  (module $everything
    (rec (type $node (sub (struct (field $next (mut (ref null $node))) (field i8))))
         (type $leaf (sub final $node (struct (field (mut (ref null $node))) (field i8) (field f64)))))
    (type $bytes (array (mut i8))) (type $t (func (param i32) (result i32))) (type $none (func))
    (import "env" "ask" (func $ask (type $t))) (import "env" "tell" (func $tell (param i64 f32 f64 v128)))
    (import "env" "pair" (func $pair (result i32 i64)))
    (import "env" "memory" (memory $shared 1)) (import "env" "place" (global $place (mut i32)))
    (import "env" "size" (global $size i32)) (import "env" "table" (table $theirs 2 funcref))
    (memory $own (export "memory") 1 4) (memory $wide i64 1)
    (table $ours 8 8 funcref) (table $started 2 (ref null $t) (ref.func $double)) (table $objects 1 externref)
    (tag $event (param i32)) (global $counter (export "counter") (mut i64) (i64.const -1))
    (global $sum i32 (i32.add (global.get $size) (i32.const 0x2d2)))
    (global $first (ref $t) (ref.func $double)) (global $leaf (mut (ref null $leaf)) (ref.null $leaf))
    (global $some f64 (f64.const 0x1.2d2d2d2d2d2d2p-2)) (global $lanes v128 (v128.const i32x4 1 2 3 4))
    (export "ask" (func $ask)) (export "started" (table $started)) (export "event" (tag $event))
    (elem $active (table $ours) (i32.const 1) func $double $ask) (elem $passive funcref (ref.null func) (ref.func $run))
    (elem declare func $loop $ask) (data $text (i32.const 8) "text\\00\\d2") (data $later "later")
    (func $double (export "double") (type $t) (i32.mul (local.get 0) (i32.const 2)))
    (func $wrapper (type $t) local.get 0 i32.const 3 i32.add call $ask)
    (func $run (export "run") (param $n i32) (result i32) (local $a i32) (local $b i64) (local $c f64) (local $d v128)
      (local.set $b (i64.extend_i32_u (call $ask (local.get $n))))
      (call $tell (local.get $b) (f32.const 1) (f64.load (i32.const 8)) (v128.load8_splat (i32.const 1)))
      (block $out (loop $again
        (br_table $out $again $out (call_indirect $ours (type $t) (local.get $n) (i32.const 1)))))
      (memory.copy $own $shared (i32.const 0) (i32.const 0) (i32.const 4)) (data.drop $later)
      (if (result i32) (local.get $a)
        (then (call_ref $t (call $wrapper (local.get $n)) (global.get $first)))
        (else (i32.atomic.rmw.add (i32.const 4) (local.get $n)) (call $pair) drop drop))
      (local.set $d (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get $d) (global.get $lanes)))
      (i32.add (call $loop (i32.const 3))))
    (func $loop (param $n i32) (result i32) (local $s i32)
      (block $caught (result i32)
        (try_table (result i32) (catch $event $caught)
          (loop $l
            (local.set $s (i32.add (local.get $s) (call $ask (i32.load8_s offset=4 (local.get $n)))))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          (throw $event (local.get $s)))))
    (func $objects (param externref) (result externref)
      (table.set $objects (i32.const 0) (local.get 0)) (drop (table.grow $ours (ref.func $ask) (i32.const 1)))
      (global.set $leaf (struct.new $leaf (ref.null $node) (i32.const 1) (f64.const 2)))
      (drop (array.new_data $bytes $later (i32.const 0) (i32.const 0))) (table.get $objects (i32.const 0)))
    (func $wide (param i64) (result i64) (i64.load $wide (local.get 0)) (return_call $more))
    (func $more (param i64) (result i64) (i64.add128 (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3)) drop)
    (func $tail (type $none) (drop (call $ask (i32.const 1))) (call $last))
    (func $last (drop (call $ask (i32.const 2))))
    (func $branches (param anyref) (result i32) (local $kept (ref null $node))
      (block $leaf (result i32 (ref $leaf))
        (call $ask (i32.const 1))
        (block $other (result i32 anyref)
          (call $ask (i32.const 8)) (br_on_cast_fail $other anyref (ref $leaf) (local.get 0)) (br $leaf))
        (br_on_cast $leaf anyref (ref $leaf)) (drop) (drop)
        (local.set $kept (struct.new $leaf (ref.null $node) (call $ask (i32.const 2)) (f64.const 3)))
        (return (i32.add (block $null (result i32) (call $ask (i32.const 4)) (br_on_null $null (local.get $kept))
          (i32.add (struct.get_s $node 1 (call $node)))))))
      (drop) (array.len (array.new_fixed $bytes 2 (call $ask (i32.const 5)) (call $ask (i32.const 6)))) (i32.add))
    (func $node (param (ref $node)) (result (ref $node)) (drop (call $ask (i32.const 7)))
      (block $found (result (ref $node)) (br_on_non_null $found (struct.get $node 0 (local.get 0))) (local.get 0))))
"""
CUSTOM = (
    custom("producers", b"\0"),
    custom("target_features", b"\x01+" + name("simd128")),
    custom(".debug_line", b"\1\2\3"),
    custom("metadata.code.branch_hint", b"\x01\x09\x01\x03\x01\x01"),
)

OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {},
    {"optimize": "size"},
    {"optimize": "speed", "two_bodies": "all"},
    {"thunks": True, "in_secondary_memory": True},
    {"thunks": True},
    {"import_globals": True},
    {"export_globals": True, "no_multivalue": True},
    {"asserts": True, "remove_list": ("run", "loop")},
    {"imports": ("env.ask",), "ignore_indirect": True},
    {"translate_to_exnref": True},
)
MOVES = (AUTOMATIC, SHARED, INLINE)


@cache
def corpus() -> list[bytes]:
    """Return the modules that are damaged."""
    texts = [text_guest(title) for title in ("blog", "frames", "tasks", "try", "catching", "try_table")]
    whole = assemble(EVERYTHING) + b"".join(CUSTOM)
    return [whole, whole, whole, *texts]


def damage(binary: bytes, random_: random.Random) -> bytes:
    """Return a module with one to four flaws."""
    for _ in range(random_.choice((1, 1, 1, 2, 4))):
        binary = random_.choice(DAMAGES)(binary, random_)
    return binary


def _other_byte(binary: bytes, random_: random.Random) -> bytes:
    place = random_.randrange(min(8, len(binary) - 1), len(binary))
    value = random_.choice(
        (random_.randrange(256), binary[place] ^ 1 << random_.randrange(8), 0, 0x7F, 0x80, 0xFF, 0x0B)
    )
    return binary[:place] + bytes([value]) + binary[place + 1 :]


def _cut(binary: bytes, random_: random.Random) -> bytes:
    place = random_.randrange(8, len(binary) + 1)
    return binary[:place]


def _in_a_section(binary: bytes, random_: random.Random) -> bytes:
    """Change the length of a section's content, its size being brought up to date."""
    try:
        found = parts(binary)
    except (IndexError, UnicodeDecodeError, AssertionError):
        return binary
    if not found:
        return binary
    chosen = random_.randrange(len(found))
    payload = found[chosen].payload
    start = random_.randrange(len(payload) + 1)
    end = min(len(payload), start + random_.randrange(8))
    inserted = random_.choice(
        (b"", payload[start:end] * 2, leb(random_.getrandbits(random_.randrange(1, 33))), b"\xd2\0")
    )
    payload = payload[:start] + inserted + payload[end:]
    item = found[chosen]
    whole = custom(item.title, payload) if item.number == 0 else section(item.number, payload)
    pieces = [part.raw for part in found]
    pieces[chosen] = whole
    if random_.random() < 0.1:
        pieces[chosen] = b""
    if random_.random() < 0.05:
        random_.shuffle(pieces)
    return binary[:8] + b"".join(pieces)


def _in_code(binary: bytes, random_: random.Random) -> bytes:
    """Exchange bytes of the code, where most of the reading is done."""
    try:
        code = next(item for item in parts(binary) if item.number == 10)
    except (IndexError, UnicodeDecodeError, AssertionError, StopIteration):
        return binary
    start = binary.index(code.raw)
    place = start + random_.randrange(len(code.raw))
    other = binary[start + random_.randrange(len(code.raw)) :][: random_.randrange(1, 5)]
    return binary[:place] + other + binary[place + len(other) :]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _other_byte,
    _other_byte,
    _cut,
    _in_a_section,
    _in_a_section,
    _in_code,
    _in_code,
)


def is_valid(binary: bytes) -> bool:
    """Tell whether an engine takes a module."""
    try:
        wasmtime.Module.validate(engine(), binary)
    except wasmtime.WasmtimeError:
        return False
    return True


def attempt(work: Callable[[], object]) -> caesura.CaesuraError | None:
    """Do something with a damaged module; return the error that says what is wrong with it."""
    try:
        work()
    except caesura.InternalError:
        raise
    except caesura.CaesuraError as error:
        return error
    return None


def flaw(binary: bytes, options: caesura.Options, moves: int) -> str:
    """Return what is wrong with how a module is dealt with; empty where nothing is."""
    outputs: list[bytes] = []

    def transform() -> None:
        outputs.append(instrument_as(binary, options, None, moves, None).module)

    refusals: list[caesura.CaesuraError | None] = []
    try:
        refusals.append(attempt(lambda: write_text(binary, lambda piece: None)))
        refusals.append(attempt(transform))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if not is_valid(binary):
        return ""
    for refusal in refusals:
        if isinstance(refusal, caesura.MalformedModule):
            return f"a valid module is refused: {refusal}"
    return "the output is invalid" if any(not is_valid(output) for output in outputs) else ""


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_damaged_modules(portion: int, pytestconfig: pytest.Config) -> None:
    count = pytestconfig.getoption("--mutations")
    seed = pytestconfig.getoption("--mutations-seed")
    for number in range(portion, count, PORTIONS):
        random_ = random.Random(f"{seed}:{number}")
        binary = damage(random_.choice(corpus()), random_)
        settings = random_.choice(OPTIONS)
        moves = random_.choice(MOVES)
        options = caesura.Options(**settings)  # type: ignore[arg-type]
        found = flaw(binary, options, moves)
        assert not found, f"mutation {number} of seed {seed}, {settings}, moves {moves}: {found}\n{binary.hex()}"


@pytest.mark.parametrize("place", range(6))
def test_what_is_damaged_is_whole(place: int) -> None:
    """Else nothing valid would ever be tried."""
    binary = corpus()[place + 2]
    old_form = [text_guest("try"), text_guest("catching")]  # which this engine does not take
    assert is_valid(binary) or binary in old_form
    has_scheduler = any(item.module == "asyncify" for item in Module(binary).function_imports())
    for settings in OPTIONS:
        # Thunks would take what a scheduler of the guest's own writes for theirs.
        other = {"ignore_imports": True} if has_scheduler and settings.get("thunks") else {}
        caesura.instrument(binary, caesura.Options(**settings, **other))  # type: ignore[arg-type]
