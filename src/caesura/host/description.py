"""What the host must know of a module, found once and kept in the cache beside the compiled code.

The host asks our own reader and not Wasmtime for types: wasmtime-py cannot describe v128, and aborts the
process on some types. The description also decides how a guest is driven:

* `thunks`: instrumented here, or by `caesura instrument --thunks` (docs/abi.md);
* `plain`: exports the five functions of the Asyncify ABI, whoever instrumented it;
* `none`: nothing in it may suspend, or the guest has its own runtime (it imports from the module `asyncify`),
  which is then connected and left to its work.

`preparing` makes descriptions.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

THUNKS: Final = "thunks"
PLAIN: Final = "plain"
NONE: Final = "none"

ENTRY_PREFIX: Final = "asyncify_entry:"
ASYNCIFY_MODULE: Final = "asyncify"

# Exports of instrumented modules (docs/abi.md).
ASYNCIFY_MEMORY: Final = "asyncify_memory"
SET_DATA_POINTER: Final = "asyncify_set_data_pointer"
STACK_POINTER: Final = "asyncify_stack_pointer"

_OWN_PREFIX: Final = "asyncify_"


@dataclass(frozen=True)
class FunctionShape:
    """A function's type, as type codes, and its index."""

    index: int
    params: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class ImportShape:
    """An import: its names and kind; `shape` is a function's type, `type` a global's type code."""

    module: str
    name: str
    kind: int
    shape: FunctionShape | None
    type: int
    mutable: bool


@dataclass(frozen=True)
class Description:
    """A module as the host sees it. `abi` is THUNKS, PLAIN or NONE.

    `unsuspended` are the imported functions, by index, in which the module cannot be suspended because whoever
    instrumented it said that it would not. `state_changes` has the names under which the ABI's functions are exported,
    by their proper names. `entries` are the exports with an entry thunk, and the thunks' indices. `memory` is the name
    of the guest's own memory, `asyncify_memory` that of the memory with the asyncify stack, `wide` tells whether the
    latter has 64-bit addresses, `wide_memory` whether the former does; names are empty where there is nothing.
    `stack_pointer` is the name of the export of the shadow stack pointer, `wide_stack` whether it is an i64,
    `thunks_switch` whether the entry thunks are known to exchange it. `stack_low` and `stack_high` are the limits of
    the guest's own shadow stack (0 and 0: not known), `stack_lows` and `stack_highs` the names of the exports of the
    globals in which the guest keeps them. `unclear_stack` tells that there seems to be a shadow stack without a pointer
    that is certain, `fixed_stack` that the code compares the pointer with the ends of the guest's own.

    Where the options left out functions that the analysis would have instrumented, `checked` is set: `uninstrumented`
    has the functions that a suspension cannot pass, and `names` the names of all, which the module itself has no more.
    """

    abi: str
    functions: dict[str, FunctionShape]
    imports: tuple[ImportShape, ...]
    unsuspended: tuple[int, ...]
    state_changes: dict[str, str]
    entries: dict[str, int]
    memory: str
    asyncify_memory: str
    wide: bool
    wide_memory: bool
    stack_pointer: str
    wide_stack: bool
    thunks_switch: bool
    stack_low: int
    stack_high: int
    stack_lows: tuple[str, ...]
    stack_highs: tuple[str, ...]
    unclear_stack: bool
    fixed_stack: bool
    checked: bool
    uninstrumented: tuple[int, ...]
    names: dict[int, str]

    def public_functions(self) -> tuple[str, ...]:
        """Return the names of the exported functions that are not the transformation's."""
        own = self.state_changes.values()
        return tuple(name for name in self.functions if not name.startswith(_OWN_PREFIX) and name not in own)

    def imported_functions(self) -> int:
        """Return how many functions the module imports."""
        return sum(1 for item in self.imports if item.shape is not None)

    def function_name(self, index: int) -> str:
        """Return the best name of a function that Wasmtime has none for."""
        if index in self.names:
            return self.names[index]
        exported = (name for name, shape in self.functions.items() if shape.index == index)
        return next(exported, f"function {index}")

    def to_json(self) -> bytes:
        """Return the description as text for the cache."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(text: bytes) -> Description:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        fields: dict[str, Any] = json.loads(text)
        fields["functions"] = {name: _shape(item) for name, item in fields["functions"].items()}
        fields["imports"] = tuple(_import(item) for item in fields["imports"])
        fields["names"] = {int(index): name for index, name in fields["names"].items()}
        fields["uninstrumented"] = tuple(fields["uninstrumented"])
        for name in ("unsuspended", "stack_lows", "stack_highs"):
            fields[name] = tuple(fields[name])
        return Description(**fields)


def _shape(item: dict[str, Any]) -> FunctionShape:
    return FunctionShape(int(item["index"]), tuple(item["params"]), tuple(item["results"]))


def _import(item: dict[str, Any]) -> ImportShape:
    shape = _shape(item["shape"]) if item["shape"] is not None else None
    return ImportShape(item["module"], item["name"], item["kind"], shape, item["type"], item["mutable"])
