"""Calls through tables whose content is known: which are call sites, and that what they reach can be suspended.

`caller` calls through `$table`. Each case says what is in that table and what can change it. Where something that
suspends can get into it, the case puts it there, and runs: the call is suspended and gives the original's result. Where
nothing can, `caller` must be left as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import wasmtime

import caesura
from tests.instrument.building import assert_valid
from tests.support.engine import assemble, engine
from tests.support.plain_abi import Extern, HostFunction, PlainGuest, always

TEXT = """
  (module
    (type $unary (func (param i32) (result i32)))
    {imports}
    (import "env" "sleep" (func $sleep (type $unary)))
    (memory (export "memory") 1)
    {table}
    {more}
    (elem declare func $sleeper)
    (func $half (type $unary) (i32.shr_u (local.get 0) (i32.const 1)))
    (func $double (type $unary) (i32.shl (local.get 0) (i32.const 1)))
    (func $sleeper (export "sleeper") (type $unary) (i32.add (call $sleep (local.get 0)) (i32.const 1)))
    (func $other (export "other") (param i64) (result i32) (call $sleep (i32.wrap_i64 (local.get 0))))
    (func (export "change") {change})
    (func $caller (export "caller") (param $slot i32) (param $value i32) (result i32)
      (i32.add (call_indirect $table (type $unary) (local.get $value) (local.get $slot)) (i32.const 1000))))
