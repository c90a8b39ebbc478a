"""Find the global that points to the shadow stack, the C stack in linear memory.

Hosts that keep several calls of one instance suspended give each a shadow stack of its own, so they must know the
global; one that is taken for it and is not loses what the guest writes into it. So it is found for certain or not at
all:

* by its name, `__stack_pointer`, among exports, imports or in the name section;
* by an exported function whose name says that it reads, sets or moves the stack pointer, and which does;
* by what functions do: they open frames and close them wherever they end (`stack_frames`), nearly all that open any,
  and use them as addresses, and the global begins at the end of a region that can be a stack (`stack_region`). Frames
  are multiples of 16 bytes in LLVM's code, where one function is enough (a program may have one); of others it takes
  two.

Taking the global that most functions begin by subtracting from was rejected: one function that counts down is enough
for a mistake. Where a global looks like the pointer and not all is there, `unclear` says so, and hosts can refuse what
would need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.abi import LINKER_STACK_POINTER
from caesura.analysis.stack_constants import compares_with_ends
from caesura.analysis.stack_frames import StackFrames
from caesura.analysis.stack_region import find_region
from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.names import GLOBAL_NAMES, Names
from caesura.wasm.types import I32, I64

# LLVM's name, and that of AssemblyScript's library.
NAMES: Final = (LINKER_STACK_POINTER, "~lib/memory/__stack_pointer")

# Exported functions of compilers' runtimes, without leading underscores, that do nothing but read or move the pointer.
_ACCESSORS: Final = (
    "emscripten_stack_get_current",
    "emscripten_stack_restore",
    "stackSave",
    "stackRestore",
    "wbindgen_add_to_stack_pointer",
)
_LONGEST_ACCESSOR: Final = 64

# How many functions that begin like LLVM's are looked at, and how many that open frames suffice otherwise.
_SAMPLE: Final = 64
_ENOUGH: Final = 32

# One function in so many may seem to end with its frame open, or to move the pointer up: optimizers move code to where
# this analysis does not follow.
_ODD: Final = 8


@dataclass(frozen=True)
class ShadowStack:
    """What is known of a module's shadow stack.

    `pointer` is its pointer's global, or None; then `unclear` says if some global looks like it without being
    certain. `is_fixed` says that the code compares the pointer with ends of the module's own stack that are constants
    in it.
    """

    pointer: int | None
    unclear: bool = False
    is_fixed: bool = False


def find_shadow_stack(module: Module, *, instrumented: bool = False) -> ShadowStack:
    """Find the shadow stack of a module, which may have been `instrumented` elsewhere."""
    found = _find(module, instrumented=instrumented)
    return shadow_stack_at(module, found.pointer) if found.pointer is not None else found


def shadow_stack_at(module: Module, pointer: int) -> ShadowStack:
    """Return what is to be known of a shadow stack whose pointer is known."""
    return ShadowStack(pointer, is_fixed=is_fixed(module, pointer))


def is_fixed(module: Module, pointer: int) -> bool:
    """Tell whether code compares a stack pointer with the ends of the module's own stack."""
    region = find_region(module, pointer)
    return region is not None and compares_with_ends(module, pointer, region)


def _find(module: Module, *, instrumented: bool) -> ShadowStack:
    for index in _named(module):
        return ShadowStack(index if _can_point(module, index) else None)
    candidates = [_can_point(module, index) for index in range(len(module.globals))]
    if not module.memories or True not in candidates:
        return ShadowStack(None)
    frames = StackFrames(module, candidates, strict=not instrumented)
    _read_functions(module, candidates, frames)
    for index in _accessed(module):
        if candidates[index] and not frames.raised[index]:
            return ShadowStack(index)
    certain = [index for index in range(len(candidates)) if _is_certain(module, frames, index)]
    if len(certain) == 1:
        return ShadowStack(certain[0])
    likely = [index for index in range(len(candidates)) if _is_likely(module, frames, index)]
    return ShadowStack(None, unclear=len(likely) > 0)


