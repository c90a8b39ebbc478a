"""Runs a script: its modules as they are or instrumented, linked as it says, its actions, and what it asserts.

A script is run in variants. `ORIGINAL` shows what the engine makes of the script, so that what it lacks is not taken
for a fault of the transformation. In `INSTRUMENTED` every function may suspend, and none does. In those with points
(see `points`) every action is suspended and resumed many times. All instances of a script share the ABI's two globals,
so that a suspension unwinds through all of them as one stack, whose frames lie in a memory that they share.

Actions are carried out by modules that `driver` makes. What is asserted about modules that are not valid is left out:
none of it is for a module that could be instrumented.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import wasmtime

from caesura.abi import DATA_GLOBAL, GLOBALS_MODULE, STATE_GLOBAL
from caesura.errors import CaesuraError
from caesura.instrument.api import instrument
from caesura.options import Options
from caesura.wasm.module import Module
from tests.spec.driver import PAGES, SLOT, Action, driver, is_possible
from tests.spec.engines import (
    EXCEPTION,
    RUNTIME_INSTANCE,
    SPECTEST_INSTANCE,
    CannotInstantiateError,
    Engine,
    Import,
    WasmtimeEngine,
)
from tests.spec.old_exceptions import with_flat_tries
from tests.spec.points import FRAMES, POINTS_MODULE, with_points
from tests.spec.reading import Node, Script, in_ascii, name, string
from tests.spec.values import Constants

PAGE: Final = 65536

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
    endings: dict[tuple[int, int], str] = field(default_factory=dict)
    """What actions ended with that did not return."""


@dataclass
class _Instance:
    """An instance, the module it was made from as the script has it, and its actions."""

    number: int
    module: Module
    actions: list[Node]
    driver: int | None = None
    places: dict[int, int] = field(default_factory=dict)


def run(path: Path, variant: Variant, engine: Engine | None = None) -> Result:
    """Run a script, in Wasmtime if nothing else is said."""
    engine = engine or WasmtimeEngine()
    try:
        return _Run(Script(path.read_bytes()), variant, engine).run()
    finally:
        engine.close()


class _Run:
    def __init__(self, script: Script, variant: Variant, engine: Engine) -> None:
        self._script = script
        self._variant = variant
        self._constants = Constants(script)
        self._result = Result()
        self._engine = engine
        self._definitions: dict[bytes, bytes] = {}
        self._instances: dict[bytes, _Instance] = {}
        self._registered: dict[str, int] = {"spectest": SPECTEST_INSTANCE}
        self._per_line: Counter[int] = Counter()
        self._reset()

    def run(self) -> Result:
        """Run all commands, one after the other."""
        plan = self._plan()
        for place, command in enumerate(self._script.commands):
            self._command(command, plan.get(place, []))
        self._result.suspensions = self._engine.suspensions()
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
                self._registered[name(command.items[1])] = self._instances[identifier].number
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
        except CannotInstantiateError as error:
            self._instances.pop(b"", None)
            self._instances.pop(identifier, None)
            self._note(command, f"module cannot be instantiated: {error}")
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
        return bytes(wasmtime.wat2wasm(in_ascii(with_flat_tries(source))))

    def _make(self, command: Node, binary: bytes, actions: list[Node]) -> _Instance:
        instance = _Instance(self._link(self._prepared(command, binary)), Module(binary), actions)
        if actions:
            self._make_driver(instance)
        return instance

    def _prepared(self, command: Node, binary: bytes) -> bytes:
        """Return what is instantiated for a module of the script: in most variants, it instrumented."""
        self._result.modules += 1
        options = self._variant.options
        if options is None:
            return binary
        try:
            return instrument(with_points(binary, PAGES) if self._variant.points else binary, options).module
        except CaesuraError as error:
            self._result.refused.append((self._script.line(command), f"{type(error).__name__}: {error}"))
            return binary

    def _link(self, binary: bytes) -> int:
        imports = [self._imported(item.module, item.name) for item in Module(binary).imports]
        return self._engine.instantiate(binary, imports)

    def _imported(self, module: str, item: str) -> Import:
        if module == POINTS_MODULE:
            return Import(module, item, RUNTIME_INSTANCE, item)
        if module == GLOBALS_MODULE and item in (STATE_GLOBAL, DATA_GLOBAL):
            return Import(module, item, RUNTIME_INSTANCE, "state" if item == STATE_GLOBAL else "data")
        if module not in self._registered:
            raise CannotInstantiateError(f"there is no module '{module}'")
        return Import(module, item, self._registered[module], item)

    def _assert_fails(self, command: Node) -> str:
        try:
            self._link(self._prepared(command, self._binary(command)))
        except CannotInstantiateError:
            return ""
        return "the module was instantiated"

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
        binary = driver(instance.module, actions)
        imports = [
            Import(item.module, item.name, RUNTIME_INSTANCE if item.module == "runtime" else instance.number, item.name)
            for item in Module(binary).imports
        ]
        instance.driver = self._engine.instantiate(binary, imports)

    def _act(self, node: Node) -> tuple[bytes, str]:
        """Carry out an action; return the results as stored, and what it ended with if not with results."""
        instance = self._instances.get(_identifier(node))
        if instance is None or instance.driver is None or id(node) not in instance.places:
            return b"", _NO_EXPORT
        trouble = self._engine.call(instance.driver, str(instance.places[id(node)]))
        values = self._engine.record()
        if trouble:
            self._reset()
        return values, trouble

    def _reset(self) -> None:
        self._engine.call(RUNTIME_INSTANCE, "reset")

    def _assert(self, command: Node) -> str:
        values, trouble = self._act(command.items[1])
        line = self._script.line(command)
        self._result.endings[line, self._per_line[line]] = trouble
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
            return "" if trouble == EXCEPTION else trouble
        expected_text = string(command.items[2]).decode()
        return "" if _is_trap(trouble, expected_text) else f"{trouble}; expected {expected_text}"


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


_CODES: Final = frozenset(" ".join(_TRAPS.values()).split())
_NO_EXPORT: Final = "no such export"


def _is_trap(trouble: str, expected: str) -> bool:
    """Tell whether an action ended with a trap; with the expected one, if it is told in the words that are known."""
    if trouble not in _CODES:
        return trouble not in (EXCEPTION, _NO_EXPORT)
    for words, codes in _TRAPS.items():
        if expected.startswith(words):
            return trouble in codes.split()
    return True


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
