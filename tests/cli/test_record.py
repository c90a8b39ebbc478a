"""`caesura record`: lists that commands' processes write, and that are merged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caesura.analysis.list_text import read_list
from tests.cli.running import caesura_command
from tests.support.engine import assemble

GUEST = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 0) $wait)
  ;; a subscription to the clock, of a millisecond
  (data (i32.const 24) "\\01\\00\\00\\00\\00\\00\\00\\00\\40\\42\\0f\\00\\00\\00\\00\\00")
  (func $wait (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
  (func $never (call_indirect (i32.const 0)))
  (func $twice (call_indirect (i32.const 0)) (call $wait))
  (func $main (export "_start") (call $twice) (call $twice)))
"""
IMPORT = "wasi_snapshot_preview1.poll_oneoff"
LIST = f"""\
# An only-list (caesura instrument --only-list @FILE): what was on the stack when a call was suspended.
# `caesura record` writes it, and `caesura record --merge` adds to it.

# 2+ times, from {IMPORT}: {IMPORT} <- wait <- twice <- main
main
# 2+ times, from {IMPORT}: {IMPORT} <- wait <- twice
twice
# 2+ times, from {IMPORT}: {IMPORT} <- wait
wait
"""

CAESURA = (sys.executable, "-m", "caesura")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.wasm"
    path.write_bytes(assemble(GUEST))
    return path


def line(**functions: object) -> bytes:
    """Return a line of a recording."""
    return json.dumps({"caesura_record": 1, "functions": functions}).encode() + b"\n"


def seen(count: int, *stack: str) -> dict[str, object]:
    return {"count": count, "import": stack[0] if stack else None, "stack": list(stack)}


def test_a_command_s_processes_write_a_list(tmp_path: Path, program: Path) -> None:
    out = tmp_path / "list.txt"
    two = f"{' '.join(CAESURA)} run {program} & {' '.join(CAESURA)} run {program}; wait"
    for command in ([*CAESURA, "run", str(program)], ["sh", "-c", two]):
        done = caesura_command("record", "-o", out, "--", *command)
        assert (done.code, done.out, done.err) == (0, b"", f"caesura: 3 functions recorded, in {out}\n")
        assert out.read_text() == LIST


def test_the_list_instruments_what_it_was_recorded_of(tmp_path: Path, program: Path) -> None:
    out, listed = tmp_path / "list.txt", tmp_path / "listed.wasm"
    assert caesura_command("record", "-o", out, "--quiet", "--", *CAESURA, "run", program).code == 0
    assert read_list(f"@{out}") == ("main", "twice", "wait")
    arguments = ("--only-list", f"@{out}", "--strict", "--thunks", "--in-secondary-memory")
    done = caesura_command("instrument", program, "-o", listed, *arguments)
    assert "3 of 4 functions instrumented" in done.err
    assert caesura_command("run", "--stack-size", "64K", listed).code == 0


def test_a_command_that_fails_has_a_list_and_its_exit_code(tmp_path: Path, program: Path) -> None:
    out = tmp_path / "list.txt"
    script = f"{' '.join(CAESURA)} run {program}; exit 3"
    done = caesura_command("record", "-o", out, "--", "sh", "-c", script)
    assert done.code == 3
    assert "warning: the command failed with exit code 3: what it did not come to is not recorded" in done.err
    assert out.read_text() == LIST


def test_a_command_that_is_ended_by_a_signal_has_a_list(tmp_path: Path, program: Path) -> None:
    """SIGTERM for the command that records ends the one that it runs, and what was noted is in the list."""
    out = tmp_path / "list.txt"
    script = f"{' '.join(CAESURA)} run {program}; echo ready; exec sleep 100"
    recording = subprocess.Popen([*CAESURA, "record", "-o", out, "--", "sh", "-c", script], stdout=subprocess.PIPE)
    assert recording.stdout is not None
    assert recording.stdout.readline() == b"ready\n"
    recording.send_signal(signal.SIGTERM)
    assert recording.wait(timeout=60) == 128 + signal.SIGTERM
    recording.stdout.close()
    assert out.read_text() == LIST


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["true"], "no guest has noted anything"),
        ([*CAESURA, "run", "{quiet}"], "none of the 1 guest that ran was suspended"),
        ([*CAESURA, "run", "--time-slice", "0.01", "{quiet}"], "the guest has pause points"),
    ],
)
def test_nothing_recorded_says_why(tmp_path: Path, command: list[str], reason: str) -> None:
    quiet = tmp_path / "quiet.wasm"
    quiet.write_bytes(assemble(GUEST.replace("(call $twice) (call $twice)", "(if (i32.const 0) (then (call $twice)))")))
    command = [word.format(quiet=quiet) for word in command]
    out = tmp_path / "list.txt"
    done = caesura_command("record", "-o", out, "--", *command)
    assert done.code == 1
    assert "error: nothing is recorded, and no list written" in done.err
    assert reason in done.err
    assert not out.exists()


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    done = caesura_command("record", "-o", tmp_path / "list.txt", "--", tmp_path / "none")
    assert done.code == 1
    assert done.error_line() == f"cannot run '{tmp_path / 'none'}': No such file or directory"


