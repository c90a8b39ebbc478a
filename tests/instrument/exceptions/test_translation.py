"""What becomes of each old-form construct, of the module around it, and of what makes no sense."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Final

import pytest
import wasmtime

import caesura
from caesura.errors import MalformedModule
from caesura.instrument.exceptions.translate import translate_to_exnref
from caesura.wasm.module import Module
from caesura.wasm.names import LABEL_NAMES, LOCAL_NAMES, Names
from caesura.wasm.print_module import print_module
from caesura.wasm.sections import encode_custom
from tests.instrument.building import custom, leb, name, parts, vector
from tests.instrument.exceptions.engines import new_node, node, run_in_wasmtime
from tests.support.engine import assemble, engine
from tests.support.node import newer_node

# `$work` ends in another way for each argument: it returns 1, throws one of the tags, or traps.
_AROUND: Final = """
  (tag $one (param i32)) (tag $two (param i32 i64)) (tag $none)
  (global $hash (export "hash") (mut i64) (i64.const 0))
  (func $note (param i64)
    (global.set $hash (i64.add (i64.mul (global.get $hash) (i64.const 100)) (local.get 0))))
  (func $work (param i32) (result i32)
    (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $one (i32.const 11))))
    (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $two (i32.const 22) (i64.const 23))))
    (if (i32.eq (local.get 0) (i32.const 3)) (then (throw $none)))
    (if (i32.eq (local.get 0) (i32.const 4)) (then unreachable))
    (i32.const 1))
