"""The lines with which TinyGo calls wasm-opt, on a guest that has its own runtime as TinyGo's programs have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.guests import text_guest
from tests.support.paths import npm_file
from tests.support.plain_abi import LATER, PlainGuest


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os", "-Oz"])
def test_its_line_makes_a_guest_that_schedules_its_tasks(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main").write_bytes(text_guest("tasks"))
    monkeypatch.setenv("CAESURA_WASM_OPT", str(npm_file(".bin/wasm-opt")))
    words = ["--asyncify", level, "-g", "main", "--output", "main.wasmopt"]
    command = [sys.executable, "-m", "caesura.cli.wasm_opt", *words]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    printed: list[int] = []
    guest = PlainGuest(
        (tmp_path / "main.wasmopt").read_bytes(), {("env", "print"): lambda value: printed.append(value)}, stacks=LATER
    )
    assert guest.call("run", 3) == 7
    assert printed == [100, 200, 101, 200, 102, 200, 3, 3000, 3000, 3001]
    assert guest.call("state") == 0


def test_its_line_for_other_schedulers_is_left_to_binaryen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main").write_bytes(text_guest("blog"))
    monkeypatch.setenv("CAESURA_WASM_OPT", str(npm_file(".bin/wasm-opt")))
    outputs = []
    for command in ([str(npm_file(".bin/wasm-opt"))], [sys.executable, "-m", "caesura.cli.wasm_opt"]):
        words = ["-Oz", "-g", "main", "--output", "main.wasmopt"]
        subprocess.run([*command, *words], cwd=tmp_path, check=True, capture_output=True, timeout=120)
        outputs.append((tmp_path / "main.wasmopt").read_bytes())
    assert outputs[0] == outputs[1]