def _named(module: Module) -> list[int]:
    """Return the globals that are named as the stack pointer."""
    found = [item.index for item in module.exports if item.kind == GLOBAL_KIND and item.name in NAMES]
    found += [item.index for item in module.imports if item.kind == GLOBAL_KIND and item.name in NAMES]
    section = module.custom_section("name")
    if not found and section is not None:
        names = Names(module.data[section.payload : section.end]).maps[GLOBAL_NAMES]
        found += [index for index, name in names.items() if name in NAMES]
    return [index for index in found if index < len(module.globals)]


def _can_point(module: Module, index: int) -> bool:
    entry = module.globals[index]
    return entry.mutable and (entry.type == I32 or entry.type == I64)


def _accessed(module: Module) -> list[int]:
    """Return the globals that exported functions access whose names say that it is the stack pointer."""
    found: list[int] = []
    for item in module.exports:
        if item.kind == FUNCTION_KIND and item.name.lstrip("_") in _ACCESSORS:
            index = _only_global(module, FunctionIndex(item.index))
            if index is not None:
                found.append(index)
    return found


def _only_global(module: Module, function: FunctionIndex) -> int | None:
    """Return the one global that a short function reads or sets; None if it is another function."""
    own = module.own_of(function)
    if not 0 <= own < len(module.body_starts) or module.body_ends[own] - module.body_starts[own] > _LONGEST_ACCESSOR:
        return None
    data = module.data
    found: set[int] = set()
    _, position = read_locals(data, module.body_starts[own])
    while position < module.body_ends[own]:
        code, position = read_opcode(data, position)
        numbers, position = read_immediates(data, position, code)
        if code == op.GLOBAL_GET or code == op.GLOBAL_SET:
            found.add(numbers[0])
    return found.pop() if len(found) == 1 and max(found) < len(module.globals) else None


def _read_functions(module: Module, candidates: list[bool], frames: StackFrames) -> None:
    """Look at functions until it is clear what they do, first at those that begin as LLVM's do that have frames."""
    begin_so = _beginning_with_a_global(module, candidates)
    if len(begin_so) >= _ENOUGH:
        step = max(1, len(begin_so) // _SAMPLE)
        for own in begin_so[::step]:
            _read(frames, own)
        if frames.most_addressed >= 2:
            return
    for number in range(len(module.body_starts)):
        _read(frames, OwnFunction(number))
        if frames.most_addressed >= _ENOUGH:
            return


def _read(frames: StackFrames, own: OwnFunction) -> None:
    try:
        frames.read(own)
    except (MalformedModule, IndexError):
        return  # whoever needs the function will say so


def _beginning_with_a_global(module: Module, candidates: list[bool]) -> list[OwnFunction]:
    found: list[OwnFunction] = []
    data = module.data
    for own in range(len(module.body_starts)):
        try:
            _, position = read_locals(data, module.body_starts[own])
            if data[position] == op.GLOBAL_GET:
                numbers, _ = read_immediates(data, position + 1, op.GLOBAL_GET)
                if numbers[0] < len(candidates) and candidates[numbers[0]]:
                    found.append(OwnFunction(own))
        except (MalformedModule, IndexError):
            continue
    return found


def _is_certain(module: Module, frames: StackFrames, index: int) -> bool:
    """Tell whether a global that functions use for frames is the stack pointer."""
    needed = 2 if frames.crooked[index] else 1
    odd = frames.broken[index] + frames.raised[index]
    if frames.addressed[index] < needed or odd * _ODD > frames.closed[index]:
        return False
    return _begins_at_an_end(module, index)


def _is_likely(module: Module, frames: StackFrames, index: int) -> bool:
    """Tell whether a global may well be the stack pointer, though it is not certain."""
    if frames.addressed[index]:
        return True
    return frames.closed[index] > 0 and not frames.crooked[index] and _begins_at_an_end(module, index)


def _begins_at_an_end(module: Module, index: int) -> bool:
    return index < module.imported_globals or find_region(module, index) is not None