"""
TABLE = "(table $table 4 8 funcref)"
PURE = "(elem (table $table) (i32.const 1) func $half $double $other)"
GLOBAL = '(import "env" "reference" (global $reference funcref))'
SECOND = "(table $second 4 8 funcref)"
COPY = "(table.copy $table $second (i32.const 0) (i32.const 0) (i32.const 4))"


@dataclass(frozen=True)
class Case:
    """A variant of the module; `host` puts a function that suspends into a table, as other modules and hosts can.

    That function stands at `slot`, after `change` was called.
    """

    more: str = PURE
    table: str = TABLE
    imports: str = ""
    change: str = ""
    slot: int = 0
    host: Callable[[PlainGuest], None] | None = None

    @property
    def binary(self) -> bytes:
        """The module."""
        return assemble(
            TEXT.format(imports=self.imports, table=self.table, more=self.more, change=self.change),
        )


def _set_table(guest: PlainGuest) -> None:
    table = guest.exports["table"]
    assert isinstance(table, wasmtime.Table)
    table.set(guest.store, 0, guest.function("sleeper"))


def _link_another_module(guest: PlainGuest) -> None:
    text = """
      (module (import "guest" "table" (table 1 funcref))
        (import "guest" "sleeper" (func $sleeper (param i32) (result i32)))
        (func $mine (param i32) (result i32) (call $sleeper (local.get 0)))
        (elem (i32.const 0) func $mine))
    """
    imports = [guest.exports["table"], guest.exports["sleeper"]]
    wasmtime.Instance(guest.store, wasmtime.Module(engine(), assemble(text)), imports)


PASSIVE = "(elem $passive func $double {}) "
INIT = "(table.init $table $passive (i32.const 0) (i32.const 1) (i32.const 1))"
ITEM = "(elem (table $table) (i32.const 0) funcref {})"

# What suspends gets into the table from outside, or from where this is not followed.
OPEN = {
    "exported": Case(table='(table $table (export "table") 4 8 funcref)', host=_set_table),
    "imported by another module": Case(table='(table $table (export "table") 4 8 funcref)', host=_link_another_module),
    "imported": Case(
        table='(export "table" (table $table))',
        imports='(import "env" "table" (table $table 4 funcref))',
        host=_set_table,
    ),
    "table.set": Case(change="(table.set $table (i32.const 0) (ref.func $sleeper))"),
    "table.grow": Case(change="(drop (table.grow $table (ref.func $sleeper) (i32.const 1)))", slot=4),
    "table.fill": Case(change="(table.fill $table (i32.const 0) (ref.func $sleeper) (i32.const 2))"),
    "table.set in code that is not reached": Case(
        more="(elem (table $table) (i32.const 0) func $sleeper)",
        change="(if (i32.const 0) (then return (table.set $table (i32.const 0) (ref.null func))))",
    ),
    "table.copy from an exported table": Case(
        more=PURE + '(table $second (export "table") 4 8 funcref)', change=COPY, host=_set_table
    ),
    "table.copy from an imported table": Case(
        more=PURE + '(export "table" (table $second))',
        imports='(import "env" "table" (table $second 4 funcref))',
        change=COPY,
        host=_set_table,
    ),
    "table.copy from a changed table": Case(
        more=PURE + SECOND, change=f"(table.set $second (i32.const 0) (ref.func $sleeper)) {COPY}"
    ),
    "table.copy through a third table": Case(
        more=PURE + SECOND + "(table $third 4 funcref)",
        change="(table.fill $third (i32.const 0) (ref.func $sleeper) (i32.const 4))"
        f"(table.copy $second $third (i32.const 0) (i32.const 0) (i32.const 4)) {COPY}",
    ),
    "imported global in a segment": Case(more=ITEM.format("(global.get $reference)"), imports=GLOBAL),
    "imported global in a passive segment": Case(
        more=PURE + "(elem $passive funcref (ref.null func) (global.get $reference))", imports=GLOBAL, change=INIT
    ),
    "imported global in a global": Case(
        more="(global $own funcref (global.get $reference))" + ITEM.format("(global.get $own)"), imports=GLOBAL
    ),
    "imported global in a table's initializer": Case(
        table="(table $table 4 8 funcref (global.get $reference))", imports=GLOBAL
    ),
}

# What suspends is among the module's own functions that are known to be in the table.
HOLDING = {
    "a segment": Case(more="(elem (table $table) (i32.const 0) func $sleeper $half)"),
    "expressions": Case(more=ITEM.format("(ref.func $sleeper) (ref.null func)")),
    "the import": Case(more="(elem (table $table) (i32.const 0) func $sleep)"),
    "a global": Case(more="(global $own funcref (ref.func $sleeper))" + ITEM.format("(global.get $own)")),
    "an offset that is not known": Case(
        more="(elem (table $table) (global.get $base) func $sleeper)",
        imports='(import "env" "base" (global $base i32))',
        slot=2,
    ),
    "a passive segment": Case(more=PURE + PASSIVE.format("$sleeper"), change=INIT),
    "a copied table": Case(more=PURE + SECOND + "(elem (table $second) (i32.const 0) func $sleeper)", change=COPY),
    "a table's initializer": Case(table="(table $table 4 8 funcref (ref.func $sleeper))"),
    "a caller of what suspends": Case(
        more="(func $outer (type $unary) (call $sleeper (call $half (local.get 0))))"
        "(elem (table $table) (i32.const 0) func $outer)"
    ),
    "what calls through the table itself": Case(
        more="(func $again (type $unary) (call_indirect $table (type $unary) (local.get 0) (i32.const 1)))"
        "(elem (table $table) (i32.const 0) func $again $sleeper)"
    ),
}

# Nothing that suspends gets into the table, or nothing of the type.
QUIET = {
    "other functions": Case(slot=1),
    "nothing": Case(more=""),
    "expressions": Case(more=ITEM.format("(ref.func $half) (ref.null func) (ref.func $other)")),
    "a global": Case(more="(global $own funcref (ref.func $half))" + ITEM.format("(global.get $own)")),
    "an offset that is not known": Case(
        more="(elem (table $table) (global.get $base) func $half)",
        imports='(import "env" "base" (global $base i32))',
        slot=2,
    ),
    "a passive segment": Case(more=PURE + PASSIVE.format("$half"), change=INIT),
    "a passive segment that is for another table": Case(
        more=PURE + SECOND + PASSIVE.format("$sleeper"), change=INIT.replace("$table", "$second"), slot=2
    ),
    "a copied table": Case(more=PURE + SECOND + "(elem (table $second) (i32.const 0) func $half)", change=COPY),
    "a table that is copied": Case(
        more=PURE + '(table $second (export "table") 4 8 funcref)',
        change="(table.copy $second $table (i32.const 0) (i32.const 0) (i32.const 4))",
        slot=1,
    ),
    "a table's initializer": Case(table="(table $table 4 8 funcref (ref.func $half))"),
    "changes of another table": Case(
        more=PURE + '(table $second (export "table") 4 8 funcref)',
        change="(table.set $second (i32.const 0) (ref.func $sleeper))",
        slot=2,
    ),
    "what is only looked at": Case(change="(drop (table.get $table (i32.const 1))) (drop (table.size $table))", slot=1),
    "a declared segment": Case(more=PURE + "(elem declare func $sleeper)", slot=1),
}


def load(case: Case, binary: bytes) -> PlainGuest:
    """Instantiate a case, with everything that it may import, and change the table."""
    store = wasmtime.Store(engine())
    guests: list[PlainGuest] = []
    kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    # A host's function that suspends, since it does nothing but call one of the guest's that does.
    bounce = wasmtime.Func(store, kind, lambda value: guests[0].function("sleeper")(store, value))
    reference = wasmtime.ValType.funcref()
    imports: dict[tuple[str, str], HostFunction | Extern] = {
        ("env", "table"): wasmtime.Table(store, wasmtime.TableType(reference, wasmtime.Limits(4, None)), None),
        ("env", "reference"): wasmtime.Global(
            store, wasmtime.GlobalType(reference, False), wasmtime.Val.funcref(bounce)
        ),
        ("env", "base"): wasmtime.Global(store, wasmtime.GlobalType(kind.params[0], False), wasmtime.Val.i32(2)),
    }
    imports["env", "sleep"] = lambda value: value + 10
    guest = PlainGuest(binary, imports, suspend_at=always, store=store)
    guests.append(guest)
    if case.host is not None:
        case.host(guest)
    guest.call("change")
    return guest


def report_of(binary: bytes, name: str = "caller", **options: object) -> caesura.FunctionReport:
    """Return what becomes of a function."""
    result = caesura.instrument(binary, caesura.Options(**options))  # type: ignore[arg-type]
    assert_valid(result.module)
    return next(function for function in result.functions if function.name == name)


def run_suspended(case: Case, binary: bytes, **options: object) -> None:
    """Call what stands in the table, suspended there, and compare with the original."""
    instrumented = caesura.instrument(binary, caesura.Options(**options)).module  # type: ignore[arg-type]
    guest = load(case, instrumented)
    assert guest.call("caller", case.slot, 7) == load(case, binary).call("caller", case.slot, 7)
    assert guest.suspensions == 1


@pytest.mark.parametrize("name", OPEN)
def test_what_can_come_from_outside_may_suspend(name: str) -> None:
    case = OPEN[name]
    report = report_of(case.binary)
    assert (report.sites, report.reason) == (1, "it calls through a table or a reference")
    run_suspended(case, case.binary)


@pytest.mark.parametrize("name", HOLDING)
def test_a_table_that_holds_what_suspends(name: str) -> None:
    case = HOLDING[name]
    assert report_of(case.binary).sites == 1
    run_suspended(case, case.binary)
    run_suspended(case, case.binary, asserts=True)
    assert report_of(case.binary, ignore_indirect=True).sites == 0


@pytest.mark.parametrize("name", QUIET)
def test_a_table_that_holds_nothing_that_suspends(name: str) -> None:
    case = QUIET[name]
    report = report_of(case.binary)
    assert (report.sites, report.instrumented) == (0, False)
    assert "calls nothing that may suspend" in report.reason
    if name != "nothing":
        guest = load(case, caesura.instrument(case.binary, caesura.Options(asserts=True)).module)
        assert guest.call("caller", case.slot, 7) == load(case, case.binary).call("caller", case.slot, 7)


def test_only_imports_that_may_suspend_count() -> None:
    """The same table with and without its function on the import list."""
    binary = HOLDING["the import"].binary
    assert report_of(binary, imports=("env.sleep",)).sites == 1
    assert report_of(binary, ignore_imports=True).sites == 0


def test_reasons_name_what_the_table_holds() -> None:
    assert report_of(HOLDING["a segment"].binary).reason == "sleeper (in table 0) -> sleep, an import that may suspend"
    assert report_of(HOLDING["the import"].binary).reason == "sleep (in table 0), an import that may suspend"
    outer = report_of(HOLDING["a caller of what suspends"].binary)
    assert outer.reason == "outer (in table 0) -> sleeper -> sleep, an import that may suspend"


# In Binaryen, which takes every call through a table for one that suspends, the lists would do this as well.
LISTS: list[tuple[str, dict[str, object], int]] = [
    ("other functions", {"add_list": ("caller",)}, 1),
    ("other functions", {"add_list": ("caller",), "ignore_indirect": True}, 1),
    ("other functions", {"only_list": ("caller",)}, 1),
    ("other functions", {"add_list": ("half",)}, 1),
    ("other functions", {"add_list": ("half",), "ignore_indirect": True}, 0),
    ("other functions", {"add_list": ("half",), "propagate_addlist": True}, 1),
    ("other functions", {"add_list": ("other",)}, 0),
    ("other functions", {"remove_list": ("half",)}, 0),
    ("other functions", {"remove_list": ("other",)}, 0),
    ("a segment", {"remove_list": ("sleeper",)}, 1),
    ("a segment", {"remove_list": ("sleeper",), "ignore_imports": True}, 0),
    ("a segment", {"remove_list": ("caller",)}, 0),
    ("a segment", {"only_list": ("caller", "sleeper")}, 1),
    ("a segment", {"only_list": ("sleeper",)}, 0),
    ("a caller of what suspends", {"remove_list": ("outer",)}, 1),
    ("a caller of what suspends", {"remove_list": ("sleeper",)}, 0),
    ("what calls through the table itself", {"remove_list": ("again", "sleeper")}, 1),
]


@pytest.mark.parametrize(("name", "options", "sites"), LISTS)
def test_lists(name: str, options: dict[str, object], sites: int) -> None:
    case = {**QUIET, **HOLDING}[name]
    assert report_of(case.binary, "caller", **options).sites == sites


def test_suspending_in_a_table_with_thunks() -> None:
    """What thunks put in the place of imports in segments is called through the table too."""

    async def sleep(value: int) -> int:
        await asyncio.sleep(0)
        return value + 10

    async def run(name: str) -> object:
        async with await caesura.load(HOLDING[name].binary, {"env": {"sleep": sleep}}) as guest:
            return await asyncio.gather(guest.call("caller", 0, 7), guest.call("caller", 0, 8))

    assert asyncio.run(run("the import")) == [1017, 1018]
    assert asyncio.run(run("a segment")) == [1018, 1019]


def test_the_guest_s_own_runtime_in_a_table() -> None:
    """A function that starts unwinding suspends its callers, and the import that does it is no quiet function."""
    text = """
      (module
        (type $start (func (param i32)))
        (import "asyncify" "start_unwind" (func $start_unwind (type $start)))
        (memory 1) (table {} funcref) (elem (i32.const 0) func {})
        (func $pause (type $start) (call $start_unwind (local.get 0)))
        (func $caller (export "caller") (call_indirect (type $start) (i32.const 16) (i32.const 0))))
    """
    for item in ("$pause", "$start_unwind"):
        assert report_of(assemble(text.format(1, item)), ignore_imports=True).sites == 1
    assert report_of(assemble(text.format(1, "$caller")), ignore_imports=True).sites == 0
