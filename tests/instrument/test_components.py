"""Components: the core modules in them are instrumented, and what is around them stays as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import wasmtime
from wasmtime import component

import caesura
from caesura.wasm.component import Component
from tests.support.engine import assemble
from tests.support.plain_abi import PlainGuest, always

# As linkers make them: the main module calls its imports through a table, which a module at the end fills in, and one
# component stands in another.
TEXT = """
  (component
    (import "wait" (func $wait (param "n" u32) (result u32)))
    (core module $shim
      (table (export "imports") 1 funcref)
      (type $to (func (param i32) (result i32)))
      (func (export "wait") (param i32) (result i32)
        (call_indirect (type $to) (local.get 0) (i32.const 0))))
    (core module $main
      (import "host" "wait" (func $wait (param i32) (result i32)))
      (memory (export "memory") 1)
      (global $next (mut i32) (i32.const 1024))
      (func (export "allocate") (param i32 i32 i32 i32) (result i32)
        (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3))))
      (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop $again
          (local.set $sum (i32.add (local.get $sum) (call $wait (local.get $n))))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $again (local.get $n)))
        (local.get $sum))
      (func (export "greet") (param i32 i32) (result i32)
        (i32.store (i32.const 0) (local.get 0))
        (i32.store (i32.const 4) (i32.sub (local.get 1) (call $wait (i32.const 1))))
        (i32.const 0)))
    (core module $fill
      (import "shim" "imports" (table 1 funcref))
      (import "host" "wait" (func $wait (param i32) (result i32)))
      (elem (i32.const 0) func $wait))
    (component $inner
      (core module $plain (func (export "one") (result i32) (i32.const 1)))
      (core instance $plain (instantiate $plain))
      (func (export "one") (result u32) (canon lift (core func $plain "one"))))
    (core instance $shim (instantiate $shim))
    (core instance $main (instantiate $main (with "host" (instance $shim))))
    (core func $lowered (canon lower (func $wait)))
    (core instance (instantiate $fill
      (with "shim" (instance $shim)) (with "host" (instance (export "wait" (func $lowered))))))
    (instance $inner (instantiate $inner))
    (export "one" (func $inner "one"))
    (func (export "sum") (param "n" u32) (result u32) (canon lift (core func $main "sum")))
    (func (export "greet") (param "name" string) (result string)
      (canon lift (core func $main "greet") (memory (core memory $main "memory"))
        (realloc (core func $main "allocate")))))
"""
SHIM, MAIN, FILL, PLAIN = range(4)


@pytest.fixture(scope="module")
def binary() -> bytes:
    return assemble(TEXT)


def core_modules(binary: bytes) -> list[bytes]:
    return [binary[start:end] for start, end in Component(binary).core_modules]


def run(binary: bytes) -> tuple[object, object, object, list[int]]:
    """Return the results of all exports of the component, and what its import was called with."""
    called: list[int] = []

    def wait(store: object, number: int) -> int:
        called.append(number)
        return number * 10 + 1 if number > 1 else 3

    engine = wasmtime.Engine()
    linker = component.Linker(engine)
    with linker.root() as root:
        root.add_func("wait", wait)
    store = wasmtime.Store(engine)
    instance = linker.instantiate(store, component.Component(engine, binary))

    def call(name: str, *arguments: object) -> object:
        function = instance.get_func(store, name)
        assert function is not None
        result = function(store, *arguments)
        function.post_return(store)
        return result

    return call("one"), call("sum", 4), call("greet", "caesura"), called


def test_a_component_does_what_it_did(binary: bytes) -> None:
    result = caesura.instrument(binary)
    assert run(result.module) == run(binary) == (1, 96, "caes", [4, 3, 2, 1, 1])
    assert (result.bytes_before, result.bytes_after) == (len(binary), len(result.module))
    assert [(report.name, report.sites) for report in result.functions if report.instrumented] == [
        ("core module 0: wait", 1),
        ("core module 1: sum", 1),
        ("core module 1: greet", 1),
    ]
    assert result.instrumented == 3 and not result.warnings


def test_modules_without_anything_that_suspends_stay_as_they_are(binary: bytes) -> None:
    before, after = core_modules(binary), core_modules(caesura.instrument(binary).module)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True, True]


@pytest.mark.parametrize("thunks", [False, True])
def test_a_suspension_is_driven_where_core_modules_are_instantiated(binary: bytes, thunks: bool) -> None:
    """The shim and the main module are two instances: each has its state, and here the main module's is driven."""
    instrumented = caesura.instrument(binary, caesura.Options(thunks=thunks))
    wasmtime.component.Component(wasmtime.Engine(), instrumented.module)  # is valid
    if thunks:
        return
    functions = {("host", "wait"): lambda number: number * 10 + 1}
    original = PlainGuest(core_modules(binary)[MAIN], functions)
    guest = PlainGuest(core_modules(instrumented.module)[MAIN], functions, suspend_at=always)
    assert guest.call("sum", 4) == original.call("sum", 4) == 104
    assert guest.suspensions == 4


def test_lists_are_about_all_core_modules(binary: bytes) -> None:
    options = caesura.Options(imports=("host.wait", "host.wiat"), ignore_indirect=True, remove_list=("greet", "grete"))
    result = caesura.instrument(binary, options)
    assert [report.name for report in result.functions if report.instrumented] == ["core module 1: sum"]
    assert list(result.warnings) == [
        "import list: no imported function matches 'host.wiat' (did you mean 'host.wait'?)",
        "Asyncify removelist contained a non-existing function name: 'grete'",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (caesura.Options(imports=("host.wiat",), strict=True), "no imported function matches 'host.wiat'"),
        (caesura.Options(import_globals=True), "a component gives no more imports"),
    ],
)
def test_what_does_not_fit(binary: bytes, options: caesura.Options, message: str) -> None:
    with pytest.raises(caesura.UsageError, match=message):
        caesura.instrument(binary, options)


def test_errors_say_where_in_the_component(binary: bytes) -> None:
    """The offset is that of the file, and the function is named with its module."""
    instrumented = caesura.instrument(binary).module
    start, _ = Component(instrumented).core_modules[SHIM]
    with pytest.raises(caesura.UnsupportedModule, match="instrumented already") as refused:
        caesura.instrument(instrumented)
    assert refused.value.function == "core module 0" and refused.value.offset >= start
    code = binary.index(b"\x11\x00\x00", Component(binary).core_modules[SHIM][0])
    with pytest.raises(caesura.MalformedModule) as malformed:
        caesura.instrument(binary[:code] + b"\xff" + binary[code + 1 :])
    assert malformed.value.function.startswith("core module 0") and malformed.value.offset == code


def nested(depth: int) -> bytes:
    header = b"\0asm\x0d\0\x01\0"
    out = header
    for _ in range(depth):
        size = bytes([len(out) & 0x7F | 0x80, len(out) >> 7 & 0x7F | 0x80, len(out) >> 14])
        out = header + b"\x04" + size + out
    return out


def _cut(binary: bytes) -> bytes:
    return binary[:-1]


def _in_a_section(binary: bytes) -> bytes:
    return binary + b"\x04\x04abcd"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "reaches beyond the end of its component"),
        (_in_a_section, "expected a component"),
        (lambda binary: nested(200), "more than 100 deep"),
        (lambda binary: binary + b"\x01", "unexpected end"),
    ],
)
def test_malformed_components(binary: bytes, damage: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(caesura.MalformedModule, match=message):
        caesura.instrument(damage(binary))
    assert caesura.instrument(nested(90)).module == nested(90)
