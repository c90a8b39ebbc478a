"""The lists choose the same functions as those of Binaryen's pass: compared with the pass itself.

Which functions it instrumented shows in its output, where they look at the state: the first global, since the module
has none of its own.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import caesura
from caesura.wasm.print_module import print_module
from tests.instrument.test_options import BINARY
from tests.support.paths import npm_file

OPTIONS: list[dict[str, object]] = [
    {"imports": ("env.sleep", "wasi.*")},
    {"ignore_indirect": True, "remove_list": ("outer", "w*")},
    {"ignore_imports": True, "ignore_indirect": True, "add_list": ("pointer",), "propagate_addlist": True},
    {"only_list": ("outer*", "deep", "pointer", "sleeper")},
]
ARGUMENTS = {"add_list": "addlist", "remove_list": "removelist", "only_list": "onlylist"}


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "defaults")
def test_the_same_functions(options: dict[str, object], tmp_path: Path) -> None:
    wasm_opt = npm_file("binaryen/bin/wasm-opt")
    arguments: list[str] = []
    for field, value in options.items():
        text = "@" + ",".join(value) if isinstance(value, tuple) else ""
        arguments.append(f"--pass-arg=asyncify-{ARGUMENTS.get(field, field.replace('_', '-'))}{text}")
    (tmp_path / "in.wasm").write_bytes(BINARY)
    command = ["node", str(wasm_opt), "in.wasm", "-g", "--all-features", "--asyncify", "-o", "out.wasm", *arguments]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    result = caesura.instrument(BINARY, caesura.Options(**options))  # type: ignore[arg-type]
    ours = {function.name for function in result.functions if function.instrumented}
    assert ours == _that_look_at_the_state((tmp_path / "out.wasm").read_bytes())


def _that_look_at_the_state(binary: bytes) -> set[str]:
    found: set[str] = set()
    for function in print_module(binary).split("\n  (func $")[1:]:
        name = function.split()[0]
        if re.search(r"global\.get 0\b", function.split("\n  (func")[0]):
            found.add(name)
    return found
