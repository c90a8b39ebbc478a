"""Everything that is refused in a module is told at once: how much, of which kinds, and what helps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import caesura
from tests.support.engine import assemble

TEXT = """
  (module
    (import "env" "f" (func $f)) (import "env" "make" (func $make (result externref)))
    (type $s (struct (field i32))) (tag $e)
    (memory 1) (table 1 externref)
    (func $fine call $f)
    (func $first (param externref) (result externref) call $fine local.get 0)
    (func $second (param externref) (result externref) call $f local.get 0)
    (func $third try call $fine catch_all call $fine end)
    (func $fourth i32.const 1 struct.new $s call $f drop)
    (func $fifth (local i32) try call $f catch $e call $f end)
    (func $sixth call $make call $f drop)
    (func $also_fine (local i32) call $f))
"""
OPTIONS = caesura.Options(imports=("env.f",))
REFUSED = {
    "first": "value of type externref",
    "second": "value of type externref",
    "third": "call in a catch body of an old-form try",
    "fourth": "value of type (ref 0)",
    "fifth": "call in a catch body of an old-form try",
    "sixth": "value of type externref",
}


def error_of(text: str, options: caesura.Options = OPTIONS) -> caesura.UnsupportedModule:
    binary = assemble(text)
    with pytest.raises(caesura.UnsupportedModule) as refused:
        caesura.instrument(binary, options)
    return refused.value


def test_all_are_told_at_once() -> None:
    error = error_of(TEXT)
    assert error.function == "function 3 (first)"
    assert str(error).startswith(f"{error.refusals[0]}. Of 5 more functions ")
    values = "value of type externref (3)"
    kinds = f"{values}, call in a catch body of an old-form try (2), value of type (ref 0) (1)"
    assert f"all are: {kinds} (--verbose lists them)" in str(error)
    assert [refusal.kind for refusal in error.refusals] == list(REFUSED.values())
    for refusal, name in zip(error.refusals, REFUSED, strict=True):
        assert f"({name})" in refusal.function and f"in {refusal.function} at byte offset " in str(refusal)
        assert not refusal.refusals


def test_one_is_told_as_it_is() -> None:
    options = caesura.Options(imports=("env.f",), remove_list=tuple(name for name in REFUSED if name != "second"))
    error = error_of(TEXT, options)
    assert [refusal.kind for refusal in error.refusals] == ["value of type externref"]
    assert str(error) == str(error.refusals[0])


def test_what_the_message_advises_helps() -> None:
    error = error_of(TEXT)
    lists = caesura.Options(imports=("env.f",), remove_list=tuple(name for name in REFUSED if name != "fifth"))
    (catch,) = error_of(TEXT, lists).refusals
    assert "--ignore-unwind-from-catch" in str(catch)
    assert all("--remove-list" in str(refusal) for refusal in error.refusals if refusal.kind != catch.kind)
    lists = caesura.Options(imports=("env.f",), remove_list=lists.remove_list, ignore_unwind_from_catch=True)
    assert caesura.instrument(assemble(TEXT), lists).instrumented == 3


TYPES = {
    "externref": "call $make",
    "anyref": "call $make any.convert_extern",
    "funcref": "i32.const 0 table.get $functions",
    "i31ref": "call $make any.convert_extern ref.cast i31ref",
    "(ref any)": "call $make any.convert_extern ref.as_non_null",
    "exnref": "block (result exnref) try_table (catch_all_ref 0) call $f end unreachable end",
}


@pytest.mark.parametrize("value_type", TYPES)
def test_the_type_of_what_cannot_be_saved(value_type: str) -> None:
    text = f"""
      (module
        (type $t (func)) (import "env" "f" (func $f (type $t))) (import "env" "make" (func $make (result externref)))
        (memory 1) (table $functions 1 funcref) (elem declare func $fine)
        (func $fine (type $t))
        (func $refused {TYPES[value_type]} call $f drop))
    """
    (refusal,) = error_of(text).refusals
    assert refusal.kind == f"value of type {value_type}"
    assert f"a value of type {value_type} must be saved" in str(refusal)


@pytest.mark.parametrize("verbose", [False, True])
def test_the_command_lists_all(verbose: bool, tmp_path: Path) -> None:
    source = tmp_path / "module.wasm"
    source.write_bytes(assemble(TEXT))
    error = error_of(TEXT)
    ours = ["-m", "caesura", "instrument", "-o", "out.wasm", "--imports", "env.f", str(source)]
    binaryens = ["-m", "caesura.cli.wasm_opt", "-g", "--all-features", "--asyncify", "-o", "out.wasm", str(source)]
    commands = (
        [*ours, *["--verbose"] * verbose],
        [*binaryens, "--pass-arg=asyncify-imports@env.f", *["--pass-arg=asyncify-verbose"] * verbose],
    )
    for place, command in enumerate(commands):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 1
        lines = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
        assert len(lines) == (len(REFUSED) if verbose else 0)
        if place == 0:
            assert lines == [f"refused: {refusal}" for refusal in error.refusals][: len(lines)]
        else:
            assert "--remove-list" not in done.stderr and "--pass-arg=asyncify-removelist" in done.stderr
        assert "Of 5 more functions something is refused too" in done.stderr
        assert not (tmp_path / "out.wasm").exists()
