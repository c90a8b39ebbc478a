"""`caesura explain`: text and JSON, for modules and for functions, and what becomes of bad input."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.running import MODULE, caesura_command
from tests.support.engine import assemble

SLEEP = ("--imports", "env.sleep")

INDIRECT = """(module
  (import "env" "sleep" (func $sleep (param i32)))
  (table (export "table") 2 funcref) (elem (i32.const 0) func $waits $adds)
  (type $unary (func (param i32) (result i32)))
  (func $waits (type $unary) (call $sleep (local.get 0)) (i32.const 1))
  (func $adds (type $unary) (i32.add (local.get 0) (i32.const 1)))
  (func $apply (export "apply") (param i32) (result i32)
    (call_indirect (type $unary) (i32.const 1) (local.get 0)))
  (func $both (export "both") (call $sleep (i32.const 1)) (drop (call $apply (i32.const 0)))))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "app.wasm").write_bytes(MODULE)
    return tmp_path / "app.wasm"


def test_a_module_as_text(source: Path) -> None:
    done = caesura_command("explain", source, *SLEEP)
    assert (done.code, done.err) == (0, "")
    lines = done.out.decode().splitlines()
    assert lines[0] == "2 of 4 functions instrumented, 3 call sites"
    assert "└─ import env.sleep: 2 functions, 68 bytes" in lines
    assert "   └─ inner (3): 2 functions, 68 bytes" in lines
    assert "      └─ outer (4): 1 function, 38 bytes" in lines


def test_a_module_as_json(source: Path) -> None:
    done = caesura_command("explain", source, *SLEEP, "--json")
    told = json.loads(done.out)
    assert told["module"]["instrumented"] == 2
    (cause,) = told["causes"]
    assert (cause["kind"], cause["name"], cause["frees"]) == ("import", "env.sleep", {"functions": 2, "bytes": 68})
    functions = {one["name"]: one for one in told["functions"]}
    assert functions["inner"]["saved"] == functions["inner"]["merges"] == functions["inner"]["sites"] == 1
    assert functions["outer"]["because"] == [{"kind": "function", "name": "inner", "index": 3}]
    assert sum(one["bytes_after"] - one["bytes_before"] for one in told["functions"]) == 68
    assert told["lists"] == [{"list": "imports", "entry": "env.sleep", "matches": 1}]
    assert caesura_command("explain", source, *SLEEP, "--json").out == done.out


def test_a_function_by_name_and_by_index(source: Path) -> None:
    for wanted in ("outer", "4"):
        lines = caesura_command("explain", source, wanted, *SLEEP).out.decode().splitlines()
        assert lines[0] == "outer (4): instrumented: inner -> sleep, an import that may suspend"
        path = lines.index("the shortest path to what suspends:")
        assert lines[path + 1 : path + 4] == ["  outer", "  └─ inner", "     └─ import env.sleep"]
        assert "  with inner on the remove-list: 1 other function, 68 bytes" in lines
    lines = caesura_command("explain", source, "clock", *SLEEP).out.decode().splitlines()
    assert lines[0].startswith("clock (2): not instrumented: it calls nothing that may suspend")


def test_indirect_calls_have_types_and_targets(tmp_path: Path) -> None:
    (tmp_path / "app.wasm").write_bytes(assemble(INDIRECT))
    told = json.loads(caesura_command("explain", tmp_path / "app.wasm", "apply", "--json", *SLEEP).out)
    (call,) = told["indirect_calls"]
    assert (call["table"], call["type"], call["makers"]) == (0, "(i32) -> (i32)", 1)
    assert {target["name"]: target["may_suspend"] for target in call["targets"]} == {"waits": True, "adds": False}
    assert [step["name"] for step in told["path"]] == [call["name"]]
    assert told["path"][0]["targets"] == call["targets"]
    assert [step["name"] for step in told["path_to_import"]] == [call["name"], "waits", "env.sleep"]
    assert [change["change"] for change in told["changes"]] == [
        f"if {call['name']} never suspended",
        "with apply on the remove-list",
    ]
    both = json.loads(caesura_command("explain", tmp_path / "app.wasm", "both", "--json", *SLEEP).out)
    assert [change["kind"] for change in both["changes"]] == ["function"]
    assert both["causes"] == ["env.sleep", call["name"]]


