"""What pause points cost while nobody pauses, as multiples of the original's time, and of its code.

    python -m benchmarks.preempt [--turns N] [--javascript NODE]

QuickJS, SQLite and PHP run programs in Node, where guests count (`preempt=fuel`: Node 20 has no second memory for a
request), next to plain worst-case instrumentation. C programs run in Wasmtime, with a request and with counting, next
to its own epochs and fuel on the originals, in the same process and in turn; processor time of the thread, the least of
all turns. The programs in `KEPT_ASIDE` are those that nothing was tuned for.

What else may suspend is nothing in C programs: the import that they call in their innermost places stands for a host's
function that waits, which other benchmarks measure. The others are instrumented for their worst case.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import wasmtime

import caesura
from benchmarks.running.builds import BUILD, REPOSITORY, Input
from benchmarks.running.engines import RUNNERS
from benchmarks.running.inputs import C_PROGRAMS, PHP, QUICKJS, SQLITE, c_program
from caesura.options import PREEMPT_FLAG, PREEMPT_FUEL

ORIGINAL: Final = "original"
PLAIN: Final = "plain"
EPOCHS: Final = "Wasmtime's epochs"
FUEL: Final = "Wasmtime's fuel"

KEPT_ASIDE: Final = ("sum of a table", "sieve", "calls", "collatz")
_TEXTS: Final = {
    "sum of a table": """(loop $again
        (local.set $sum (i32.add (i32.rotl (local.get $sum) (i32.const 3)) (i32.load (local.get $at))))
        (local.set $at (i32.and (i32.add (local.get $at) (i32.const 4)) (i32.const 0xfffc)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))""",
    "sieve": """(local.set $n (i32.shr_u (local.get $n) (i32.const 14)))
      (loop $round
        (memory.fill (i32.const 0) (i32.const 0) (i32.const 0x10000))
        (local.set $i (i32.const 2))
        (loop $next
          (if (i32.eqz (i32.load8_u (local.get $i)))
            (then
              (local.set $sum (i32.add (local.get $sum) (local.get $i)))
              (local.set $at (local.get $i))
              (loop $strike
                (i32.store8 (local.get $at) (i32.const 1))
                (local.set $at (i32.add (local.get $at) (local.get $i)))
                (br_if $strike (i32.lt_u (local.get $at) (i32.const 0x8000))))))
          (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 0x8000))))
        (br_if $round (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))""",
    "calls": """(loop $again
        (local.set $sum
          (i32.add (local.get $sum) (call $ackermann (i32.const 2) (i32.and (local.get $n) (i32.const 7)))))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 64)))))""",
    "collatz": """(loop $again
        (local.set $at (local.get $n))
        (block $one
          (loop $step
            (br_if $one (i32.le_u (local.get $at) (i32.const 1)))
            (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
            (local.set $at (select
              (i32.add (i32.mul (local.get $at) (i32.const 3)) (i32.const 1))
              (i32.shr_u (local.get $at) (i32.const 1))
              (i32.and (local.get $at) (i32.const 1))))
            (br $step)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 64)))))""",
}
_SIZE: Final = 1 << 21

Run = Callable[[], int]


def main() -> int:
    """Measure, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--turns", type=int, default=15, help="how often each program runs in Wasmtime (15)")
    parser.add_argument("--javascript", default="node", help="the Node that runs QuickJS, SQLite and PHP (node)")
    arguments = parser.parse_args()
    print("Code added, of what plain worst-case instrumentation adds:\n")
    for source in (QUICKJS, SQLITE, PHP):
        for preempt in (PREEMPT_FLAG, PREEMPT_FUEL):
            print(f"{source.name}, {preempt}: {_code_added(source.path.read_bytes(), preempt):.2f}")
    print("\nC programs in Wasmtime:\n")
    modules = {name: c_program(name).path.read_bytes() for name in C_PROGRAMS}
    _print_ratios({name: _in_wasmtime(module, arguments.turns) for name, module in modules.items()})
    print("\nPrograms that were kept aside, in Wasmtime:\n")
    _print_ratios({name: _in_wasmtime(_kept_aside(name), arguments.turns) for name in KEPT_ASIDE})
    for source in (QUICKJS, SQLITE, PHP):
        print(f"\n{source.name} in {arguments.javascript}:\n")
        _print_ratios(_in_node(source, arguments.javascript))
    return 0


def _options(preempt: str, *, worst_case: bool) -> caesura.Options:
    in_own_memory = preempt == PREEMPT_FLAG
    return caesura.Options(preempt=preempt, ignore_imports=not worst_case, in_secondary_memory=in_own_memory)


def _code_added(module: bytes, preempt: str) -> float:
    plain = caesura.instrument(module)
    paused = caesura.instrument(module, _options(preempt, worst_case=True))
    return (paused.code_after - paused.code_before) / (plain.code_after - plain.code_before)


