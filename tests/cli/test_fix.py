"""`caesura fix`: a list that lacks functions is completed by what commands find missing, whatever they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest
import wasmtime

import caesura
from caesura.analysis.list_text import read_list
from tests.cli.running import Done, caesura_command
from tests.support.paths import REPOSITORY

# `run` reaches the import by a direct call and through a table; `other` needs a function more.
TEXT: Final = """
(module
  (import "env" "sleep" (func $sleep (param i32) (result i32)))
  (type $unary (func (param i32) (result i32)))
  (table 1 1 funcref)
  (elem (i32.const 0) $by_table)
  (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $sleep (local.get 0))))
  (func $by_table (param i32) (result i32) (i32.add (i32.const 10) (call $deep (local.get 0))))
  (func $direct (param i32) (result i32)
    (i32.add (i32.const 100) (call_indirect (type $unary) (local.get 0) (i32.const 0))))
  (func (export "run") (param i32) (result i32) (i32.add (i32.const 1000) (call $direct (local.get 0))))
  (func $another (param i32) (result i32) (call $sleep (local.get 0)))
  (func (export "other") (param i32) (result i32) (i32.add (i32.const 1) (call $another (local.get 0)))))
"""
MODULE: Final = bytes(wasmtime.wat2wasm(TEXT))

PYTHON: Final = """\
import asyncio, sys
import caesura

async def sleep(value):
    await asyncio.sleep(0)
    return value

async def main():
    guest = await caesura.load("out.wasm", {"env": {"sleep": sleep}}, stack_space=65536)
    print(await guest.call("run", 5))
    if "more" in sys.argv:
        print(await guest.call("other", 5))

asyncio.run(main())
"""
TESTS: Final = """\
import unittest

class Test(unittest.TestCase):
    def test_run(self):
        import subprocess, sys
        done = subprocess.run([sys.executable, "app.py", "more"], capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("1116\\n6\\n", ""))
