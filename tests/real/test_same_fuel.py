"""QuickJS uses the same fuel in Wasmtime, Node 20 and Node 24, to the unit, and pauses at the same places in them all.

Places are the same if what is saved there is, byte for byte: it tells of each function on the stack, and its locals.
That the module itself is the same, whichever form of caesura makes it, is for `tests/instrument/test_same_forms.py`.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura import abi
from tests.support.engine import engine
from tests.support.instrumenting import instrument_file
from tests.support.node import newer_node, run_driver
from tests.support.paths import npm_file

SCRIPT: Final = """
const words = [];
for (let number = 0; number < 200; number++) words.push("word " + (number * 7919) % 301);
words.sort((one, other) => (one < other ? -1 : one > other ? 1 : 0));
const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
class Shape { constructor(side) { this.side = side; } get area() { return this.side ** 2 / 3; } }
function* numbers(n) {
  for (let i = 0; i < n; i++) { try { if (i % 7 == 3) throw i; yield i; } catch (e) { yield -e; } }
}
let sum = 0.5;
for (const number of numbers(100)) sum += new Shape(number).area;
const matches = /(a|b)*c/.test("abab".repeat(40) + "c");
JSON.stringify([fib(12), words.slice(3, 9), sum, matches, (2n ** 300n % 1000007n).toString()])
"""
STACK_SIZE: Final = 1 << 17
STRUCTURE_SIZE: Final = 8
ENOUGH: Final = 1 << 40


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the build with pause points. What it saves lies in its own memory, since Node 20 knows no second one."""
    options = caesura.Options(preempt="fuel", ignore_imports=True)
    return instrument_file(
        npm_file("quickjs-wasi/quickjs.wasm"), tmp_path_factory.mktemp("same") / "quickjs.wasm", options
    )


@pytest.fixture(scope="module")
def compiled(paused: Path) -> wasmtime.Module:
    return wasmtime.Module(engine(), paused.read_bytes())


def in_wasmtime(compiled: wasmtime.Module, script: str, portions: list[int]) -> dict[str, Any]:
    """Do in Wasmtime what fuel_places.mjs does in Node."""
    store = wasmtime.Store(engine())
    imports: list[Any] = []
    for item in compiled.imports:
        assert isinstance(item.type, wasmtime.FuncType)
        imports.append(wasmtime.Func(store, item.type, lambda *_: 0))
    exports: Any = wasmtime.Instance(store, compiled, imports).exports(store)
    memory = exports["memory"]

    def write(text: str) -> tuple[int, int]:
        content = text.encode() + b"\0"
        place = exports["malloc"](store, len(content))
        memory.write(store, content, place)
        return place, len(content) - 1

    exports["_initialize"](store)
    exports["qjs_init"](store)
    structure = exports["malloc"](store, STACK_SIZE)
    start = structure + STRUCTURE_SIZE
    memory.write(store, start.to_bytes(4, "little") + (structure + STACK_SIZE).to_bytes(4, "little"), structure)
    exports[abi.PAUSE_DATA].set_value(store, wasmtime.Val.i32(structure))
    parameters = [*write(script), write("script.js")[0], 0]
    fuel = exports[abi.FUEL]
    used = 0
    pauses: list[list[Any]] = []
    for portion in portions:
        fuel.set_value(store, wasmtime.Val.i64(portion))
        if pauses:
            exports[abi.START_REWIND](store, structure)
        value = exports["qjs_eval"](store, *parameters)
        used += portion - fuel.value(store)
        if exports[abi.GET_STATE](store) != abi.State.UNWINDING:
            break
        exports[abi.STOP_UNWIND](store)
        end = int.from_bytes(memory.read(store, structure, structure + 4), "little")
        frames = bytes(memory.read(store, start, end))
        pauses.append([used, len(frames), hashlib.sha256(frames).hexdigest()])
    fuel.set_value(store, wasmtime.Val.i64(1 << 60))
    place = exports["qjs_get_string"](store, value)
    content = bytes(memory.read(store, place, memory.data_len(store)))
    return {"result": content[: content.index(0)].decode(), "used": used, "pauses": pauses}


@pytest.mark.parametrize(("largest", "least"), [(ENOUGH, 0), (200_000, 10), (3_000, 500)])
def test_the_same_in_three_engines(paused: Path, compiled: wasmtime.Module, largest: int, least: int) -> None:
    source = random.Random(largest)
    portions = [] if largest == ENOUGH else [source.randrange(largest) for _ in range(5000)]
    portions.append(ENOUGH)
    found = in_wasmtime(compiled, SCRIPT, portions)
    result = json.loads(found["result"])
    assert (result[0], result[-1]) == (144, str(2**300 % 1_000_007))
    assert found["used"] > 100_000
    assert len(found["pauses"]) >= least
    for node in (Path(str(shutil.which("node"))), newer_node()):
        assert run_driver("fuel_places.mjs", paused, SCRIPT, json.dumps(portions), node=node) == found