def _kept_aside(name: str) -> bytes:
    return bytes(
        wasmtime.wat2wasm(f"""(module (memory 1)
      (func $ackermann (param $m i32) (param $n i32) (result i32)
        (if (i32.eqz (local.get $m)) (then (return (i32.add (local.get $n) (i32.const 1)))))
        (if (i32.eqz (local.get $n))
          (then (return (call $ackermann (i32.sub (local.get $m) (i32.const 1)) (i32.const 1)))))
        (call $ackermann (i32.sub (local.get $m) (i32.const 1))
          (call $ackermann (local.get $m) (i32.sub (local.get $n) (i32.const 1)))))
      (func (export "run") (param $n i32) (result i32) (local $sum i32) (local $at i32) (local $i i32)
        {_TEXTS[name]} (local.get $sum)))""")
    )


def _in_wasmtime(module: bytes, turns: int) -> dict[str, float]:
    """Return the least seconds of each variant of a module."""
    runs = {
        ORIGINAL: _load(module),
        PREEMPT_FLAG: _load(_instrumented(module, PREEMPT_FLAG)),
        PREEMPT_FUEL: _load(_instrumented(module, PREEMPT_FUEL)),
        EPOCHS: _load(module, epoch_interruption=True),
        FUEL: _load(module, consume_fuel=True),
    }
    outcomes = {name: run() for name, run in runs.items()}
    if len(set(outcomes.values())) != 1:
        raise SystemExit(f"the outcomes differ: {outcomes}")
    taken = dict.fromkeys(runs, math.inf)
    names = list(runs)
    for turn in range(turns):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun = time.thread_time()
            runs[name]()
            taken[name] = min(taken[name], time.thread_time() - begun)
    return taken


def _instrumented(module: bytes, preempt: str) -> bytes:
    return caesura.instrument(module, _options(preempt, worst_case=False)).module


def _load(module: bytes, *, epoch_interruption: bool = False, consume_fuel: bool = False) -> Run:
    configuration = wasmtime.Config()
    configuration.epoch_interruption = epoch_interruption
    configuration.consume_fuel = consume_fuel
    engine = wasmtime.Engine(configuration)
    store = wasmtime.Store(engine)
    if epoch_interruption:
        store.set_epoch_deadline(1 << 30)
    if consume_fuel:
        store.set_fuel((1 << 63) - 1)
    compiled = wasmtime.Module(engine, module)
    imports = [wasmtime.Func(store, item.type, lambda: None) for item in compiled.imports]  # type: ignore[arg-type]
    exports: Any = wasmtime.Instance(store, compiled, imports).exports(store)
    size = _SIZE
    if "_initialize" in exports:
        exports["_initialize"](store)
        size = exports["usual_size"](store)
    return lambda: int(exports["run"](store, size))


def _in_node(source: Input, node: str) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each variant, by the programs that an interpreter runs."""
    module = source.path.read_bytes()
    folder = BUILD / "preempt"
    folder.mkdir(parents=True, exist_ok=True)
    variants = {
        ORIGINAL: module,
        PLAIN: caesura.instrument(module).module,
        PREEMPT_FUEL: caesura.instrument(module, _options(PREEMPT_FUEL, worst_case=True)).module,
    }
    files = {name: _written(folder / f"{source.name}.{name}.wasm", data) for name, data in variants.items()}
    request = {"scale": 1, "leastMilliseconds": 100, "files": files}
    command = [node, str(RUNNERS / f"{source.name}.mjs"), json.dumps(request)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-3000:])
    taken = json.loads(done.stdout)
    programs = taken[ORIGINAL]
    return {program: {name: taken[name][program]["milliseconds"] for name in files} for program in programs}


def _written(file: Path, data: bytes) -> str:
    file.write_bytes(data)
    return str(file)


def _print_ratios(taken: dict[str, dict[str, float]]) -> None:
    """Print each variant's time as a multiple of the original's, and the geometric means."""
    variants = [name for name in next(iter(taken.values())) if name != ORIGINAL]
    print(f"| program | {' | '.join(variants)} |")
    print(f"| --- |{' ---: |' * len(variants)}")
    logarithms: dict[str, list[float]] = {name: [] for name in variants}
    for program, times in taken.items():
        ratios = [times[name] / times[ORIGINAL] for name in variants]
        for name, ratio in zip(variants, ratios, strict=True):
            logarithms[name].append(math.log(ratio))
        print(f"| {program} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    means = [math.exp(fmean(logarithms[name])) for name in variants]
    print(f"| geometric mean | {' | '.join(f'{mean:.2f}' for mean in means)} |")


if __name__ == "__main__":
    sys.exit(main())
