"""Modules whose indices must change, because imports go (module `asyncify`) or come (`import_globals`).

Everything that refers to a function or global must follow, in whatever section it stands: the module below refers to
them from everywhere, is run before and after, and its tables and exports are looked at one by one.
"""

from __future__ import annotations

import itertools

import pytest
import wasmtime

import caesura
from caesura.wasm.print_module import print_module
from tests.instrument.building import assert_valid, bodies, custom, leb, part, vector
from tests.instrument.test_metadata import BRANCH_HINTS, local_names, name_maps, names_in
from tests.support.engine import assemble, engine
from tests.support.plain_abi import Extern, HostFunction, PlainGuest, Value, always, never

FIRST = """
    (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
    (import "asyncify" "stop_unwind" (func $stop_unwind))
"""
SECOND = """
    (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
    (import "asyncify" "stop_rewind" (func $stop_rewind))
    (import "asyncify" "get_state" (func $get_state (result i32)))
"""
TEXT = """
  (module
    (import "env" "base" (global $base i32))
    (import "env" "memory" (memory 1))
    {first}
    (import "env" "ask" (func $ask (param i32) (result i32)))
    {second}
    (import "env" "note" (func $note (param i32)))
    (type $unary (func (param i32) (result i32)))
    (type $nothing (func))
    (table $init (export "init") 2 funcref (ref.func $one))
    (table $active (export "active") 8 funcref)
    (table $passive (export "passive") 8 funcref)
    (global $seven (export "seven") i32 (i32.const 7))
    (global $function (export "function") funcref (ref.func $two))
    (global $sum (export "sum") (mut i32) (i32.add (global.get $base) (i32.const 100)))
    (global $copy (export "copy") i32 (global.get $seven))
    (export "memory" (memory 0))
    (export "note" (func $note))
    (export "alias" (func $one))
    (export "base" (global $base))
    (elem (table $active) (offset (i32.const 0)) func $one $ask $two)
    (elem (table $active) (offset (global.get $base)) funcref (ref.func $two) (ref.null func) (ref.func $note))
    (elem $some func $two $one $note)
    (elem $items funcref (ref.func $ask) (ref.func $two))
    (elem declare func $start)
    (data (global.get $base) "data")
    (func $start (global.set $sum (i32.add (global.get $sum) (global.get $seven))))
    (func $one (export "one") (param $a i32) (result i32)
      (i32.add (call $ask (local.get $a)) (global.get $seven)))
    (func $two (export "two") (param $b i32) (result i32)
      (global.set $sum (i32.add (global.get $sum) (local.get $b)))
      (call $note (global.get $sum))
      (i32.mul (call $one (local.get $b)) (call_indirect $active (type $unary) (local.get $b) (i32.const 1))))
    (func $tail (export "tail") (param i32) (result i32) (return_call $pure (local.get 0)))
    (func $pure (param $p i32) (result i32) (i32.add (local.get $p) (global.get $copy)))
    (func (export "fill")
      (table.init $passive $some (i32.const 0) (i32.const 0) (i32.const 3))
      (table.init $passive $items (i32.const 4) (i32.const 0) (i32.const 2)))
    (func (export "reference") (result funcref) (ref.func $start))
    (start $start)
    {functions})
"""
RUNTIME_FUNCTIONS = """
    (func $pauser (export "pauser") (if (i32.eqz (call $get_state)) (then (call $start_unwind (i32.const 16)))
      (else (call $stop_rewind))))
    (func (export "state") (result i32) (call $get_state))
    (func (export "runtime") (call $pauser) (call $stop_unwind) (call $start_rewind (i32.const 16)))
"""
PLAIN = TEXT.format(first="", second="", functions="")
RENUMBERED = TEXT.format(first=FIRST, second=SECOND, functions=RUNTIME_FUNCTIONS)
CASES = [
    pytest.param(RENUMBERED, caesura.Options(), id="asyncify imports"),
    pytest.param(PLAIN, caesura.Options(import_globals=True), id="imported globals"),
    pytest.param(RENUMBERED, caesura.Options(import_globals=True), id="both"),
]


