"""Runs a script: its modules as they are or instrumented, linked as it says, its actions, and what it asserts.

A script is run in variants. `ORIGINAL` shows what the engine makes of the script, so that what it lacks is not taken
for a fault of the transformation. In `INSTRUMENTED` every function may suspend, and none does. In those with points
(see `points`) every action is suspended and resumed many times. All instances of a script share the ABI's two globals,
so that a suspension unwinds through all of them as one stack, whose frames lie in a memory that they share.

Actions are carried out by modules that `driver` makes. What is asserted about modules that are not valid is left out:
none of it is for a module that could be instrumented.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import wasmtime

from caesura.abi import DATA_GLOBAL, GLOBALS_MODULE, STATE_GLOBAL
from caesura.errors import CaesuraError
from caesura.host.native import SharedMemory, allow_shared_memories
from caesura.instrument.api import instrument
from caesura.options import Options
from caesura.wasm.module import Module
from tests.spec.driver import FIRST_FRAME, HEADER, HOSTS, PAGES, RUNTIME, SLOT, Action, driver, is_possible
from tests.spec.points import FRAMES, POINTS_MODULE, with_points
from tests.spec.reading import Node, Script, in_ascii, name, string
from tests.spec.values import Constants

PAGE: Final = 65536

_SPECTEST: Final = """(module
  (func (export "print")) (func (export "print_i32") (param i32)) (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32)) (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32)) (func (export "print_f64_f64") (param f64 f64))
  (global (export "global_i32") i32 (i32.const 666)) (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6)) (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref) (table (export "table64") i64 10 20 funcref)
  (memory (export "memory") 1 2) (memory (export "shared_memory") 1 2 shared))