def test_names_of_modules_do_nothing_to_terminals(tmp_path: Path) -> None:
    text = '(module (import "env" "s" (func $s)) (func (export "\\1b[31m\\0aend") (call $s)))'
    (tmp_path / "app.wasm").write_bytes(assemble(text))
    done = caesura_command("explain", tmp_path / "app.wasm")
    assert b"\x1b" not in done.out
    assert b"\\x1b[31m\\nend" in done.out


def test_names_that_the_output_has_no_characters_for(tmp_path: Path) -> None:
    (tmp_path / "app.wasm").write_bytes(
        assemble('(module (import "env" "s" (func)) (func (export "caf\\c3\\a9") (call 0)))')
    )
    for encoding, line in (("ascii", b"`- import env.s"), ("utf-8", "└─ import env.s".encode())):
        done = caesura_command("explain", tmp_path / "app.wasm", environment={"PYTHONIOENCODING": encoding})
        assert (done.code, done.err) == (0, "")
        assert line in done.out
        assert (b"caf\\xe9 (1)" if encoding == "ascii" else "café (1)".encode()) in done.out


def test_without_names_and_of_huge_names(tmp_path: Path) -> None:
    huge = "x" * 100_000
    text = f'(module (import "env" "s" (func)) (func (call 0)) (func (export "{huge}") (call 1)))'
    (tmp_path / "app.wasm").write_bytes(assemble(text))
    told = json.loads(caesura_command("explain", tmp_path / "app.wasm", "--json").out)
    assert [one["name"] for one in told["functions"]] == ["1", huge]
    assert len(told["functions"][0]["body"]) == 16
    assert caesura_command("explain", tmp_path / "app.wasm", huge).code == 0


def test_empty_names_and_names_with_outer_blanks_are_in_quotes(tmp_path: Path) -> None:
    text = '(module (import "env" "sleep" (func $sleep)) (func $" a " call $sleep) (func $f (export "f") call $" a "))'
    data = assemble(text)
    for name in (" a ", ""):
        # A name of no letters: the same section, in which its length is another.
        names = data.replace(b"\x03 a ", b"\x00") if not name else data
        (tmp_path / "app.wasm").write_bytes(_resized(names, len(data) - len(names)))
        lines = caesura_command("explain", tmp_path / "app.wasm", "f", *SLEEP).out.decode().splitlines()
        assert lines[0] == f'f (2): instrumented: "{name}" -> sleep, an import that may suspend'
        assert f'  └─ "{name}"' in lines
        assert any(line.startswith(f'  with "{name}" on the remove-list: ') for line in lines)


def _resized(data: bytes, less: int) -> bytes:
    """Return a module whose name section, which is the last, has become shorter, with its sizes corrected."""
    begin = data.rindex(b"\x04name")
    functions = data.index(b"\x01", begin + 5)
    corrected = bytearray(data)
    corrected[begin - 1] -= less
    corrected[functions + 1] -= less
    return bytes(corrected)


def test_a_long_chain_of_calls(tmp_path: Path) -> None:
    count = 5_000
    calls = "".join(f"(func (call {number}))" for number in range(1, count))
    (tmp_path / "app.wasm").write_bytes(assemble(f'(module (import "env" "s" (func)) (func (call 0)) {calls})'))
    done = caesura_command("explain", tmp_path / "app.wasm", str(count))
    assert done.code == 0, done.err
    assert f"... {count - 40:,} steps ..." in done.out.decode()
    assert json.loads(caesura_command("explain", tmp_path / "app.wasm", "--json").out)["causes"]


