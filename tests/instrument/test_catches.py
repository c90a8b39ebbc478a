"""The code of catch clauses with call sites, behind its tries: what moves, what stays, and where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

import caesura
from caesura.abi import FOREIGN_FUNCTION, FOREIGN_HANDLER
from caesura.instrument.facts import find_facts
from caesura.instrument.given import read_given
from caesura.options import Options
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.stack_typing import check_function
from tests.support.engine import assemble
from tests.support.guests import text_guest
from tests.support.node import newer_node, run_driver

IMPORTS = """
  (import "env" "f" (func $f)) (import "env" "g" (func $g (param i32) (result i32)))
  (type $t (func (param i32) (result i32))) (memory 1) (table 1 1 funcref) (elem (i32.const 0) $used)
  (tag $a (param i32)) (tag $b (param i32 f64 i32)) (tag $c)
  (func $used (type $t) (call $g (local.get 0)))
"""


def text_of(code: str, tags: str = "") -> bytes:
    return assemble(f"(module {IMPORTS} {tags} (func $moved (param i32) (result i32) {code}))")


def check_types(module: Module) -> None:
    for own in range(len(module.body_starts)):
        check_function(module, module.function_of(OwnFunction(own)))


def moved(binary: bytes) -> tuple[Module, list[FunctionIndex]]:
    """Return a module with moved code, as it is planned, and the functions that have any."""
    catches = find_facts(read_given(binary, Options()), Options(), []).catches
    check_types(catches.module)
    return catches.module, list(catches.functions)


def instrumented(binary: bytes) -> caesura.Instrumented:
    result = caesura.instrument(binary)
    check_types(Module(result.module))
    return result


def exports(result: caesura.Instrumented) -> list[str]:
    return [export.name for export in Module(result.module).exports]


# Functions, how many call sites each has in the end, and whether a foreign exception's handler is left in it.
CODE = {
    "no call site in a clause": ("try (result i32) (call $g (local.get 0)) catch $a end", 1, False),
    "in the clause of a tag": ("try (result i32) i32.const 1 catch $a call $g end", 1, False),
    "rethrown": ("try (result i32) i32.const 1 catch $b drop drop call $g drop rethrow 0 end", 1, False),
    "catch_all": ("try (result i32) i32.const 1 catch_all (call $g (i32.const 2)) end", 1, False),
    "catch_all, rethrown": ("try (result i32) i32.const 1 catch_all (call $f) rethrow 0 end", 1, True),
    "in a loop": (
        "try (result i32) i32.const 1 catch_all loop call $f local.get 0 br_if 0 end i32.const 1 end",
        1,
        False,
    ),
    "rethrown from an inner try": (
        "try $o (result i32) i32.const 1 catch_all"
        " try (result i32) (call $g (i32.const 2)) catch $a drop rethrow $o end end",
        1,
        True,
    ),
    "in an inner clause only": (
        "try $o (result i32) i32.const 1 catch $a"
        " try (param i32) (result i32) catch $c (call $g (i32.const 2)) end end",
        1,
        False,
    ),
    "through a table and a reference": (
        "try (result i32) i32.const 1 catch_all (drop (call_indirect (type $t) (i32.const 1) (i32.const 0)))"
        " (drop (call_ref $t (i32.const 1) (ref.func $used))) rethrow 0 end",
        2,
        True,
    ),
    "rethrow that cannot be reached": (
        "try (result i32) i32.const 1 catch_all (call $f) (return (i32.const 1)) rethrow 0 end",
        1,
        True,
    ),
}


@pytest.mark.parametrize("name", CODE)
def test_what_moves(name: str) -> None:
    code, sites, has_foreign = CODE[name]
    binary = text_of(code)
    module, functions = moved(binary)
    result = instrumented(binary)
    assert result.functions[-1].sites == sites
    assert (functions == []) == (name == "no call site in a clause")
    assert (FOREIGN_HANDLER in exports(result)) == has_foreign
    assert (FOREIGN_FUNCTION.encode() in result.module) == has_foreign
    assert module.data.startswith(binary)


def test_only_foreign_exceptions_come_to_a_clause() -> None:
    """Every tag has a clause of its own, so that there is nothing to move: the calls may not suspend."""
    code = (
        "try (result i32) i32.const 1 catch $a catch $b drop drop catch $c i32.const 1 catch_all call $f rethrow 0 end"
    )
    result = instrumented(text_of(code))
    assert result.functions[-1].sites == 0
    assert FOREIGN_HANDLER in exports(result)


def test_a_payload_that_has_no_default_value() -> None:
    tags = "(tag $r (param (ref $t) (ref extern)))"
    code = "try (result i32) i32.const 1 catch $r drop drop (call $g (i32.const 2)) drop rethrow 0 end"
    _, functions = moved(text_of(code, tags))
    assert len(functions) == 1


def test_other_functions_stay_as_they_are() -> None:
    binary = text_of(CODE["catch_all, rethrown"][0])
    planned, functions = moved(binary)
    given = Module(binary)
    for own in range(len(given.body_starts)):
        if given.function_of(OwnFunction(own)) not in functions:
            assert planned.body_starts[own] == given.body_starts[own]
            assert planned.body_ends[own] == given.body_ends[own]


def test_offsets_are_those_of_the_file() -> None:
    """Each byte that was copied is where it came from; an added one comes from the place behind or at these."""
    binary = text_guest("catching")
    facts = find_facts(read_given(binary, Options()), Options(), [])
    module = facts.catches.module
    assert len(facts.catches.functions) > 5
    for function in facts.catches.functions:
        own = module.own_of(function)
        given = Module(binary)
        start, end = module.body_starts[own], module.body_ends[own]
        assert facts.catches.original_offset(function, start) == given.body_starts[own]
        same = 0
        for offset in range(start, end):
            original = facts.catches.original_offset(function, offset)
            assert given.body_starts[own] <= original <= given.body_ends[own]
            same += module.data[offset] == binary[original]
        assert same > (given.body_ends[own] - given.body_starts[own]) // 2
    assert facts.catches.original_offset(FunctionIndex(len(module.function_types) - 1), 12) == 12


def test_the_option_leaves_them_out() -> None:
    """As in Binaryen: calls in catch clauses are no call sites, and nothing looks whether that is true."""
    binary = text_guest("catching")
    result = caesura.instrument(binary, caesura.Options(ignore_unwind_from_catch=True))
    assert FOREIGN_HANDLER not in exports(result)
    names = {function.name: function.sites for function in result.functions}
    assert names["all"] == 1
    assert names["caught"] == 3


@pytest.mark.parametrize("depth", [10, 3_000])
def test_deep_nests(depth: int) -> None:
    """Without recursion: a thread's stack is not as deep."""
    opening = "try i32.const 0 call $g drop catch $a drop " * depth
    result = caesura.instrument(assemble(f"(module {IMPORTS} (func $moved {opening} call $f {'end ' * depth}))"))
    assert result.functions[-1].sites == depth + 1


