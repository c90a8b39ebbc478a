"""Functions that only pass a suspension on have no frame, and can be suspended all the same.

Wrappers stay as they are; what does more before its one call, in tail position, skips that in a rewind.
"""

from __future__ import annotations

import asyncio

import pytest
import wasmtime

import caesura
from caesura.analysis.calls import read_calls
from caesura.analysis.entries import entered_from_outside
from caesura.wasm.module import Module
from tests.analysis.sample import calls
from tests.instrument.building import bodies
from tests.support.engine import assemble
from tests.support.instrumenting import instrument
from tests.support.plain_abi import HEADER, PAGE, HostFunction, PlainGuest, StackArea, always, never

# What `$f` calls: functions that may suspend, of several types, and one that cannot.
MODULE = """
  (module
    (import "env" "ask" (func $ask (param i32 i64) (result i64)))
    (memory (export "memory") 1)
    (global $counter (export "counter") (mut i32) (i32.const 0))
    (type $t (func (param i32 i64) (result i64)))
    (table 2 funcref) (elem (i32.const 0) $callee $f)
    (func $callee (type $t)
      (i64.add (call $ask (local.get 0) (local.get 1)) (i64.extend_i32_u (local.get 0))))
    (func $procedure (drop (call $callee (i32.const 3) (i64.const 4))))
    (func $several (param i32) (result i64 i32) (call $callee (local.get 0) (i64.const 1)) (i32.const 6))
    (func $references (param externref) (result funcref) (call $procedure) (ref.func $callee))
    (func $many (param i32 f32 f64 v128) (call $procedure))
    (func $quiet (param i32 i64) (result i64) (global.set $counter (local.get 0)) (local.get 1))
    (func $f (export "f") %s))
"""

# The place of `$f` among the functions.
F = 6

FRAMELESS = {
    "arguments in order": "(type $t) local.get 0 local.get 1 call $callee",
    "arguments computed": "(type $t) local.get 0 i32.const 3 i32.mul local.get 0 i64.extend_i32_s call $callee",
    "a mutable global and sizes": """(type $t) global.get $counter memory.size i32.add table.size i32.add
                                      local.get 1 call $callee""",
    "locals": """(type $t) (local i64 f32) local.get 1 local.tee 2 local.get 2 i64.add local.set 2 nop
                 local.get 0 local.get 2 call $callee""",
    "select and drop": """(type $t) f32.const 1 drop local.get 0 i32.const 5 local.get 0 select
                          local.get 1 i64.const 7 local.get 0 select (result i64) call $callee""",
    "vectors": """(type $t) local.get 0 i32x4.splat i32x4.extract_lane 2 local.get 1 i64x2.splat i64x2.extract_lane 1
                  call $callee""",
    "return": "(type $t) local.get 0 local.get 1 call $callee return",
    "return with an operand below": "(type $t) i32.const 9 local.get 0 local.get 1 call $callee return",
    "procedure": "call $procedure",
    "result dropped": "i32.const 2 i64.const 3 call $callee drop",
    "results dropped": "i32.const 2 call $several drop drop",
    "several results": "(param i32) (result i64 i32) local.get 0 call $several",
    "references": "(param externref) (result funcref) local.get 0 call $references",
}

