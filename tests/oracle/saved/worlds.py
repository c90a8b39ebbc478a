"""Worlds from a seed: generated modules, and C programs, in each form of the ABI."""

from __future__ import annotations

import hashlib
import pickle
import random
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import caesura
from caesura.inspection.contents import names_of
from caesura.wasm.module import Module
from tests.fuzz.savable_guests import IN_FLIGHT, TABLES
from tests.host.support import ABIS, c_library, instrumented
from tests.host.test_binaryen import through_binaryen
from tests.oracle.cases import make_case
from tests.oracle.generator import Features
from tests.oracle.minimise import draw_parts
from tests.oracle.saved.driving import Refusal, Run
from tests.oracle.world import F32, F64, GROUND_USED, I32, I64, IMPORTS, STACK_SIZE, STACKS, V128
from tests.support.paths import BUILD
from tests.support.sharing import write_whole

# What modules may use: those with all kinds of references hold some at times that cannot be saved.
_FEATURES: Final = (
    *[Features(standalone=True, references=False)] * 4,
    *[Features(standalone=True)] * 2,
)

_MASKS: Final = {I32: 0xFFFF_FFFF, I64: 0xFFFF_FFFF_FFFF_FFFF}
_BASE: Final = "__asyncify_base"  # a name that only the transformation gives
_MODES: Final = ("start", "call")
_BINARYEN: Final = "Binaryen"


@dataclass(frozen=True)
class ModuleWorld:
    """A module, and what of it is called. `answers` says by name what a host function without a body answers."""

    module: bytes
    mode: str
    begun: tuple[tuple[str, tuple[Any, ...]], ...]
    external: tuple[str, ...]
    answers: Callable[[caesura.Guest, caesura.PendingCall, random.Random], Any]
    imports: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: tuple[tuple[str, Any], ...] = ()
    placed: tuple[tuple[str, Any], ...] = ()
    prepared: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    scratch: frozenset[int] = frozenset()

    @property
    def most_calls(self) -> int:
        """How many calls may be suspended at once."""
        return 4

    async def load(self, run: Run) -> caesura.Guest:
        """Return the guest, before anything is called."""
        run.left = [*self.begun]
        settings: Any = {**dict(self.settings), **dict(self.placed)}
        guest = await caesura.load(self.module, self.imports, external=self.external, **settings)
        for name, arguments in self.prepared:
            guest.call_nowait(name, *arguments)
        return guest

    async def restore(self, data: bytes, run: Run, *, fork: bool) -> caesura.Guest:
        """Return the guest that goes on."""
        given: Any = {"external": self.external, "module": self.module, "load_object": pickle.loads}
        given |= dict(self.settings)
        if not fork:
            return await caesura.restore(data, self.imports, **given)
        first, second = await caesura.Snapshot.load(data).fork(2, self.imports, **given)
        second.close()  # which must not matter to the first
        return first

    def answer(self, guest: caesura.Guest, call: caesura.PendingCall, run: Run) -> Any:
        """Return what a host function returns, or an exception that it raises."""
        return self.answers(guest, call, run.source)


# Generated modules


@dataclass(frozen=True)
class _Prompt:
    """A host function that may not wait: what it returns follows from its arguments alone."""

    results: tuple[int, ...]

    def __call__(self, *arguments: Any) -> Any:
        digest = hashlib.sha256(repr(arguments).encode()).digest()
        return _result([_value(kind, random.Random(digest)) for kind in self.results])


def generated(seed: int) -> ModuleWorld:
    """Return a world of a module that is drawn from a seed."""
    source = random.Random(f"saved {seed}")
    case = make_case(*draw_parts(source), source.choice(_FEATURES))
    options = {name: value for name, value in case.options.items() if name != "import_globals"}
    suspending = [item for number, item in enumerate(IMPORTS) if case.suspending_mask >> number & 1]
    prompt = {item.name: _Prompt(item.results) for item in IMPORTS if item not in suspending}
    external = tuple(f"env.{item.name}" for item in suspending)
    placed: tuple[tuple[str, Any], ...] = ()
    module = case.module
    scratch: frozenset[int] = frozenset()
    if source.random() < 0.7:
        if source.random() < 0.5:
            options["thunks"] = True
        options.setdefault("imports", external)
        module = caesura.instrument(module, caesura.Options(**options)).module  # type: ignore[arg-type]
        names = names_of(Module(module)).globals
        scratch = frozenset(index for index, name in names.items() if name == _BASE)
        if not case.secondary:
            placed = (("stack_space", (STACKS, STACKS + STACK_SIZE)),)
    begun = tuple(
        (f"entry{source.randrange(2)}", tuple(_value(kind, source) for kind in (I32, I64, F32, F64, V128)))
        for _ in range(source.randint(2, 8))
    )
    return ModuleWorld(
        module,
        source.choice(_MODES),
        begun,
        external,
        _answer_generated,
        {"env": {**prompt}},
        placed=placed,
        scratch=scratch,
    )


_RESULTS: Final = {f"env.{item.name}": item.results for item in IMPORTS}


def _answer_generated(guest: caesura.Guest, call: caesura.PendingCall, source: random.Random) -> Any:
    if source.random() < 0.3:
        guest.memory.write(source.randrange(GROUND_USED - 64), source.randbytes(source.randrange(64)))
    if source.random() < 0.04:
        return Refusal()
    return _result([_value(kind, source) for kind in _RESULTS[call.function]])


