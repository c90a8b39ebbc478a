"""What the host must know of a module, found once and kept in the cache beside the compiled code.

The host asks our own reader and not Wasmtime for types: wasmtime-py cannot describe v128, and aborts the
process on some types. The description also decides how a guest is driven:

* `thunks`: instrumented here, or by `caesura instrument --thunks` (docs/abi.md);
* `plain`: exports the five functions of the Asyncify ABI, whoever instrumented it;
* `none`: nothing in it may suspend, or the guest has its own runtime (it imports from the module `asyncify`),
  which is then connected and left to its work.

`describing` makes descriptions.

A module can export 100,000 functions. Their descriptions are numbers until they are asked for, and they are read in
pieces, between which an event loop in another thread runs on: objects for all would take a second, and the garbage
collector looks at each again and again.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from caesura.abi import ENTRY_PREFIX, FRAMES_OFFSET, OWN_PREFIX, PREEMPT_FRAMES_OFFSET, START_FUNCTION
from caesura.errors import printable
from caesura.host.guard_section import GuardSection, read_guard_section
from caesura.options import NO_PREEMPT
from caesura.records import Record

if TYPE_CHECKING:  # of programs from the cache nobody may ask
    from caesura.snapshots.section import StateSection

THUNKS: Final = "thunks"
PLAIN: Final = "plain"
NONE: Final = "none"

# Options of the transformation that are the host's to choose wherever it instruments a module.
CHOSEN_OPTIONS: Final = MappingProxyType({"in_secondary_memory": True, "thunks": True, "translate_to_exnref": True})

# Nanoseconds for which an event loop may well stand still.
_QUICK: Final = 3_000_000

# What there can be many of, and how many are written in a line: reading one takes a fraction of a millisecond.
_MANY: Final = ("functions", "entries", "names")
_PIECE: Final = 500

# What is kept as the module has it.
_SECTIONS: Final = ("guard_section", "state_section")


@dataclass(frozen=True)
class FunctionShape:
    """A function's type, as type codes, and its index."""

    index: int
    params: tuple[int, ...]
    results: tuple[int, ...]