BAD = [
    (("nothing",), 1, "no function of the module is called 'nothing'"),
    (("inne",), 1, "(did you mean 'inner'?)"),
    (("--rows", "-1"), 2, "--rows -1: expected a number of rows, or 0 for all"),
    (("--only-list", "a", "--remove-list", "b"), 2, "only"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_bad_input(source: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = caesura_command("explain", source, *arguments)
    assert done.code == code
    assert message in done.error_line()


def test_several_functions_of_one_name(tmp_path: Path) -> None:
    names = b"\x01" + bytes([11]) + b"\x02\x00\x03dup\x01\x03dup"
    module = (
        assemble('(module (func) (func (export "e") (call 0)))')
        + b"\x00"
        + bytes([5 + len(names)])
        + b"\x04name"
        + names
    )
    (tmp_path / "app.wasm").write_bytes(module)
    done = caesura_command("explain", tmp_path / "app.wasm", "dup")
    assert "2 functions are called 'dup': give an index (0, 1)" in done.error_line()


def test_a_page_is_written_at_once_or_not_at_all(source: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = caesura_command("explain", source, "inner", *SLEEP, "--html", page)
    assert (done.code, done.out, done.err) == (0, b"", "")
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "http:" not in text and "https:" not in text
    if Path("/dev/full").exists():
        done = caesura_command("explain", source, "--html", "/dev/full")
        assert "cannot write to '/dev/full': No space left on device" in done.error_line()
    done = caesura_command("explain", source, "--html", tmp_path / "none" / "report.html")
    assert "cannot write" in done.error_line()
    assert page.read_text() == text
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".caesura")] == []
    both = caesura_command("explain", source, *SLEEP, "--html", page, "--json")
    assert json.loads(both.out)["module"]["instrumented"] == 2
    assert caesura_command("explain", source, "--html", "-", "--json").code == 2


def test_nothing_in_a_page_ends_the_element_around_its_data(tmp_path: Path) -> None:
    text = '(module (import "env" "s" (func)) (func (export "</script><b>&\\e2\\80\\a8") (call 0)))'
    (tmp_path / "app.wasm").write_bytes(assemble(text))
    done = caesura_command("explain", tmp_path / "app.wasm", "--html", "-")
    page = done.out.decode()
    assert page.count("</script>") == 2
    assert "<b>" not in page
    data = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    assert json.loads(data)["names"] == ["</script><b>&\u2028"]


def test_a_component_has_several_modules(tmp_path: Path) -> None:
    module = '(core module (import "env" "s" (func)) (func (export "%s") (call 0)))'
    (tmp_path / "app.wasm").write_bytes(assemble(f"(component {module % 'one'} {module % 'two'})"))
    done = caesura_command("explain", tmp_path / "app.wasm", "two", "--core-module", "1")
    assert done.out.startswith(b"two (1): instrumented"), done.err
    for words in ((), ("--core-module", "2"), ("--core-module", "-1")):
        done = caesura_command("explain", tmp_path / "app.wasm", *words)
        assert "this is a component: say which of its core modules with --core-module, 0 to 1" in done.error_line()


def test_lines_are_as_wide_as_the_terminal(tmp_path: Path) -> None:
    text = f'(module (import "env" "s" (func)) (func (export "{"long" * 60}") (call 0)))'
    (tmp_path / "app.wasm").write_bytes(assemble(text))
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 72, 0, 0))
    command = [sys.executable, "-m", "caesura", "explain", str(tmp_path / "app.wasm")]
    with subprocess.Popen(command, stdout=follower, env={**os.environ, "PYTHONIOENCODING": "utf-8"}) as process:
        os.close(follower)
        shown = b""
        with suppress(OSError):  # what a terminal says at its end
            while chunk := os.read(leader, 65536):
                shown += chunk
        os.close(leader)
        assert process.wait(60) == 0
    lines = shown.decode().splitlines()
    assert max(map(len, lines)) == 72
    assert any("…" in line and line.endswith("78 bytes") for line in lines), lines
    whole = caesura_command("explain", tmp_path / "app.wasm").out.decode()
    assert "long" * 60 in whole


COVERED = """(module
  (import "env" "sleep" (func $sleep (param i32)))
  (memory (export "memory") 1)
  (func $inner (param i32) local.get 0 call $sleep)
  (func $outer (export "run") i32.const 5 call $inner i32.const 6 call $inner)
  (func $stale (call $inner (i32.const 1)) (call $inner (i32.const 2)))
  (func $seen (call $inner (i32.const 1)) (call $inner (i32.const 2)))
  (func (param i32) (call $inner (i32.const 3)) (call $sleep (local.get 0))))
"""