def _result(values: list[Any]) -> Any:
    return tuple(values) if len(values) > 1 else values[0] if values else None


def _value(kind: int, source: random.Random) -> Any:
    """Return a value that may be small, or any bits."""
    if kind in _MASKS:
        small = source.random() < 0.6
        value = source.randrange(-3, 9) if small else source.getrandbits(64) & _MASKS[kind]
        limit = (_MASKS[kind] + 1) // 2
        return value - 2 * limit if value >= limit else value
    if kind == V128:
        return source.randbytes(16)
    if source.random() < 0.6:
        return source.randrange(-50, 50) / 4
    if kind == F32:
        return struct.unpack("<f", source.randbytes(4))[0]
    return struct.unpack("<d", source.randbytes(8))[0]


# C programs with stacks of their own, and a module with references of all kinds that can be saved


@cache
def _by_binaryen(module: bytes) -> bytes:
    """Return a module as Binaryen instruments it; that takes a second, so all processes share it."""
    place = BUILD / "guests" / f"binaryen-{hashlib.sha256(module).hexdigest()[:16]}.wasm"
    if not place.is_file():
        with tempfile.TemporaryDirectory() as folder:
            write_whole(place, through_binaryen(module, Path(folder)))
    return place.read_bytes()


def c_program(seed: int) -> ModuleWorld:
    """Return a world of a C library of which several calls wait, each on a C stack."""
    source = random.Random(f"saved c {seed}")
    exports: tuple[Callable[[], tuple[str, tuple[Any, ...]]], ...] = (
        lambda: ("descend", (source.randrange(40), source.randrange(100))),
        lambda: ("descend", (source.randrange(5), source.randrange(100))),
        lambda: ("sum_filled", (source.randrange(200),)),
        lambda: ("nested", (source.randrange(50),)),
        lambda: ("wait_then_divide", (source.randrange(100),)),
        lambda: ("note_then_wait", (source.randrange(100),)),
    )
    begun = tuple(source.choice(exports)() for _ in range(12))
    abi = source.choice((*ABIS, _BINARYEN))
    library = c_library("host_calls")
    return ModuleWorld(
        _by_binaryen(library) if abi == _BINARYEN else instrumented(library, abi),
        source.choice(_MODES),
        begun,
        ("env.wait", "env.fill", "env.note", "env.again"),
        _answer_c,
        settings=(("shadow_stack_size", 16384),),
    )


def _answer_c(guest: caesura.Guest, call: caesura.PendingCall, source: random.Random) -> Any:
    if call.function == "env.fill":
        address, size = call.arguments
        guest.memory.write(address, source.randbytes(size))
        return size
    if call.function == "env.note":
        return None
    if call.function == "env.again" and source.random() < 0.7:
        return guest.call_nowait("add", source.randrange(100), call.arguments[0])
    return Refusal() if source.random() < 0.05 else source.randrange(4)


def references(seed: int) -> ModuleWorld:
    """Return a world of a module with references in tables, globals and frames: to functions and objects, or to
    exceptions that are on their way, and functions of a type.
    """
    source = random.Random(f"saved references {seed}")
    if source.random() < 0.4:
        return _in_flight(source)
    exports: tuple[Callable[[], tuple[str, tuple[Any, ...]]], ...] = (
        lambda: ("go", (source.randrange(9),)),
        lambda: ("go", (source.randrange(3),)),
        lambda: ("through", (source.randrange(3), source.randrange(10))),
        lambda: ("held", (source.randrange(2),)),
        lambda: ("prepare_again", ("other", source.randrange(4))),
    )
    begun = tuple(source.choice(exports)() for _ in range(12))
    abi = source.choice(ABIS)
    return ModuleWorld(
        instrumented(TABLES.encode(), abi),
        source.choice(_MODES),
        begun,
        ("env.ask",),
        _answer_references,
        placed=(("stack_space", (1024, 65536)),) if abi in ("thunks", "plain") else (),
        prepared=(("prepare", ({"an": "object"},)),),
    )


def _in_flight(source: random.Random) -> ModuleWorld:
    exports: tuple[Callable[[], tuple[str, tuple[Any, ...]]], ...] = (
        lambda: ("run", (source.randrange(1 << 20), source.randint(1, 4), source.uniform(-9, 9))),
        lambda: ("run", (source.randrange(3), source.randint(1, 2), 0.5)),
        lambda: ("hold", (source.choice((0, 0, 0, 1, 2, 3, 4)),)),
        lambda: ("fail", ()),
        lambda: ("values", ()),
    )
    begun = tuple(source.choice(exports)() for _ in range(10))
    abi = source.choice(ABIS)
    return ModuleWorld(
        instrumented(IN_FLIGHT.read_bytes(), abi),
        source.choice(_MODES),
        begun,
        ("env.ask",),
        _answer_references,
        placed=(("stack_space", (1024, 65536)),) if abi in ("thunks", "plain") else (),
    )


def _answer_references(guest: caesura.Guest, call: caesura.PendingCall, source: random.Random) -> Any:
    if "store" in guest.exports and source.random() < 0.2:
        guest.call_nowait("store", 100_000 + 8 * source.randrange(8), source.getrandbits(63))
    return Refusal() if source.random() < 0.05 else source.randrange(100)
