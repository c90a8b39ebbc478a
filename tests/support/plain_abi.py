"""A host for the plain Asyncify ABI, on Wasmtime, that suspends a guest wherever a test wants it to.

`PlainGuest` instantiates a module, instrumented or not, wraps its imported functions, and runs exports. Each call of an
import is numbered and logged, and a function given by the test (`suspend_at`) says at which of them the guest is
suspended. A suspension goes through the whole protocol: unwind to the outermost frame, stop, run whatever the test
wants in between (`while_suspended`), call the export again with garbage arguments, and give the import's result on the
second call of the import. Every step is checked: the state, the bounds of the asyncify stack, the arguments of the
import in the rewind, that the stack is empty afterwards. A breach raises `ProtocolError`, an `AssertionError`.

The oracle of the tests is that a run with suspensions equals one without. The same class runs the uninstrumented module
(nothing is ever suspended then), so that both runs have the same host: compare `log`, `memory_image()` and `globals()`.

Calls nest: an import or `while_suspended` may call exports again, which may be suspended themselves. Each level has its
own asyncify stack; levels resume innermost first, as they must with one shadow stack.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import wasmtime

from tests.support.engine import engine

NORMAL: Final = 0
UNWINDING: Final = 1
REWINDING: Final = 2

PAGE: Final = 65536
HEADER: Final = 16

Value: TypeAlias = int | float | None
HostFunction: TypeAlias = Callable[..., Value | tuple[Value, ...]]
Extern: TypeAlias = wasmtime.Func | wasmtime.Global | wasmtime.Memory | wasmtime.Table


class ProtocolError(AssertionError):
    """The guest did not behave as the Asyncify ABI promises."""


@dataclass(frozen=True)
class HostCall:
    """One call of an import, as the guest meant it (a rewind does not count again)."""

    number: int
    module: str
    name: str
    arguments: tuple[Value, ...]


SuspendAt: TypeAlias = Callable[[HostCall], bool]


def never(call: HostCall) -> bool:
    """Suspend nowhere."""
    return False


def always(call: HostCall) -> bool:
    """Suspend at every call of an import."""
    return True


def every(step: int) -> SuspendAt:
    """Suspend at every `step`-th call of an import."""
    return lambda call: call.number % step == step - 1


def some(seed: int, share: float) -> SuspendAt:
    """Suspend at a random subset of the calls: the same one for the same seed."""

    def choose(call: HostCall) -> bool:
        return random.Random(f"{seed}:{call.number}").random() < share

    return choose


@dataclass(frozen=True)
class StackArea:
    """Where the asyncify stacks lie: `count` of them, each of `size` bytes with its data structure at its head."""

    address: int
    size: int
    count: int

    @property
    def end(self) -> int:
        """The address behind the last stack."""
        return self.address + self.size * self.count


class Placing(Enum):
    """Where the asyncify stacks lie, if no area is given: in pages that are added, or in an area that is set later."""

    ADDED_PAGES = 1
    LATER = 2


ADDED_PAGES: Final = Placing.ADDED_PAGES
LATER: Final = Placing.LATER


@dataclass
class _Activation:
    """One call of an export that is in progress. `pending` is the import call at which it is suspended."""

    stack: int
    size: int
    pending: HostCall | None = None


class PlainGuest:
    """One instance, instrumented or not, driven through the plain ABI.

    `imports` are the host's functions, by module and name, and what is passed through as it is (memories, globals,
    tables of the `store`). `memory` is the exported name of the memory that holds the asyncify stacks. `stacks` says
    where. ADDED_PAGES are pages that are added to that memory at once, in instrumented and original alike, so that
    their memories stay comparable. A guest whose allocator takes every page that appears needs an area, which may also
    be set LATER, before the first suspension. So may `while_suspended`, which is called at each suspension.
    """

    def __init__(
        self,
        binary: bytes,
        imports: Mapping[tuple[str, str], HostFunction | Extern] | None = None,
        *,
        suspend_at: SuspendAt = never,
        memory: str = "memory",
        stacks: StackArea | Placing = ADDED_PAGES,
        store: wasmtime.Store | None = None,
    ) -> None:
        self.suspend_at = suspend_at
        self.while_suspended: Callable[[HostCall], None] | None = None
        self.memory = memory
        self.stacks = stacks if isinstance(stacks, StackArea) else None
        self.store = wasmtime.Store(engine()) if store is None else store
        self.log: list[HostCall] = []
        self.suspensions = 0
        self.deepest = 0
        self._imports = dict(imports or {})
        self._active: list[_Activation] = []
        self._module = wasmtime.Module(self.store.engine, binary)
        self.instance = wasmtime.Instance(self.store, self._module, [self._import(i) for i in self._module.imports])
        self.exports = self.instance.exports(self.store)
        self.instrumented = "asyncify_get_state" in self.exports
        if stacks is ADDED_PAGES and memory in self.exports:
            start = self._memory(memory).grow(self.store, 4) * PAGE
            self.stacks = StackArea(start, PAGE, 4)

    # Running

    def call(self, name: str, *arguments: Value) -> object:
        """Run an export to its end, with all the suspensions that `suspend_at` asks for; return its results."""
        function = self.function(name)
        activation = self._enter()
        try:
            result = function(self.store, *arguments)
            while activation.pending is not None:
                self._after_unwind(activation)
                garbage = [_garbage(kind) for kind in function.type(self.store).params]
                result = function(self.store, *garbage)
            if self.instrumented:
                self._expect_state(NORMAL, f"after {name} returned")
            return result
        finally:
            self._active.pop()

    def replace(self, name: tuple[str, str], function: HostFunction) -> None:
        """Exchange a host function, for tests that speak the protocol themselves."""
        self._imports[name] = function

    def function(self, name: str) -> wasmtime.Func:
        """Return an exported function."""
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func), name
        return function

    @property
    def depth(self) -> int:
        """How many calls of exports are in progress, suspended ones included."""
        return len(self._active)

    def state(self) -> int:
        """Return what `asyncify_get_state` says."""
        state = self.function("asyncify_get_state")(self.store)
        assert isinstance(state, int)
        return state

    # Looking

    def memory_image(self, name: str | None = None) -> bytes:
        """Return the content of an exported memory; the asyncify stacks read as zeros."""
        content = bytearray(self._memory(name).read(self.store))
        if self.stacks is not None and name in (None, self.memory):
            content[self.stacks.address : self.stacks.end] = bytes(self.stacks.size * self.stacks.count)
        return bytes(content)

    def globals(self) -> dict[str, Value]:
        """Return the values of the exported globals, the transformation's own left out."""
        values: dict[str, Value] = {}
        for export in self._module.exports:
            item = self.exports[export.name]
            if isinstance(item, wasmtime.Global) and not export.name.startswith(("__asyncify", "asyncify_")):
                values[export.name] = item.value(self.store)
        return values

    def stack_pointers(self, address: int) -> tuple[int, int]:
        """Return current and end of the asyncify stack at an address."""
        layout = self._pointer_layout()
        current, end = struct.unpack(layout, self.read(address, struct.calcsize(layout)))
        return int(current), int(end)

    def set_stack_pointers(self, address: int, current: int, end: int) -> None:
        """Write current and end of the asyncify stack at an address."""
        self.write(address, struct.pack(self._pointer_layout(), current, end))

    def read(self, address: int, size: int, name: str | None = None) -> bytes:
        """Return bytes of a memory."""
        return bytes(self._memory(name).read(self.store, address, address + size))

    def write(self, address: int, content: bytes, name: str | None = None) -> None:
        """Write bytes into a memory."""
        self._memory(name).write(self.store, content, address)

    # The protocol

    def _import(self, item: wasmtime.ImportType) -> Extern:
        key = (item.module, item.name or "")
        kind = item.type
        given = self._imports.get(key)
        if isinstance(given, Extern):
            return given
        if given is None or not isinstance(kind, wasmtime.FuncType):
            raise KeyError(f"the guest imports {key[0]}.{key[1]} ({kind}), which the test does not give")
        zeros = tuple(_zero(result) for result in kind.results)

        def call(*arguments: Value) -> object:
            function = self._imports[key]
            assert not isinstance(function, Extern)
            if not self.instrumented or not self._active:
                self.log.append(HostCall(len(self.log), *key, arguments))
                return function(*arguments)
            state = self.state()
            if state == REWINDING:
                self._arrived(key, arguments)
                return function(*arguments)
            if state != NORMAL:
                raise ProtocolError(f"{key[0]}.{key[1]} is called while the guest is unwinding")
            record = HostCall(len(self.log), *key, arguments)
            self.log.append(record)
            if not self.suspend_at(record):
                return function(*arguments)
            self._start_unwind(record)
            return zeros if len(zeros) > 1 else zeros[0] if zeros else None

        return wasmtime.Func(self.store, kind, call)

    def _enter(self) -> _Activation:
        depth = len(self._active)
        if self.stacks is None:
            activation = _Activation(0, 0)
        elif depth >= self.stacks.count:
            raise ProtocolError(f"there are {self.stacks.count} asyncify stacks, and one more call is nested")
        else:
            activation = _Activation(self.stacks.address + depth * self.stacks.size, self.stacks.size)
        self._active.append(activation)
        self.deepest = max(self.deepest, depth + 1)
        return activation

    def _start_unwind(self, record: HostCall) -> None:
        activation = self._active[-1]
        if activation.size == 0:
            raise ProtocolError("the test suspends, but there is no place for an asyncify stack")
        self.set_stack_pointers(activation.stack, activation.stack + HEADER, activation.stack + activation.size)
        activation.pending = record
        self.suspensions += 1
        self.function("asyncify_start_unwind")(self.store, activation.stack)
        self._expect_state(UNWINDING, "after asyncify_start_unwind")

    def _after_unwind(self, activation: _Activation) -> None:
        pending = activation.pending
        assert pending is not None
        self._expect_state(UNWINDING, f"after unwinding from {pending}")
        self.function("asyncify_stop_unwind")(self.store)
        self._expect_state(NORMAL, "after asyncify_stop_unwind")
        current, end = self.stack_pointers(activation.stack)
        if end != activation.stack + activation.size:
            raise ProtocolError(f"the end of the asyncify stack was changed to {end}")
        if not activation.stack + HEADER < current <= end:
            raise ProtocolError(f"after unwinding from {pending} the stack's current pointer is {current}")
        if self.while_suspended is not None:
            self.while_suspended(pending)
        if self.stack_pointers(activation.stack) != (current, end):
            raise ProtocolError("a suspended asyncify stack was changed")
        self.function("asyncify_start_rewind")(self.store, activation.stack)
        self._expect_state(REWINDING, "after asyncify_start_rewind")

    def _arrived(self, key: tuple[str, str], arguments: tuple[Value, ...]) -> None:
        activation = self._active[-1]
        pending = activation.pending
        if pending is None or key != (pending.module, pending.name):
            raise ProtocolError(f"rewinding to {pending} arrived at {key[0]}.{key[1]}{arguments}")
        if bits(arguments) != bits(pending.arguments):
            raise ProtocolError(f"rewinding to {pending}, the import got the arguments {arguments}")
        self.function("asyncify_stop_rewind")(self.store)
        self._expect_state(NORMAL, "after asyncify_stop_rewind")
        current, _ = self.stack_pointers(activation.stack)
        if current != activation.stack + HEADER:
            left = current - activation.stack - HEADER
            raise ProtocolError(f"after rewinding to {pending} {left} bytes are left on the asyncify stack")
        activation.pending = None

    def _memory(self, name: str | None) -> wasmtime.Memory:
        memory = self.exports[self.memory if name is None else name]
        assert isinstance(memory, wasmtime.Memory)
        return memory

    def _pointer_layout(self) -> str:
        wide = self.function("asyncify_start_unwind").type(self.store).params[0] == wasmtime.ValType.i64()
        return "<QQ" if wide else "<II"

    def _expect_state(self, wanted: int, when: str) -> None:
        state = self.state()
        if state != wanted:
            raise ProtocolError(f"{when} the state is {state} instead of {wanted}")


def bits(values: tuple[Value, ...]) -> tuple[object, ...]:
    """Return values in a form that compares floats bit by bit, so that NaN equals NaN and 0.0 is not -0.0."""
    return tuple(struct.pack("<d", value) if isinstance(value, float) else value for value in values)


def _zero(kind: wasmtime.ValType) -> Value:
    if kind in (wasmtime.ValType.i32(), wasmtime.ValType.i64()):
        return 0
    if kind in (wasmtime.ValType.f32(), wasmtime.ValType.f64()):
        return 0.0
    return None


def _garbage(kind: wasmtime.ValType) -> Value:
    """Return an argument that no guest expects: a host may pass anything when it calls an export to rewind it."""
    if kind == wasmtime.ValType.i32():
        return -0x21524111
    if kind == wasmtime.ValType.i64():
        return -0x2152411021524111
    if kind in (wasmtime.ValType.f32(), wasmtime.ValType.f64()):
        return float("-inf")
    return None
