"""Which functions end with their only call that may suspend, and so need no frame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caesura.analysis.tail_sites import find_tail_sites
from tests.analysis.sample import Sample

MODULE = """
  (module
    (import "env" "wait" (func $wait))
    (global $g (mut i32) (i32.const 0))
    (tag $tag)
    (func $callee (param i32) (result i32) call $wait local.get 0)
    (func $void call $wait)
    (func $quiet (param i32))
    (func $takes_reference (param externref) call $wait)
    (func $wrapper call $void)
    (func $f {code}))
"""


def tail_site(code: str) -> dict[str, str]:
    """Return what is found in the module, by the functions' names; `$wrapper` is left out, as a wrapper."""
    sample = Sample(MODULE.format(code=code))
    wrappers = {sample.index("wrapper"): sample.index("void")}
    found = find_tail_sites(sample.module, sample.graph, sample.suspension, wrappers, sample.tail_calls, sample.decoder)
    return {sample.names[function]: sample.names[callee] for function, callee in found.items()}


TAILS = {
    "the last instruction": ("(result i32) i32.const 1 global.set $g i32.const 2 call $callee", "callee"),
    "before return": ("(result i32) i32.const 2 call $callee return", "callee"),
    "a result dropped": ("i32.const 2 call $callee drop", "callee"),
    "in an arm, the other having no call": ("global.get $g if call $void else nop end", "void"),
    "at the end of blocks": ("block block call $void end end", "void"),
    "before a branch out of the function": ("block call $void br 1 end", "void"),
    "before a branch to the end of a block": ("block loop call $void br 1 end end", "void"),
    "behind a call that cannot suspend": ("i32.const 1 call $quiet call $void", "void"),
    "of a function without a frame": ("i32.const 1 global.set $g call $wrapper", "wrapper"),
}


@pytest.mark.parametrize("name", TAILS)
def test_tail_sites(name: str) -> None:
    code, callee = TAILS[name]
    assert tail_site(code) == {"f": callee}


OTHERS = {
    "something behind the call": "call $void i32.const 1 global.set $g",
    "a loop back": "loop call $void br 0 end",
    "another result": "(result i32) i32.const 2 call $callee drop i32.const 3",
    "a result computed": "(result i32) i32.const 2 call $callee i32.eqz",
    "two call sites": "global.get $g if call $void else call $void end",
    "two callees that may suspend": "global.get $g if call $void else call $wrapper end",
    "an import": "i32.const 1 global.set $g call $wait",
    "in a try": "try call $void catch_all end",
    "references as arguments": "ref.null extern call $takes_reference",
    "itself": "global.get $g if call $f end",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_keep_their_frames(name: str) -> None:
    assert tail_site(OTHERS[name]) == {}


def test_rings_keep_their_frames() -> None:
    text = """
      (module
        (import "env" "wait" (func $wait))
        (func $in (global.set $g (i32.const 1)) call $a)
        (global $g (mut i32) (i32.const 0))
        (func $a (global.set $g (i32.const 2)) call $b)
        (func $b (if (global.get $g) (then (call $a))))
        (func $start call $wait call $a))"""
    sample = Sample(text)
    sample.lists.add[sample.index("a")] = sample.lists.add[sample.index("b")] = True
    sample.lists = replace(sample.lists, propagate_add=True)
    found = find_tail_sites(sample.module, sample.graph, sample.suspension, {}, sample.tail_calls, sample.decoder)
    assert sample.named(found) == ["in"]