def test_a_list_that_cannot_be_written_is_refused_before_the_command_runs(tmp_path: Path) -> None:
    done = caesura_command("record", "-o", tmp_path / "none" / "list.txt", "--", "touch", tmp_path / "ran")
    assert done.code == 1
    assert "there is no folder" in done.error_line()
    (tmp_path / "binary.wasm").write_bytes(b"\0asm\1\0\0\0\xff\xfe")
    done = caesura_command("record", "-o", tmp_path / "binary.wasm", "--", "touch", tmp_path / "ran")
    assert done.error_line() == f"'{tmp_path / 'binary.wasm'}' is a module, and no list: name another"
    (tmp_path / "latin").write_bytes(b"\xff\xfe\xff")
    done = caesura_command("record", "-o", tmp_path / "latin", "--", "touch", tmp_path / "ran")
    assert "cannot read the list file" in done.error_line()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-o", "list.txt"], "expected a command behind `--`, or --merge with files"),
        (["-o", "list.txt", "--merge", "a", "--", "true"], "not both"),
        (["--", "true"], "name a file for the list with -o"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], error: str) -> None:
    done = caesura_command("record", *arguments, folder=tmp_path)
    assert done.code == 2
    assert error in done.error_line()


def test_lists_and_recordings_are_merged(tmp_path: Path) -> None:
    first, second, listed = tmp_path / "first", tmp_path / "second", tmp_path / "listed"
    first.write_bytes(line(f=seen(9, "env.b", "g", "f"), g=seen(1, "env.b", "g")) + line(f=seen(3, "env.a", "f")))
    second.write_bytes(b'{"caesura_record":1,"missing":["h","g"]}\n' + line(f=seen(90, "env.b", "f")))
    listed.write_text(
        "# What our build needs.\n\n# by hand\nz\n# 1,000+ times, from env.c: env.c <- g\ng\nf\n# the end\n\n"
        "[other.wasm]\n# of another build\nz2\na2\n"
    )
    merged = """\
# What our build needs.

# 100+ times, from env.a, env.b: env.a <- f
f
# 1,000+ times, from env.b, env.c: env.b <- g
g
# missing in a list
h
# by hand
z
# the end

[other.wasm]
# of another build
z2
a2
"""
    for files in ([first, second, listed], [listed, second, first]):
        done = caesura_command("record", "--merge", *files, "-o", tmp_path / "merged")
        assert (done.code, done.out, done.err) == (0, b"", "caesura: 4 functions in the list\n")
        assert (tmp_path / "merged").read_text() == merged
    again = caesura_command("record", "--merge", tmp_path / "merged", tmp_path / "merged", listed)
    assert again.out.decode() == merged


def test_merging_into_a_list_keeps_what_people_wrote(tmp_path: Path) -> None:
    """Its entries are replaced, as where a command is recorded, whether or not it is among what is merged."""
    out, recording, more = tmp_path / "list.txt", tmp_path / "recording", tmp_path / "more"
    out.write_text("# Ours.\n\n# why f is here\nf\n# why gone is here\ngone\n\n[a.wasm]\nx\n\ny\n[b.wasm]\nz\n")
    recording.write_bytes(line(f=seen(1, "env.a", "f")))
    more.write_text("[a.wasm]\n\ny\n\nnew\n")
    done = caesura_command("record", "--merge", recording, more, "-o", out)
    assert (
        done.err
        == "caesura: 1 function in the list; 1 that the list had were not merged now, and are not in it any more\n"
    )
    merged = "# Ours.\n\n# why f is here\n# once, from env.a: env.a <- f\nf\n\n[a.wasm]\nx\n\ny\nnew\n\n[b.wasm]\nz\n"
    assert out.read_text() == merged
    assert (
        caesura_command("record", "--merge", out, recording, more, "-o", out).err == "caesura: 1 function in the list\n"
    )
    assert out.read_text() == merged


