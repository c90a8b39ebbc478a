"""The command caesura-wasm-opt: wasm-opt's command line, with Asyncify done by caesura."""

from __future__ import annotations

import sys

import pytest
from wasmtime import wat2wasm

from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, LOCAL_NAMES, Names
from caesura.wasm.sections import encode_custom
from tests.cli.wasm_opt_folder import INSTRUMENTED, MODULE, Folder


def function_names(module: bytes) -> list[str]:
    section = Module(module).custom_section("name")
    return [] if section is None else list(Names(module[section.payload : section.end]).maps[FUNCTION_NAMES].values())


def test_asyncify_alone_needs_no_binaryen(folder: Folder) -> None:
    assert folder.module("--asyncify", "-g", real="") == INSTRUMENTED


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
    extra = [encode_custom(name, b"\1\0") for name in ("producers", ".debug_info", "other")]
    (folder.path / "in.wasm").write_bytes(MODULE + b"".join(extra))

    def left(*arguments: str) -> list[str]:
        return [section.name for section in Module(folder.module(*arguments, real="")).sections if section.name]

    assert left("--asyncify") == ["producers", "other"]
    assert left("--asyncify", "--strip-producers") == ["other"]
    (folder.path / "in.wasm").write_bytes(MODULE + b"".join(extra) + encode_custom("sourceMappingURL", b"\1\0"))
    assert left("--strip-debug", "--strip-producers", "--asyncify") == ["other"]
    module = folder.module("--strip-debug", "--asyncify", "-g", real="")
    section = Module(module).custom_section("name")
    assert section is not None
    assert not Names(module[section.payload : section.end]).inner(LOCAL_NAMES, 3)


def test_dwarf_is_dropped_with_a_warning(folder: Folder) -> None:
    """What says where debug information is goes too, whether or not names were asked for."""
    for section in (".debug_info", "sourceMappingURL", "external_debug_info", "build_id"):
        (folder.path / "in.wasm").write_bytes(MODULE + encode_custom(section, b"\1"))
        done = folder.run("in.wasm", "--asyncify", "-g", "-o", "out.wasm", real="")
        assert "DWARF" in done.err
        assert (folder.path / "out.wasm").read_bytes() == INSTRUMENTED
        done = folder.run("in.wasm", "--asyncify", "-o", "out.wasm", real="")
        assert ("DWARF" in done.err) == (section != ".debug_info")
        assert section not in [item.name for item in Module((folder.path / "out.wasm").read_bytes()).sections]


def test_standard_streams(folder: Folder) -> None:
    done = folder.run("--asyncify", "-g", "-o", "-", stdin=MODULE, real="")
    assert done.out == INSTRUMENTED


def test_without_output_nothing_is_written(folder: Folder) -> None:
    done = folder.run("in.wasm", "--asyncify", real="")
    assert (done.code, done.err) == (0, "warning: no output file specified, not emitting output\n")
    assert folder.run("in.wasm", "--asyncify", "-q", real="").err == ""


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


def test_failure_of_binaryen_is_ours(folder: Folder) -> None:
    done = folder.run("in.wasm", "--no-such-pass", "--asyncify", "-o", "out.wasm")
    assert done.code != 0
    assert "no-such-pass" in done.err
    assert "Traceback" not in done.err
    assert not (folder.path / "out.wasm").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--asyncify", "-zz"], "Unknown option '-zz'"),
        (["--asyncify", "--enable-nosuch"], "Unknown option '--enable-nosuch'"),
        (["--asyncify", "--disable-nosuch=x"], "Unknown option '--disable-nosuch'"),
        (["--asyncify", "--all-features=x"], "Unexpected argument 'x' for option '--all-features'"),
        (["--asyncify", "-g=x"], "Unexpected argument 'x' for option '-g'"),
        (["--asyncify", "--asyncify"], "--asyncify is given twice"),
        (["--asyncify", "--converge"], "'--converge' cannot be combined with --asyncify"),
        (["--asyncify", "-o"], "Couldn't find expected argument for '-o'"),
        (["--asyncify", "-o", "a", "-o", "b"], "Unexpected second argument 'b' for '-o'"),
        (["--asyncify", "other.wasm"], "Unexpected second positional argument 'other.wasm' for INFILE"),
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


def test_advice_is_given_in_pass_arguments(folder: Folder) -> None:
    refused = f"(local {'i32 ' * 50_000}) (i32.load (i32.const 0)) (call $f) (drop)"
    text = f'(module (import "env" "f" (func $f)) (memory 1) (func (export "run") {refused}))'
    (folder.path / "in.wasm").write_bytes(wat2wasm(text))
    done = folder.run("in.wasm", "--asyncify", "-o", "out.wasm", real="")
    assert done.code == 1
    assert "leave it out with --pass-arg=asyncify-removelist@NAME if it never suspends" in done.err


def test_wrong_wasm_opt_is_refused(folder: Folder) -> None:
    assert "no program that can be run" in folder.run("in.wasm", "-O1", real="/no/such/tool").err
    wrapper = folder.path / "wasm-opt"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m caesura.cli.wasm_opt "$@"\n')
    wrapper.chmod(0o755)
    assert "is caesura-wasm-opt itself" in folder.run("in.wasm", "-O1", real=str(wrapper)).err


def test_wasm_opt_in_a_folder_named_caesura_is_not_taken_for_ourselves(folder: Folder) -> None:
    script = folder.path / "caesura" / "wasm-opt"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {folder.path}/caesura/../real-wasm-opt "$@"\n')
    script.chmod(0o755)
    assert folder.run("in.wasm", "-O1", "-o", "out.wasm", real=str(script)).code == 0


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
