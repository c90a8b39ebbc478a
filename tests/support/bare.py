"""Running a module with nothing of caesura's: in Wasmtime by the interface that everybody has, and in Node.

Steps are calls, each a list of an export's name and its arguments; "text" gives the C string at an address. Imported
functions return what they are told, one answer after the other (a list is several results), whichever is called, and
zeros when there are no more. {"step": 3} stands for what that step returned. Numbers of 64 bits are text, as JSON has
no others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import wasmtime

from tests.support.engine import engine
from tests.support.node import newer_node, run_driver

TRAP: Final = "trap"

_WORD: Final = 0xFFFF_FFFF_FFFF_FFFF


class Ran(NamedTuple):
    """What each step returned ("trap": it trapped), what imports were called with, and a digest of `memory`."""

    results: list[Any]
    asked: list[list[Any]]
    memory: str


def in_wasmtime(module: bytes, steps: Sequence[Sequence[Any]], answers: Sequence[Any] = ()) -> Ran:
    """Do steps with a new instance in Wasmtime."""
    store = wasmtime.Store(engine())
    compiled = wasmtime.Module(engine(), module)
    left = list(answers)
    asked: list[list[Any]] = []
    results: list[Any] = []

    def function(name: str, kind: wasmtime.FuncType) -> wasmtime.Func:
        def call(*values: Any) -> Any:
            asked.append([name, *map(_told, map(str, kind.params), values)])
            if not kind.results:
                return None
            answer = _said(left.pop(0), results) if left else [0] * len(kind.results)
            given = answer if isinstance(answer, list) else [answer]
            converted = [_given(str(one), value) for one, value in zip(kind.results, given, strict=True)]
            return converted if len(converted) > 1 else converted[0]

        return wasmtime.Func(store, kind, call)

    items: list[Any] = []
    for item in compiled.imports:
        assert isinstance(item.type, wasmtime.FuncType), f"{item.name} is to be given, too"
        items.append(function(f"{item.module}.{item.name}", item.type))
    exports = wasmtime.Instance(store, compiled, items).exports(store)
    memory = exports.get("memory")
    for name, *said in steps:
        values = [_said(value, results) for value in said]
        if name == "text":
            assert isinstance(memory, wasmtime.Memory)
            results.append(bytes(memory.read(store, values[0])).partition(b"\0")[0].decode())
            continue
        called = exports[name]
        assert isinstance(called, wasmtime.Func)
        kind = called.type(store)
        try:
            found = called(store, *[_given(str(one), value) for one, value in zip(kind.params, values, strict=True)])
        except wasmtime.Trap:
            results.append(TRAP)
            continue
        several = found if isinstance(found, list) else [] if found is None else [found]
        told = [_told(str(one), value) for one, value in zip(kind.results, several, strict=True)]
        results.append(told if len(told) > 1 else told[0] if told else None)
    content = memory.read(store) if isinstance(memory, wasmtime.Memory) else b""
    return Ran(results, asked, hashlib.sha256(content).hexdigest())


def in_node(
    module: bytes,
    steps: Sequence[Sequence[Any]],
    answers: Sequence[Any] = (),
    *,
    folder: Path,
    node: Path | None = None,
) -> Ran:
    """Do steps with a new instance in Node: the newer one, which knows several memories, or another."""
    file = folder / "bare.wasm"
    file.write_bytes(module)
    told = run_driver("bare.mjs", file, json.dumps(steps), json.dumps(answers), node=node or newer_node())
    return Ran(told["results"], told["asked"], told["memory"])


def _said(value: Any, results: list[Any]) -> Any:
    return results[value["step"]] if isinstance(value, dict) else value


def _told(kind: str, value: Any) -> Any:
    return str(value & _WORD) if kind == "i64" else value


def _given(kind: str, value: Any) -> Any:
    if kind != "i64":
        return value
    number = int(value) & _WORD
    return number - (1 << 64) if number >> 63 else number