# Each leaves what it has done in the global or in memory, or would trap if it were run again on garbage.
TAIL = {
    "another call before": "(type $t) local.get 0 local.get 0 local.get 1 call $quiet call $callee",
    "load": "(type $t) local.get 0 i32.load local.get 1 call $callee",
    "division": "(type $t) i32.const 100 local.get 0 i32.div_s local.get 1 call $callee",
    "division of a parameter": """(type $t) local.get 0 i32.const 100 local.get 0 i32.rem_u i32.div_u
                                  local.get 1 call $callee""",
    "truncation": "(type $t) local.get 1 f64.convert_i64_s i32.trunc_f64_s local.get 1 call $callee",
    "store": "(type $t) local.get 0 local.get 0 i32.store local.get 0 local.get 1 call $callee",
    "store between arguments": """(type $t) local.get 0 i32.const 3 i32.add
                                  local.get 0 local.get 0 i32.store local.get 1 call $callee""",
    "global before": """(type $t) global.get $counter i32.const 8 i32.add global.set $counter
                        global.get $counter local.get 1 call $callee""",
    "block": "(type $t) block end local.get 0 local.get 1 call $callee",
    "if": "(param i32) local.get 0 global.set $counter local.get 0 if call $procedure end",
    "else": """(type $t) local.get 0 i32.eqz if (result i64) i64.const 5 else
               local.get 0 global.set $counter local.get 0 local.get 1 call $callee end""",
    "then arm with a result": """(type $t) local.get 0 if (result i64)
                                 local.get 0 global.set $counter local.get 0 local.get 1 call $callee
                                 else i64.const 5 end""",
    "branch out of blocks": """(type $t) block (result i64) block local.get 0 global.set $counter
                               local.get 0 local.get 1 call $callee br 1 end i64.const 9 end""",
    "return in a loop": """(type $t) loop local.get 0 global.set $counter local.get 0 i32.const 11 i32.eq if
                           local.get 0 local.get 1 call $callee return end local.get 0 br_if 0 end i64.const 1""",
    "after a loop": """(param i32) loop global.get $counter local.get 0 i32.add global.set $counter
                       local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end call $procedure""",
    "in a loop, at its end": """(param i32) loop local.get 0 global.set $counter
                                local.get 0 i32.const 3 i32.sub local.tee 0 i32.const 0 i32.gt_s br_if 0
                                call $procedure end""",
    "operands below": """(type $t) i32.const 9 local.get 0 i32.load block (result i64)
                         local.get 0 global.set $counter local.get 0 local.get 1 call $callee return end
                         drop drop drop i64.const 4""",
    "results dropped behind code": "i32.const 4 global.set $counter i32.const 2 call $several drop drop",
    "arguments of all types": """i32.const 4 global.set $counter i32.const 2 f32.const 3 f64.const 4
                                 i32.const 5 i32x4.splat call $many""",
}

FRAMED = {
    "import": "(type $t) local.get 0 local.get 1 call $ask",
    "through a table": "(type $t) local.get 0 local.get 1 i32.const 0 call_indirect (type $t)",
    "through a reference": "(type $t) local.get 0 local.get 1 ref.func $callee call_ref $t",
    "two calls": "(type $t) local.get 0 i32.const 1 local.get 1 call $callee call $callee",
    "another call behind": "(type $t) local.get 0 local.get 0 local.get 1 call $callee call $quiet",
    "global behind": "i32.const 2 i64.const 3 call $callee i32.wrap_i64 global.set $counter",
    "loop": "loop call $procedure br 0 end",
    "loop ended behind": "(param i32) loop call $procedure local.get 0 br_if 0 end",
    "try": "try call $procedure catch_all i32.const 5 global.set $counter end",
    "references as arguments": """(param externref) (result funcref)
                                  i32.const 8 global.set $counter local.get 0 call $references""",
    "arithmetic behind": "(type $t) local.get 0 local.get 1 call $callee i64.const 3 i64.add",
    "parameter behind": "(param i64) (result i64) i32.const 2 i64.const 3 call $callee drop local.get 0",
    "parameter below": "(param i64) (result i64) local.get 0 i32.const 2 i64.const 3 call $callee drop",
    "constant below": "(result i32) i32.const 7 call $procedure",
    "trap behind": "(type $t) local.get 0 local.get 1 call $callee unreachable",
    "code behind return": "(type $t) local.get 0 local.get 1 call $callee return call $procedure i64.const 0",
}


def answer(value: int, wide: int) -> int:
    """The host's function `ask`."""
    return (value * 5 + wide * 3 + 1) & 0xFFFF


