"""Binaryen's compact import section: one module name for several imports, or one type as well.

Wasmtime does not read it, so the modules are compared with the same imports written out.
"""

from __future__ import annotations

import pytest

import caesura
from caesura.wasm.module import Module
from tests.instrument.building import (
    HEADER,
    NOTHING,
    TO_I32,
    assert_valid,
    bodies,
    leb,
    name,
    part,
    section,
    vector,
)

FUNCTION, TABLE, MEMORY, GLOBAL, TAG = (bytes([kind]) for kind in range(5))
G = FUNCTION + leb(1)
PLAIN = [
    name("env") + name("f") + FUNCTION + b"\0",
    name("env") + name("g") + G,
    name("env") + name("h") + G,
    name("env") + name("memory") + MEMORY + b"\0\x01",
    name("env") + name("table") + TABLE + b"\x70\0\x02",
    name("env") + name("counter") + GLOBAL + b"\x7f\x01",
    name("env") + name("tag") + TAG + b"\0\0",
    name("env") + name("last") + FUNCTION + b"\0",
]
SHARED_MODULE = name("env") + b"\0\x7f" + vector([item[len(name("env")) :] for item in PLAIN])
SHARED_TYPES = [
    name("env") + b"\0\x7e" + FUNCTION + b"\0" + vector([name("f")]),
    name("env") + b"\0\x7e" + G + vector([name("g"), name("h")]),
    name("env") + b"\0\x7e" + MEMORY + b"\0\x01" + vector([name("memory")]),
    name("env") + b"\0\x7e" + TABLE + b"\x70\0\x02" + vector([name("table")]),
    name("env") + b"\0\x7e" + GLOBAL + b"\x7f\x01" + vector([name("counter")]),
    name("env") + b"\0\x7e" + TAG + b"\0\0" + vector([name("tag")]),
    name("env") + b"\0\x7e" + GLOBAL + b"\x7f\0" + vector([]),
    PLAIN[-1],
]
ENCODINGS = {"plain": PLAIN, "one module": [SHARED_MODULE], "one type": SHARED_TYPES}


def module(imports: list[bytes], more: list[bytes] | None = None, functions: int = 4) -> bytes:
    """Return a module whose functions call what it imports: `functions` functions, and `more` behind the others."""
    code = (
        b"\0\x10\0\x10\x01\x23\0\x6a\x0b",
        b"\0\x10" + leb(functions) + b"\x10\x02\x6a\x0b",
        b"\0\x10\x03\x41\x07\x0b",
    )
    return (
        HEADER
        + section(1, vector([NOTHING, TO_I32, b"\x60\x01\x7f\0"]))
        + section(2, vector([*imports, *(more or [])]))
        + section(3, vector([leb(1)] * 3))
        + section(7, vector([name("run") + FUNCTION + leb(functions)]))
        + section(10, vector([leb(len(body)) + body for body in code]))
    )


def test_the_plain_module_is_valid() -> None:
    assert_valid(module(PLAIN))
    assert_valid(caesura.instrument(module(PLAIN)).module)


@pytest.mark.parametrize("encoding", ["one module", "one type"])
def test_compact_imports_are_read_and_kept(encoding: str) -> None:
    """All sections but the import section are as with plain imports; that one is copied."""
    binary = module(ENCODINGS[encoding])
    result, plain = caesura.instrument(binary), caesura.instrument(module(PLAIN))
    assert part(result.module, 2) == part(binary, 2)
    assert result.module.replace(part(binary, 2).raw, part(plain.module, 2).raw) == plain.module
    assert result.functions == plain.functions
    assert result.instrumented == 3


@pytest.mark.parametrize("encoding", ["one module", "one type"])
def test_index_spaces(encoding: str) -> None:
    wanted, read = Module(module(PLAIN)), Module(module(ENCODINGS[encoding]))
    assert [(item.module, item.name, item.kind, item.index) for item in read.imports] == [
        (item.module, item.name, item.kind, item.index) for item in wanted.imports
    ]
    assert read.function_types == wanted.function_types
    assert (len(read.tables), len(read.memories), len(read.globals), len(read.tags)) == (1, 1, 1, 1)


def test_lists_name_compact_imports() -> None:
    result = caesura.instrument(module([SHARED_MODULE]), caesura.Options(imports=("env.last",)))
    assert [function.sites for function in result.functions] == [0, 0, 1]
    assert bodies(result.module)[:2] == bodies(module([SHARED_MODULE]))[:2]


@pytest.mark.parametrize("encoding", ["one module", "one type"])
def test_renumbering_writes_plain_imports(encoding: str) -> None:
    """Where imports come or go the section is written anew, in the form that every engine reads."""
    options = caesura.Options(import_globals=True)
    result = caesura.instrument(module(ENCODINGS[encoding]), options)
    assert_valid(result.module)
    assert result.module == caesura.instrument(module(PLAIN), options).module


def test_asyncify_imports_may_be_compact() -> None:
    runtime = name("asyncify") + b"\0\x7e\0" + leb(2) + vector([name("start_unwind"), name("start_rewind")])
    stop = name("asyncify") + b"\0\x7f" + vector([name("stop_unwind") + b"\0\0", name("stop_rewind") + b"\0\0"])
    result = caesura.instrument(module([SHARED_MODULE], [runtime, stop], 8))
    assert_valid(result.module)
    assert b"start_unwind\0" not in part(result.module, 2).payload


@pytest.mark.parametrize(
    "entry",
    [
        name("env") + b"\0\x7e" + b"\x09\0" + vector([name("f")]),
        name("env") + b"\0\x7e" + FUNCTION + b"\x09" + vector([name("f")]),
        name("env") + b"\0\x7f" + vector([name("f") + b"\x09\0"]),
        name("env") + b"\0\x7f" + leb(9) + name("f") + FUNCTION + b"\0",
        name("env") + b"\0\x7d" + FUNCTION + b"\0",
    ],
)
def test_broken_compact_imports(entry: bytes) -> None:
    binary = HEADER + section(1, vector([NOTHING])) + section(2, vector([entry]))
    with pytest.raises(caesura.MalformedModule) as error:
        caesura.instrument(binary)
    assert error.value.offset > 0
