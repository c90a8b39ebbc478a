"""npm's package asyncify-wasm, GoogleChromeLabs' host for modules that Binaryen instrumented, drives ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.guests import text_guest
from tests.support.instrumenting import instrument_file
from tests.support.node import run_driver
from tests.support.paths import NODE_MODULES

PACKAGE = NODE_MODULES / "asyncify-wasm"


def sums(count: int) -> list[int]:
    """Return the sums after each question: an answer is 100 times the question, and each level adds its depth."""
    total = 0
    result = []
    for question in range(count):
        total += question * 100 + question * (question + 1) // 2
        result.append(total)
    return result


@pytest.mark.skipif(not PACKAGE.is_dir(), reason="npm's asyncify-wasm is not installed")
def test_its_own_interface_drives_an_instrumented_module(tmp_path: Path) -> None:
    source = tmp_path / "fetches.wasm"
    source.write_bytes(text_guest("fetches"))
    done = run_driver("asyncify_wasm.mjs", instrument_file(source, tmp_path / "instrumented.wasm"))
    assert done["sum"] == sums(8)[-1]
    assert done["again"] == sums(3)[-1]
    assert done["answers"] == 11
    assert done["both"] == [sums(5)[-1], sums(6)[-1]]
    assert done["failure"] == "no answer"
    assert done["notes"] == sums(8) + sums(3)
