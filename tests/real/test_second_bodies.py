"""The interpreters of SQLite and QuickJS get second bodies where options ask for balance, which is the default, and so
does what SQLite's parser calls.

Without its own, SQLite takes four times as long in Node 20. How much second bodies may cost in all is a share of what
instrumenting takes; a share that is less than an interpreter would take leaves it out without a word.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

import caesura
from caesura.analysis.calls import read_calls
from caesura.instrument.abi.naming import FunctionNames
from caesura.options import NO_PREEMPT, PREEMPT_FLAG, PREEMPT_FUEL
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.print_module import print_module
from tests.support.instrumenting import transform
from tests.support.paths import npm_file

# `sqlite3_step`, into which the interpreter was inlined, by the name that wa-sqlite's glue knows, or none: QuickJS's
# `JS_CallInternal` is not exported. Both are the largest functions of their modules. Then the imports of a short list.
INTERPRETERS: Final = {
    "SQLite": ("wa-sqlite/dist/wa-sqlite.wasm", "za", ("a.$", "a.Q", "a.P", "a.N")),
    "QuickJS": ("@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm", "", ("a.s", "a.h", "a.g")),
}

PREFIX: Final = "asyncify_resume:"


def with_names(binary: bytes) -> bytes:
    """Return a module that has no names with a name for each function: its index."""
    count = len(Module(binary).function_types)
    names = b"".join(encode_unsigned(index) + _text(str(index)) for index in range(count))
    content = encode_unsigned(count) + names
    section = _text("name") + b"\x01" + encode_unsigned(len(content)) + content
    return binary + b"\x00" + encode_unsigned(len(section)) + section


def _text(text: str) -> bytes:
    return encode_unsigned(len(text)) + text.encode()


def largest_function(module: Module) -> int:
    sizes = [end - start for start, end in zip(module.body_starts, module.body_ends, strict=True)]
    return module.imported_functions + sizes.index(max(sizes))


@pytest.mark.parametrize("preempt", [NO_PREEMPT, PREEMPT_FLAG, PREEMPT_FUEL])
@pytest.mark.parametrize("is_list", [False, True], ids=["worst", "list"])
@pytest.mark.parametrize("name", INTERPRETERS)
def test_an_interpreter_has_its_second_body(name: str, is_list: bool, preempt: str) -> None:
    file, export, imports = INTERPRETERS[name]
    source = npm_file(file).read_bytes()
    module = Module(source)
    interpreter = largest_function(module)
    if export:
        assert export in [item.name for item in module.exports if item.index == interpreter]
    options = caesura.Options(
        imports=imports if is_list else (), preempt=preempt, in_secondary_memory=preempt != NO_PREEMPT
    )
    output = transform(with_names(source), options)
    assert f"{PREFIX}{interpreter}" in FunctionNames(Module(output)).names


@pytest.mark.parametrize("name", INTERPRETERS)
def test_an_interpreter_has_its_second_body_by_an_only_list(name: str) -> None:
    """What instrumenting takes with a list is not enough for it; what it would take without is."""
    source = npm_file(INTERPRETERS[name][0]).read_bytes()
    module = Module(source)
    interpreter = largest_function(module)
    result = caesura.instrument(with_names(source), caesura.Options())
    callees = read_calls(module).callees
    listed = {interpreter}
    for _ in range(2):  # what it calls, and what that calls
        own = [module.own_of(FunctionIndex(caller)) for caller in listed if caller >= module.imported_functions]
        listed.update(function for caller in own for function in callees[caller])
    instrumented = {function.index for function in result.functions if function.instrumented}
    names = sorted(str(function) for function in listed & instrumented)
    assert len(names) < result.instrumented // 2
    output = transform(with_names(source), caesura.Options(only_list=names))
    assert f"{PREFIX}{interpreter}" in FunctionNames(Module(output)).names


# How many targets the switch of SQLite's parser has.
RULES: Final = 341


def parser_of(module: Module) -> FunctionIndex:
    """Return SQLite's parser: no other function has a switch of this size."""
    return module.function_of(OwnFunction(read_calls(module).largest_tables.index(RULES)))


def test_what_sqlites_parser_calls_has_second_bodies() -> None:
    """There is no room for that of the parser itself."""
    source = npm_file(INTERPRETERS["SQLite"][0]).read_bytes()
    module = Module(source)
    parser = parser_of(module)
    names = FunctionNames(Module(transform(with_names(source), caesura.Options()))).names
    assert f"{PREFIX}{parser}" not in names
    callees = read_calls(module).callees
    of_interpreter = callees[module.own_of(FunctionIndex(largest_function(module)))]
    only_of_parser = set(callees[module.own_of(parser)]) - set(of_interpreter)
    assert len([callee for callee in only_of_parser if f"{PREFIX}{callee}" in names]) >= 3


@pytest.mark.parametrize("is_list", [False, True], ids=["worst", "list"])
def test_few_looks_at_the_state_before_the_switch_of_sqlites_parser(is_list: bool) -> None:
    """Whichever arm it goes to, control passes the heads of all groups of several arms: there were 50."""
    file, _, imports = INTERPRETERS["SQLite"]
    output = transform(npm_file(file).read_bytes(), caesura.Options(imports=imports if is_list else ()))
    lines = [line.strip() for line in print_module(output).splitlines()]
    switch = next(
        place for place, line in enumerate(lines) if line.startswith("br_table") and len(line.split()) > RULES
    )
    loop = max(place for place in range(switch) if lines[place].startswith("loop"))
    reads = Counter(line for line in lines[loop:switch] if line.startswith("global.get"))
    assert 0 < max(reads.values()) <= 12
