"""`caesura instrument`: what goes in, what comes out, what it tells."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from wasmtime import wat2wasm

import caesura
from caesura.wasm.print_module import print_module
from tests.cli.running import MODULE, TEXT, caesura_command

RESULT = caesura.instrument(MODULE).module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.wasm"
    file.write_bytes(MODULE)
    return file


def test_file_to_file(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm")
    assert done.code == 0
    assert done.out == b""
    assert (tmp_path / "out.wasm").read_bytes() == RESULT
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.wasm", "out.wasm"]


@pytest.mark.parametrize("name", ["out.WAT", "out.wast", "out.Wast"])
def test_any_spelling_of_the_extension_of_text(name: str, source: Path, tmp_path: Path) -> None:
    assert caesura_command("instrument", source, "-o", tmp_path / name).code == 0
    assert (tmp_path / name).read_text() == print_module(RESULT)


def test_summary_of_one_function(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text('(module (import "env" "f" (func $f)) (memory 1) (func $one call $f call $f))')
    done = caesura_command("instrument", "in.wat", "-o", "out.wasm", folder=tmp_path)
    assert done.err.startswith("caesura: 1 of 1 function instrumented, 2 call sites, ")
    done = caesura_command("instrument", "in.wat", "-o", "out.wasm", "--remove-list", "one", folder=tmp_path)
    assert done.err.startswith("caesura: 0 of 1 function instrumented, 0 call sites, ")


def test_a_component(tmp_path: Path) -> None:
    core = '(core module (import "env" "f" (func $f)) (memory (export "memory") 1) (func $one call $f))'
    (tmp_path / "in.wat").write_text(f"(component {core})")
    options = ["instrument", "in.wat", "--memory", "memory", "-o"]
    done = caesura_command(*options, "out.wasm", folder=tmp_path)
    assert done.err.startswith("caesura: 1 of 1 function instrumented, 1 call site, ")
    assert (tmp_path / "out.wasm").read_bytes()[:8] == b"\0asm\x0d\0\x01\0"
    done = caesura_command(*options, "out.wat", folder=tmp_path)
    assert done.code == 1 and "a component cannot be written as text" in done.err
    assert not (tmp_path / "out.wat").exists()


ONE_MEMORY = '(module (import "env" "f" (func)) (memory {} 1))'
TWO_MEMORIES = '(module (import "env" "f" (func)) (memory (export "a") 1) (memory {} 1))'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE_MEMORY.format('(export "m")'), "exported as 'nope': the module's only memory is exported as 'm'"),
        (ONE_MEMORY.format(""), "exported as 'nope': the module exports no memory; its only one holds"),
        ("(module)", "exported as 'nope': the module has no memory, and gets one for the stacks"),
        (TWO_MEMORIES.format('(export "b")'), "exports none as 'nope'; it exports 'a', 'b': give one of these names"),
        (
            TWO_MEMORIES.format("").replace('(export "a")', ""),
            "none as 'nope'; it exports no memory: export the",
        ),
    ],
)
def test_a_memory_that_there_is_not(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(text)
    done = caesura_command("instrument", "in.wat", "-o", "out.wasm", "--memory", "nope", folder=tmp_path)
    assert done.code == 1
    assert message in done.error_line()
    assert not (tmp_path / "out.wasm").exists()


def test_the_only_memory_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(ONE_MEMORY.format('(export "m")'))
    assert caesura_command("instrument", "in.wat", "-o", "out.wasm", "--memory", "m", folder=tmp_path).code == 0
    done = caesura_command("instrument", "in.wat", "-o", "out.wasm", "--memory", "memory", folder=tmp_path)
    assert "no memory is exported as 'memory'" in done.error_line()


def test_summary_line(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm")
    assert done.err.startswith("caesura: 3 of 4 functions instrumented, 4 call sites, ")
    assert f"{len(MODULE):,} -> {len(RESULT):,} bytes" in done.err
    assert done.err.endswith(" s\n")


@pytest.mark.parametrize("output", [(), ("-o", "-")])
def test_standard_streams(output: tuple[str, ...]) -> None:
    done = caesura_command("instrument", "-", *output, stdin=MODULE)
    assert (done.code, done.out) == (0, RESULT)
    assert done.err.count("\n") == 1


def test_text_in_by_content(tmp_path: Path) -> None:
    file = tmp_path / "text.wasm"
    file.write_text(f";; a comment\n{TEXT}")
    done = caesura_command("instrument", file, "-o", tmp_path / "out.wasm")
    assert done.code == 0
    assert (tmp_path / "out.wasm").read_bytes() == RESULT


def test_text_out_by_extension(source: Path, tmp_path: Path) -> None:
    assert caesura_command("instrument", source, "-o", tmp_path / "out.wat").code == 0
    text = (tmp_path / "out.wat").read_text()
    assert text == print_module(RESULT)
    assert bytes(wat2wasm(text)) == RESULT


def test_out_may_be_in_and_keeps_its_mode(source: Path) -> None:
    source.chmod(0o750)
    assert caesura_command("instrument", source, "-o", source).code == 0
    assert source.read_bytes() == RESULT
    assert stat.S_IMODE(source.stat().st_mode) == 0o750


def test_new_file_gets_the_usual_mode(source: Path, tmp_path: Path) -> None:
    def mask() -> None:
        os.umask(0o027)

    assert caesura_command("instrument", source, "-o", tmp_path / "out.wasm", limit=mask).code == 0
    assert stat.S_IMODE((tmp_path / "out.wasm").stat().st_mode) == 0o640


def test_link_stays_a_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real.wasm").write_bytes(b"old")
    (tmp_path / "link.wasm").symlink_to(tmp_path / "folder" / "real.wasm")
    assert caesura_command("instrument", source, "-o", tmp_path / "link.wasm").code == 0
    assert (tmp_path / "link.wasm").is_symlink()
    assert (tmp_path / "folder" / "real.wasm").read_bytes() == RESULT


def test_json_goes_to_standard_output(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm", "--json")
    facts = json.loads(done.out)
    assert done.err == ""
    assert facts["functions"] == 4
    assert facts["instrumented"] == 3
    assert facts["sites"] == 4
    assert facts["bytes_before"] == len(MODULE)
    assert facts["bytes_after"] == len(RESULT)
    assert 0 < facts["code_before"] < facts["code_after"]
    assert facts["seconds"] > 0
    assert facts["warnings"] == []
    assert "function_reports" not in facts


def test_json_gives_way_to_the_module(source: Path) -> None:
    done = caesura_command("instrument", source, "--json", "--verbose", "--imports", "env.sleep,env.typo")
    assert done.out.startswith(b"\0asm")
    facts = json.loads(done.err)
    assert facts["warnings"] == ["import list: no imported function matches 'env.typo'"]
    reports = {report["name"]: report for report in facts["function_reports"]}
    assert reports["outer"] == {
        "index": 4,
        "name": "outer",
        "instrumented": True,
        "sites": 2,
        "reason": reports["outer"]["reason"],
        "frameless": False,
        "saved": 0,
        "merges": 0,
        "other_bodies": 0,
    }
    assert not reports["clock"]["instrumented"]


def test_quiet(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm", "--quiet", "--imports", "env.typo")
    assert (done.code, done.out, done.err) == (0, b"", "")
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm", "--quiet", "--add-list", "")
    assert (done.code, done.out, done.err) == (0, b"", "")


def test_verbose_gives_reasons(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm", "--verbose")
    lines = done.err.splitlines()
    assert len(lines) == 5
    assert lines[2] == "outer (4): instrumented, 2 call sites: inner -> sleep, an import that may suspend"
    assert lines[3] == "add (5): not instrumented: it calls nothing that may suspend"
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm", "--verbose", "--remove-list", "inner")
    lines = done.err.splitlines()
    assert lines[1] == "inner (3): not instrumented: it is on the remove-list"
    assert lines[2] == "outer (4): not instrumented: it calls nothing that may suspend: inner is on the remove-list"
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm", "--verbose", "--only-list", "inner")
    assert done.err.splitlines()[2] == "outer (4): not instrumented: it is not on the only-list"


def test_options_reach_the_transformation(source: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("inner\nouter\n")
    out = tmp_path / "out.wasm"
    arguments = ["--imports", "env.sl*", "--ignore-indirect", "--only-list", f"@{tmp_path / 'list'}", "--asserts"]
    assert caesura_command("instrument", source, "-o", out, *arguments).code == 0
    options = caesura.Options(imports=("env.sl*",), ignore_indirect=True, only_list=("inner", "outer"), asserts=True)
    assert out.read_bytes() == caesura.instrument(MODULE, options).module


def test_a_list_may_be_given_in_parts(source: Path, tmp_path: Path) -> None:
    done = caesura_command(
        "instrument", source, "-o", tmp_path / "out.wasm", "--imports", "env.now", "--imports", "env.sleep", "--strict"
    )
    assert done.code == 0
    assert done.err.startswith("caesura: 3 of 4 ")


def test_warnings(source: Path, tmp_path: Path) -> None:
    done = caesura_command(
        "instrument", source, "-o", tmp_path / "out.wasm", "--remove-list", "typo,inner*,none*", "--imports", ""
    )
    assert done.code == 0
    assert done.err.splitlines()[:3] == [
        "caesura: warning: the list given with --imports is empty, which is as if it were not given",
        "caesura: warning: Asyncify removelist contained a non-existing function name: 'typo'",
        "caesura: warning: Asyncify removelist contained a non-matching pattern: 'none*'",
    ]


def test_warnings_are_errors_if_strict(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wasm", "--add-list", "typo", "--strict")
    assert done.code == 1
    assert done.error_line().endswith("in.wasm: Asyncify addlist contained a non-existing function name: 'typo'")
    assert not (tmp_path / "out.wasm").exists()