ASK: dict[tuple[str, str], HostFunction] = {("env", "ask"): answer}
ARGUMENTS = {"i32": 11, "i64": -13}


def report_of(binary: bytes, name: str, **options: object) -> caesura.FunctionReport:
    """Return the report of a function."""
    result = caesura.instrument(binary, caesura.Options(**options))  # type: ignore[arg-type]
    return next(function for function in result.functions if function.name == name)


def arguments_of(guest: PlainGuest) -> list[int | None]:
    """Return arguments for the export `f`."""
    return [ARGUMENTS.get(str(kind)) for kind in guest.function("f").type(guest.store).params]


@pytest.mark.parametrize("case", FRAMELESS)
def test_a_wrapper_stays_as_it_is(case: str) -> None:
    binary = assemble(MODULE % FRAMELESS[case])
    report = report_of(binary, "f")
    assert (report.frameless, report.instrumented, report.sites) == (True, True, 1)
    assert bodies(instrument(binary))[F] == bodies(binary)[F]


@pytest.mark.parametrize("case", TAIL)
def test_one_call_in_tail_position_needs_no_frame(case: str) -> None:
    binary = assemble(MODULE % TAIL[case])
    report = report_of(binary, "f")
    assert (report.frameless, report.instrumented, report.sites) == (True, True, 1)
    assert bodies(instrument(binary))[F] != bodies(binary)[F]


@pytest.mark.parametrize("case", FRAMED)
def test_what_does_more_has_a_frame(case: str) -> None:
    binary = assemble(MODULE % FRAMED[case])
    report = report_of(binary, "f")
    assert (report.frameless, report.instrumented, report.sites > 0) == (False, True, True)
    assert bodies(instrument(binary))[F] != bodies(binary)[F]


@pytest.mark.parametrize("options", [{}, {"asserts": True}, {"two_bodies": "all"}, {"two_bodies": "f"}], ids=str)
@pytest.mark.parametrize("case", [*FRAMELESS, *TAIL])
def test_suspended_and_resumed(case: str, options: dict[str, object]) -> None:
    """With garbage as the export's arguments in the rewind, which `PlainGuest` passes."""
    binary = assemble(MODULE % {**FRAMELESS, **TAIL}[case])
    original = PlainGuest(binary, ASK)
    expected = original.call("f", *arguments_of(original))
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    guest = PlainGuest(instrument(binary, chosen), ASK, suspend_at=always)
    result = guest.call("f", *arguments_of(guest))
    assert guest.suspensions == 1 and guest.log == original.log
    assert guest.globals() == original.globals()
    assert guest.memory_image()[:PAGE] == original.memory_image()[:PAGE]
    if case == "references":  # to functions of different instances
        assert isinstance(result, wasmtime.Func) and isinstance(expected, wasmtime.Func)
    else:
        assert result == expected


CHAIN = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $effects (export "effects") (mut i32) (i32.const 0))
    (type $unary (func (param i32) (result i32)))
    (table 4 funcref) (elem (i32.const 1) $last $middle)
    (func $callee (param i32 i32) (result i32)
      (global.set $effects (i32.add (global.get $effects) (local.get 1)))
      (i32.sub (call $ask (local.get 0)) (local.get 1)))
    (func $last (type $unary) (call $callee (local.get 0) (i32.const 5)))
    (func $middle (type $unary) (call $last (i32.mul (local.get 0) (i32.const 3))))
    (func $first (export "first") (type $unary) (return (call $middle (i32.xor (local.get 0) (i32.const 1)))))
    (func $twice (export "twice") (type $unary) (local $kept i32)
      (local.set $kept (call $first (local.get 0)))
      (i32.add (call $last (i32.add (local.get $kept) (local.get 0))) (local.get $kept)))
    (func $pointers (export "pointers") (type $unary)
      (i32.add
        (call_indirect (type $unary) (local.get 0) (i32.const 1))
        (call_indirect (type $unary) (i32.load (local.get 0)) (i32.const 2)))))
