"""Which memory holds the asyncify stacks: the module's only one, one chosen by its exported name, or a new one."""

from __future__ import annotations

from dataclasses import dataclass

from caesura.abi import ASYNCIFY_MEMORY
from caesura.errors import UnsupportedModule, UsageError, printable
from caesura.options import DEFAULT_SECONDARY_MAXIMUM, Options
from caesura.wasm import sections as sec
from caesura.wasm.definitions import MEMORY_KIND
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import MEMORY_NAMES, NewNames
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import I32, I64

# Pages that a secondary memory may grow to where thunks grow it and options give no maximum: 64 MiB.


@dataclass(frozen=True)
class Memory:
    """The index of the memory with the asyncify stacks, and the type code of its addresses."""

    index: int
    pointer: int


def pointer_type(module: Module, options: Options) -> int:
    """Return the type code of addresses in the memory that `choose_memory` will choose."""
    if options.in_secondary_memory or not module.memories:
        return I32
    index = _exported_memory(module, options.memory) if len(module.memories) > 1 else 0
    return I64 if module.memories[index].is64 else I32


def choose_memory(module: Module, options: Options, edits: SectionEdits, names: NewNames) -> Memory:
    """Return the memory for the asyncify stacks, adding one where options ask for it or the module has none.

    Raises UsageError where a module has several memories and none is exported under the name that the options give.
    """
    if options.in_secondary_memory:
        size = options.secondary_memory_size
        # As in Binaryen the memory's size is also its maximum, unless thunks grow it.
        maximum = size
        if options.thunks:
            maximum = options.secondary_memory_maximum or max(size, DEFAULT_SECONDARY_MAXIMUM)
        limits = b"\x01" + encode_unsigned(size) + encode_unsigned(maximum)
        return _add_memory(module, limits, ASYNCIFY_MEMORY, edits, names)
    if not module.memories:
        return _add_memory(module, b"\x00\x01", "memory", edits, names)
    index = _exported_memory(module, options.memory) if len(module.memories) > 1 else 0
    return Memory(index, pointer_type(module, options))


def _add_memory(module: Module, limits: bytes, name: str, edits: SectionEdits, names: NewNames) -> Memory:
    index = len(module.memories)
    edits.append(sec.MEMORY, limits)
    names.add(MEMORY_NAMES, index, name)
    if any(export.name == name for export in module.exports):
        raise UnsupportedModule(f"the module needs a new memory exported as '{name}', but exports something else so")
    # A host must be able to put the {current, end} structure there.
    edits.append(sec.EXPORT, encode_name(name) + bytes([MEMORY_KIND]) + encode_unsigned(index))
    return Memory(index, I32)


def _exported_memory(module: Module, name: str) -> int:
    for export in module.exports:
        if export.kind == MEMORY_KIND and export.name == name:
            return export.index
    exported = _exported_names(module)
    advice = (
        f"it exports {', '.join(exported)}: give one of these names"
        if exported
        else "it exports no memory: export the one for the stacks, or add one with --in-secondary-memory"
    )
    raise UsageError(
        f"Please specify which of the multiple memories to use, with --memory NAME: the module has "
        f"{len(module.memories)} memories and exports none as '{name}'; {advice}"
    )


def _exported_names(module: Module) -> list[str]:
    return [f"'{printable(export.name)}'" for export in module.exports if export.kind == MEMORY_KIND]


def check_memory_name(module: Module, name: str) -> None:
    """Raise UsageError where a module exports no memory under a name that was asked for.

    `choose_memory` looks at the name only in modules with several memories, as Binaryen does; who gives one by hand
    for another module has mistaken the name or the module.
    """
    exported = _exported_names(module)
    if f"'{printable(name)}'" in exported or len(module.memories) > 1:
        return
    if not module.memories:
        what = "the module has no memory, and gets one for the stacks"
    else:
        what = (
            f"the module's only memory is exported as {', '.join(exported)}"
            if exported
            else ("the module exports no memory; its only one holds the stacks")
        )
    raise UsageError(f"--memory {name}: no memory is exported as '{name}': {what}; leave the option out")
