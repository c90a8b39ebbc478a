"""The command caesura-wasm-opt: wasm-opt's command line, with Asyncify done by caesura.

The real wasm-opt is that of npm's package binaryen. What is handed to it is seen through a stand-in that writes down
its arguments and then runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from caesura import Options, UsageError, instrument
from caesura.cli.wasm_opt_arguments import parse
from caesura.cli.wasm_opt_asyncify import read_options
from caesura.cli.wasm_opt_source_map import Mapping, carry, decode_mappings, encode_mappings
from caesura.cli.wasm_opt_steps import divide, optimize_choice
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, LOCAL_NAMES, Names
from caesura.wasm.sections import encode_custom
from tests.support.paths import npm_file

TEXT = """
(module $example
  (import "env" "sleep" (func $sleep (param i32)))
  (import "env" "now" (func $now (result i32)))
  (memory (export "memory") 1)
  (func $clock (export "clock") (result i32) call $now)
  (func $inner (param $value i32) local.get 0 call $sleep)
  (func $outer (export "run") i32.const 5 call $inner i32.const 6 call $inner)
  (func $add (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
"""
MODULE = bytes(wat2wasm(TEXT))


@dataclass(frozen=True)
class Done:
    """A run of the command that is over, and what it handed to the real wasm-opt."""

    code: int
    out: bytes
    err: str
    handed: list[list[str]]


class Folder:
    """A folder with a module in it, where the command is run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "in.wasm").write_bytes(MODULE)
        self._log = path / "handed.txt"
        self._real = path / "real-wasm-opt"
        self._real.write_text(
            f"#!{sys.executable}\nimport json, subprocess, sys\n"
            f"open({str(self._log)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            f"sys.exit(subprocess.call([{str(npm_file('.bin/wasm-opt'))!r}, *sys.argv[1:]]))\n"
        )
        self._real.chmod(0o755)

    def run(self, *arguments: str, stdin: bytes = b"", real: str | None = None) -> Done:
        """Run the command; `real` names another wasm-opt than the stand-in ("": none to be found)."""
        environment = {**os.environ, "CAESURA_WASM_OPT": str(self._real) if real is None else real}
        if real == "":
            environment["PATH"] = ""
        done = subprocess.run(
            [sys.executable, "-m", "caesura.cli.wasm_opt", *arguments],
            cwd=self.path,
            env=environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        handed = [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.is_file() else []
        self._log.unlink(missing_ok=True)
        return Done(done.returncode, done.stdout, done.stderr.decode(), handed)

    def module(self, *arguments: str, real: str | None = None) -> bytes:
        """Run the command on the module with an output file; return that."""
        done = self.run("in.wasm", "-o", "out.wasm", *arguments, real=real)
        assert (done.code, done.err) == (0, ""), done
        return (self.path / "out.wasm").read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def function_names(module: bytes) -> list[str]:
    section = Module(module).custom_section("name")
    return [] if section is None else list(Names(module[section.payload : section.end]).maps[FUNCTION_NAMES].values())


def test_asyncify_alone_needs_no_binaryen(folder: Folder) -> None:
    assert folder.module("--asyncify", "-g", real="") == instrument(MODULE).module


def test_names_are_dropped_without_g(folder: Folder) -> None:
    assert function_names(folder.module("--asyncify", real="")) == []
    assert "outer" in function_names(folder.module("--asyncify", "-g", real=""))
    assert "outer" in function_names(folder.module("--asyncify", "--debuginfo", "--strip-debug", real=""))


def test_module_name_alone_can_be_kept(folder: Folder) -> None:
    module = folder.module("--asyncify", "--emit-module-names", real="")
    section = Module(module).custom_section("name")
    assert section is not None
    names = Names(module[section.payload : section.end])
    assert (names.module, function_names(module)) == ("example", [])


def test_strip_passes_drop_sections(folder: Folder) -> None:
    extra = [encode_custom(name, b"\1\0") for name in ("producers", ".debug_info", "sourceMappingURL", "other")]
    (folder.path / "in.wasm").write_bytes(MODULE + b"".join(extra))

    def left(*arguments: str) -> list[str]:
        return [section.name for section in Module(folder.module(*arguments, real="")).sections if section.name]

    assert left("--asyncify") == ["producers", "sourceMappingURL", "other"]
    assert left("--asyncify", "--strip-producers") == ["sourceMappingURL", "other"]
    assert left("--strip-debug", "--strip-producers", "--asyncify") == ["other"]
    module = folder.module("--strip-debug", "--asyncify", "-g", real="")
    section = Module(module).custom_section("name")
    assert section is not None
    assert not Names(module[section.payload : section.end]).inner(LOCAL_NAMES, 3)


def test_dwarf_is_dropped_with_a_warning(folder: Folder) -> None:
    (folder.path / "in.wasm").write_bytes(MODULE + encode_custom(".debug_info", b"\1"))
    done = folder.run("in.wasm", "--asyncify", "-g", "-o", "out.wasm", real="")
    assert "DWARF" in done.err
    assert (folder.path / "out.wasm").read_bytes() == instrument(MODULE).module


def test_standard_streams(folder: Folder) -> None:
    done = folder.run("--asyncify", "-g", "-o", "-", stdin=MODULE, real="")
    assert done.out == instrument(MODULE).module


def test_without_output_nothing_is_written(folder: Folder) -> None:
    done = folder.run("in.wasm", "--asyncify", real="")
    assert (done.code, done.err) == (0, "warning: no output file specified, not emitting output\n")
    assert folder.run("in.wasm", "--asyncify", "-q", real="").err == ""


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
    assert "--enable-multivalue" in second


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
    steps = divide(parse(["--asyncify", "-O3"]), Options(), False, True)
    assert (steps.first.needed, steps.second.needed) == (False, True)


def test_level_of_the_whole_line_counts_on_both_sides() -> None:
    steps = divide(parse(["--inlining-optimizing", "--asyncify", "--dce", "-Oz"]), Options(), False, False)
    assert steps.first.words == ("--inlining-optimizing", "--optimize-level=2", "--shrink-level=2")
    assert steps.second.words == ("--dce", "-Oz", "--optimize-level=2", "--shrink-level=2")
    steps = divide(parse(["-O1", "-ol", "3", "--asyncify"]), Options(), False, False)
    assert steps.first.words == ("-O1", "--optimize-level=3", "--shrink-level=0")
    assert not divide(parse(["-O0", "--asyncify", "-s=1"]), Options(), False, False).first.needed


@pytest.mark.parametrize(
    ("words", "choice"),
    [([], "balanced"), (["-Os"], "balanced"), (["-Oz"], "size"), (["-O3"], "speed"), (["-O3", "-ol=1"], "balanced")],
)
def test_level_says_how_to_weigh_size_against_speed(words: list[str], choice: str) -> None:
    assert optimize_choice(parse(words)) == choice


def test_pass_arguments_belong_to_the_closest_pass_before() -> None:
    words = ["--a", "--pass-arg=a@1", "--asyncify", "--a", "-pa", "a@2", "--pass-arg=global@3", "--pass-arg=asyncify@x"]
    steps = divide(parse(words), Options(), False, False)
    assert steps.first.words == ("--a", "--pass-arg=a@1", "--pass-arg=global@3")
    assert steps.second.words == ("--a", "-pa", "a@2", "--pass-arg=global@3")


def test_text_in_and_text_out(folder: Folder) -> None:
    (folder.path / "in.wat").write_text('(module (import "e" "f" (func $f)) (func $g (export "g") (call $f)))')
    done = folder.run("in.wat", "--asyncify", "-S", "-g", "-o", "out.wat")
    assert done.code == 0, done.err
    text = (folder.path / "out.wat").read_text()
    assert '(export "asyncify_start_unwind"' in text
    assert "(func $g" in text


def test_other_lines_go_to_binaryen_as_they_are(folder: Folder) -> None:
    for words in (["in.wasm", "-O1", "-o", "out.wasm"], ["in.wasm", "--asyncify", "-sp=asyncify", "-o", "out.wasm"]):
        done = folder.run(*words)
        assert (done.code, done.handed) == (0, [words])
        assert not any(
            item.name.startswith("asyncify") for item in Module((folder.path / "out.wasm").read_bytes()).exports
        )


def test_features_of_instrumented_modules_are_switched_on_for_later_passes(folder: Folder) -> None:
    (folder.path / "instrumented.wasm").write_bytes(instrument(MODULE).module)
    done = folder.run("instrumented.wasm", "--dce", "--mvp-features", "-o", "out.wasm")
    assert done.code == 0, done.err
    assert done.handed[0][-2:] == ["--enable-multivalue", "--enable-mutable-globals"]


def test_failure_of_binaryen_is_ours(folder: Folder) -> None:
    done = folder.run("in.wasm", "--no-such-pass", "--asyncify", "-o", "out.wasm")
    assert done.code != 0
    assert "no-such-pass" in done.err
    assert "Traceback" not in done.err
    assert not (folder.path / "out.wasm").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--asyncify", "--pass-arg=asyncify-wrong@x"], "unknown pass argument 'asyncify-wrong'"),
        (["--asyncify", "--asyncify"], "--asyncify is given twice"),
        (["--asyncify", "--converge"], "'--converge' cannot be combined with --asyncify"),
        (["--asyncify", "-o"], "option '-o' needs a value"),
        (["--asyncify", "-o", "a", "-o", "b"], "option '-o' is given twice"),
        (["--asyncify", "other.wasm"], "several input files"),
        (["--asyncify", "-ol", "x"], "expected a number"),
        (["--asyncify", "-O2"], "Binaryen's wasm-opt is needed"),
        (["-O2"], "Binaryen's wasm-opt is needed"),
        (["--asyncify", "--pass-arg=asyncify-imports@@missing.txt"], "cannot read the list file 'missing.txt'"),
        (["--asyncify", "--pass-arg=asyncify-onlylist@a", "--pass-arg=asyncify-addlist@b"], "only-list"),
        (
            ["--asyncify", "--pass-arg=asyncify-in-secondary-memory", "-pa", "asyncify-secondary-memory-size@x"],
            "number",
        ),
        (["--asyncify", "-o", "missing/out.wasm"], "cannot write 'missing/out.wasm'"),
        (["--asyncify", "-ism=missing.map", "-osm=out.map", "-o", "out.wasm"], "cannot read 'missing.map'"),
    ],
)
def test_bad_lines_fail_in_one_line(folder: Folder, words: list[str], message: str) -> None:
    done = folder.run("in.wasm", *words, real="")
    assert done.code == 1
    assert done.err.startswith("caesura-wasm-opt: error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("data", [b"\0asm\1\0\0\0\1", b"\0asm\1\0\0\0\1\x7f\1", b"\0asm\2\0\0\0", MODULE[:-7]])
def test_malformed_modules_fail_in_one_line(folder: Folder, data: bytes) -> None:
    (folder.path / "bad.wasm").write_bytes(data)
    done = folder.run("bad.wasm", "--asyncify", "-o", "out.wasm", real="")
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert "this is a bug" not in done.err


def test_wrong_wasm_opt_is_refused(folder: Folder) -> None:
    assert "no program that can be run" in folder.run("in.wasm", "-O1", real="/no/such/tool").err
    wrapper = folder.path / "wasm-opt"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m caesura.cli.wasm_opt "$@"\n')
    wrapper.chmod(0o755)
    assert "is caesura-wasm-opt itself" in folder.run("in.wasm", "-O1", real=str(wrapper)).err


def test_version_starts_with_binaryens(folder: Folder) -> None:
    lines = folder.run("--version").out.decode().splitlines()
    assert lines[0].startswith("wasm-opt version 132")
    assert lines[1].startswith("caesura-wasm-opt ")
    assert folder.run("--version", real="").out.startswith(b"wasm-opt version 132 (caesura-wasm-opt ")


def test_help_lists_the_pass_arguments(folder: Folder) -> None:
    text = folder.run("--help", real="").out.decode()
    assert "usage: caesura-wasm-opt" in text
    assert "asyncify-ignore-unwind-from-catch" in text


def test_verbose_prints_decisions(folder: Folder) -> None:
    done = folder.run(
        "in.wasm", "--asyncify", "-pa", "asyncify-verbose", "-pa", "asyncify-imports@env.sleep", "-q", real=""
    )
    lines = done.out.decode().splitlines()
    assert "[asyncify] sleep is an import that can change the state" in lines
    assert any(line.startswith("[asyncify] outer can change the state due to inner") for line in lines)
    assert not any("clock" in line for line in lines)


def test_every_spelling_of_the_pass_arguments(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("env.sleep\nenv.*\n")
    assert read_options([]) == Options()
    assert read_options(["asyncify-imports@a.b,c.d"]).imports == ("a.b", "c.d")
    assert read_options(["asyncify-imports@*.name"]).imports == ("*.name",)
    assert read_options([f"asyncify-imports@@{names}"]).imports == ("env.sleep", "env.*")
    assert read_options(["asyncify-imports@a.b", "asyncify-imports@c.d"]).imports == ("c.d",)
    assert read_options(["asyncify-imports@", "other@x"]) == Options()
    assert read_options(["asyncify-ignore-imports"]).ignore_imports
    assert not read_options(["asyncify-ignore-imports@"]).ignore_imports
    assert read_options(["asyncify-ignore-indirect@"]).ignore_indirect
    assert read_options(["asyncify-removelist@f(int, char),g"]).remove_list == ("f(int, char)", "g")
    assert read_options(["asyncify-blacklist@f"]).remove_list == ("f",)
    assert read_options(["asyncify-blacklist@f", "asyncify-removelist@g"]).remove_list == ("g",)
    assert read_options(["asyncify-whitelist@f", "asyncify-onlylist@"]).only_list == ("f",)
    assert read_options(["asyncify-addlist@f", "asyncify-propagate-addlist"]) == Options(
        add_list=("f",), propagate_addlist=True
    )
    assert read_options(["asyncify-asserts", "asyncify-verbose", "asyncify-ignore-unwind-from-catch"]) == Options(
        asserts=True, verbose=True, ignore_unwind_from_catch=True
    )
    assert read_options(["asyncify-relocatable"]).import_globals
    assert read_options(["asyncify-import-globals"]).import_globals
    assert read_options(["asyncify-export-globals"]).export_globals
    assert read_options(["asyncify-memory@second"]).memory == "second"
    assert read_options(["asyncify-in-secondary-memory", "asyncify-secondary-memory-size@7"]) == Options(
        in_secondary_memory=True, secondary_memory_size=7
    )
    with pytest.raises(UsageError, match="unknown pass argument"):
        read_options(["asyncify-import@a.b"])


def test_source_map_is_carried_through(folder: Folder) -> None:
    original = Module(MODULE)
    inner = original.body_starts[1] + 1
    add = original.body_starts[3] + 1
    # Two mappings: the first instruction of $inner is line 6 of the source, that of $add line 8.
    numbers: list[Mapping] = [(inner, (0, 5, 2)), (add, (0, 7, 2))]
    text = json.dumps({"version": 3, "sources": ["a.c"], "names": [], "mappings": _mappings(numbers)})
    (folder.path / "in.map").write_text(text)
    arguments = ("-ism", "in.map", "-osm", "out.map", "-osu", "http://map", "-g")
    module = folder.module("--asyncify", *arguments, real="")
    carried = json.loads((folder.path / "out.map").read_text())
    assert carried["sources"] == ["a.c"]
    result = Module(module)
    moved = decode_mappings(carried["mappings"])
    assert {place[1] for _, place in moved} == {5, 7}
    for offset, place in moved:
        own = 1 if place[1] == 5 else 3
        assert result.body_starts[own] <= offset < result.body_ends[own]
    assert (result.body_starts[3] + 1, (0, 7, 2)) in moved
    section = result.custom_section("sourceMappingURL")
    assert section is not None
    assert module[section.payload : section.end] == b"\x0ahttp://map"
    # The same through runs of Binaryen on both sides.
    folder.module("--dce", "--asyncify", "--dce", *arguments)
    through = json.loads((folder.path / "out.map").read_text())
    assert {place[1] for _, place in decode_mappings(through["mappings"]) if place} == {5, 7}


def test_source_map_that_is_none_is_refused() -> None:
    for text in ("", "[]", '{"mappings": 5}', '{"mappings": "!"}'):
        with pytest.raises(UsageError, match="not a source map"):
            carry(text, MODULE, MODULE)


def _mappings(numbers: list[Mapping]) -> str:
    text = encode_mappings(numbers)
    assert decode_mappings(text) == numbers
    return text