def test_many_clauses() -> None:
    clauses = "catch $a call $g drop catch $b drop drop call $g drop catch $c call $f " * 3_000
    result = caesura.instrument(assemble(f"(module {IMPORTS} (func $moved try call $f {clauses} end))"))
    assert result.functions[-1].sites == 9_001


def test_nested_copies() -> None:
    """The innermost body stands in the copy of each one around it, for foreign exceptions."""
    opening = "try call $f catch_all call $f " * 60
    result = instrumented(assemble(f"(module {IMPORTS} (func $moved {opening} {'rethrow 0 end ' * 60}))"))
    assert result.functions[-1].sites == 2 * 60


def test_what_would_take_too_many_bytes_is_refused() -> None:
    """A clause for each tag in each of very many clauses: a small module would become one of hundreds of megabytes."""
    tags = " ".join(["(tag (param i32 i32 i32 i32 i64))"] * 3_000)
    clauses = "try call $f catch_all call $f rethrow 0 end " * 2_000
    with pytest.raises(caesura.UnsupportedModule) as refused:
        caesura.instrument(assemble(f"(module {IMPORTS} {tags} (func {clauses}))"))
    assert refused.value.kind == "too many bytes"


def test_locals_that_cannot_be_null_are_read_as_such(tmp_path: Path) -> None:
    """A function whose clause moves reads such locals in the clauses that stay, and where moved code lies, too."""
    result = instrumented(
        text_of("""
        (local $held (ref i31))
        (block $out (result (ref i31))
          try
            call $f
          catch $a
            ref.i31
            local.set $held
            local.get $held
            br $out
          catch_all
            call $f
            (local.set $held (ref.i31 (i32.const 3)))
            (br $out (local.get $held))
          end
          (ref.i31 (i32.const 5)))
        i31.get_s""")
    )
    file = tmp_path / "moved.wasm"
    file.write_bytes(result.module)
    assert run_driver("valid.mjs", file, node=newer_node()) is True
