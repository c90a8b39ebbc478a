"""Sizes of SQLite, instrumented for the worst case by the lines of wasm-opt: `python -m benchmarks.drop_in`.

Each line is run with Binaryen's own tool (npm's package binaryen) and with caesura-wasm-opt, and where a tool chain
runs the optimizer over the instrumented module, that too. The table goes to docs/drop-in.md. Sizes are the same on
every machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.markdown import put_into, table

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "docs" / "drop-in.md"
SQLITE: Final = REPOSITORY / "node_modules" / "wa-sqlite" / "dist" / "wa-sqlite.wasm"
BINARYEN: Final = REPOSITORY / "node_modules" / ".bin" / "wasm-opt"

# Steps of each row: a tool and its options. What one writes the next reads.
ROWS: Final = (
    (("wasm-opt", "--asyncify -O1"),),
    (("wasm-opt", "-O3 --asyncify"),),
    (("caesura-wasm-opt", "--asyncify"),),
    (("caesura-wasm-opt", "--asyncify --enable-multivalue"),),
    (("caesura-wasm-opt", "--asyncify -O1"),),
    (("caesura-wasm-opt", "-O3 --asyncify"),),
    (("caesura-wasm-opt", "-Oz --asyncify"),),
    (("caesura-wasm-opt", "--asyncify"), ("wasm-opt", "-O1")),
    (("caesura-wasm-opt", "--asyncify --enable-multivalue"), ("wasm-opt", "-O1 --enable-multivalue")),
)
COMMANDS: Final = {
    "wasm-opt": [str(BINARYEN)],
    "caesura-wasm-opt": [sys.executable, "-m", "caesura.cli.wasm_opt"],
}


def measure(steps: tuple[tuple[str, str], ...], folder: Path) -> int:
    """Run the steps of a row; return the size of what comes out."""
    module = SQLITE
    for number, (tool, options) in enumerate(steps):
        target = folder / f"{number}.wasm"
        command = [*COMMANDS[tool], str(module), *options.split(), "-o", str(target)]
        subprocess.run(command, check=True, env={**os.environ, "CAESURA_WASM_OPT": str(BINARYEN)})
        module = target
    return module.stat().st_size


def main() -> None:
    """Measure, print the table, and write it into the page."""
    version = subprocess.run([str(BINARYEN), "--version"], check=True, capture_output=True, text=True).stdout.split()[2]
    head = f"SQLite (`{SQLITE.name}`, {SQLITE.stat().st_size:,} bytes), Binaryen {version}"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for steps in ROWS:
            title = ", then ".join(f"`{tool} {options}`" for tool, options in steps)
            rows.append([title, f"{measure(steps, Path(folder)):,}"])
            print(*rows[-1], flush=True)
    put_into(PAGE, "drop-in", table([head, "bytes"], rows))


if __name__ == "__main__":
    main()