@pytest.mark.parametrize("content", [assemble(GUEST), line(f=seen(1, "env.a", "f"))], ids=["module", "recording"])
def test_what_is_no_list_is_not_merged_into(tmp_path: Path, content: bytes) -> None:
    recording, out = tmp_path / "recording", tmp_path / "out"
    recording.write_bytes(line(f=seen(1, "env.a", "f")))
    out.write_bytes(content)
    done = caesura_command("record", "--merge", recording, "-o", out)
    assert done.code == 1 and "and no list: name another" in done.err
    assert out.read_bytes() == content


def test_a_list_that_is_recorded_again_keeps_what_people_wrote(tmp_path: Path, program: Path) -> None:
    out = tmp_path / "list.txt"
    out.write_text("# Ours.\n\n# why twice is here\ntwice\n# why gone is here\ngone\n\n[b.wasm]\nx\n")
    done = caesura_command("record", "-o", out, "--", *CAESURA, "run", program)
    assert "3 functions recorded" in done.err
    assert "1 that the list had were not recorded now" in done.err
    rest = LIST.partition("# 2+ times")[2]
    assert out.read_text() == f"# Ours.\n\n# 2+ times{rest}\n[b.wasm]\nx\n".replace(
        "main\n# 2+", "main\n# why twice is here\n# 2+", 1
    )


def test_names_that_no_list_could_hold(tmp_path: Path) -> None:
    names = [
        "# not a comment",
        "[not a section]",
        " blanks ",
        "two\nlines",
        "a <- b",
        "foo(int, char)",
        "x:",
        "ä",
        "a\u2028b",
        "\x85a",
    ]
    recording = tmp_path / "recording"
    recording.write_bytes(line(**{name: seen(2, "env.x", "<-", name) for name in names}))
    out = tmp_path / "list"
    assert caesura_command("record", "--merge", recording, "-o", out).code == 0
    text = out.read_text()
    entries = read_list(f"@{out}")
    assert set(entries) == {
        "#* not a comment",
        "[not a section]*",
        "*blanks*",
        "two*lines",
        "a <- b",
        "foo(int, char)",
        "x:",
        "ä",
        "a*b",
        "*a",
    }
    again = caesura_command("record", "--merge", out)
    assert again.out.decode() == text
    assert 'env.x <- "<-" <- "foo(int, char)"' in text


@pytest.mark.parametrize("name", ["", "*", "**", " ", "\n", "\ud800", "\u2028 *"])
def test_names_that_would_mean_all_functions(tmp_path: Path, name: str) -> None:
    recording = tmp_path / "recording"
    recording.write_bytes(line(**{name: seen(2, "env.x", name), "f": seen(1, "env.x", "f")}))
    done = caesura_command("record", "--merge", recording)
    assert done.code == 0
    assert done.out.decode().splitlines()[-1:] == ["f"]
    assert not [one for one in done.out.decode().splitlines() if "*" in one and not one.startswith("# ")]
    assert f"the name {name!a}, which stands for all functions in a list: it is left out" in done.err


