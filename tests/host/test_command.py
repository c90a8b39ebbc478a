"""`caesura run` and `caesura cache clear`, as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.guests import c_guest
from tests.support.paths import GUESTS

pytestmark = pytest.mark.one_form

COMMAND: Final = (sys.executable, "-c", "import sys; from caesura.cli import main; sys.exit(main())")


def caesura(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], input=given, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("program") / "program.wasm"
    file.write_bytes(c_guest("host_program"))
    return str(file)


def test_the_program_of_the_article() -> None:
    done = caesura("run", str(GUESTS / "wat" / "blog.wat"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n2\n3\n", "")


def test_a_program_with_everything(program: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("found")
    done = caesura(
        "run", "--dir", f"{tmp_path}::/data", "--env", "NAME=value", program,
        "s1", "f/data/note", "eNAME", "c", "--env", "x3", given="typed\n",
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == "slept 1\nfile found\nenv value\nline typed\n"
    assert done.stderr == "what is --env?\n"


def test_a_program_from_the_cache_needs_no_transformation(program: str) -> None:
    """A program starts at once: what would make it is not even imported."""
    code = """if True:
        import sys
        from caesura.cli import main
        code = main(["run", sys.argv[1], "x3"])
        unneeded = ("caesura.instrument.", "caesura.host.preparing", "caesura.host.effort", "caesura.host.worker.")
        needed = ("caesura.instrument.api", "caesura.instrument.abi", "caesura.instrument.abi.memory")
        print(code, [name for name in sys.modules if name.startswith(unneeded) and name not in needed])
    """
    for said in ("3 [", "3 []"):  # the first time it may have to be made
        done = subprocess.run([sys.executable, "-c", code, program], capture_output=True, text=True, check=False)
        assert done.stdout.startswith(said), done.stderr


def test_exports_are_called_by_name(tmp_path: Path) -> None:
    file = tmp_path / "add.wat"
    file.write_text(
        """(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
          (func (export "hold") (param externref))
          (func (export "both") (param f64) (result f64 i64) local.get 0 i64.const 7))"""
    )
    assert caesura("run", "--invoke", "add", str(file), "20", "0x16").stdout == "42\n"
    assert caesura("run", "--invoke", "both", str(file), "0.5").stdout == "0.5\n7\n"
    for arguments, message in [
        (("--invoke", "add", str(file), "20"), "add takes 2 arguments (i32, i32), not 1"),
        (("--invoke", "add", str(file), "20", "x"), "argument 'x' of add is no i32"),
        (("--invoke", "sub", str(file)), "exports no function 'sub' (exported: add, both, hold)"),
        (("--invoke", "add", str(file), "20", str(2**40)), "argument 2 of add is 1099511627776: out of range for i32"),
        (("--invoke", "both", str(file), "half"), "argument 'half' of both is no f64"),
        (("--invoke", "hold", str(file), "5"), "hold takes a value of type externref"),
        ((str(file),), "choose an exported function with --invoke"),
    ]:
        done = caesura("run", *arguments)
        assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "the following arguments are required: PROGRAM"),
        (("--",), 2, "PROGRAM"),
        (("--unknown", "PROGRAM"), 2, "unrecognized arguments: --unknown"),
        (("absent.wasm",), 1, "cannot read 'absent.wasm': No such file or directory"),
        (("TEMPORARY",), 1, "Is a directory"),
        (("TEMPORARY/garbage",), 1, "at byte offset 0 (0x0): not a WebAssembly module"),
        (("TEMPORARY/half",), 1, "beyond the end of the module"),
        (("TEMPORARY/text.wat",), 1, "at byte offset 9 (0x9): expected valid module field (line 1, column 10)"),
        (("TEMPORARY/missing.wat",), 1, "imports what it is not given: env.absent, other.thing"),
        (("-",), 1, "not a WebAssembly module"),
        (("--dir", "TEMPORARY/absent", "PROGRAM"), 1, "TEMPORARY/absent': No such file or directory"),
        (("--dir", "TEMPORARY/garbage::/d", "PROGRAM"), 1, "TEMPORARY/garbage': Not a directory"),
        (("--dir", "", "PROGRAM"), 2, "--dir '': expected HOST, or HOST::GUEST"),
        (("--read-only-dir", "TEMPORARY/absent", "PROGRAM"), 1, "TEMPORARY/absent': No such file or directory"),
        (("--read-only-dir", "", "PROGRAM"), 2, "--read-only-dir '': expected HOST, or HOST::GUEST"),
        (("--dir", "::/d", "PROGRAM"), 2, "expected HOST, or HOST::GUEST"),
        (("--dir", "/::", "PROGRAM"), 2, "expected HOST, or HOST::GUEST"),
        (("--env", "=value", "PROGRAM"), 2, "--env '=value': expected NAME=VALUE"),
        (("--stack-size", "0", "PROGRAM"), 2, "--stack-size 0: expected a number of bytes"),
        (("--stack-size", "1T", "PROGRAM"), 2, "--stack-size 1T: expected a number of bytes"),
        (("--stack-size", "5000M", "PROGRAM"), 2, "--stack-size 5000M: expected a number of bytes up to 4096M"),
        (("--timeout", "0", "PROGRAM"), 2, "--timeout 0: expected a positive number of seconds"),
        (("--timeout", "-1", "PROGRAM"), 2, "--timeout -1: expected a positive number"),
        (("--timeout", "nan", "PROGRAM"), 2, "--timeout nan: expected a positive number"),
        (("--timeout", "inf", "PROGRAM"), 2, "--timeout inf: expected a positive number"),
        (("--timeout", "soon", "PROGRAM"), 2, "--timeout soon: expected a positive number"),
        (("--invoke", "absent", "PROGRAM"), 1, "the guest exports no function 'absent' (exported: _start)"),
    ],
)
def test_mistakes_are_one_line(
    program: str, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "garbage").write_bytes(b"no module")
    (tmp_path / "half").write_bytes(Path(program).read_bytes()[:200])
    (tmp_path / "text.wat").write_text("(module (unknown))")
    (tmp_path / "missing.wat").write_text(
        '(module (import "env" "absent" (func)) (import "other" "thing" (memory 1)) (func (export "_start")))'
    )
    given = [text.replace("TEMPORARY", str(tmp_path)).replace("PROGRAM", program) for text in arguments]
    done = caesura("run", *given)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert done.stderr.startswith("caesura: error: ") and message.replace("TEMPORARY", str(tmp_path)) in done.stderr


def test_a_folder_that_must_not_be_read(program: str, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("this user may read everything")
    done = caesura("run", "--dir", str(tmp_path / "closed"), program)
    assert done.returncode == 1 and "closed': Permission denied" in done.stderr


def test_everything_behind_the_program_is_its_own(program: str) -> None:
    done = caesura("run", "--", program, "--", "--dir", "--help", "x5")
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "what is --?\nwhat is --dir?\nwhat is --help?\n")


def test_the_environment_is_what_is_given(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSED", "on")
    monkeypatch.setenv("KEPT", "back")
    given = ("--env", "PASSED", "--env", "SET=a=b", "--env", "EMPTY=", "--env", "ABSENT")
    done = caesura("run", *given, program, "ePASSED", "eSET", "eEMPTY", "eABSENT", "eKEPT")
    assert done.stdout == "env on\nenv a=b\nenv \nenv unset\nenv unset\n"


@pytest.mark.parametrize(("given", "code"), [("200", 200), ("255", 255), ("-1", 255), ("256", 0), ("300", 44)])
def test_exit_codes_pass_through(program: str, given: str, code: int) -> None:
    done = caesura("run", program, f"x{given}")
    assert (done.returncode, done.stderr) == (code, "")


def test_the_stack_that_is_saved_has_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "deep.wat"
    file.write_text(
        """(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
          (memory (export "memory") 1)
          (func $deep (export "deep") (param i64) (result i64)
            (if (result i64) (i64.eqz (local.get 0))
              (then (drop (call $yield)) (i64.const 0))
              (else (i64.add (local.get 0) (call $deep (i64.sub (local.get 0) (i64.const 1))))))))"""
    )
    assert caesura("run", "--invoke", "deep", str(file), "6000").stdout == "18003000\n"
    done = caesura("run", "--stack-size", "64K", "--invoke", "deep", str(file), "6000")
    assert (done.returncode, done.stdout) == (134, "") and "asyncify stack overflow" in done.stderr
    assert caesura("run", "--stack-size", "65536", "--invoke", "deep", str(file), "500").stdout == "125250\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_program_knows_a_terminal(tmp_path: Path) -> None:
    import pty

    file = tmp_path / "streams.wasm"
    file.write_bytes(c_guest("host_streams"))
    ours, theirs = pty.openpty()
    try:
        command = [*COMMAND, "run", str(file)]
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "terminals 1 0\n")
    assert caesura("run", str(file)).stderr == "terminals 0 0\n"


def test_a_trap_shows_where(program: str) -> None:
    done = caesura("run", program, "t")
    assert done.returncode == 134
    assert done.stderr.startswith(f"caesura: error: {program}: the guest trapped") and "unreachable" in done.stderr


@pytest.mark.parametrize("what", ["l", "s60000"])
def test_a_time_limit_ends_everything(program: str, what: str) -> None:
    done = subprocess.run(
        [*COMMAND, "run", "--timeout", "0.5", program, what],
        stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 124


@pytest.mark.parametrize("where", ["(start $spin)", '(export "_initialize" (func $spin))'])
def test_a_program_that_never_begins_is_ended(where: str, tmp_path: Path) -> None:
    file = tmp_path / "spin.wat"
    file.write_text(f'(module (func $spin (loop (br 0))) {where} (func (export "_start")))')
    done = caesura("run", "--timeout", "0.5", str(file))
    assert (done.returncode, done.stderr) == (124, "caesura: error: the program did not end within 0.5 seconds\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way")
@pytest.mark.parametrize("what", [("s1", "l"), ("s1", "s60000"), ("s1", "c")])
def test_an_interruption_ends_everything(program: str, what: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*COMMAND, "run", program, *what], stdin=reader, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "slept 1\n"
            if what[1] == "l":
                assert running.stdout.readline() == "spinning\n"
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 130
        finally:
            running.kill()
    os.close(reader)
    os.close(writer)


def test_the_cache_is_cleared(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "cache"))
    assert caesura("run", "--no-cache", program).returncode == 0
    assert not (tmp_path / "cache").exists()
    assert caesura("run", program).returncode == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1
    done = caesura("cache", "clear")
    assert done.returncode == 0 and done.stdout.startswith("removed 1 entry, ")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_used_is_said_in_the_style_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "empty.wat"
    file.write_text('(module (func (export "_start")))')
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(file))
    for options in ([], ["--stack-size", "64K"]):
        done = caesura("run", *options, str(file))
        assert done.returncode == 0
        assert done.stderr.startswith(f"caesura: warning: compiled programs are not kept in the cache folder {file}: ")
        assert done.stderr.count("\n") == 1
    for action in ("show", "trim", "clear"):
        done = caesura("cache", action)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"caesura: error: cannot read the cache folder {file}: ")
    assert caesura("run", "--no-cache", str(file)).stderr == ""


def test_a_limit_of_the_cache_that_is_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "empty.wat"
    file.write_text('(module (func (export "_start")))')
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CAESURA_CACHE_LIMIT", "abc")
    done = caesura("run", str(file))
    assert done.returncode == 1
    assert done.stderr.startswith("caesura: error: CAESURA_CACHE_LIMIT is 'abc': expected a number of bytes")
    for options in (["--no-cache"], ["--cache-limit", "1M"]):
        assert caesura("run", *options, str(file)).returncode == 0
