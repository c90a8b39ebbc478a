"""What is said about lists and decisions is said in Binaryen's words, which Emscripten and others look for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from tests.cli.wasm_opt_folder import Folder
from tests.support.paths import npm_file

pytestmark = pytest.mark.one_form

# Every call counts here as it does in Binaryen: the table is open.
GUEST = """
(module
  (import "env" "sleep" (func $nap (param i32)))
  (import "env" "now" (func $now (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 1 funcref)
  (func $clock (export "clock") (result i32) call $now)
  (func $inner (param i32) local.get 0 call $nap)
  (func $dispatch (export "dispatch") i32.const 0 call_indirect)
  (func $outer (export "run") i32.const 5 call $inner call $dispatch)
  (func $self (export "self") i32.const 0 call_indirect call $self call $dispatch)
  (func $self2 (export "self2") call $outer call $self2)
  (func $add (export "add") (param i32) (result i32) local.get 0)
  (func $adds (result i32) i32.const 1 call $add))
"""

REAL = str(npm_file(".bin/wasm-opt"))


@pytest.fixture
def guest(folder: Folder) -> Folder:
    (folder.path / "in.wasm").write_bytes(wat2wasm(GUEST))
    return folder


def real(path: Path, *words: str) -> tuple[int, list[str], list[str]]:
    """Return the exit code of the real wasm-opt and its lines on both streams."""
    done = subprocess.run([REAL, *words], cwd=path, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize(
    "lists",
    [
        "",
        "asyncify-imports@env.sleep",
        "asyncify-ignore-imports",
        "asyncify-ignore-indirect",
        "asyncify-removelist@clock,dispatch,nosuch,n*,q*",
        "asyncify-removelist@*nn*,add",
        "asyncify-onlylist@outer,fo*,nosuch",
        "asyncify-whitelist@*",
        "asyncify-addlist@add,clock,no*such",
        "asyncify-addlist@add asyncify-propagate-addlist",
        "asyncify-addlist@add asyncify-removelist@adds asyncify-propagate-addlist",
    ],
)
def test_decisions_and_warnings(lists: str, guest: Folder) -> None:
    words = ["in.wasm", "--asyncify", "-o", "out.wasm", "-pa", "asyncify-verbose"]
    for text in lists.split():
        words += ["-pa", text]
    done = guest.run(*words, real="")
    code, out, errors = real(guest.path, *words)
    assert done.code == code == 0
    assert sorted(done.out.decode().splitlines()) == sorted(out)
    assert sorted(done.err.splitlines()) == sorted(errors)


def test_calls_through_a_closed_table_are_told_of_where_they_may_suspend(folder: Folder) -> None:
    """What is told of callers leads to a function that has a line of its own; where nothing suspends there is none."""
    (folder.path / "in.wasm").write_bytes(
        wat2wasm("""
        (module
          (import "net" "get" (func $get))
          (type $t (func)) (type $u (func (param i32)))
          (table 2 funcref) (elem (i32.const 0) $render $quiet)
          (func $render call $get)
          (func $quiet (param i32))
          (func $dispatch (param i32) local.get 0 call_indirect (type $t))
          (func $calm (export "calm") i32.const 0 i32.const 1 call_indirect (type $u))
          (func $boot (export "boot") i32.const 0 call $dispatch call $calm))
        """)
    )
    words = ["in.wasm", "--asyncify", "-o", "out.wasm", "-pa", "asyncify-verbose"]
    out = folder.run(*words, real="").out.decode().splitlines()
    assert {line for line in real(folder.path, *words)[1] if "calm" not in line} == set(out)
    assert "[asyncify] dispatch can change the state due to initial scan" in out
    ignored = folder.run(*words, "-pa", "asyncify-ignore-indirect", real="").out.decode()
    assert "dispatch" not in ignored and "render" in ignored


@pytest.mark.parametrize(
    "words",
    [
        "-pa asyncify-removelist@now",
        "-pa asyncify-onlylist@inner -pa asyncify-removelist@clock",
        "-pa asyncify-addlist@inner -pa asyncify-removelist@in*",
        "-pa asyncify-onlylist@f<",
        "-zz",
        "--enable-nosuch",
        "--mvp-features=x",
        "--enable-simd=x",
        "-O3=x",
        "-o=a -o=b",
        "-ol=2 -ol=3",
        "other.wasm",
        "-o",
    ],
)
def test_errors(words: str, guest: Folder) -> None:
    line = ["in.wasm", "--asyncify", *words.split()]
    done = guest.run(*line, real="")
    code, _, errors = real(guest.path, *line)
    assert done.code == code == 1
    (message,) = (error for error in errors if error)
    (ours,) = done.err.splitlines()
    assert ours.startswith(f"caesura-wasm-opt: error: {message.removeprefix('Fatal: ')}")
    assert not (guest.path / "a").exists()


def test_a_choice_of_memories(folder: Folder) -> None:
    (folder.path / "in.wasm").write_bytes(
        wat2wasm('(module (import "e" "a" (func $a)) (memory 1) (memory 1) (func (export "f") call $a))')
    )
    line = ["in.wasm", "--asyncify", "--enable-multimemory", "-o", "out.wasm"]
    _, _, errors = real(folder.path, *line)
    done = folder.run(*line, real="")
    assert done.code == 1
    assert errors[-1].removeprefix("Fatal: ") in done.err
    assert "exports none as 'memory'" in done.err


@pytest.mark.parametrize(
    "words",
    [
        "-pa asyncify-secondary-memory-size@abc",
        "-pa asyncify-secondary-memory-size@99999999",
        "-pa asyncify-memory@nosuch",
        "-pa asyncify-imports@env.f(,env.g",
        "-pa asyncify-onlylist@ -pa asyncify-addlist@",
        "--skip-pass=dce --skip-pass=vacuum",
    ],
)
def test_what_nobody_looks_at_is_no_error(words: str, guest: Folder) -> None:
    line = ["in.wasm", "--asyncify", "-o", "out.wasm", *words.split()]
    assert real(guest.path, *line)[0] == 0
    assert guest.run(*line, real="").code == 0


def test_errors_of_the_real_tool_name_the_file(folder: Folder) -> None:
    (folder.path / "bad.wat").write_text("(module (func i32.bad))")
    done = folder.run("bad.wat", "--asyncify", "-o", "out.wasm")
    assert done.code == 1
    assert "bad.wat:1:14: error" in done.err


@pytest.mark.parametrize("folder_has_real", [True, False])
@pytest.mark.parametrize(
    ("given", "closest"),
    [
        ("asyncify-import@env.sleep", "asyncify-imports"),
        ("asyncify-only-list@inner", "asyncify-onlylist"),
        ("asyncify-remove-list@@missing.txt", "asyncify-removelist"),
        ("asyncify-black-list@inner", "asyncify-blacklist"),
        ("asyncify-assert", "asyncify-asserts"),
        ("asyncify-", "asyncify-asserts"),
        ("asynicfy-imports@env.sleep", "asyncify-imports"),
    ],
)
def test_misspelt_arguments_warn(given: str, closest: str, folder_has_real: bool, guest: Folder) -> None:
    plain = guest.run("in.wasm", "--asyncify", "-o", "plain.wasm", real="")
    assert (plain.code, plain.err) == (0, "")
    done = guest.run("in.wasm", "--asyncify", "-o", "out.wasm", "-pa", given, real=None if folder_has_real else "")
    assert done.code == 0
    (line,) = done.err.splitlines()
    assert line.startswith(
        f"warning: unknown pass argument '{given.partition('@')[0]}' is ignored: did you mean 'async"
    )
    assert closest in line or given == "asyncify-"
    assert (guest.path / "out.wasm").read_bytes() == (guest.path / "plain.wasm").read_bytes()


def test_arguments_of_other_passes_are_no_misspelt_ones(guest: Folder) -> None:
    done = guest.run(
        "in.wasm", "--asyncify", "-o", "out.wasm", "-pa", "extract-function@inner", "-pa", "other", real=""
    )
    assert (done.code, done.err) == (0, "")


def test_options_of_another_version_are_known_where_that_is(folder: Folder) -> None:
    """A feature that this list does not have is looked up in the real tool's help."""
    tool = folder.path / "newer"
    tool.write_text("#!/bin/sh\necho '  --enable-newest          Enable the newest'\n")
    tool.chmod(0o755)
    line = ["in.wasm", "--asyncify", "-o", "out.wasm"]
    assert folder.run(*line, "--enable-newest", real=str(tool)).code == 0
    done = folder.run(*line, "--enable-new", real=str(tool))
    assert done.err == "caesura-wasm-opt: error: Unknown option '--enable-new'\n"
    assert done.code == 1


def test_every_option_of_the_real_tool_is_known(folder: Folder) -> None:
    """All switches that `wasm-opt --help` lists, without a tool to ask."""
    help_text = subprocess.run([REAL, "--help"], capture_output=True, text=True, check=True).stdout
    switches = [line.split()[0] for line in help_text.splitlines() if line.startswith(("  --enable-", "  --disable-"))]
    assert len(switches) > 50
    done = folder.run("in.wasm", "--asyncify", "-o", "out.wasm", *switches, "-n", "-tnh", "-q", "-all", real="")
    assert (done.code, done.err) == (0, "")
