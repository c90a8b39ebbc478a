"""Everything that is refused in a module is told at once: how much, of which kinds, and what helps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import caesura
from tests.support.engine import assemble

# One operand crosses a call, which takes a local.
MOST_LOCALS = f"(local {'i32 ' * 50_000}) (i32.load (i32.const 0)) (call $fine) (drop)"
MANY_OPERANDS = "(i32.load (i32.const 0)) " * 1600 + "(block (call $f)) " * 3200 + "(drop) " * 1600
TEXT = f"""
  (module
    (import "env" "f" (func $f)) (import "env" "make" (func $make (result externref)))
    (memory 1) (table 1 externref)
    (func $fine call $f)
    (func $first {MOST_LOCALS})
    (func $second {MOST_LOCALS})
    (func $third {MOST_LOCALS})
    (func $also_fine (local i32) call $f))
"""
OPTIONS = caesura.Options(imports=("env.f",))
REFUSED = {
    "first": "too many locals",
    "second": "too many locals",
    "third": "too many locals",
}


def error_of(text: str, options: caesura.Options = OPTIONS) -> caesura.UnsupportedModule:
    binary = assemble(text)
    with pytest.raises(caesura.UnsupportedModule) as refused:
        caesura.instrument(binary, options)
    return refused.value


def test_all_are_told_at_once() -> None:
    error = error_of(TEXT.replace("(func $also_fine", f"(func $fourth {MANY_OPERANDS}) (func $also_fine"))
    assert error.function == "function 3 (first)"
    assert str(error).startswith(f"{error.refusals[0]}. Of 3 more functions ")
    kinds = "too many locals (3), too many operands across calls (1)"
    assert f"all are: {kinds} (--verbose lists them)" in str(error)
    refused = {**REFUSED, "fourth": "too many operands across calls"}
    assert [refusal.kind for refusal in error.refusals] == list(refused.values())
    for refusal, name in zip(error.refusals, refused, strict=True):
        assert f"({name})" in refusal.function and f"in {refusal.function} at byte offset " in str(refusal)
        assert not refusal.refusals


def test_one_is_told_as_it_is() -> None:
    options = caesura.Options(imports=("env.f",), remove_list=tuple(name for name in REFUSED if name != "second"))
    error = error_of(TEXT, options)
    assert [refusal.kind for refusal in error.refusals] == ["too many locals"]
    assert str(error) == str(error.refusals[0])


def test_what_the_message_advises_helps() -> None:
    error = error_of(TEXT)
    assert all("--remove-list" in str(refusal) for refusal in error.refusals)
    lists = caesura.Options(imports=("env.f",), remove_list=tuple(REFUSED))
    assert caesura.instrument(assemble(TEXT), lists).instrumented == 2


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
        assert "Of 2 more functions something is refused too" in done.stderr
        assert not (tmp_path / "out.wasm").exists()