def guest(binary: bytes, store: wasmtime.Store, *, suspended: bool) -> PlainGuest:
    """Instantiate a module with what it imports; the start function runs."""
    i32 = wasmtime.ValType.i32()
    imports: dict[tuple[str, str], HostFunction | Extern] = {
        ("env", "base"): wasmtime.Global(store, wasmtime.GlobalType(i32, False), wasmtime.Val.i32(5)),
        ("env", "memory"): wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None))),
    }
    for name in ("__asyncify_state", "__asyncify_data"):
        imports["env", name] = wasmtime.Global(store, wasmtime.GlobalType(i32, True), wasmtime.Val.i32(0))
    imports["env", "ask"] = lambda value: value + 1000
    imports["env", "note"] = lambda value: None
    return PlainGuest(binary, imports, suspend_at=always if suspended else never, store=store)


def observations(made: PlainGuest) -> tuple[object, ...]:
    """Return everything that a host can see of an instance, functions in tables being told apart by their results."""
    made.call("fill")
    seen: list[object] = [made.call(name, 3) for name in ("one", "two", "alias", "tail")]
    seen += [item for item in made.globals().items() if not isinstance(item[1], wasmtime.Func)]
    seen.append(made.memory_image()[:64])
    references: list[object] = [made.call("reference")]
    function = made.exports["function"]
    assert isinstance(function, wasmtime.Global)
    references.append(function.value(made.store))
    for name, size in (("init", 2), ("active", 8), ("passive", 8)):
        table = made.exports[name]
        assert isinstance(table, wasmtime.Table)
        references += [table.get(made.store, place) for place in range(size)]
    for reference in references:
        if not isinstance(reference, wasmtime.Func):
            seen.append(reference)
            continue
        kind = reference.type(made.store)
        arguments: list[Value] = [2] * len(kind.params)
        seen.append((len(kind.params), len(kind.results), reference(made.store, *arguments)))
    seen.append(made.globals()["sum"])
    seen.append([(call.name, call.arguments) for call in made.log])
    return tuple(seen)


@pytest.mark.parametrize(("text", "options"), CASES)
def test_everything_follows(text: str, options: caesura.Options) -> None:
    original = guest(assemble(PLAIN), wasmtime.Store(engine()), suspended=False)
    output = caesura.instrument(assemble(text), options).module
    assert_valid(output)
    wanted = observations(original)
    assert observations(guest(output, wasmtime.Store(engine()), suspended=False)) == wanted


@pytest.mark.parametrize(("text", "options"), CASES)
def test_suspensions(text: str, options: caesura.Options) -> None:
    output = caesura.instrument(assemble(text), options).module
    original = guest(assemble(PLAIN), wasmtime.Store(engine()), suspended=False)
    suspended = guest(output, wasmtime.Store(engine()), suspended=True)
    for name, argument in itertools.product(("one", "two", "alias", "tail"), (3, -9)):
        assert suspended.call(name, argument) == original.call(name, argument)
    assert suspended.suspensions == 10
    assert suspended.globals()["sum"] == original.globals()["sum"]


def test_asyncify_imports_are_gone_and_work() -> None:
    output = caesura.instrument(assemble(RENUMBERED)).module
    assert "asyncify" not in {item.module for item in wasmtime.Module(engine(), output).imports}
    made = guest(output, wasmtime.Store(engine()), suspended=False)
    assert made.call("state") == 0
    made.set_stack_pointers(64, 80, 128)
    made.function("asyncify_start_unwind")(made.store, 64)
    assert made.function("state")(made.store) == 1


def test_imported_globals_come_last_among_the_imports() -> None:
    output = caesura.instrument(assemble(RENUMBERED), caesura.Options(import_globals=True)).module
    imports = [(item.module, item.name) for item in wasmtime.Module(engine(), output).imports]
    assert imports[-2:] == [("env", "__asyncify_state"), ("env", "__asyncify_data")]
    assert set(imports[:-2]) == {("env", "base"), ("env", "memory"), ("env", "ask"), ("env", "note")}
    types = {item.name: item.type for item in wasmtime.Module(engine(), output).imports}
    for name in ("__asyncify_state", "__asyncify_data"):
        kind = types[name]
        assert isinstance(kind, wasmtime.GlobalType) and kind.mutable and kind.content == wasmtime.ValType.i32()