"""
WRAPPERS = {"last", "middle", "first"}


def triple(value: int) -> int:
    """The host's function `ask` of the module with the chain."""
    return value * 3 + 7


def chain_options() -> list[dict[str, object]]:
    return [
        {},
        {"asserts": True},
        {"two_bodies": "all"},
        {"in_secondary_memory": True},
        {"only_list": ("callee", "last", "middle", "first", "twice", "pointers")},
        {"ignore_indirect": True, "add_list": ("pointers",)},
        {"no_multivalue": True, "export_globals": True},
    ]


@pytest.mark.parametrize("options", chain_options(), ids=str)
@pytest.mark.parametrize("name", ["first", "twice", "pointers"])
def test_chains_of_wrappers(name: str, options: dict[str, object]) -> None:
    binary = assemble(CHAIN)
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    named = {function.name for function in caesura.instrument(binary, chosen).functions if function.frameless}
    assert named == WRAPPERS
    host: dict[tuple[str, str], HostFunction] = {("env", "ask"): triple}
    original = PlainGuest(binary, host, suspend_at=never)
    expected = original.call(name, 20)
    memory = "asyncify_memory" if "in_secondary_memory" in options else "memory"
    stacks = StackArea(4096, 4096, 2)
    guest = PlainGuest(instrument(binary, chosen), host, suspend_at=always, memory=memory, stacks=stacks)
    assert guest.call(name, 20) == expected
    assert guest.log == original.log and guest.suspensions == len(guest.log) > 0
    assert guest.globals() == original.globals()


def test_an_exported_wrapper_that_is_called_while_unwinding_does_nothing() -> None:
    """The function at the end of the chain can only be entered through wrappers, and leaves at once."""
    guest = PlainGuest(instrument(assemble(CHAIN)), {("env", "ask"): triple}, stacks=StackArea(4096, 4096, 2))
    asked: list[int] = []

    def start(value: int) -> int:
        asked.append(value)
        if len(asked) > 1:
            raise AssertionError("an export that is called while unwinding must not call imports")
        guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
        guest.function("asyncify_start_unwind")(guest.store, 4096)
        effects = guest.globals()
        assert guest.function("first")(guest.store, 17) == 0
        assert guest.globals() == effects
        assert guest.stack_pointers(4096) == (4096 + HEADER, 8192)
        assert guest.state() == 1
        return 99

    guest.replace(("env", "ask"), start)
    assert guest.function("twice")(guest.store, 20) == 0
    assert asked == [63]


def test_what_a_wrapper_calls_can_be_entered_if_it_can() -> None:
    """Only then: a function that is called by wrappers inside the module alone needs no code for that."""
    text = """
      (module
        (func $inner) (func $deep) (func $outer (export "outer"))
        (func $inside) (func $alone))
    """
    module = Module(assemble(text))
    graph = read_calls(module)
    everything = [True] * 5
    assert entered_from_outside(module, graph, everything, calls({2: 0, 0: 1, 3: 4})) == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert entered_from_outside(module, graph, everything, calls({0: 1, 2: 0, 3: 4})) == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_wrapper_of_the_guest_s_own_runtime_has_a_frame() -> None:
    text = """
      (module
        (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
        (memory 1)
        (func $pause (call $start_unwind (i32.const 16)))
        (func $nap call $pause)
        (func $rest call $nap))
    """
    result = caesura.instrument(assemble(text))
    found = {function.name: (function.instrumented, function.frameless) for function in result.functions}
    assert found == {"pause": (False, False), "nap": (True, False), "rest": (True, True)}


RING = """
  (module
    (import "env" "ask" (func $ask))
    (memory (export "memory") 1)
    (func $one (export "one") call $two)
    (func $two (export "two") %s call $three)
    (func $three call $one)
    (func $into (export "into") call $two)
    (func $ask_once (export "ask_once") call $ask))
"""


