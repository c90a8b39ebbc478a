"""Modules that are instrumented already are refused before any work, whatever their exports are called."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import caesura
from caesura.abi import START_REWIND, START_UNWIND, STOP_REWIND, STOP_UNWIND
from caesura.analysis.instrumented import asyncify_exports
from caesura.wasm.module import Module
from tests.instrument.building import name
from tests.support.engine import assemble
from tests.support.paths import npm_file

TEXT = """
  (module
    (import "env" "ask" (func $ask (param {0}) (result {0})))
    (memory (export "memory") {0} 1)
    (global $counter (mut i32) (i32.const 0))
    (func $reset (export "reset") (global.set $counter (i32.const 0)))
    (func $set (export "set") (param {0}) (global.set $counter (i32.const 1)) (drop ({0}.load (local.get 0))))
    (func (export "twice") (param {0}) (result {0}) (call $ask (call $ask (local.get 0)))))
"""
FROM_NPM = (
    "@jitl/quickjs-wasmfile-release-asyncify/dist/emscripten-module.wasm",
    "wa-sqlite/dist/wa-sqlite-async.wasm",
)
SHORT = {START_UNWIND: "a", STOP_UNWIND: "b", START_REWIND: "c", STOP_REWIND: "d", "asyncify_get_state": "e"}


def shortened(module: bytes) -> bytes:
    """Return an instrumented module whose ABI's exports have short names, as Emscripten gives them."""
    for proper, short in SHORT.items():
        module = module.replace(name(proper), name("".join([short] * len(proper))))
    return module


def refusal(module: bytes) -> str:
    steps: list[str] = []
    with pytest.raises(caesura.UnsupportedModule, match="instrumented already") as refused:
        caesura.instrument(module, progress=lambda step, done, total: steps.append(step))
    assert not steps, "work was done before the module was looked at"
    return str(refused.value)


# The state changes as Binaryen 108 leaves them with -O3: the pointer is looked at through a local.
COMPARE = """
      (if (i32.gt_u (i32.load (local.tee 0 (global.get $data))) (i32.load offset=4 (local.get 0)))
        (then (unreachable)))"""
OLDER = f"""
  (module
    (memory 1)
    (global $state (mut i32) (i32.const 0))
    (global $data (mut i32) (i32.const 0))
    (func (export "a") (param i32)
      (global.set $state (i32.const 1)) (global.set $data (local.get 0)) {COMPARE})
    (func $stop (export "b") (export "d") (local i32) (global.set $state (i32.const 0)) {COMPARE})
    (func (export "c") (param i32)
      (global.set $state (i32.const 2)) (global.set $data (local.get 0)) {COMPARE})
    (func (export "run")))
"""


def test_what_older_versions_of_binaryen_instrumented() -> None:
    assert "a as asyncify_start_unwind" in refusal(assemble(OLDER))


@pytest.mark.parametrize("path", FROM_NPM)
def test_what_emscripten_instrumented(path: str) -> None:
    """Its names are shortened: only what the functions do tells what they are."""
    binary = npm_file(path).read_bytes()
    assert b"asyncify_" not in binary
    message = refusal(binary)
    assert all(f"{exported} as {proper}" in message for proper, exported in asyncify_exports(Module(binary)).items())


@pytest.mark.parametrize("width", ["i32", "i64"])
@pytest.mark.parametrize("passes", [(), ("-O3",), ("-Oz",)], ids=["as it is", "-O3", "-Oz"])
@pytest.mark.parametrize(("tool", "lists"), [("caesura", False), ("caesura", True), ("binaryen", False)])
def test_what_was_instrumented_and_optimized(
    tool: str, lists: bool, passes: tuple[str, ...], width: str, tmp_path: Path
) -> None:
    source = tmp_path / "source.wasm"
    source.write_bytes(assemble(TEXT.format(width)))
    words = [str(npm_file(".bin/wasm-opt")), "--all-features", str(source), "-o", str(source)]
    if tool == "caesura":
        options = caesura.Options(imports=("env.ask",) if lists else ())
        source.write_bytes(caesura.instrument(source.read_bytes(), options).module)
        subprocess.run([*words, *passes], check=True)
    else:
        subprocess.run([*words, "--asyncify", *passes], check=True)
    refusal(source.read_bytes())
    found = asyncify_exports(Module(shortened(source.read_bytes())))
    wanted = {proper: "".join([short] * len(proper)) for proper, short in SHORT.items() if proper in found}
    del wanted[STOP_UNWIND], wanted[STOP_REWIND]
    assert wanted.items() <= found.items()
    assert {found[STOP_UNWIND], found[STOP_REWIND]} <= {"b" * len(STOP_UNWIND), "d" * len(STOP_REWIND)}
    refusal(shortened(source.read_bytes()))


def test_one_name_is_enough() -> None:
    """The module could not get an export of that name, so it is refused with the others."""
    for proper in SHORT:
        binary = assemble(f'(module (import "env" "f" (func $f)) (func (export "{proper}")) (func call $f))')
        assert f"it exports {proper}." in refusal(binary)


def test_what_only_looks_like_it() -> None:
    """Functions that set globals as the state changes do, but not all four, over the same two globals."""
    change = "(global.set $s (i32.const {value})) (global.set $d (local.get 0)) {check}"
    check = """(i32.gt_u (i32.load (global.get $d)) (i32.load offset=4 (global.get $d))) if unreachable end"""
    stop = f'(func (export "c") (global.set $s (i32.const 0)) {check})'
    texts = (
        change.format(value=1, check=check) + f') (func (export "b") (param i32) {change.format(value=2, check="")}',
        change.format(value=1, check=check) + f') (func (export "b") (param i32) {change.format(value=3, check=check)}',
    )
    for text in texts:
        binary = assemble(f"""
          (module (import "env" "f" (func $f)) (memory 1)
            (global $s (mut i32) (i32.const 0)) (global $d (mut i32) (i32.const 0))
            (func (export "a") (param i32) {text}) {stop} (func (export "run") call $f))
        """)
        assert not asyncify_exports(Module(binary))
        assert caesura.instrument(binary).instrumented == 1
