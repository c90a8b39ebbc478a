"""The stack as the engine itself shows it, for tests of backtraces: what frames are told to be must be the same."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import wasmtime

import caesura
from caesura.analysis.calls import read_calls
from caesura.host import native
from caesura.inspection.backtrace import Frame
from caesura.wasm import opcodes as op
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from tests.support.engine import engine

_COUNTED = re.compile(r"<wasm function (\d+)>")
_OWN = "asyncify_"


def running_functions(guest: caesura.Guest, original: Module) -> list[int | str]:
    """Return the functions on the stack of a guest that has just called a host function, innermost first.

    Each by its name, or, if it has none, by its index. What the transformation added is left out.
    """
    instance = guest._instance
    return functions_of_stack(instance.store.wasmtime_store, instance.program.module, original)


def functions_of_stack(store: wasmtime.Store, module: wasmtime.Module, original: Module) -> list[int | str]:
    """Return the same for any module that runs in a store."""
    thread = json.loads(native.profile(store, module))["threads"][0]
    functions: list[int | str] = []
    place = thread["samples"]["stack"][-1]
    while place is not None:
        function = thread["frameTable"]["func"][thread["stackTable"]["frame"][place]]
        name = thread["stringArray"][thread["funcTable"]["name"][function]]
        counted = _COUNTED.fullmatch(name)
        if counted is None:
            if not name.startswith(_OWN):
                functions.append(name)
        elif original.imported_functions + int(counted[1]) < len(original.function_types):
            functions.append(original.imported_functions + int(counted[1]))
        place = thread["stackTable"]["prefix"][place]
    return functions


def assert_same_functions(frames: Sequence[Frame], running: Sequence[int | str]) -> None:
    """Compare a backtrace with the engine's stack."""
    told = [one.function if isinstance(other, str) else one.index for one, other in zip(frames, running, strict=False)]
    assert told == list(running)
    assert len(frames) == len(running)


def assert_frames_call_each_other(frames: Sequence[Frame], original: Module, function: str) -> None:
    """Look at the instructions that frames stand at: each calls the next inner function, the last one the import.

    A function that was called may have left by a tail call of what is there.
    """
    leaving = {original.function_of(own) for own in read_calls(original).tail_calling}
    names = {f"{item.module}.{item.name}": item.index for item in original.function_imports()}
    callees = [names[function], *[one.index for one in frames]]
    for frame, callee in zip(frames, callees, strict=False):
        own = frame.index - original.imported_functions
        assert original.body_starts[own] <= frame.offset < original.body_ends[own]
        code = original.data[frame.offset]
        immediate, _ = read_u32(original.data, frame.offset + 1)
        assert code in (op.CALL, op.CALL_INDIRECT, op.CALL_REF)
        if code == op.CALL:
            assert immediate == callee or immediate in leaving
        elif not leaving:
            assert original.types[immediate].params == original.types[original.function_types[callee]].params


class Stopped(Exception):
    """Ends a run of an original where the test wants to look at its stack."""


def original_stack(data: bytes, export: str, arguments: Sequence[Any], answers: Sequence[Any]) -> list[tuple[int, int]]:
    """Run a module as it is, whose one import is answered so many times; return where it is at the next call of it.

    Innermost first, at most 20: the index of each function, and the offset of its call in the file.
    """
    store = wasmtime.Store(engine())
    module = wasmtime.Module(engine(), data)
    left = list(answers)

    def ask(*_: Any) -> Any:
        if not left:
            raise Stopped
        return left.pop(0)

    assert len(module.imports) == 1
    kind = module.imports[0].type
    assert isinstance(kind, wasmtime.FuncType)
    instance = wasmtime.Instance(store, module, [wasmtime.Func(store, kind, ask)])
    function = instance.exports(store)[export]
    assert isinstance(function, wasmtime.Func)
    try:
        function(store, *arguments)
    except (wasmtime.Trap, wasmtime.WasmtimeError, Stopped) as error:
        failure: BaseException | None = error
        while not isinstance(failure, wasmtime.Trap | wasmtime.WasmtimeError):
            assert failure is not None
            failure = failure.__cause__ or failure.__context__
        return [(frame.func_index, frame.module_offset) for frame in native.frames_of(failure)]
    raise AssertionError("the import was not called as often")