"""
# A runtime of somebody else, by the plain ABI.
FOREIGN: Final = """\
import { readFileSync } from "node:fs";
const DATA = 16;
let value;
const sleep = (given) => {
  if (guest.asyncify_get_state() == 2) return guest.asyncify_stop_rewind(), value;
  value = given;
  new Uint32Array(guest.memory.buffer).set([DATA + 8, DATA + 4096], DATA / 4);
  guest.asyncify_start_unwind(DATA);
};
const { instance } = await WebAssembly.instantiate(readFileSync("out.wasm"), { env: { sleep } });
const guest = instance.exports;
try {
  guest.run(5);
  guest.asyncify_stop_unwind();
  guest.asyncify_start_rewind(DATA);
  if (guest.run(0) != 1116) process.exitCode = 3;
} catch (error) {
  console.log(error.stack);
  process.exitCode = 4;
}
"""
COMPLETE: Final = ["run", "direct", "by_table", "deep"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.wasm").write_bytes(MODULE)
    (tmp_path / "app.py").write_text(PYTHON)
    (tmp_path / "test_app.py").write_text(TESTS)
    (tmp_path / "app.mjs").write_text(FOREIGN)
    (tmp_path / "list.txt").write_text("# Where it begins.\nrun\n")
    return tmp_path


def fix(folder: Path, *words: str, command: list[str]) -> Done:
    return caesura_command(
        "fix", "--list", "list.txt", "app.wasm", "-o", "out.wasm", *words, "--", *command, folder=folder
    )


def listed(folder: Path) -> list[str]:
    return (folder / "list.txt").read_text().splitlines()


def test_a_list_is_completed(folder: Path) -> None:
    done = fix(folder, command=[sys.executable, "app.py"])
    assert done.code == 0, done.err
    assert listed(folder) == ["# Where it begins.", "run", "by_table", "deep", "direct"]
    assert done.out.decode().splitlines()[2:] == ["@@ -2 +2,4 @@", " run", "+by_table", "+deep", "+direct"]
    assert "3 functions missing" in done.err
    assert done.err.splitlines()[-1] == "caesura: the command passes after 2 rounds; 3 functions added to the list"
    options = caesura.Options(only_list=COMPLETE)
    assert (folder / "out.wasm").read_bytes() == caesura.instrument(MODULE, options).module


def test_nothing_is_missing(folder: Path) -> None:
    (folder / "list.txt").write_text(",".join(COMPLETE))
    done = fix(folder, command=[sys.executable, "app.py"])
    assert (done.code, done.out) == (0, b"")
    assert listed(folder) == [",".join(COMPLETE)]
    assert done.err.splitlines()[-1] == "caesura: the command passes, and nothing is missing in the list"


def test_through_a_test_runner(folder: Path) -> None:
    done = fix(folder, "--quiet", command=[sys.executable, "-m", "unittest"])
    assert done.code == 0, done.err
    assert sorted(listed(folder)[1:]) == sorted([*COMPLETE, "another", "other"])
    assert "rounds" in done.err  # what has come of it is said all the same


def test_by_stacks_of_a_foreign_runtime(folder: Path) -> None:
    done = fix(folder, command=["node", "app.mjs"])
    assert done.code == 0, done.err
    assert sorted(listed(folder)[1:]) == sorted(COMPLETE)


def test_functions_without_names(folder: Path) -> None:
    text = TEXT
    for index, name in ((1, "$deep"), (3, "$direct")):
        text = text.replace(f"(func {name} ", "(func ").replace(name, str(index))
    module = bytes(wasmtime.wat2wasm(text))
    (folder / "app.wasm").write_bytes(module)
    for command in ([sys.executable, "app.py"], ["node", "app.mjs"]):
        (folder / "list.txt").write_text("run\nby_table\n")
        done = fix(folder, command=command)
        assert done.code == 0, done.err
        assert sorted(listed(folder)) == sorted(["run", "by_table", *caesura.body_entries(module, [1, 3])])


def test_a_name_that_no_line_can_have(folder: Path) -> None:
    """A pattern for it would stand for every function."""
    module = bytes(wasmtime.wat2wasm(TEXT.replace("$deep", '$"\\n"')))
    (folder / "app.wasm").write_bytes(module)
    done = fix(folder, command=[sys.executable, "app.py"])
    assert done.code == 0, done.err
    (entry,) = [name for name in listed(folder) if name.startswith("#") and "@" in name]
    assert (entry,) == caesura.body_entries(module, [int(entry[1 : entry.index("@")])])
    assert not [name for name in listed(folder) if "*" in name]


# What functions may be called by whoever has made a module, though hosts call what they add so, or drop some of it.
NAMES: Final = (
    "\ufeffmarked",
    "asyncify_guard",
    "asyncify_guarded_entry",
    "asyncify_guarded_import",
    "asyncify_not_instrumented",
    "asyncify_resume:x",
    "asyncify_uninstrumented:y",
    "asyncify_uninstrumented:asyncify_resume:z",
    "run",
    "#12",
    " blanks ",
    "two\nlines",
    'Missing in the list: ["none"]',
    "at none (wasm://wasm/1a2b:wasm-function[3]:0x45)",
)
PACKAGE: Final = """\
import { readFileSync } from "node:fs";
import { instantiate, promising, Suspending } from "%s";
const imports = { env: { sleep: new Suspending(async (value) => value) } };
const { instance } = await instantiate(readFileSync("out.wasm"), imports, { region: [16, 65536] });
if ((await promising(instance.exports.run)(5)) != %d) process.exitCode = 3;
"""


def quoted(name: str) -> str:
    """Return a name as an identifier of the text format."""
    return '$"' + "".join([f"\\{byte:02x}" for byte in name.encode()]) + '"'


@pytest.mark.parametrize("command", [[sys.executable, "app.py"], ["node", "app.mjs"], ["node", "package.mjs"]], ids=str)
def test_names_that_look_like_something_else(folder: Path, command: list[str]) -> None:
    """Each function calls the next one in the middle of its work."""
    callees = [*NAMES[1:], "sleep"]
    functions = [
        f"(func {quoted(name)} (param i32) (result i32) (i32.add (i32.const 1) (call {quoted(callee)} (local.get 0))))"
        for name, callee in zip(NAMES, callees, strict=True)
    ]
    result = 5 + len(NAMES)
    module = f"""(module (import "env" "sleep" (func $sleep (param i32) (result i32))) (memory (export "memory") 1)
      {" ".join(functions)} (export "run" (func {quoted(NAMES[0])})))"""
    (folder / "app.wasm").write_bytes(wasmtime.wat2wasm(module))
    (folder / "app.mjs").write_text(FOREIGN.replace("1116", str(result)))
    (folder / "package.mjs").write_text(PACKAGE % ((REPOSITORY / "js" / "src" / "index.js").as_uri(), result))
    done = fix(folder, command=command)
    assert done.code == 0, done.err
    options = caesura.Options(only_list=read_list(f"@{folder / 'list.txt'}"), strict=True)
    assert caesura.instrument((folder / "app.wasm").read_bytes(), options).instrumented == len(NAMES)


@pytest.mark.parametrize("out", ["list.txt", "./app.wasm"])
def test_nothing_that_it_reads_is_written_over(folder: Path, out: str) -> None:
    before = (folder / out).read_bytes()
    done = caesura_command("fix", "--list", "list.txt", "app.wasm", "-o", out, "--", "true", folder=folder)
    assert done.code == 2 and "which each round reads: name another file" in done.err
    assert (folder / out).read_bytes() == before


def test_another_name_of_the_module_is_not_written_over(folder: Path) -> None:
    (folder / "link.wasm").hardlink_to(folder / "app.wasm")
    done = caesura_command("fix", "--list", "list.txt", "app.wasm", "-o", "link.wasm", "--", "true", folder=folder)
    assert done.code == 2 and "OUT is MODULE, 'app.wasm', which each round reads: name another file" in done.err
    assert (folder / "app.wasm").read_bytes() == MODULE


def test_sections(folder: Path) -> None:
    (folder / "list.txt").write_text("run\n\n[app.wasm]\ndeep\n\n[other.wasm]\nsomething\n")
    assert fix(folder, command=[sys.executable, "app.py"]).code == 0
    assert (folder / "list.txt").read_text() == (
        "run\n\n[app.wasm]\ndeep\nby_table\ndirect\n\n[other.wasm]\nsomething\n"
    )


def test_line_ends_and_encoding_stay(folder: Path) -> None:
    before = "\ufeff# Where it begins.\r\nrun\r\n"
    (folder / "list.txt").write_bytes(before.encode("utf-16-le"))
    done = fix(folder, command=[sys.executable, "app.py"])
    assert done.code == 0
    assert (folder / "list.txt").read_bytes().decode("utf-16-le") == before + "by_table\r\ndeep\r\ndirect\r\n"
    assert b"\n run\n+by_table\n+deep\n+direct" in done.out and b"\n-" not in done.out


def test_a_command_that_fails_for_another_reason(folder: Path) -> None:
    done = fix(folder, command=[sys.executable, "-c", "print('because of this'); raise SystemExit(7)"])
    assert (done.code, done.out) == (1, b"")
    assert listed(folder) == ["# Where it begins.", "run"]
    assert "  because of this" in done.err.splitlines()
    assert done.err.splitlines()[-1] == (
        "caesura: error: the command failed with exit code 7, and nothing new is missing in the list: see its last "
        "lines above"
    )


def test_a_command_that_runs_another_build(folder: Path) -> None:
    text = """