@pytest.mark.parametrize(("text", "options"), CASES)
def test_names_follow(text: str, options: caesura.Options) -> None:
    """Every name stands for the same function, global or local as before: exports tell which is which."""
    output = caesura.instrument(assemble(text), options).module
    maps = name_maps(output)
    functions, globals_ = names_in(maps[1])[0], names_in(maps[7])[0]
    module = caesura.wasm.module.Module(output)
    exported = {export.name: export.index for export in module.exports if export.kind == 0}
    assert [functions[exported[name]] for name in ("one", "alias", "two", "tail")] == ["one", "one", "two", "tail"]
    values = {export.name: export.index for export in module.exports if export.kind == 3}
    for name in ("base", "seven", "function", "sum", "copy"):
        assert globals_[values[name]] == name
    added = {"__asyncify_state", "__asyncify_data"} & set(globals_.values())
    assert len(added) == (0 if "start_rewind" in text else 2)  # small, with a scheduler: nothing added is named
    locals_ = local_names(maps[2])
    assert locals_[exported["one"]][0] == "a"
    assert locals_[exported["two"]][0] == "b"
    pure = next(index for index, text in functions.items() if text == "pure")
    assert locals_[pure] == {0: "p"}
    print_module(output)


def test_the_same_import_twice() -> None:
    """A module may import a function as often as it likes."""
    binary = assemble("""
      (module
        (import "asyncify" "get_state" (func $first (result i32)))
        (import "asyncify" "get_state" (func $second (result i32)))
        (memory (export "memory") 1)
        (func (export "run") (result i32) (i32.add (call $first) (call $second))))
    """)
    made = PlainGuest(caesura.instrument(binary).module)
    made.set_stack_pointers(64, 80, 128)
    made.function("asyncify_start_unwind")(made.store, 64)
    assert made.function("run")(made.store) == 2


def test_an_asyncify_import_may_be_exported_and_in_tables() -> None:
    binary = assemble("""
      (module
        (import "asyncify" "get_state" (func $state (result i32)))
        (memory (export "memory") 1)
        (table (export "table") funcref (elem $state))
        (export "state" (func $state)))
    """)
    made = PlainGuest(caesura.instrument(binary).module)
    table = made.exports["table"]
    assert isinstance(table, wasmtime.Table)
    function = table.get(made.store, 0)
    assert isinstance(function, wasmtime.Func)
    assert (made.function("state")(made.store), function(made.store)) == (0, 0)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ('(import "asyncify" "start_unwnid" (func (param i32)))', "start_unwnid"),
        ('(import "asyncify" "start_unwind" (func (param i64)))', "another type"),
        ('(import "asyncify" "stop_unwind" (func (param i32)))', "another type"),
        ('(import "asyncify" "get_state" (func (result i64)))', "another type"),
    ],
)
def test_asyncify_imports_that_are_wrong(item: str, message: str) -> None:
    with pytest.raises(caesura.UnsupportedModule, match=message):
        caesura.instrument(assemble(f"(module {item} (memory 1))"))


def test_asyncify_imports_of_a_wide_memory_take_wide_pointers() -> None:
    binary = assemble("""
      (module
        (import "asyncify" "start_unwind" (func $start (param i64)))
        (memory i64 1)
        (func $pause (call $start (i64.const 16)))
        (func (call $pause)))
    """)
    assert_valid(caesura.instrument(binary).module)


HINTED = """
  (module
    (import "asyncify" "get_state" (func $state (result i32)))
    {imports}
    (memory 1)
    (func $quiet (param i32) (result i32)
      (drop (call $other))
      (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))))
    (func $other (result i32) (call $state)))
"""


@pytest.mark.parametrize("imports", [0, 126])
def test_branch_hints_follow_their_functions(imports: int) -> None:
    """They point at the same instruction, or are dropped where code had to move (indices change their lengths)."""
    text = HINTED.format(imports="\n".join(f'(import "env" "f{number}" (func))' for number in range(imports)))
    binary = assemble(text)
    function = 1 + imports
    body = bodies(binary)[0][1:]
    payload = vector([leb(function) + vector([leb(body.index(b"\x04\x7f")) + b"\x01\x01"])])
    start = binary.index(part(binary, 10).raw)
    binary = binary[:start] + custom(BRANCH_HINTS, payload) + binary[start:]
    output = caesura.instrument(binary).module
    assert_valid(output)
    moved = bodies(output)[0][1:].index(b"\x04\x7f")
    hints = part(output, BRANCH_HINTS).payload
    assert hints in (b"\0", vector([leb(function - 1) + vector([leb(moved) + b"\x01\x01"])]))
    assert hints != b"\0" or imports
