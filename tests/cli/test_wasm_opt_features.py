"""Which features the output of caesura-wasm-opt uses, and what later tools make of it."""

from __future__ import annotations

import subprocess

import pytest
from wasmtime import wat2wasm

from caesura.wasm.module import Module
from caesura.wasm.sections import encode_custom
from tests.cli.wasm_opt_folder import Folder
from tests.support.paths import npm_file

# Functions whose frames hold several values: popping them is worth a function that returns several.
SEVERAL = bytes(
    wat2wasm(
        """
        (module
          (import "env" "sleep" (func $sleep (param i32)))
          (memory (export "memory") 1)"""
        + "".join(
            f"""
          (func $f{number} (export "f{number}") (param i32 i32 i32 i32)
            (call $sleep (local.get 0)) (call $sleep (local.get 1)) (call $sleep (local.get 2))
            (call $sleep (i32.add (local.get 0) (i32.add (local.get 1) (i32.add (local.get 2) (local.get 3))))))"""
            for number in range(6)
        )
        + ")"
    )
)


def returns_several_values(module: bytes) -> bool:
    return any(len(definition.results) > 1 for definition in Module(module).types)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], False),
        (["--enable-multivalue"], True),
        (["-all"], True),
        (["--all-features", "--disable-multivalue"], False),
        (["--enable-multivalue", "--mvp-features"], False),
        (["--mvp-features", "--enable-multivalue"], True),
        (["--enable-simd"], False),
    ],
)
def test_functions_return_several_values_only_where_the_feature_is_on(
    folder: Folder, words: list[str], expected: bool
) -> None:
    (folder.path / "in.wasm").write_bytes(SEVERAL)
    assert returns_several_values(folder.module("--asyncify", *words, real="")) == expected


def test_features_that_the_module_notes_count_where_the_line_says_nothing(folder: Folder) -> None:
    used = encode_custom("target_features", b"\2+\x0fmutable-globals+\x0amultivalue")
    for note, words, expected in (
        (used, (), True),
        (used, ("--disable-multivalue",), False),
        (encode_custom("target_features", b"\1-\x0amultivalue"), (), False),
        (encode_custom("target_features", b"\2+\x0amultivalue"), (), False),  # broken
    ):
        (folder.path / "in.wasm").write_bytes(SEVERAL + note)
        assert returns_several_values(folder.module("--asyncify", *words, real="")) == expected


def test_other_tools_take_what_was_instrumented(folder: Folder) -> None:
    """Tool chains tell each tool which features their compiler used, and run it over the instrumented module."""
    folder.module("--asyncify", "--mvp-features", real="")
    for name in ("wasm-opt", "wasm-metadce"):
        words = [str(npm_file(f".bin/{name}")), "out.wasm", "--mvp-features", "-o", "later.wasm"]
        if name == "wasm-metadce":
            (folder.path / "graph.json").write_text(
                '[{"name": "outside", "root": true, "reaches": ["run"]}, {"name": "run", "export": "run"}]'
            )
            words.append("--graph-file=graph.json")
        subprocess.run(words, cwd=folder.path, check=True, capture_output=True, timeout=120)
        assert "run" in [item.name for item in Module((folder.path / "later.wasm").read_bytes()).exports]
    assert folder.run("out.wasm", "--dce", "--mvp-features", "-o", "later.wasm").code == 0


def test_passes_behind_get_no_functions_that_return_several_values(folder: Folder) -> None:
    (folder.path / "in.wasm").write_bytes(SEVERAL)
    done = folder.run("in.wasm", "--asyncify", "--dce", "--enable-multivalue", "-o", "out.wasm")
    assert done.code == 0, done.err
    assert not returns_several_values((folder.path / "out.wasm").read_bytes())


# `left` is what a list leaves out.
LOOKED_AT = """
  (module
    (import "env" "sleep" (func $sleep (param i32)))
    (memory (export "memory") 1)
    (func $left (param i32) (call $sleep (local.get 0)))
    (func $run (export "run") (param i32) (call $left (local.get 0)) (call $sleep (local.get 0))))
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], True),
        (["--all-features"], True),
        (["--mvp-features"], False),
        (["--mvp-features", "--enable-mutable-globals"], True),
        (["--all-features", "--disable-mutable-globals"], False),
    ],
)
def test_globals_for_hosts_are_exported_unless_the_feature_is_off(
    folder: Folder, words: list[str], expected: bool
) -> None:
    (folder.path / "in.wasm").write_bytes(wat2wasm(LOOKED_AT))
    module = Module(folder.module("--asyncify", "--pass-arg=asyncify-onlylist@run", "-g", *words, real=""))
    names = [export.name for export in module.exports]
    assert ("asyncify_unsuspendable" in names) == expected
    assert {"memory", "run", "asyncify_start_unwind", "asyncify_get_state"} <= set(names)