@pytest.fixture
def covered(tmp_path: Path) -> Path:
    (tmp_path / "app.wasm").write_bytes(assemble(COVERED))
    (tmp_path / "list").write_text("inner\nouter\nstale\n")
    functions = {
        entry: {"count": count, "import": "env.sleep", "stack": ["env.sleep", entry]}
        for entry, count in (("inner", 5), ("#4", 7), ("gone", 1))
    }
    lines = [{"caesura_record": 1, "functions": functions}, {"caesura_record": 1, "missing": ["outer"]}]
    (tmp_path / "recording").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "recorded").write_text("# 10+ times, from env.sleep: env.sleep <- inner\ninner\n# by hand\nstale\n")
    return tmp_path


def test_lists_are_compared_with_recordings(covered: Path) -> None:
    words = ("explain", covered / "app.wasm", "--only-list", f"@{covered / 'list'}")
    recorded = ("--recorded", covered / "recording", "--recorded", covered / "recorded")
    told = json.loads(caesura_command(*words, *recorded, "--json").out)
    assert told["coverage"] == {
        "by_list": True,
        "listed_and_recorded": 2,
        "never_recorded": 1,
        "not_listed": 1,
        "unmatched": ["gone"],
    }
    assert [(one["name"], one["listed"], one["recorded"]) for one in told["functions"]] == [
        ("inner", True, 10),
        ("outer", True, 0),
        ("stale", True, None),
        ("seen", False, 7),
        ("5", False, None),
    ]
    for whole in told["functions"]:
        one = json.loads(caesura_command(*words[:2], str(whole["index"]), *words[2:], *recorded, "--json").out)
        assert one["format"] == told["format"]
        assert {key: one[key] for key in whole} == whole
        shown = caesura_command(*words[:2], str(whole["index"]), *words[2:], *recorded).out.decode()
        times = one["recorded"]
        assert ("never recorded" if times is None else f"recorded, on the stack {times} times") in shown.splitlines()
    text = caesura_command(*words, *recorded).out.decode()
    assert "recordings: 2 of 3 functions listed were recorded, and 1 other\n" in text
    assert "recorded, not listed  times\nseen (4)                  7\n" in text
    assert "listed, never recorded  added\nstale (3) " in text
    assert "recorded, and no function of this module:\n  gone\n" in text
    plain = json.loads(caesura_command(*words, "--json").out)
    assert "coverage" not in plain and "recorded" not in plain["functions"][0]


def test_what_is_instrumented_is_compared_with_recordings(covered: Path) -> None:
    """Without an only-list, and with functions that have no names, which recordings know by their bodies."""
    (entry,) = caesura_command("list", covered / "app.wasm", "5").out.decode().split()
    recording = covered / "recording"
    recording.write_text(json.dumps({"caesura_record": 1, "functions": {entry: {"count": 3, "stack": []}}}) + "\n")
    done = caesura_command("explain", covered / "app.wasm", "--recorded", recording, "--json")
    told = json.loads(done.out)
    assert told["coverage"]["by_list"] is False
    assert (told["coverage"]["listed_and_recorded"], told["coverage"]["never_recorded"]) == (1, 4)
    assert told["functions"][4]["recorded"] == 3


def test_files_that_record_nothing(covered: Path) -> None:
    done = caesura_command("explain", covered / "app.wasm", "--recorded", covered / "list", "--json")
    assert f"warning: '{covered / 'list'}' is no recording" in done.err
    bad = covered / "recording"
    bad.write_text(bad.read_text() + "hello\n")
    done = caesura_command("explain", covered / "app.wasm", "--recorded", bad)
    assert "line 3 of the recording" in done.error_line()


def test_a_function_by_what_its_mangled_name_stands_for(tmp_path: Path) -> None:
    module = tmp_path / "app.wat"
    module.write_text(
        """(module (import "env" "sleep" (func $sleep))
          (func $_ZN2io6Reader4readEi (call $sleep) (call $sleep))
          (func $_ZN1AC1Ev (call $_ZN2io6Reader4readEi)) (func $_ZN1AC2Ev (call $_ZN2io6Reader4readEi)))"""
    )
    done = caesura_command("explain", module, "io::Reader::read(int)")
    assert done.code == 0 and done.out.startswith(b"_ZN2io6Reader4readEi (1): instrumented"), done.err
    several = caesura_command("explain", module, "A::A()")
    assert several.code == 1 and "2 functions are called 'A::A()': give an index (2, 3)" in several.err