class FunctionTable(Mapping[str, FunctionShape]):
    """Exported functions by name. `types` are the different types, `places` an index and a number of a type each."""

    def __init__(self, types: list[tuple[tuple[int, ...], tuple[int, ...]]], places: dict[str, int]) -> None:
        self._types = types
        self._places = places

    def __getitem__(self, name: str) -> FunctionShape:
        index, kind = divmod(self._places[name], len(self._types))
        return FunctionShape(index, *self._types[kind])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def names_of(self, index: int) -> list[str]:
        """Return the names under which a function is exported."""
        count = len(self._types)
        return [name for name, place in self._places.items() if place // count == index]

    def places(self) -> dict[str, int]:
        """Return what the table was made of."""
        return self._places

    @property
    def types(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The different types: parameters and results."""
        return self._types


def function_table(functions: Mapping[str, FunctionShape]) -> FunctionTable:
    """Return functions as a table."""
    if isinstance(functions, FunctionTable):
        return functions
    numbers: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    for shape in functions.values():
        numbers.setdefault((shape.params, shape.results), len(numbers))
    count = len(numbers)
    places = {name: shape.index * count + numbers[shape.params, shape.results] for name, shape in functions.items()}
    return FunctionTable(list(numbers), places)


@dataclass(frozen=True)
class ImportShape:
    """An import: its place among all, its names and kind; `shape` is a function's type, `type` a global's type code.

    Of imports that are the same, a module can have 100,000; they are one here.
    """

    place: int
    module: str
    name: str
    kind: int
    _: KW_ONLY
    shape: FunctionShape | None = None
    type: int = 0
    mutable: bool = False

    @property
    def shown(self) -> str:
        """Its names in messages."""
        return printable(f"{self.module}.{self.name}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StackDescription(Record):
    """A module's shadow stack, if it has one.

    `pointer` is the name of the export of its pointer ("": none), `wide` whether that is an i64, `thunks_switch`
    whether the entry thunks are known to exchange it. `low` and `high` are the limits of the guest's own stack (0 and
    0: not known), `lows` and `highs` the names of the exports of the globals in which the guest keeps them. `unclear`
    tells that there seems to be a shadow stack without a pointer that is certain, `is_fixed` that the code compares the
    pointer with the ends of the guest's own.
    """

    pointer: str
    wide: bool
    thunks_switch: bool
    low: int
    high: int
    lows: tuple[str, ...]
    highs: tuple[str, ...]
    unclear: bool
    is_fixed: bool


class Instantiation(NamedTuple):
    """How long making an instance takes, in nanoseconds: `effort`, and `unmapped` more where the code is not mapped.

    The latter is for data that are mapped together with the code, and copied where that lies in memory.
    """

    effort: int
    unmapped: int

    def is_quick(self, *, mapped: bool) -> bool:
        """Tell whether an event loop may well stand still for so long."""
        return self.effort + (0 if mapped else self.unmapped) <= _QUICK


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Description(Record):
    """A module as the host sees it. `abi` is THUNKS, PLAIN or NONE.

    `imports` has what is imported, each once, and `imported_functions` is how many functions the module imports.
    `unsuspended` are those in which it cannot be suspended because whoever instrumented it said that it would not, by
    their numbers among the functions in `imports`. `state_changes` has the names under which the ABI's functions are
    exported, by their proper names. `entries` are the exports with an entry thunk, and the thunks' indices. `memory`
    is the name of the guest's own memory, `asyncify_memory` that of the memory with the asyncify stack, `wide` tells
    whether the latter has 64-bit addresses, `wide_memory` whether the former does; names are empty where there is
    nothing. `preempt` is what the module looks at where it pauses by itself, as `Options` says;
    `pauses_without_thunks` tells that it does by the plain ABI, which is not driven here. `shared` is how many bytes
    the largest memory that threads can share may grow to (0: there is none). `stack` is the shadow stack.

    `forgets_by_rewinding` tells that frames have references which the guest cannot forget without being rewound.

    `instantiation` says what making an instance takes. A start function that cannot suspend is not the engine's
    affair where that may be long or the state can be saved: it is exported, as `held_start` ("": there is none, or the
    engine calls it), for the host to call.

    Where lists may have left out functions that can be on the stack at a suspension, a `guarded` module tells by a
    global when one is: `uninstrumented` has the functions that a suspension cannot pass, `original_functions` is how
    many there were before anything was added, and `names` has the names of all, which the module itself has no more.
    `guard_section` tells more of functions (see `functions_told`). An `unguarded` one does not tell, although there
    were lists.

    `state_section` tells what the module's state consists of (see `state`), `added_tables` how many of its tables hold
    none, `why_unsaved` why it cannot be saved ("": it can).
    """

    abi: str
    functions: Mapping[str, FunctionShape]
    imports: tuple[ImportShape, ...]
    imported_functions: int
    unsuspended: tuple[int, ...]
    state_changes: dict[str, str]
    entries: dict[str, int]
    memory: str
    asyncify_memory: str
    preempt: str
    pauses_without_thunks: bool
    wide: bool
    wide_memory: bool
    shared: int
    stack: StackDescription
    forgets_by_rewinding: bool
    instantiation: Instantiation
    held_start: str
    guarded: bool
    unguarded: bool
    guard_section: bytes
    original_functions: int
    uninstrumented: tuple[int, ...]
    names: dict[int, str]
    added_tables: int
    state_section: bytes
    why_unsaved: str
    recorded: str

    @cached_property
    def public_functions(self) -> tuple[str, ...]:
        """The names of the exported functions that are not the transformation's."""
        own = frozenset(self.state_changes.values())
        return tuple(name for name in self.functions if not name.startswith(OWN_PREFIX) and name not in own)

    def beginning(self) -> tuple[str, ...]:
        """Return the exports that are called before a guest is anybody's: a start function that may suspend, and a
        WASI library's initialization.
        """
        start = (START_FUNCTION,) if self.abi == THUNKS and START_FUNCTION in self.entries else ()
        return tuple(name for name in (*start, "_initialize") if name in self.functions)

    def state(self) -> StateSection | None:
        """Return what the module's state consists of; None where it cannot be saved (see `why_unsaved`)."""
        return None if self.why_unsaved else self._state

    @cached_property
    def _state(self) -> StateSection:
        from caesura.snapshots.section import read_section

        return read_section(self.state_section)

    @cached_property
    def functions_told(self) -> GuardSection:
        """Which functions are the original's, and what others mean on a stack, where the module is guarded."""
        if not self.guard_section:
            return GuardSection(self.original_functions)
        return read_guard_section(self.guard_section)

    @property
    def frames_offset(self) -> int:
        """How far behind the control block's beginning frames begin."""
        return FRAMES_OFFSET if self.preempt == NO_PREEMPT else PREEMPT_FRAMES_OFFSET

    @property
    def has_own_asyncify_memory(self) -> bool:
        """Whether the asyncify stack lies in a memory that is not the guest's own."""
        return self.asyncify_memory != self.memory

    def function_name(self, index: int) -> str:
        """Return the best name of a function that Wasmtime has none for."""
        if index in self.names:
            return self.names[index]
        if index in self.entries.values():
            return ENTRY_PREFIX  # entry thunks have no names but those of their exports
        exported = function_table(self.functions).names_of(index)
        return exported[0] if exported else f"function {self.functions_told.original(index)}"

    def to_json(self) -> bytes:
        """Return the description as text for the cache: a line, and further ones for what there can be many of."""
        table = function_table(self.functions)
        whole = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _MANY}
        whole["imports"] = [_import_fields(item) for item in self.imports]
        whole["stack"] = asdict(self.stack)
        whole["instantiation"] = self.instantiation._asdict()
        whole["types"] = table.types
        for name in _SECTIONS:
            whole[name] = b64encode(whole[name]).decode()
        lines = [json.dumps(whole)]
        for name, many in (("functions", table.places()), ("entries", self.entries), ("names", self.names)):
            items = iter(many.items())
            while piece := list(islice(items, _PIECE)):
                lines.append(json.dumps([name, [key for key, _ in piece], [value for _, value in piece]]))
        return "\n".join(lines).encode()

    @staticmethod
    def from_json(text: bytes) -> Description:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        first, *pieces = text.split(b"\n")
        whole: dict[str, Any] = json.loads(first)
        many: dict[str, dict[Any, Any]] = {name: {} for name in _MANY}
        for piece in pieces:
            name, keys, values = json.loads(piece)
            many[name].update(zip(keys, values, strict=True))
        types = [(tuple(params), tuple(results)) for params, results in whole.pop("types")]
        if many["functions"] and not types:
            raise ValueError("functions without a type")
        whole["functions"] = FunctionTable(types, many["functions"])
        whole["entries"] = many["entries"]
        whole["names"] = many["names"]
        whole["imports"] = tuple(_import(item) for item in whole["imports"])
        whole["stack"] = _stack(whole["stack"])
        whole["instantiation"] = Instantiation(**whole["instantiation"])
        for name in ("uninstrumented", "unsuspended"):
            whole[name] = tuple(whole[name])
        for name in _SECTIONS:
            whole[name] = b64decode(whole[name])
        return Description(**whole)


def _import_fields(item: ImportShape) -> dict[str, Any]:
    shape = item.shape
    return {
        "place": item.place,
        "module": item.module,
        "name": item.name,
        "kind": item.kind,
        "shape": None if shape is None else {"index": shape.index, "params": shape.params, "results": shape.results},
        "type": item.type,
        "mutable": item.mutable,
    }


def _shape(item: dict[str, Any]) -> FunctionShape:
    return FunctionShape(int(item["index"]), tuple(item["params"]), tuple(item["results"]))


def _import(item: dict[str, Any]) -> ImportShape:
    shape = _shape(item["shape"]) if item["shape"] is not None else None
    place = int(item["place"])
    return ImportShape(
        place, item["module"], item["name"], item["kind"], shape=shape, type=item["type"], mutable=item["mutable"]
    )


def _stack(item: dict[str, Any]) -> StackDescription:
    return StackDescription(**{**item, "lows": tuple(item["lows"]), "highs": tuple(item["highs"])})
