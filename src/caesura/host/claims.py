"""What a module that is instrumented already claims, compared with what it has, and with what this host knows.

Nobody but its author knows how such a module was made. Its exports have the right names, and the host calls them
without Wasmtime's checks and writes where they say. So everything that the host relies on is compared once, before
anything of the module runs: the types of the ABI's functions and of the entry thunks, the width of addresses, the
shadow stack pointer. What a function does when it is called cannot be seen in advance; numbers that come from it are
checked where they are used (`frames`, `setup`).

First of all comes the version of the contract: of a version that this host does not know it knows nothing at all.
"""

from __future__ import annotations

from caesura.abi import (
    ASYNCIFY_MEMORY,
    CONTRACT_SECTION,
    CONTRACT_VERSION,
    DROP_REFERENCES,
    ENTRY_PREFIX,
    FUEL,
    NEWEST_VERSION,
    SECOND_VERSION,
    SET_DATA_POINTER,
    STACK_POINTER,
    START_FUNCTION,
    START_REWIND,
    START_UNWIND,
    THIRD_VERSION,
    UNSUSPENDABLE,
    UNVERSIONED_SECTION,
    Fact,
)
from caesura.analysis.catch_clauses import MOST_CLAUSES_INSTRUMENTED, refuse_clauses
from caesura.analysis.instrumented import asyncify_exports, preempt_of
from caesura.analysis.waits import refuse_waits
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.options import NO_PREEMPT, PREEMPT_FLAG, PREEMPT_FUEL
from caesura.wasm import types as t
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND, Limits
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import read_u32, read_u64
from caesura.wasm.module import Module


def check_contract(module: Module) -> None:
    """Raise UnsupportedModule if a module follows a version of the contract that this host does not know.

    Modules without thunks that tell nothing at all follow Binaryen's ABI, which has no versions.
    """
    section = module.custom_section(CONTRACT_SECTION)
    if section is not None:
        _check_version(module, module.data[section.payload : section.end])
    elif module.custom_section(UNVERSIONED_SECTION) is not None or _has_thunks(module):
        raise UnsupportedModule(
            f"the module does not tell, in a section {CONTRACT_SECTION}, which version of the contract with hosts it "
            "follows: an older caesura instrumented it, or another tool dropped the section. This host knows versions "
            f"{CONTRACT_VERSION} to {NEWEST_VERSION}: instrument the original anew, and keep its custom sections"
        )


def _check_version(module: Module, contract: bytes) -> None:
    try:
        version, position = read_u32(contract, 0)
    except MalformedModule as error:
        raise UnsupportedModule(f"the section {CONTRACT_SECTION} of the module tells no version: {error}") from error
    if not CONTRACT_VERSION <= version <= NEWEST_VERSION:
        raise UnsupportedModule(
            f"the module follows version {version} of the contract with hosts, and this host knows versions "
            f"{CONTRACT_VERSION} to {NEWEST_VERSION}: run it by a caesura that knows {version}, or instrument the "
            "original anew by this one"
        )
    begins = any(item.name == START_FUNCTION and item.kind == FUNCTION_KIND for item in module.exports)
    if begins and version < SECOND_VERSION:
        raise UnsupportedModule(
            f"the module follows version {version} of the contract with hosts and exports a function {START_FUNCTION}: "
            "the module is not instrumented as it says"
        )
    try:
        facts, position = read_u32(contract, position)
        if position < len(contract):
            _, position = read_u64(contract, position)
    except MalformedModule as error:
        raise UnsupportedModule(f"the section {CONTRACT_SECTION} of the module is cut off or no numbers") from error
    known = sum(Fact) - (Fact.LINKED if version < SECOND_VERSION else 0)
    known -= Fact.PAUSES_BY_REQUEST + Fact.PAUSES_BY_FUEL if version < THIRD_VERSION else 0
    if position != len(contract) or facts & ~known:
        raise UnsupportedModule(
            f"the section {CONTRACT_SECTION} of the module tells more than version {version} has: the module is not "
            "instrumented as it says"
        )


def _has_thunks(module: Module) -> bool:
    return any(item.name == SET_DATA_POINTER for item in module.exports) and bool(asyncify_exports(module))


