"""What an instrumented module would say wrongly about itself is dropped, and a warning says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import caesura
from caesura.instrument.abi.outdated import drop_outdated
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits
from tests.instrument.building import assert_valid, custom, part, parts
from tests.support.engine import assemble
from tests.support.guests import c_guest

PLAIN = assemble('(module (import "env" "f" (func $f)) (memory 1) (func (export "run") call $f))')
DEBUG = (
    *(".debug_info", ".debug_line", "reloc..debug_line", "reloc.CODE"),
    *("sourceMappingURL", "external_debug_info", "build_id"),
)
BROKEN = ("signature", "signature_delimiter", "compilationHints")
OTHERS = ("producers", "dylink.0", "debug_info", "mine")

# Prints the names and places in the backtrace of a trap, as an engine that reads DWARF has them.
BACKTRACE = r"""
import re, sys, wasmtime
engine = wasmtime.Engine()
store = wasmtime.Store(engine)
i32 = wasmtime.ValType.i32()
wait = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), lambda n: n)
instance = wasmtime.Instance(store, wasmtime.Module.from_file(engine, sys.argv[1]), [wait])
try:
    instance.exports(store)["run"](store, 10)
except wasmtime.Trap as trap:
    for name, line in re.findall(r"- (?:\S+!)?(\S+)(?:\n\s+at \S+?([^/:]+:\d+))?", str(trap)):
        print(name, line or "nowhere")
"""


def titles(binary: bytes) -> list[str]:
    return [item.title for item in parts(binary) if item.number == 0 and item.title != "name"]


def with_sections(*names: str) -> bytes:
    return PLAIN + b"".join(custom(name, name.encode()) for name in names)


@pytest.mark.parametrize("renumbered", [False, True])
def test_debug_information_is_dropped(renumbered: bool) -> None:
    """Also where a name comes twice, and where the module is renumbered first."""
    binary = with_sections("mine", *DEBUG, "producers", ".debug_info")
    result = caesura.instrument(binary, caesura.Options(import_globals=renumbered))
    if not renumbered:
        assert_valid(result.module)
    assert titles(result.module) == ["mine", "producers"]
    (warning,) = result.warnings
    assert ".debug_info" in warning and "3 more" in warning and "dropped" in warning and "--keep-dwarf" in warning


def test_debug_information_is_kept_for_those_who_insist() -> None:
    result = caesura.instrument(with_sections(*DEBUG), caesura.Options(keep_dwarf=True))
    assert titles(result.module) == [*DEBUG]
    for name in DEBUG:
        assert part(result.module, name).payload == name.encode()
    (warning,) = result.warnings
    assert "kept" in warning and "wrong" in warning


@pytest.mark.parametrize("keep_dwarf", [False, True])
def test_what_holds_for_one_module_only_is_dropped(keep_dwarf: bool) -> None:
    result = caesura.instrument(with_sections(*BROKEN, *OTHERS), caesura.Options(keep_dwarf=keep_dwarf))
    assert_valid(result.module)
    assert titles(result.module) == [*OTHERS]
    (warning,) = result.warnings
    assert all(name in warning for name in BROKEN)


def test_other_sections_are_no_reason_to_warn() -> None:
    result = caesura.instrument(with_sections(*OTHERS))
    assert titles(result.module) == [*OTHERS]
    assert not result.warnings


def test_thousands_of_debug_sections_are_not_compared_with_each_other() -> None:
    compared: list[int] = []

    class Name(str):
        def __eq__(self, other: object) -> bool:
            compared.append(1)
            return str(self) == other

        __hash__ = str.__hash__

    module = Module(with_sections(*[f".debug_{number}" for number in range(2_000)]))
    module.sections = [replace(item, name=Name(item.name)) for item in module.sections]
    edits, warnings = SectionEdits(), list[str]()
    drop_outdated(module, keep_dwarf=False, edits=edits, warnings=warnings)
    assert len(edits.custom) == 2_000 and "and 1996 more" in warnings[0]
    assert len(compared) < 20_000


def backtrace(binary: bytes, folder: Path) -> list[str]:
    file = folder / "module.wasm"
    file.write_bytes(binary)
    environment = {**os.environ, "WASMTIME_BACKTRACE_DETAILS": "1"}
    command = [sys.executable, "-c", BACKTRACE, str(file)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_backtraces_name_no_wrong_lines(tmp_path: Path) -> None:
    original = c_guest("lines", "-mexec-model=reactor", "-g")
    lines = [line for line in backtrace(original, tmp_path) if re.search(r":\d+$", line)]
    assert lines == ["lower lines.c:6", "middle lines.c:12", "run lines.c:16"]
    result = caesura.instrument(original)
    assert backtrace(result.module, tmp_path) == ["lower nowhere", "middle nowhere", "run nowhere"]
    assert len(result.warnings) == 1
