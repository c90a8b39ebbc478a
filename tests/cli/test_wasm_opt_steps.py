"""What caesura-wasm-opt does in which order."""

from __future__ import annotations

from typing import Final

import pytest
from wasmtime import wat2wasm

from caesura import Options
from caesura.cli.wasm_opt.arguments import parse
from caesura.cli.wasm_opt.steps import divide, optimize_choice
from caesura.wasm.module import Module
from caesura.wasm.print_module import print_module
from tests.cli.wasm_opt_folder import Folder


def test_passes_go_to_the_run_on_their_side(folder: Folder) -> None:
    done = folder.run(
        *("in.wasm", "--inlining", "-O2", "--asyncify", "--dce", "--pass-arg=inlining@never", "-n", "-o", "out.wasm"),
    )
    assert done.code == 0, done.err
    first, second = done.handed
    assert first[:4] == ["--inlining", "-O2", "--pass-arg=inlining@never", "-n"]
    assert "--asyncify" not in [*first, *second]
    assert second[:2] == ["--dce", "-n"]
    assert "-g" in first
    assert "-g" not in second


def test_level_behind_asyncify_optimizes_the_guest_before(folder: Folder) -> None:
    done = folder.run("in.wasm", "--asyncify", "-O3", "--strip-producers", "-o", "out.wasm")
    assert [words[0] for words in done.handed] == ["-O3"]


@pytest.mark.parametrize("argument", ["asyncify-onlylist@outer,inner", "asyncify-removelist@clock"])
def test_level_stays_behind_asyncify_where_lists_name_functions(folder: Folder, argument: str) -> None:
    done = folder.run("in.wasm", "--asyncify", f"--pass-arg={argument}", "-O1", "-o", "out.wasm")
    assert done.code == 0, done.err
    assert [words[0] for words in done.handed] == ["-O1"]
    assert Module((folder.path / "out.wasm").read_bytes()).custom_section("name") is None


def test_level_stays_behind_asyncify_where_the_guest_suspends_itself() -> None:
    steps = divide(parse(["--asyncify", "-O3"]), Options(), is_text=False, has_own_runtime=True)
    assert (steps.first.needed, steps.second.needed) == (False, True)


def test_level_of_the_whole_line_counts_on_both_sides() -> None:
    steps = divide(
        parse(["--inlining-optimizing", "--asyncify", "--dce", "-Oz"]), Options(), is_text=False, has_own_runtime=False
    )
    assert steps.first.words == ("--inlining-optimizing", "--optimize-level=2", "--shrink-level=2")
    assert steps.second.words == ("--dce", "-Oz", "--optimize-level=2", "--shrink-level=2")
    steps = divide(parse(["-O1", "-ol", "3", "--asyncify"]), Options(), is_text=False, has_own_runtime=False)
    assert steps.first.words == ("-O1", "--optimize-level=3", "--shrink-level=0")
    assert not divide(
        parse(["-O0", "--asyncify", "-s=1"]), Options(), is_text=False, has_own_runtime=False
    ).first.needed


@pytest.mark.parametrize(
    ("words", "choice"),
    [([], "balanced"), (["-Os"], "balanced"), (["-Oz"], "size"), (["-O3"], "speed"), (["-O3", "-ol=1"], "balanced")],
)
def test_level_says_how_to_weigh_size_against_speed(words: list[str], choice: str) -> None:
    assert optimize_choice(parse(words)) == choice


def test_pass_arguments_belong_to_the_closest_pass_before() -> None:
    words = ["--a", "--pass-arg=a@1", "--asyncify", "--a", "-pa", "a@2", "--pass-arg=global@3", "--pass-arg=asyncify@x"]
    steps = divide(parse(words), Options(), is_text=False, has_own_runtime=False)
    assert steps.first.words == ("--a", "--pass-arg=a@1", "--pass-arg=global@3")
    assert steps.second.words == ("--a", "-pa", "a@2", "--pass-arg=global@3")


_TRIES: Final = """(module (import "env" "f" (func $f)) (tag $t (param i32))
  (func (export "run") (result i32) try (result i32) call $f i32.const 1 catch $t drop rethrow 0 end))"""


@pytest.mark.parametrize(
    "words",
    [
        ["--translate-to-exnref", "--asyncify"],
        ["--asyncify", "--translate-to-exnref"],
        ["--asyncify", "--emit-exnref"],
        ["--asyncify", "--experimental-new-eh", "--strip-debug"],
    ],
)
def test_exceptions_are_translated_without_binaryen(folder: Folder, words: list[str]) -> None:
    (folder.path / "in.wasm").write_bytes(wat2wasm(_TRIES))
    text = print_module(folder.module(*words, real=""))
    assert "try_table" in text
    assert "rethrow" not in text


def test_exceptions_stay_where_the_pass_is_skipped(folder: Folder) -> None:
    (folder.path / "in.wasm").write_bytes(wat2wasm(_TRIES))
    module = folder.module("--translate-to-exnref", "--asyncify", "--skip-pass=translate-to-exnref", real="")
    assert "rethrow" in print_module(module)


def test_exceptions_are_translated_in_the_order_of_the_other_passes(folder: Folder) -> None:
    """Where Binaryen works before anyway, it translates, too; behind `--asyncify` it gets new-form exceptions."""
    (folder.path / "in.wasm").write_bytes(wat2wasm(_TRIES))
    words = ["--enable-exception-handling", "--enable-reference-types", "--enable-multivalue", "-o", "out.wasm"]
    done = folder.run("in.wasm", "--dce", "--translate-to-exnref", "--asyncify", *words)
    assert done.code == 0, done.err
    assert [line[:2] for line in done.handed] == [["--dce", "--translate-to-exnref"]]
    assert "try_table" in print_module((folder.path / "out.wasm").read_bytes())
    words = ["--enable-exception-handling", "-o", "out.wasm"]
    done = folder.run("in.wasm", "--asyncify", "--translate-to-exnref", "--dce", *words)
    assert done.code == 0, done.err
    assert [line[0] for line in done.handed] == ["--dce"]
    assert "try_table" in print_module((folder.path / "out.wasm").read_bytes())


def test_help_names_the_pass(folder: Folder) -> None:
    assert "--translate-to-exnref" in folder.run("--help", real="").out.decode()