def check_claims(module: Module, state_changes: dict[str, str], memory: Limits | None, *, thunks: bool) -> None:
    """Raise UnsupportedModule if a module is not instrumented as it says.

    `state_changes` are the names of the ABI's functions by their proper names, `memory` is the one with the asyncify
    stack.
    """
    functions = {item.name: FunctionIndex(item.index) for item in module.exports if item.kind == FUNCTION_KIND}
    if memory is not None:
        takers = [state_changes[START_UNWIND], state_changes[START_REWIND], *([SET_DATA_POINTER] if thunks else [])]
        takers += [DROP_REFERENCES] if DROP_REFERENCES in functions else []
        for name in takers:
            _check_pointer(module, name, functions[name], wide=memory.is64)
    if START_FUNCTION in functions and any(_signature(module, functions[START_FUNCTION])):
        raise UnsupportedModule(
            f"{START_FUNCTION} has parameters or results, which no start function has: the module is not instrumented "
            "as it says"
        )
    if thunks:
        _check_pause_points(module, memory)
        for name, function in functions.items():
            proper = functions.get(name.removeprefix(ENTRY_PREFIX))
            if name.startswith(ENTRY_PREFIX) and proper is not None:
                _check_entry(module, name, function, proper)
    for item in module.exports:
        if item.kind == GLOBAL_KIND and item.name == STACK_POINTER:
            _check_stack_pointer(module, item.index, memory if thunks else None)
        if item.kind == GLOBAL_KIND and item.name == UNSUSPENDABLE:
            _check_guard(module, item.index)


def _check_pause_points(module: Module, memory: Limits | None) -> None:
    """Raise UnsupportedModule if a module lacks what hosts need to have it pause; `memory` is the one with the asyncify
    stack.
    """
    preempt = preempt_of(module)
    globals_ = [module.globals[item.index] for item in module.exports if item.kind == GLOBAL_KIND and item.name == FUEL]
    own = any(item.kind == MEMORY_KIND and item.name == ASYNCIFY_MEMORY for item in module.exports)
    if preempt == PREEMPT_FUEL and not (globals_ and globals_[0].mutable and globals_[0].type == t.I64):
        raise UnsupportedModule(
            f"the module says that it counts fuel, and exports no mutable i64 {FUEL}: it is not instrumented as it says"
        )
    if preempt == PREEMPT_FLAG and (not own or memory is None or memory.shared):
        raise UnsupportedModule(
            f"the module says that it looks at a request to pause, and exports no {ASYNCIFY_MEMORY} of its own for "
            "that: it is not instrumented as it says"
        )
    if preempt != NO_PREEMPT:
        refuse_waits(module)
        refuse_clauses(module, MOST_CLAUSES_INSTRUMENTED)


def _signature(module: Module, function: FunctionIndex) -> tuple[tuple[int, ...], tuple[int, ...]]:
    kind = module.function_type(function)
    return kind.params, kind.results


def _check_pointer(module: Module, name: str, function: FunctionIndex, *, wide: bool) -> None:
    kind = module.function_type(function)
    if kind.params != (t.I64 if wide else t.I32,) or kind.results:
        raise UnsupportedModule(
            f"{name} does not take an {'i64' if wide else 'i32'}, an address of the memory with the asyncify stack: "
            "the module is not instrumented as it says"
        )


def _check_entry(module: Module, name: str, function: FunctionIndex, proper: FunctionIndex) -> None:
    entry, other = module.function_type(function), module.function_type(proper)
    if entry.params != other.params or entry.results != other.results:
        raise UnsupportedModule(
            f"the entry thunk {name} has another type than {name.removeprefix(ENTRY_PREFIX)}: the module is not "
            "instrumented as it says"
        )


def _check_stack_pointer(module: Module, index: int, exchanged: Limits | None) -> None:
    """Raise if it is none; entry thunks exchange it through a field of a control block in the memory `exchanged`."""
    entry = module.globals[index]
    fits = entry.mutable and entry.type in (t.I32, t.I64)
    if fits and exchanged is not None:
        fits = (entry.type == t.I64) == exchanged.is64
    if not fits:
        raise UnsupportedModule(
            f"{STACK_POINTER} is no mutable integer of the right width: the module is not instrumented as it says"
        )


def _check_guard(module: Module, index: int) -> None:
    entry = module.globals[index]
    if not entry.mutable or entry.type != t.I32:
        raise UnsupportedModule(f"{UNSUSPENDABLE} is no mutable i32: the module is not instrumented as it says")