import caesura, pathlib
data = caesura.instrument(pathlib.Path("app.wasm").read_bytes(), caesura.Options(only_list=["run"])).module
pathlib.Path("old.wasm").write_bytes(data)
"""
    (folder / "app.py").write_text(text + PYTHON.replace("out.wasm", "old.wasm"))
    done = fix(folder, command=[sys.executable, "app.py"])
    assert done.code == 1
    assert "runs another build, and 3 functions added to the list so far" in done.err.splitlines()[-1]


def test_words_that_name_no_function(folder: Path) -> None:
    done = fix(folder, command=["sh", "-c", """echo 'Missing in the list: ["*", "nobody"]'; exit 1"""])
    assert done.code == 1
    assert listed(folder) == ["# Where it begins.", "run"]
    assert "the command says that * is missing, which is no function of app.wasm" in done.err


def test_a_command_that_does_not_end(folder: Path) -> None:
    done = fix(folder, "--timeout", "1", command=["sh", "-c", "sleep 100 & sleep 100"])
    assert done.code == 1
    assert "the command did not end within 1 seconds, and nothing new is missing" in done.err


def test_an_interrupted_run_keeps_what_it_has_found(folder: Path) -> None:
    waiting = PYTHON + "\nimport os, pathlib, time\npathlib.Path('passed').touch()\ntime.sleep(100)\n"
    (folder / "app.py").write_text(waiting)
    command = [sys.executable, "-m", "caesura", "fix", "--list", "list.txt", "app.wasm", "-o", "out.wasm", "--"]
    process = subprocess.Popen([*command, sys.executable, "app.py"], cwd=folder, stderr=subprocess.PIPE, env=os.environ)
    while not (folder / "passed").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert sorted(listed(folder)[1:]) == sorted(COMPLETE)


@pytest.mark.parametrize(
    ("words", "command", "message"),
    [
        (["--only-list", "run"], ["true"], "--only-list is what --list is here: give the latter alone"),
        (["--no-guard"], ["true"], "--no-guard excludes fixing: without the guard nobody tells what is missing"),
        ([], ["./nothing"], "cannot run './nothing': No such file or directory"),
        ([], ["list.txt"], "cannot run 'list.txt': No such file or directory"),
        (["--timeout", "soon"], ["true"], "--timeout soon: expected a positive number of seconds, such as 5 or 0.5"),
        (["-o", "-"], ["true"], "'-' is no file: the list and OUT are written again and again"),
        (["-o", "/dev/null"], ["true"], "'/dev/null' is no file: the list and OUT are written again and again"),
    ],
)
def test_what_makes_no_sense(folder: Path, words: list[str], command: list[str], message: str) -> None:
    done = fix(folder, "--quiet", *words, command=command)
    assert done.error_line() == message


def test_a_list_that_is_not_there_or_empty(folder: Path) -> None:
    (folder / "list.txt").write_text("# Nothing.\n")
    assert fix(folder, "--quiet", command=["true"]).error_line() == (
        "the list 'list.txt' is empty: `caesura record` makes a first one"
    )
    (folder / "list.txt").unlink()
    assert "No such file or directory" in fix(folder, command=["true"]).error_line()
    assert not (folder / "out.wasm").exists()


@pytest.mark.parametrize(
    "print_it",
    [
        "while True: sys.stdout.buffer.write(b'garbage\\n' * 10_000)",
        "while True: sys.stdout.buffer.write(b'1: no end ' * 10_000)",
        "while True: n += 1; print(f'Missing in the list: [\"{n}\"]', file=sys.stdout)",
        "sys.stdout.close(); time.sleep(100)",
    ],
)
def test_a_command_that_prints_for_ever_is_stopped(folder: Path, print_it: str) -> None:
    code = f"import os, sys, time\nn = 0\nos.close(2)\n{print_it}"
    limited = "import resource, runpy, sys\nresource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
    limited += "sys.argv[0] = 'caesura'\nrunpy.run_module('caesura', run_name='__main__', alter_sys=True)"
    words = [
        "fix",
        "--list",
        "list.txt",
        "app.wasm",
        "-o",
        "out.wasm",
        "--timeout",
        "2",
        "--",
        sys.executable,
        "-c",
        code,
    ]
    done = subprocess.run([sys.executable, "-c", limited, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "the command did not end within 2 seconds" in last or "which is no function of app.wasm" in last


def test_what_a_process_that_is_left_behind_prints_is_not_waited_for(folder: Path) -> None:
    command = ["sh", "-c", "setsid yes & sleep 0.2; echo 'Missing in the list: [\"deep\"]'"]
    done = fix(folder, command=command)
    assert done.code == 0, done.err
    assert "deep" in listed(folder)


UNITS: Final = ("x", "1", "@", "1: ", "at (", "at x@", ":1", "Missing in the list: [", '\\"', "!", "wasm-function[1")


@pytest.mark.parametrize("begin", ["", "asyncify_not_instrumented@x:wasm-function[1]:0x1\\n"])
def test_long_lines_are_read_to_their_ends(folder: Path, begin: str) -> None:
    """In seconds: what looks for something from each place of a line on would take hours."""
    lines = [begin + unit * (2_000_000 // len(unit)) for unit in UNITS]
    (folder / "long").write_text("\n".join([*lines, 'Missing in the list: ["deep"]\n']))
    done = fix(folder, "--timeout", "100", command=["sh", "-c", "cat long; grep -q deep list.txt"])
    assert done.code == 0, done.err
    assert "deep" in listed(folder)
