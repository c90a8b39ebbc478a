"""`caesura print`."""

from __future__ import annotations

from pathlib import Path

from wasmtime import wat2wasm

from tests.cli.running import MODULE, TEXT, caesura_command


def test_prints_to_standard_output() -> None:
    done = caesura_command("print", "-", stdin=MODULE)
    assert (done.code, done.err) == (0, "")
    assert bytes(wat2wasm(done.out)) == MODULE


def test_prints_to_a_file(tmp_path: Path) -> None:
    done = caesura_command("print", "-", "-o", tmp_path / "out.wat", stdin=TEXT.encode())
    assert (done.code, done.out, done.err) == (0, b"", "")
    assert bytes(wat2wasm((tmp_path / "out.wat").read_text())) == MODULE


def test_reports_bad_input() -> None:
    done = caesura_command("print", "-", stdin=MODULE[:-3])
    assert done.code == 1
    assert "byte offset" in done.error_line()
