"""caesura-wasm-opt against the real wasm-opt of npm's package binaryen: pass arguments of Asyncify, and the options.

Both instrument the same module; the functions that take part, and the imports, exports and memories, must be the same.
A function takes part if its new body reads a global: the guest has none of its own, and no function that caesura leaves
as it is because it needs no frame. What lists leave out looks at the state too, behind calls of imports: it is known by
the function that it calls then. (`asyncify-asserts` is not compared in this way, since it makes all others look.)
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from wasmtime import wat2wasm

from caesura.cli.wasm_opt.arguments import PASS, parse
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, Names
from tests.support.paths import npm_file

GUEST: Final = """
(module
  (import "env" "sleep" (func $sleep))
  (import "env" "other" (func $other))
  (import "lib" "sleep" (func $lib_sleep))
  (memory $memory 1)
  (memory $second 1)
  (export "memory" (memory $memory))
  (export "second" (memory $second))
  (table (export "table") 1 funcref)
  (func $a (export "a") call $sleep)
  (func $b (export "b") call $other)
  (func $c (export "c") call $lib_sleep)
  (func $calls_a (export "calls_a") call $a call $pure)
  (func $calls_b (export "calls_b") call $b call $pure)
  (func $calls_any (export "calls_any") (call_indirect (i32.const 0)))
  (func $outer (export "outer") call $calls_any call $pure)
  (func $pure (export "pure") nop)
  (func $calls_pure (export "calls_pure") call $pure))
"""
INDIRECT: Final = {"calls_any", "outer"}
ALL: Final = {"a", "b", "c", "calls_a", "calls_b"} | INDIRECT

GLOBAL_GET: Final = 0x23
CALL: Final = 0x10

# Each pass argument (FILE stands for a file with a list), and which functions take part.
ARGUMENTS: Final = {
    "": ALL,
    "asyncify-imports@env.sleep": {"a", "calls_a"} | INDIRECT,
    "asyncify-imports@*.sleep": {"a", "c", "calls_a"} | INDIRECT,
    "asyncify-imports@env.*,lib.none": {"a", "b", "calls_a", "calls_b"} | INDIRECT,
    "asyncify-imports@@FILE": {"a", "c", "calls_a"} | INDIRECT,
    "asyncify-ignore-imports": INDIRECT,
    "asyncify-ignore-indirect": ALL - INDIRECT,
    "asyncify-removelist@a": ALL - {"a", "calls_a"},
    "asyncify-removelist@calls_*": {"a", "b", "c"},
    "asyncify-blacklist@a": ALL - {"a", "calls_a"},
    "asyncify-ignore-indirect asyncify-addlist@calls_any": ALL - {"outer"},
    "asyncify-ignore-indirect asyncify-addlist@calls_any asyncify-propagate-addlist": ALL,
    "asyncify-onlylist@a,calls_a": {"a", "calls_a"},
    "asyncify-whitelist@?,calls_?": set(),
    "asyncify-whitelist@a,b,calls_*y": {"a", "b", "calls_any"},
    "asyncify-memory@second": ALL,
    "asyncify-in-secondary-memory": ALL,
    "asyncify-in-secondary-memory asyncify-secondary-memory-size@7": ALL,
    "asyncify-relocatable": ALL,
    "asyncify-import-globals": ALL,
    "asyncify-export-globals": ALL,
    "asyncify-verbose": ALL,
    "asyncify-ignore-unwind-from-catch": ALL,
}


def shape(data: bytes) -> tuple[list[str], list[str], list[int]]:
    """Return what a host sees of a module: its imports, its exports, and the pages of its memories."""
    module = Module(data)
    imports = sorted(f"{item.module}.{item.name}" for item in module.imports)
    exports = sorted(item.name for item in module.exports)
    return imports, exports, [limits.minimum for limits in module.memories]


def taking_part(data: bytes) -> set[str]:
    """Return the names of the guest's functions that read a global, and not only to trap."""
    module = Module(data)
    section = module.custom_section("name")
    assert section is not None
    names = Names(data[section.payload : section.end]).maps[FUNCTION_NAMES]
    own = range(module.imported_functions, len(module.function_types))
    bodies = dict(zip(own, zip(module.body_starts, module.body_ends, strict=True), strict=True))
    exported = {item.index for item in module.exports if item.kind == FUNCTION_KIND and "asyncify" not in item.name}
    traps = [index for index, name in names.items() if name == "asyncify_suspended_where_left_out"]
    return {names[index] for index in exported if _reads_a_global(data, *bodies[index], traps)}


def _reads_a_global(data: bytes, position: int, end: int, traps: list[int]) -> bool:
    reads = False
    groups, position = read_u32(data, position)
    for _ in range(groups):
        _, position = read_u32(data, position)
        position += 1  # the type of these locals
    while position < end:
        code, position = read_opcode(data, position)
        operands, position = read_immediates(data, position, code)
        if code == CALL and operands[0] in traps:
            return False
        reads = reads or code == GLOBAL_GET
    return reads


@pytest.mark.parametrize("given", ARGUMENTS)
def test_pass_arguments_do_what_they_do_in_binaryen(given: str, tmp_path: Path) -> None:
    (tmp_path / "guest.wasm").write_bytes(wat2wasm(GUEST))
    (tmp_path / "names.txt").write_text("env.sleep\nlib.*\n")
    words = ["guest.wasm", "--asyncify", "-g", "--enable-multimemory", "--enable-mutable-globals"]
    words += [f"--pass-arg={argument}".replace("FILE", "names.txt") for argument in given.split()]
    modules = []
    for name, command in (
        ("real", [str(npm_file(".bin/wasm-opt"))]),
        ("ours", [sys.executable, "-m", "caesura.cli.wasm_opt", "--pass-arg=asyncify-no-guard"]),
    ):
        subprocess.run([*command, *words, "-o", name], cwd=tmp_path, check=True, capture_output=True, timeout=120)
        modules.append((tmp_path / name).read_bytes())
    assert [taking_part(module) for module in modules] == [ARGUMENTS[given]] * 2
    real, ours = map(shape, modules)
    if "secondary" in given:
        real[1].append("asyncify_memory")  # ours can be reached without knowing its index
    assert (real[0], sorted(real[1]), real[2]) == ours


def test_options_and_passes_are_told_apart() -> None:
    """Of everything that `wasm-opt --help` lists, those options are passes that stand among the passes."""
    done = subprocess.run([str(npm_file(".bin/wasm-opt")), "--help"], capture_output=True, text=True, check=True)
    is_pass = False
    seen = 0
    for line in done.stdout.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            is_pass = line == "Optimization passes:"
        match = re.match(r"  (-[^\s\[]+)", line)
        for word in match[1].split(",") if match else ():
            option = parse([f"{word}=value"]).arguments[0]
            assert (option.kind == PASS) == is_pass, word
            seen += 1
    assert seen > 250
