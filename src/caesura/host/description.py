"""What the host must know of a module, found once and kept in the cache beside the compiled code.

The host asks our own reader and not Wasmtime for types: wasmtime-py cannot describe v128, and aborts the
process on some types. The description also decides how a guest is driven:

* `thunks`: instrumented here, or by `caesura instrument --thunks` (docs/abi.md);
* `plain`: exports the five functions of the Asyncify ABI, whoever instrumented it;
* `none`: nothing in it may suspend, or the guest has its own runtime (it imports from the module `asyncify`),
  which is then connected and left to its work.

A module that is instrumented already is taken as it is, even if other imports are coroutine functions now
than were on its import list: only its author knows, and a suspension that gets lost is noticed when it
happens.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from caesura.analysis.shadow_stack import find_stack_pointer
from caesura.instrument.options import Options
from caesura.instrument.pipeline import instrument
from caesura.wasm import sections as sec
from caesura.wasm import types as t
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, Module
from caesura.wasm.sections import SectionEdits, write_sections

THUNKS: Final = "thunks"
PLAIN: Final = "plain"
NONE: Final = "none"

ENTRY_PREFIX: Final = "asyncify_entry:"
ASYNCIFY_MEMORY: Final = "asyncify_memory"
_OWN_PREFIX: Final = "asyncify_"
ASYNCIFY_MODULE: Final = "asyncify"
STACK_POINTER: Final = "asyncify_stack_pointer"

_PLAIN_EXPORTS: Final = frozenset(
    f"asyncify_{name}" for name in ("start_unwind", "stop_unwind", "start_rewind", "stop_rewind")
)


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

    `entries` are the exports with an entry thunk, `memory` the name of the guest's own memory,
    `asyncify_memory` that of the memory with the asyncify stack, `wide` tells whether the latter has 64-bit
    addresses; names are empty where there is nothing. `stack_pointer` is the name of the export of the shadow
    stack pointer, `wide_stack` whether it is an i64, `thunks_switch` whether the entry thunks are known to
    exchange it. `uninstrumented` has the functions that a suspension cannot pass, where the options left out
    any that the analysis would have instrumented.
    """

    abi: str
    functions: dict[str, FunctionShape]
    imports: tuple[ImportShape, ...]
    entries: tuple[str, ...]
    memory: str
    asyncify_memory: str
    wide: bool
    stack_pointer: str
    wide_stack: bool
    thunks_switch: bool
    checked: bool
    uninstrumented: tuple[int, ...]

    def public_functions(self) -> tuple[str, ...]:
        """Return the names of the exported functions that are not the transformation's."""
        return tuple(name for name in self.functions if not name.startswith(_OWN_PREFIX))

    def to_json(self) -> bytes:
        """Return the description as text for the cache."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(text: bytes) -> Description:
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        fields: dict[str, Any] = json.loads(text)
        fields["functions"] = {name: _shape(item) for name, item in fields["functions"].items()}
        fields["imports"] = tuple(_import(item) for item in fields["imports"])
        fields["entries"] = tuple(fields["entries"])
        fields["uninstrumented"] = tuple(fields["uninstrumented"])
        return Description(**fields)


def prepare(data: bytes, import_list: tuple[str, ...], options: Options) -> tuple[bytes, Description]:
    """Return a module ready to be driven, and its description.

    A module that is instrumented already stays as it is; else it is instrumented, if any import may suspend.
    Raises ModuleError for what cannot be read or transformed, UsageError for options that do not fit the
    module.
    """
    module = Module(data)
    exported = {export.name for export in module.exports}
    uninstrumented: tuple[int, ...] = ()
    checked = False
    stack_pointer = next((item.index for item in module.exports if item.name == STACK_POINTER), -1)
    if stack_pointer < 0:
        stack_pointer = find_stack_pointer(module)
    if any(item.module == ASYNCIFY_MODULE for item in module.imports):
        abi = NONE
        data = instrument(data, options).module
        module = Module(data)
    elif exported >= _PLAIN_EXPORTS:
        abi = THUNKS if "asyncify_data_pointer" in exported else PLAIN
    elif not import_list:
        abi = NONE
    else:
        abi = THUNKS
        options = replace(options, imports=import_list, thunks=True, in_secondary_memory=True)
        done = instrument(data, options)
        stack_pointer = done.stack_pointer
        if options.only_list or options.remove_list or options.ignore_indirect:
            checked = True
            uninstrumented = tuple(item.index for item in done.functions if not item.instrumented)
        data = done.module
        module = Module(data)
    switch = any(item.name == STACK_POINTER for item in module.exports)
    name = STACK_POINTER if switch else _exported(module, GLOBAL_KIND, stack_pointer)
    if stack_pointer >= 0 and not name:
        name = STACK_POINTER
        data = _with_export(module, name, stack_pointer)
    return data, _describe(module, abi, name, stack_pointer, switch, checked, uninstrumented)


def _describe(
    module: Module,
    abi: str,
    stack_pointer: str,
    stack_global: int,
    switch: bool,
    checked: bool,
    uninstrumented: tuple[int, ...],
) -> Description:
    functions = {item.name: _function(module, item.index) for item in module.exports if item.kind == FUNCTION_KIND}
    memories = [item for item in module.exports if item.kind == MEMORY_KIND]
    own = [item.name for item in memories if item.name != ASYNCIFY_MEMORY]
    asyncify = "memory" if "memory" in own else own[0] if own else ""
    wide = any(item.name == asyncify and module.memories[item.index].is64 for item in memories)
    memory = asyncify
    if any(item.name == ASYNCIFY_MEMORY for item in memories):
        asyncify = ASYNCIFY_MEMORY
        wide = False
    wide_stack = stack_global >= 0 and module.globals[stack_global].type == t.I64
    return Description(
        abi=abi,
        functions={name: shape for name, shape in functions.items() if not name.startswith(ENTRY_PREFIX)},
        imports=tuple(_import_shape(module, item.module, item.name, item.kind, item.index) for item in module.imports),
        entries=tuple(
            name.removeprefix(ENTRY_PREFIX) for name in functions if abi == THUNKS and name.startswith(ENTRY_PREFIX)
        ),
        memory=memory,
        asyncify_memory=asyncify,
        wide=wide,
        stack_pointer=stack_pointer,
        wide_stack=wide_stack,
        thunks_switch=abi == THUNKS and switch,
        checked=checked,
        uninstrumented=uninstrumented,
    )


def _function(module: Module, index: int) -> FunctionShape:
    definition = module.function_type(index)
    return FunctionShape(index, definition.params, definition.results)


def _import_shape(module: Module, module_name: str, name: str, kind: int, index: int) -> ImportShape:
    shape = _function(module, index) if kind == FUNCTION_KIND else None
    if kind == GLOBAL_KIND:
        return ImportShape(module_name, name, kind, shape, module.globals[index].type, module.globals[index].mutable)
    return ImportShape(module_name, name, kind, shape, 0, False)


def _exported(module: Module, kind: int, index: int) -> str:
    return next((item.name for item in module.exports if item.kind == kind and item.index == index), "")


def _with_export(module: Module, name: str, index: int) -> bytes:
    """Return the module with one more exported global, the shadow stack pointer."""
    edits = SectionEdits()
    edits.append(sec.EXPORT, encode_name(name) + bytes([GLOBAL_KIND]) + encode_unsigned(index))
    return write_sections(module.data, module.sections, edits)


def _shape(item: dict[str, Any]) -> FunctionShape:
    return FunctionShape(int(item["index"]), tuple(item["params"]), tuple(item["results"]))


def _import(item: dict[str, Any]) -> ImportShape:
    shape = _shape(item["shape"]) if item["shape"] is not None else None
    return ImportShape(item["module"], item["name"], item["kind"], shape, item["type"], item["mutable"])