def test_pieces_of_lines_are_left_out_and_said(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves a piece; the next line may stand right behind it."""
    recording = tmp_path / "recording"
    piece = line(f=seen(1, "env.a", "f"))[:30]
    recording.write_bytes(line(g=seen(1, "env.a", "g")) + piece + line(h=seen(1, "env.a", "h")))
    done = caesura_command("record", "--merge", recording)
    assert f"warning: line 2 of the recording '{recording}' is cut off" in done.err
    assert done.out.decode().endswith("\ng\n# once, from env.a: env.a <- h\nh\n")


@pytest.mark.parametrize("content", [line(**{"*": seen(1, "env.a", "*")}), line(f=seen(1, "env.a", "f"))[:30]])
def test_what_is_left_out_is_not_said_to_be_nothing(tmp_path: Path, content: bytes) -> None:
    """That all which was noted is left out does not mean that nothing was suspended."""
    recording = tmp_path / "recording"
    recording.write_bytes(content)
    done = caesura_command("record", "--merge", recording, "-o", tmp_path / "list.txt")
    assert done.code == 1
    assert done.err.endswith("nothing is recorded in these files: what was noted had to be left out\n")
    assert "none of the" not in done.err


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            b"hello\n",
            "line 2 of the recording '{path}' is none: expected a JSON object with 'caesura_record', not 'hello'",
        ),
        (b'{"other": 1}\n', "line 2 of the recording '{path}' is none"),
        (b'{"caesura_record": 2}\n', "line 2 of the recording '{path}' is of version 2"),
        (b'{"caesura_record": 1, "functions": []}\n', "line 2 of the recording '{path}' has something else"),
        (b'{"caesura_record": 1, "functions": {"f": {"count": -1}}}\n', "does not say how often it was on the stack"),
        (b'{"caesura_record": 1, "functions": {"f": {"count": 1, "stack": 5}}}\n', "has something else where"),
        (b'{"caesura_record": 1, "missing": [5]}\n', "line 2 of the recording '{path}' has something else"),
        (b"[" * 100_000 + b"\n", "line 2 of the recording '{path}' is none"),
    ],
)
def test_files_of_other_programs_are_refused(tmp_path: Path, content: bytes, error: str) -> None:
    recording = tmp_path / "recording"
    recording.write_bytes(line(f=seen(1, "env.a", "f")) + content)
    done = caesura_command("record", "--merge", recording)
    assert done.code == 1
    assert error.format(path=recording) in done.error_line()


def test_indices_are_completed_by_the_module(tmp_path: Path) -> None:
    module = tmp_path / "module.wasm"
    module.write_bytes(
        assemble(
            """(module (import "env" "a" (func)) (func (param i32) call 0) (func $named (result i32) i32.const 7 call 0)
            (func call 0 call 0))"""
        )
    )
    recording = tmp_path / "recording"
    recording.write_bytes(line(**{"#1": seen(5, "env.a", "#1"), "#2": seen(1, "env.a", "#1", "#2")}))
    incomplete = caesura_command("record", "--merge", recording)
    assert "2 functions without a name, such as #1, cannot be matched by that: --module" in incomplete.err
    done = caesura_command("record", "--merge", recording, "--module", module)
    (unnamed,) = caesura_command("list", module, "1").out.decode().split()
    example = "env.a: env.a <- #1"
    assert done.out.decode().endswith(
        f"# once, from {example} <- named\nnamed\n# 2+ times, from {example}\n{unnamed}\n"
    )
    listed = tmp_path / "list.txt"
    listed.write_bytes(incomplete.out.replace(b"\n# 2+", b"\n# people\n# 2+") + b"\n[side]\n#1\n")
    again = caesura_command("record", "--merge", listed, "--module", module)
    assert again.out.decode().endswith(
        f"# once, from {example} <- #2\nnamed\n# people\n# 2+ times, from {example}\n{unnamed}\n\n[side]\n#1\n"
    )
    both = caesura_command("record", "--merge", recording, listed, "--module", module)
    assert both.out.decode().count(f"\n{unnamed}\n") == both.out.decode().count("\nnamed\n") == 1
    recording.write_bytes(line(**{"#100": seen(5, "env.a", "#100")}))
    wrong = caesura_command("record", "--merge", recording, "--module", module)
    assert "there is no function 100 with a body" in wrong.error_line()


def test_a_thousand_writers_lose_nothing(tmp_path: Path) -> None:
    """Processes write at once, and some are killed while they do."""
    recording = tmp_path / "recording"
    script = (
        "import os, signal, sys\n"
        "from caesura.recording.lines import append_line\n"
        "for process in range(250):\n"
        "    if os.fork() == 0:\n"
        "        append_line(sys.argv[1], functions={'f': {'count': 1, 'import': 'env.a', 'stack': ['env.a', 'f']}})\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "while True:\n"
        "    try:\n"
        "        os.wait()\n"
        "    except ChildProcessError:\n"
        "        break\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, recording]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    done = caesura_command("record", "--merge", recording)
    assert done.out.decode().endswith("# 1,000+ times, from env.a: env.a <- f\nf\n")
