"""Random programs do the same with old-form exceptions and with new ones, and what Binaryen makes of them does, too.

More: `python -m tests.instrument.exceptions --programs 2500 --first 100`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.instrument.exceptions.comparing import compare
from tests.instrument.exceptions.engines import new_node, node, run_in_wasmtime, wasm_opt
from tests.instrument.exceptions.programs import program

PROGRAMS = 100
TRANSLATED_BY_BINARYEN = 4
SEEDS = list(range(1, 21))


def test_random_programs_do_the_same() -> None:
    with node() as old, new_node() as new:
        for number in range(PROGRAMS):
            compare(number, old, new, SEEDS)


def test_binaryen_translates_to_the_same(tmp_path: Path) -> None:
    """That is about what is compared: if Binaryen's translation did something else, one of us would be wrong."""
    with node() as old:
        for number in range(TRANSLATED_BY_BINARYEN):
            given, made = tmp_path / "old.wasm", tmp_path / "new.wasm"
            given.write_bytes(program(number))
            subprocess.run([*wasm_opt(), given, "--translate-to-exnref", "--all-features", "-o", made], check=True)
            assert run_in_wasmtime(made.read_bytes(), SEEDS) == old.run(program(number), SEEDS)