"""

# A body of `run`, and what it returns for 0 to 3 ("e" where an exception leaves it); with 4, $work traps.
_BODIES: Final = {
    "catch": (
        "try (result i32) local.get 0 call $work catch $one catch $two drop i32.const 5 i32.add end",
        "1 11 27 e",
    ),
    "catch_all": (
        "try (result i32) local.get 0 call $work catch $none i32.const 3 catch_all i32.const 4 end",
        "1 4 4 3",
    ),
    "no handler": ("try (result i32) local.get 0 call $work end", "1 e e e"),
    "parameters": (
        """i32.const 100 local.get 0
           try (param i32 i32) (result i32) call $work i32.add catch $one catch_all i32.const 9 end""",
        "101 11 9 9",
    ),
    "rethrow": (
        """try (result i32)
             try (result i32) local.get 0 call $work
             catch $one call $drop rethrow 0
             catch $two drop drop try rethrow 1 catch $two drop drop end i32.const 7
             catch_all rethrow 0 end
           catch $one i32.const 40 i32.add
           catch_all i32.const 8 end""",
        "1 51 7 8",
    ),
    "rethrow of the outer one": (
        """try (result i32)
             try (result i32) local.get 0 call $work
             catch_all
               try (result i32) i32.const 2 call $work
               catch $two drop drop rethrow 1 end
             end
           catch $one i32.const 30 i32.add end""",
        "1 41 e e",
    ),
    "rethrow in a branch": (
        """try (result i32) local.get 0 call $work
           catch $one drop loop (result i32) local.get 0 if rethrow 2 end i32.const 0 end
           catch_all i32.const 6 local.get 0 i32.const 3 i32.eq br_if 0 drop rethrow 0 end""",
        "1 e e 6",
    ),
    "delegate to the function": (
        """try (result i32)
             try (result i32) local.get 0 call $work delegate 1
           catch_all i32.const 9 end""",
        "1 e e e",
    ),
    "delegate to a try": (
        """try (result i32)
             try (result i32)
               try (result i32) local.get 0 call $work delegate 1
             catch_all i32.const 9 end
           catch $one catch_all i32.const 8 end""",
        "1 11 8 8",
    ),
    "delegate to a block in a try": (
        """try (result i32)
             block (result i32)
               try (result i32)
                 try (result i32) local.get 0 call $work delegate 1
               catch_all i32.const 9 end
             end
           catch_all i32.const 8 end""",
        "1 8 8 8",
    ),
    "delegate to a delegate": (
        """try (result i32)
             try (result i32)
               try (result i32)
                 try (result i32)
                   try (result i32) local.get 0 call $work delegate 1
                 catch_all i32.const 9 end
               delegate 1
             catch_all i32.const 7 end
           catch_all i32.const 8 end""",
        "1 8 8 8",
    ),
    "delegate into a handler": (
        """try (result i32)
             try (result i32) i32.const 3 call $work
             catch_all
               try (result i32)
                 try (result i32) local.get 0 call $work delegate 1
               catch_all i32.const 9 end
             end
           catch_all i32.const 8 end""",
        "1 8 8 8",
    ),
    "delegate with parameters": (
        """try (result i32)
             i32.const 50 local.get 0
             try (param i32 i32) (result i32)
               try (param i32) (result i32) call $work delegate 1
               i32.add
             catch_all i32.const 9 end
           catch $one catch_all i32.const 8 end""",
        "51 11 8 8",
    ),
    "branches": (
        """block (result i32)
             loop (result i32)
               try (result i32)
                 local.get 0 call $work i32.const 60 i32.add br 2
               catch $one br 0
               catch $two drop local.get 0 br_table 0 0 2
               catch_all
                 local.get 0 i32.const 3 i32.eq if i32.const 0 local.set 0 br 2 end
                 i32.const 70 i32.const 1 br_if 2 drop i32.const 2 end
             end
           end""",
        "61 11 22 61",
    ),
    "code that is not reached": (
        """try (result i32)
             local.get 0 call $work return
             try (result i32) unreachable catch_all rethrow 0 end
           catch $one return i32.const 1 i32.const 2 br_if 0 drop
           catch_all i32.const 8 br 0 try delegate 0 unreachable end""",
        "1 11 8 8",
    ),
}


def _binary(body: str) -> bytes:
    text = f"""(module {_AROUND}
      (func $drop (param i32) (call $note (i64.extend_i32_u (local.get 0))))
      (func (export "run") (param i32) (result i32) {body}))"""
    return assemble(text)


def _translated(binary: bytes) -> bytes:
    return translate_to_exnref(Module(binary)).module.data


@pytest.mark.parametrize("case", _BODIES)
def test_constructs_do_what_they_did(case: str) -> None:
    """Traps go past every handler, in both forms."""
    body, ends = _BODIES[case]
    binary = _binary(body)
    arguments = [0, 1, 2, 3, 4]
    with node() as old, new_node() as new:
        before = old.run(binary, arguments)
        after = new.run(_translated(binary), arguments)
    expected = [{"e": "exception"}.get(end, end) for end in ends.split()]
    assert [end for end, _ in before] == [*expected, "trap"]
    assert after == before
    assert run_in_wasmtime(_translated(binary), arguments) == before


def test_a_delegate_out_of_a_new_form_try() -> None:
    """No engine runs both forms in one module, but they make sense together."""
    binary = _binary("""
      block $caught (result i32)
        try_table (result i32) (catch $one $caught)
          try (result i32)
            try (result i32) local.get 0 call $work delegate 1
          catch_all i32.const 9 end
        end
      end""")
    ends = [end for end, _ in run_in_wasmtime(_translated(binary), [0, 1, 2, 3])]
    assert ends == ["1", "11", "exception", "exception"]


def test_only_a_delegate_past_a_handler_costs_a_handler() -> None:
    text = print_module(_translated(_binary("try (result i32) local.get 0 call $work delegate 0")))
    assert "try_table" not in text


def test_handlers_beside_each_other_share_a_local() -> None:
    handler = "try local.get 0 call $work drop catch_all rethrow 0 end"
    nested = f"try local.get 0 call $work drop catch_all {handler} rethrow 0 end"
    text = print_module(_translated(_binary(f"{handler} {handler} {nested} i32.const 0")))
    assert "(local exnref exnref)" in text


def test_what_has_no_old_form_stays() -> None:
    """A module without one is not touched; of one with it, only what speaks of the functions in question."""
    without = assemble(
        "(module (tag $t) (func block (result exnref) try_table (catch_all_ref 0) end return end throw_ref))"
    )
    module = Module(without)
    assert translate_to_exnref(module).module is module
    binary = _binary(_BODIES["catch"][0])
    binary += encode_custom("producers", b"\0") + encode_custom("anything", b"\1\2")
    before, after = Module(binary), Module(_translated(binary))
    for own in range(2):
        old, new = (
            slice(before.body_starts[own], before.body_ends[own]),
            slice(after.body_starts[own], after.body_ends[own]),
        )
        assert binary[old] == after.data[new]
    kept = {part.number: part.raw for part in parts(binary) if part.number not in (1, 10)}
    assert kept == {part.number: part.raw for part in parts(after.data) if part.number not in (1, 10)}


_NAMED: Final = """(module $m (tag $tag (param i32))
  (func $plain (param $p i32) block $outside end)
  (func $tries (param $p i32) (local $own i64)
    try $inside
      local.get $p throw $tag
    catch $tag
      drop block $in_handler local.get $p br_if $inside rethrow $inside end
    end))"""


def test_names_of_locals_stay_and_names_of_labels_go() -> None:
    binary = _translated(assemble(_NAMED))
    section = Module(binary).custom_section("name")
    assert section is not None
    names = Names(binary[section.payload : section.end])
    assert names.inner(LOCAL_NAMES, 1) == {0: "p", 1: "own"}
    assert names.inner(LABEL_NAMES, 0) == {0: "outside"}
    assert names.inner(LABEL_NAMES, 1) == {}


def test_branch_hints_follow_their_branches() -> None:
    binary = assemble(_NAMED)
    start, end = Module(binary).body_starts[1], Module(binary).body_ends[1]
    place = binary.index(b"\x0d", start, end) - start
    hint = leb(place) + b"\1\1"
    whole = leb(0) + b"\1\0"
    payload = vector([leb(0) + vector([whole]), leb(1) + vector([whole, hint])])
    made = _translated(binary + custom("metadata.code.branch_hint", payload))
    (part,) = [part for part in parts(made) if part.title == "metadata.code.branch_hint"]
    body = made[Module(made).body_starts[1] : Module(made).body_ends[1]]
    new_place = body.index(b"\x0d")
    assert new_place != place
    assert part.payload == vector([leb(0) + vector([whole]), leb(1) + vector([whole, leb(new_place) + b"\1\1"])])


@pytest.mark.parametrize(("case", "is_multivalue"), [("catch_all", False), ("parameters", True), ("rethrow", True)])
def test_features_are_declared(case: str, is_multivalue: bool) -> None:
    made = _translated(_binary(_BODIES[case][0]) + custom("target_features", vector([b"-" + name("reference-types")])))
    (part,) = [part for part in parts(made) if part.title == "target_features"]
    features = ["reference-types", "exception-handling", *["multivalue"] * is_multivalue]
    assert part.payload == vector([b"+" + name(feature) for feature in features])


def test_errors_say_where_in_the_module_that_was_given() -> None:
    """The local is found to be out of range when the function, translated, is instrumented."""
    text = """(module (import "env" "f" (func $f)) (tag $t)
      (func $run try call $f catch_all try call $f catch_all end rethrow 0 end local.get 0x7f drop))"""
    binary = bytearray(assemble(text.replace("local.get 0x7f", "i32.const 0x3f")))
    place = binary.index(b"\x41\x3f")
    binary[place] = 0x20
    with pytest.raises(MalformedModule, match="local index 63 is out of range") as caught:
        caesura.instrument(bytes(binary), caesura.Options(translate_to_exnref=True, ignore_unwind_from_catch=True))
    assert (caught.value.offset, caught.value.function) == (place, "function 1 (run)")


@pytest.mark.parametrize(
    ("code", "reason", "at"),
    [
        (b"\x02\x40\x07\0\x0b", "catch without try", 2),
        (b"\x06\x40\x19\x07\0\x0b", "catch clause behind catch_all", 3),
        (b"\x06\x40\x09\0\x0b", "rethrow outside of the catch clause", 2),
        (b"\x06\x40\x19\x18\0", "delegate behind a catch clause", 3),
        (b"\x06\x40\x18\x05", "branch to label 5, but only 1 are open", 2),
        (b"\x06\x40\x07\x05\x0b", "tag index 5 is out of range", 0),
        (b"\x06\x05\x19\x0b", "type index 5 is out of range", 0),
    ],
)
def test_what_makes_no_sense_is_refused(code: bytes, reason: str, at: int) -> None:
    inner = b"\0" + code + b"\x06\x40\x19\x0b\x0b"
    binary = b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0" + b"\x0d\3\1\0\0" + b"\x0a" + leb(len(inner) + 2) + b"\1"
    binary += leb(len(inner)) + inner
    start = Module(binary).body_starts[0] + 1
    with pytest.raises(MalformedModule, match=reason) as caught:
        translate_to_exnref(Module(binary))
    assert (caught.value.offset, caught.value.function) == (start + at, "function 0")


def test_deep_nests_are_translated_in_linear_time() -> None:
    """Each try goes past all around it: labels of three bytes, and one landing place at the function's end."""
    depth = 3000
    tries = "try " * depth
    ends = "".join(f"delegate {depth - 1 - place} " for place in range(depth))
    binary = assemble(f'(module (tag $t) (func (export "run") try {tries} throw $t {ends} catch_all end))')
    made = _translated(binary)
    wasmtime.Module.validate(engine(), made)
    assert len(made) < 3 * len(binary)


_IDENTITY: Final = """
const [old, made] = process.argv.slice(1).map((text) => new WebAssembly.Module(Buffer.from(text, "base64")));
const thrown = [new Error("a"), "text", undefined, new WebAssembly.RuntimeError("not a trap")];
const results = [old, made].map((module) => thrown.map((value) => {
  const noted = [];
  const env = { fails: () => { throw value; }, note: (number) => noted.push(number) };
  try {
    new WebAssembly.Instance(module, { env }).exports.run();
  } catch (error) {
    return [error === value, ...noted];
  }
  return [false, ...noted];
}));
console.log(JSON.stringify(results));
"""


def test_exceptions_of_javascript_are_caught_and_thrown_again_as_they_are() -> None:
    text = """(module (import "env" "fails" (func $fails)) (import "env" "note" (func $note (param i32))) (tag $t)
      (func (export "run")
        try
          try call $fails catch $t i32.const 9 call $note catch_all i32.const 1 call $note rethrow 0 end
        delegate 0))"""
    binary = assemble(text)
    arguments = [base64.b64encode(one).decode() for one in (binary, _translated(binary))]
    command = [str(newer_node()), "-e", _IDENTITY, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [[[True, 1]] * 4] * 2