"""
_PROPOSALS: Final = (
    "custom_page_sizes exceptions function_references gc memory64 multi_memory relaxed_simd tail_call threads "
    "wide_arithmetic"
)
_ASSERTED_ACTIONS: Final = (b"assert_return", b"assert_trap", b"assert_exhaustion", b"assert_exception")
_INVALID: Final = (b"assert_invalid", b"assert_malformed", b"assert_invalid_custom", b"assert_malformed_custom")


@dataclass(frozen=True)
class Variant:
    """A way to run scripts: with which options modules are instrumented, if at all, and whether points are added."""

    label: str
    options: Options | None = None
    points: bool = False


_SHARED: Final = Options(import_globals=True, memory=FRAMES)

ORIGINAL: Final = Variant("as they are")
INSTRUMENTED: Final = Variant("instrumented", Options(add_list=("*",), in_secondary_memory=True))
SUSPENDED: Final = Variant("suspended", _SHARED, points=True)
RESUMED: Final = Variant("suspended, two bodies", replace(_SHARED, two_bodies="all"), points=True)


@dataclass
class Result:
    """What became of a script: of each assertion (by line and place in it) "" or what is wrong; who was refused."""

    assertions: dict[tuple[int, int], str] = field(default_factory=dict)
    modules: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    suspensions: int = 0


@functools.cache
def engine() -> wasmtime.Engine:
    """The engine, with every proposal that it knows."""
    configuration = wasmtime.Config()
    for proposal in _PROPOSALS.split():
        setattr(configuration, f"wasm_{proposal}", True)
    allow_shared_memories(configuration)
    configuration.cranelift_opt_level = "none"
    configuration.parallel_compilation = False
    return wasmtime.Engine(configuration)


@functools.cache
def _compiled(text: str) -> wasmtime.Module:
    return wasmtime.Module(engine(), bytes(wasmtime.wat2wasm(text)))


@dataclass
class _Instance:
    """An instance, the module it was made from as the script has it, and its actions."""

    module: Module
    exports: Mapping[str, Any]
    actions: list[Node]
    driver: Mapping[str, Any] | None = None
    places: dict[int, int] = field(default_factory=dict)


def run(path: Path, variant: Variant) -> Result:
    """Run a script."""
    return _Run(Script(path.read_bytes()), variant).run()


class _Run:
    def __init__(self, script: Script, variant: Variant) -> None:
        self._script = script
        self._variant = variant
        self._constants = Constants(script)
        self._result = Result()
        self._store = wasmtime.Store(engine())
        self._definitions: dict[bytes, bytes] = {}
        self._instances: dict[bytes, _Instance] = {}
        self._registered: dict[str, Mapping[str, Any]] = {}
        self._per_line: Counter[int] = Counter()
        self._runtime = self._start_runtime()
        self._registered["spectest"] = self._instantiate(_compiled(_SPECTEST), [])

    def _start_runtime(self) -> Mapping[str, Any]:
        identify = wasmtime.Func(
            self._store,
            wasmtime.FuncType([wasmtime.ValType.externref()], [wasmtime.ValType.i32()]),
            lambda value: value,
        )
        runtime = self._instantiate(_compiled(RUNTIME), [identify])
        for number in range(HOSTS):
            runtime["hosts"].set(self._store, number, number)
        self._reset(runtime)
        return runtime

    def _instantiate(self, module: wasmtime.Module, imports: list[Any]) -> Mapping[str, Any]:
        return wasmtime.Instance(self._store, module, imports).exports(self._store)

    def run(self) -> Result:
        """Run all commands, one after the other."""
        plan = self._plan()
        for place, command in enumerate(self._script.commands):
            self._command(command, plan.get(place, []))
        self._result.suspensions = self._runtime["suspensions"].value(self._store)
        return self._result

    def _plan(self) -> dict[int, list[Node]]:
        """Return which actions are on which instance, by the place of the command that makes it."""
        current: dict[bytes, int] = {}
        plan: dict[int, list[Node]] = {}
        for place, command in enumerate(self._script.commands):
            if _makes_instance(command):
                current[b""] = current[_identifier(command)] = place
            elif _action(command) is not None:
                action = _action(command)
                assert action is not None
                made = current.get(_identifier(action))
                if made is not None:
                    plan.setdefault(made, []).append(action)
        return plan

    def _command(self, command: Node, actions: list[Node]) -> None:
        head = command.head
        if head in _INVALID:
            return
        if head == b"module":
            self._module(command, actions)
        elif head == b"register":
            identifier = command.items[2].atom if len(command.items) > 2 else b""
            if identifier in self._instances:
                self._registered[name(command.items[1])] = self._instances[identifier].exports
        elif head in (b"invoke", b"get"):
            trouble = self._act(command)[1]
            self._note(command, f"action failed: {trouble}" if trouble else "")
        elif head in _ASSERTED_ACTIONS and command.items[1].head != b"module":
            self._note(command, self._assert(command))
        elif head in (b"assert_trap", b"assert_unlinkable", b"assert_exhaustion"):
            self._note(command, self._assert_fails(command.items[1]))
        else:
            raise ValueError(f"line {self._script.line(command)}: unknown command {head.decode()}")

    def _note(self, command: Node, trouble: str) -> None:
        line = self._script.line(command)
        self._result.assertions[line, self._per_line[line]] = trouble
        self._per_line[line] += 1

    # Modules.

    def _module(self, command: Node, actions: list[Node]) -> None:
        identifier = _identifier(command)
        if _keyword(command) == b"definition":
            self._definitions[b""] = self._definitions[identifier] = self._binary(command)
            return
        if _keyword(command) == b"instance":
            definition = command.items[3].atom if len(command.items) > 3 else b""
            binary = self._definitions[definition]
        else:
            binary = self._binary(command)
        try:
            instance = self._make(command, binary, actions)
        except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError) as error:
            self._instances.pop(b"", None)
            self._instances.pop(identifier, None)
            self._note(command, f"module cannot be instantiated: {_first_line(error)}")
            return
        self._instances[b""] = self._instances[identifier] = instance

    def _binary(self, command: Node) -> bytes:
        """Return the module of a command in binary form."""
        items = command.items
        source = self._script.source(command)
        if _keyword(command) == b"definition":
            start = next(item for item in items if item.atom == b"definition")
            source = source[: start.start - command.start] + source[start.end - command.start :]
        if _keyword(command) == b"quote" or (len(items) > 2 and items[2].atom == b"quote"):
            source = b" ".join(string(item) for item in items if item.is_string)
            if not source.lstrip().startswith(b"(module"):
                source = b"(module " + source + b")"
        return bytes(wasmtime.wat2wasm(in_ascii(source)))

    def _make(self, command: Node, binary: bytes, actions: list[Node]) -> _Instance:
        instance = _Instance(Module(binary), self._link(self._prepared(command, binary)), actions)
        if actions:
            self._make_driver(instance)
        return instance

    def _prepared(self, command: Node, binary: bytes) -> bytes:
        """Return what is instantiated for a module of the script: in most variants, it instrumented."""
        wasmtime.Module.validate(engine(), binary)
        self._result.modules += 1
        options = self._variant.options
        if options is None:
            return binary
        try:
            return instrument(with_points(binary, PAGES) if self._variant.points else binary, options).module
        except CaesuraError as error:
            self._result.refused.append((self._script.line(command), f"{type(error).__name__}: {error}"))
            return binary

    def _link(self, binary: bytes) -> Mapping[str, Any]:
        module = wasmtime.Module(engine(), binary)
        imports = [self._imported(item.module, item.name or "") for item in module.imports]
        return self._instantiate(module, imports)

    def _imported(self, module: str, item: str) -> Any:
        if module == GLOBALS_MODULE and item in (STATE_GLOBAL, DATA_GLOBAL):
            return self._runtime["state" if item == STATE_GLOBAL else "data"]
        if module == POINTS_MODULE:
            return self._runtime[item]
        found = self._registered[module][item]
        return SharedMemory.of(found) if isinstance(found, wasmtime.SharedMemory) else found

    def _assert_fails(self, command: Node) -> str:
        try:
            exports = self._link(self._prepared(command, self._binary(command)))
        except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError):
            return ""
        return f"the module was instantiated, with {len(exports)} exports"

    # Actions.

    def _make_driver(self, instance: _Instance) -> None:
        actions: list[Action] = []
        for node in instance.actions:
            items = [item for item in node.items[1:] if not item.atom.startswith(b"$")]
            arguments = None if node.head == b"get" else tuple(self._constants.argument(item) for item in items[1:])
            action = Action(name(items[0]), arguments)
            if is_possible(instance.module, action):
                instance.places[id(node)] = len(actions)
                actions.append(action)
        module = wasmtime.Module(engine(), driver(instance.module, actions))
        imports = [
            self._runtime[item.name or ""] if item.module == "runtime" else instance.exports[item.name or ""]
            for item in module.imports
        ]
        instance.driver = self._instantiate(module, imports)

    def _act(self, node: Node) -> tuple[bytes, str]:
        """Carry out an action; return the results as stored, and what it ended with if not with results."""
        instance = self._instances.get(_identifier(node))
        if instance is None or instance.driver is None or id(node) not in instance.places:
            return b"", "no such export"
        try:
            instance.driver[str(instance.places[id(node)])](self._store)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            self._reset(self._runtime)
            return b"", _ending(error)
        finally:
            self._runtime["next"].set_value(self._store, -1)
        record = self._runtime["record"]
        return ctypes.string_at(record.data_ptr(self._store), 64 * SLOT), ""

    def _reset(self, runtime: Mapping[str, Any]) -> None:
        runtime["state"].set_value(self._store, 0)
        header = struct.pack("<II", FIRST_FRAME, PAGES * PAGE)
        runtime[FRAMES].write(self._store, header, HEADER)

    def _assert(self, command: Node) -> str:
        values, trouble = self._act(command.items[1])
        if command.head == b"assert_return":
            if trouble:
                return trouble
            for place, expected in enumerate(command.items[2:]):
                value = values[place * SLOT : (place + 1) * SLOT]
                if not self._constants.fits(expected, value):
                    return f"result {place} is {value.hex()}; expected {self._script.source(expected).decode()}"
            return ""
        if not trouble:
            return f"returned; expected {command.head.decode().removeprefix('assert_')}"
        if command.head == b"assert_exception":
            return "" if trouble == _EXCEPTION else trouble
        expected_text = string(command.items[2]).decode()
        return "" if _is_trap(trouble, expected_text) else f"{trouble}; expected {expected_text}"


_EXCEPTION: Final = "exception"

# Words of the engine for traps, where they are not those of the specification.
_TRAPS: Final = {
    "call stack exhausted": "stack_overflow",
    "out of bounds memory access": "memory_out_of_bounds",
    "out of bounds table access": "table_out_of_bounds",
    "out of bounds array access": "array_out_of_bounds",
    "undefined element": "table_out_of_bounds indirect_call_to_null",
    "uninitialized element": "indirect_call_to_null",
    "indirect call type mismatch": "bad_signature",
    "integer overflow": "integer_overflow",
    "integer divide by zero": "integer_division_by_zero",
    "invalid conversion to integer": "bad_conversion_to_integer",
    "unreachable": "unreachable",
    "unaligned atomic": "heap_misaligned",
    "expected shared memory": "atomic_wait_non_shared_memory",
    "cast failure": "cast_failure",
    "null": "null_reference",
}


def _is_trap(trouble: str, expected: str) -> bool:
    for words, codes in _TRAPS.items():
        if expected.startswith(words):
            return trouble in codes.split()
    return trouble != _EXCEPTION


def _ending(error: Exception) -> str:
    if isinstance(error, wasmtime.Trap) and error.trap_code is not None:
        code = error.trap_code.name.lower()
        return _EXCEPTION if code == "uncaught_exception" else code
    return _EXCEPTION if "exception" in str(error) else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0]


def _keyword(command: Node) -> bytes:
    """Return the word behind a module's identifier that says in what form it is."""
    for item in command.items[1:]:
        if not item.atom.startswith(b"$"):
            return item.atom
    return b""


def _makes_instance(command: Node) -> bool:
    return command.head == b"module" and _keyword(command) != b"definition"


def _identifier(node: Node) -> bytes:
    """Return the identifier that stands behind the first word, or the one behind the second; else nothing."""
    for item in node.items[1:3]:
        if item.atom.startswith(b"$"):
            return item.atom
    return b""


def _action(command: Node) -> Node | None:
    if command.head in (b"invoke", b"get"):
        return command
    if command.head in _ASSERTED_ACTIONS and command.items[1].head in (b"invoke", b"get"):
        return command.items[1]
    return None