@pytest.mark.parametrize(
    ("before", "without"), [("", {"into"}), ("i32.const 0 i32.load drop", {"into", "one", "three"})]
)
def test_a_ring_keeps_its_frames(before: str, without: set[str]) -> None:
    """Nothing suspends in it, but a host that enters it while another call unwinds must come back."""
    binary = assemble(RING % before)
    options = caesura.Options(only_list=("one", "two", "three", "into", "ask_once"))
    frameless = {function.name for function in caesura.instrument(binary, options).functions if function.frameless}
    assert frameless == without
    guest = PlainGuest(instrument(binary, options), {("env", "ask"): lambda: None}, stacks=StackArea(4096, 4096, 1))

    def start() -> None:
        guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
        guest.function("asyncify_start_unwind")(guest.store, 4096)
        for name in ("one", "two", "into"):
            guest.function(name)(guest.store)

    guest.replace(("env", "ask"), start)
    guest.function("ask_once")(guest.store)
    assert guest.state() == 1


@pytest.mark.parametrize(
    ("options", "frameless"),
    [
        ({}, WRAPPERS),
        ({"remove_list": ("callee",)}, set()),
        ({"remove_list": ("middle",)}, {"last"}),
        ({"only_list": ("first", "middle")}, {"first"}),
        ({"ignore_imports": True, "ignore_indirect": True, "add_list": ("last",)}, set()),
        ({"ignore_imports": True, "ignore_indirect": True, "add_list": ("last", "middle")}, {"middle"}),
    ],
    ids=lambda given: str(sorted(given) if isinstance(given, set) else given),
)
def test_lists_say_who_may_suspend(options: dict[str, object], frameless: set[str]) -> None:
    """A wrapper is frameless only if what it calls is instrumented; lists that name it do not give it a frame."""
    result = caesura.instrument(assemble(CHAIN), caesura.Options(**options))  # type: ignore[arg-type]
    assert {function.name for function in result.functions if function.frameless} == frameless


def test_assertions_name_a_removed_function_that_calls_a_wrapper() -> None:
    options = caesura.Options(remove_list=("twice",), asserts=True, no_guard=True)
    guest = PlainGuest(instrument(assemble(CHAIN), options), {("env", "ask"): triple}, suspend_at=always)
    with pytest.raises(wasmtime.Trap) as trap:
        guest.call("twice", 1)
    assert "twice" in (trap.value.frames[0].func_name or "")


@pytest.mark.parametrize(
    "options",
    [caesura.Options(), caesura.Options(two_bodies="all"), caesura.Options(remove_list=("pointers",))],
    ids=["defaults", "two bodies", "checked stack"],
)
def test_thunks_and_coroutines(options: caesura.Options) -> None:
    """Several suspended calls of an exported wrapper, driven through the thunk ABI.

    With a remove-list the host looks at every function on the stack, and must know that wrappers may be there.
    """

    async def ask(value: int) -> int:
        await asyncio.sleep(0)
        return triple(value)

    async def main() -> list[object]:
        guest = await caesura.load(assemble(CHAIN), {"env": {"ask": ask}}, options=options, cache=False)
        calls = [guest.call(name, value) for value in (1, 20, 300) for name in ("first", "twice")]
        return list(await asyncio.gather(*calls))

    original = PlainGuest(assemble(CHAIN), {("env", "ask"): triple})
    expected = [original.call(name, value) for value in (1, 20, 300) for name in ("first", "twice")]
    assert asyncio.run(main()) == expected


def test_hosts_learn_that_a_wrapper_may_suspend() -> None:
    """Through its entry thunk, and the section with the functions that can be on the stack at a suspension."""
    module = Module(instrument(assemble(CHAIN), caesura.Options(thunks=True)))
    assert "asyncify_entry:first" in {export.name for export in module.exports}
    section = module.custom_section("asyncify.functions")
    assert section is not None
    bitmap = module.data[section.payload : section.end]
    assert bitmap[0] & 0b1111_1110 == 0b1111_1110
