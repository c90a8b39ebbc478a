"""Bad input never gives a traceback: one line, exit code 1, an existing output untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

import caesura
from caesura.cli import main
from tests.cli.running import MODULE, caesura_command

HEADER = b"\0asm\1\0\0\0"
TYPE_SECTION = b"\1\4\1\x60\0\0"


def code(body: bytes, size: int | None = None) -> bytes:
    """Return a module with one function, whose body may lie about its size."""
    payload = b"\1" + bytes([len(body) if size is None else size]) + body
    return HEADER + TYPE_SECTION + b"\3\2\1\0" + b"\x0a" + bytes([len(payload)]) + payload


BAD_MODULES = {
    "empty": b"",
    "truncated magic": b"\0as",
    "zeros": bytes(10_000_000),
    "text that is no module": b"Hello, world!\n",
    "another version": b"\0asm\2\0\0\0",
    "section past the end": HEADER + b"\1\x7f\1",
    "endless LEB128": HEADER + b"\1" + b"\xff" * 20,
    "LEB128 of 33 bits": HEADER + b"\1\xff\xff\xff\xff\x1f",
    "unknown section": HEADER + b"\x3f\1\0",
    "too many types": HEADER + b"\1\6\xff\xff\xff\xff\x0f\x60",
    "unknown instruction": code(b"\0\xf7\x0b"),
    "branch too deep": code(b"\0\x0c\7\x0b"),
    "call of no function": code(b"\0\x10\x63\x0b"),
    "body without end": code(b"\0\x01"),
    "body longer than it says": code(b"\0\1\1\1\x0b", size=3),
    "body past the section": code(b"\0\x0b", size=9),
}


@pytest.mark.parametrize("data", BAD_MODULES.values(), ids=BAD_MODULES.keys())
def test_one_line_and_no_output(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(data)
    (tmp_path / "out.wasm").write_bytes(b"old")
    done = caesura_command("instrument", tmp_path / "in.wasm", "-o", tmp_path / "out.wasm")
    assert done.code == 1
    line = done.error_line()
    assert "byte offset" in line
    assert "bug in caesura" not in line
    assert (tmp_path / "out.wasm").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_every_truncation_and_every_wrong_byte(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Damage the module everywhere: it is refused with an offset, or it is still a module."""
    damaged = [MODULE[:length] for length in range(len(MODULE))]
    for position in range(len(MODULE)):
        for value in (0, 0x7F, 0x80, 0xFF, MODULE[position] ^ 1, MODULE[position] + 1 & 0xFF):
            damaged.append(MODULE[:position] + bytes([value]) + MODULE[position + 1 :])
    source = tmp_path / "in.wasm"
    for data in damaged:
        source.write_bytes(data)
        assert main(["instrument", str(source), "-o", str(tmp_path / "out.wasm"), "--quiet"]) in (0, 1)
        message = capfd.readouterr().err
        assert message.count("\n") <= 1
        assert "bug in caesura" not in message, data


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            "(module\n  (func i32.bogus))",
            "byte offset 16 (0x10): unknown operator or unexpected token (line 2, column 9)",
        ),
        ("(module (func", "byte offset"),
        ('(module (func (export "\u00e4\u00e4") $x))', "byte offset 30 (0x1e)"),
        ("(module) \xff", "byte offset"),
    ],
)
def test_bad_text(text: str, place: str) -> None:
    done = caesura_command("instrument", "-", stdin=text.encode())
    assert done.code == 1
    assert place in done.error_line()


def test_text_that_is_not_utf8() -> None:
    done = caesura_command("instrument", "-", stdin=b"(module \xff)")
    assert done.code == 1
    assert "utf-8" in done.error_line()


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Control characters from a module are escaped in messages."""
    file = tmp_path / "in.wat"
    file.write_text(r'(module (import "env" "\1b[31m" (func)) (func (export "\1b]0;title\07\0a") call 0))')
    done = caesura_command("instrument", file, "-o", tmp_path / "out.wasm", "--verbose")
    assert done.code == 0
    assert "\x1b" not in done.err
    assert "\\x1b]0;title\\x07" in done.err


def test_missing_file(tmp_path: Path) -> None:
    done = caesura_command("instrument", tmp_path / "none.wasm", "-o", tmp_path / "out.wasm")
    assert done.code == 1
    assert done.error_line() == f"cannot read '{tmp_path / 'none.wasm'}': No such file or directory"


def test_folder_as_input(tmp_path: Path) -> None:
    done = caesura_command("instrument", tmp_path, "-o", tmp_path / "out.wasm")
    assert done.code == 1
    assert done.error_line() == f"cannot read '{tmp_path}': Is a directory"


def test_unreadable_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A path that no file can have; permissions do not stop everybody who runs tests."""
    assert main(["instrument", "a\0b"]) == 1
    assert capsys.readouterr().err == "caesura: error: cannot read 'a\\x00b': embedded null byte\n"


def test_deep_nesting_does_not_recurse(tmp_path: Path) -> None:
    depth = 100_000
    body = b"\0" + b"\x02\x40" * depth + b"\x10\0" + b"\x0b" * depth + b"\x0b"
    caesura.instrument(_calling_module(body))


def test_many_locals() -> None:
    """50,000 locals that are all alive at a call site."""
    count = 50_000
    sets = b"".join(b"\x41\1\x21" + _leb(index) for index in range(count))
    gets = b"".join(b"\x20" + _leb(index) + b"\x1a" for index in range(count))
    body = b"\1" + _leb(count) + b"\x7f" + sets + b"\x10\0" + gets + b"\x0b"
    result = caesura.instrument(_calling_module(body))
    assert result.instrumented == 1


def _calling_module(body: bytes) -> bytes:
    """Return a module that imports function 0 and has the body as function 1."""
    imports = b"\1\3env\1f\0\0"  # one: env.f, a function of type 0
    payload = b"\1" + _leb(len(body)) + body
    return (
        HEADER
        + TYPE_SECTION
        + b"\2"
        + _leb(len(imports))
        + imports
        + b"\3\2\1\0"
        + b"\5\3\1\0\1"
        + b"\x0a"
        + _leb(len(payload))
        + payload
    )


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
