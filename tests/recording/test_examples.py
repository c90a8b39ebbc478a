"""Examples are shortened, in both recorders alike, so that recordings and lists grow as programs do and no more."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import caesura
from caesura.errors import UsageError
from caesura.recording import recorded
from caesura.recording.environment import recording_environment
from caesura.recording.examples import Chains, frames_of, is_better, shortened
from caesura.recording.place import RECORD_VARIABLE
from caesura.recording.recorded import Recording, read_recording
from caesura.recording.recorded_list import RecordedList

# Drives a recording build by the plain ABI: suspends it wherever it waits, and resumes it at once.
DRIVER = """
import { readFileSync } from "node:fs";
const [, , file, argument] = process.argv;
let value;
const fetch = (given) => {
  if (guest.asyncify_get_state() == 2) {
    guest.asyncify_stop_rewind();
    return value;
  }
  value = given;
  new Int32Array(guest.memory.buffer).set([32, 1 << 20], 4);
  guest.asyncify_start_unwind(16);
  return 0;
};
const { exports: guest } = (await WebAssembly.instantiate(readFileSync(file), { env: { fetch } })).instance;
let result = guest.go(+argument);
while (guest.asyncify_get_state() == 1) {
  guest.asyncify_stop_unwind();
  guest.asyncify_start_rewind(16);
  result = guest.go(0);
}
console.log(result);
"""


def name_of(number: int) -> str:
    """Return a name which, by its number, may be longer than examples have them."""
    return f"f{number} " + "\u00e9\U0001f600" * (number % 130)


def program(depth: int, *, waits_at_each: bool = False) -> bytes:
    """Return a module whose `go` calls a function that calls the next, so often, and the innermost waits; each waits
    before its call, too, if it is asked for, so that the stack grows from one suspension to the next.
    """
    functions: list[str] = []
    for number in range(depth):
        quoted = name_of(number).replace('"', '\\"')
        export = '(export "go")' if number == depth - 1 else ""
        waiting = "(local.set 0 (call $fetch (local.get 0)))" if waits_at_each else ""
        inner = "$fetch" if number == 0 else f"$f{number - 1}"
        functions.append(
            f'(func $f{number} (@name "{quoted}") {export} (param i32) (result i32) {waiting} '
            f"(i32.add (call {inner} (local.get 0)) (i32.const 1)))"
        )
    text = f"""(module (import "env" "fetch" (func $fetch (param i32) (result i32)))
      (memory (export "memory") 20) {" ".join(functions)})"""
    return bytes(wasmtime.wat2wasm(text))


def record_in_python(module: bytes, path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    async def fetch(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def main() -> int:
        async with await caesura.load(module, {"env": {"fetch": fetch}}, cache=False) as guest:
            result: int = await guest.call("go", 5)
            return result

    monkeypatch.setenv(RECORD_VARIABLE, str(path))
    return asyncio.run(asyncio.wait_for(main(), 300))


def record_in_node(module: bytes, path: Path) -> int:
    build = path.with_suffix(".wasm")
    build.write_bytes(caesura.instrument(module, caesura.Options(record=True)).module)
    driver = path.with_suffix(".mjs")
    driver.write_text(DRIVER)
    command = ["node", str(driver), str(build), "5"]
    done = subprocess.run(command, env=recording_environment(str(path)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


def list_of(path: Path) -> str:
    recording = Recording()
    read_recording(path.read_bytes(), str(path), recording)
    assert not recording.warnings
    listed = RecordedList()
    listed.add_recording(recording)
    return listed.text()


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("depth", [3, 39, 40, 150])
def test_both_recorders_write_the_same_list(depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = program(depth)
    assert record_in_python(module, tmp_path / "python", monkeypatch) == 5 + depth
    assert record_in_node(module, tmp_path / "node") == 5 + depth
    text = list_of(tmp_path / "python")
    assert text == list_of(tmp_path / "node")
    assert text.count(" more ... <- ") == max(0, depth + 1 - 40)
    assert RecordedList.read(text).text() == text
    assert all(name_of(number) in text.split("\n") for number in range(depth) if number % 130)


@pytest.mark.parametrize("recorder", ["python", "node"])
def test_a_function_is_told_of_twice_whatever_the_guest_does(
    recorder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack is one function deeper at each suspension, so there is something new at each."""
    path = tmp_path / "recording"
    module = program(90, waits_at_each=True)
    result = record_in_python(module, path, monkeypatch) if recorder == "python" else record_in_node(module, path)
    assert result == 5 + 90
    told = [(entry, seen) for line in lines_of(path) for entry, seen in line["functions"].items()]
    assert len(told) == 2 * 90
    examples = [seen["stack"] for _, seen in told if "stack" in seen]
    assert len(examples) == 90
    assert all(len(stack) <= 40 and max(map(len, stack)) <= 203 for stack in examples)


def test_both_ends_of_a_stack_are_kept() -> None:
    stack = [f"f{number}" for number in range(1000)]
    example = shortened(stack)
    assert example == (*stack[:20], "... 961 more ...", *stack[-19:])
    assert shortened(stack[:40]) == tuple(stack[:40])
    assert frames_of(example) == 1000
    assert shortened(example) == example
    assert shortened(["n" * 10_000, "o" * 200]) == ("n" * 200 + "...", "o" * 200)


def test_the_shorter_stack_is_the_better_example() -> None:
    deep, deeper = [shortened([f"f{number}" for number in range(count)]) for count in (60, 61)]
    assert is_better(deep, deeper) and not is_better(deeper, deep)
    assert is_better(deep, ()) and not is_better((), deep) and not is_better(deep, deep)


def test_a_chain_that_is_a_ring_ends() -> None:
    chains = Chains(["a", "b", "c"], lambda number: (number + 1) % 3)
    found = [chains.example(number) for number in range(3)]
    assert found == [(("a",), None), (("a", "c", "b"), None), (("a", "c"), None)]


def test_what_others_wrote_is_shortened_when_it_is_read() -> None:
    """Older recorders wrote whole stacks, and anybody can write a line or a list."""
    stack = ["env.fetch", *[f"f{number}" for number in range(3000)]]
    functions = {"f2999": {"count": 1, "import": "env." + "i" * 5000, "stack": stack}}
    line = json.dumps({"caesura_record": 1, "functions": functions}).encode()
    recording = Recording()
    read_recording(line, "file", recording)
    listed = RecordedList()
    listed.add_recording(recording)
    text = listed.text()
    assert " <- f18 <- ... 2962 more ... <- f2981 <- " in text
    assert len(text) < 1500
    by_hand = f"# 10+ times, from env.fetch: {' <- '.join(stack)}\nf2999\n"
    listed.add_list(RecordedList.read(by_hand))
    assert len(listed.text()) < 1600


def test_imports_of_a_function_have_an_end() -> None:
    recording = Recording()
    for number in range(1000):
        functions = {"f": {"count": 1, "import": f"env.i{number:04}"}}
        read_recording(json.dumps({"caesura_record": 1, "functions": functions}).encode(), "file", recording)
    listed = RecordedList()
    listed.add_recording(recording)
    text = listed.text()
    assert "env.i0039" in text and "env.i0040" not in text
    assert "# 1,000+ times" in text


def test_lines_that_nobody_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "_LONGEST_LINE", 1000)
    line = json.dumps({"caesura_record": 1, "missing": ["f" * 1000]}).encode()
    with pytest.raises(
        UsageError, match=r"line 2 of the recording 'file' has 1,\d\d\d bytes, where 1,000 are the most"
    ):
        read_recording(b'{"caesura_record": 1}\n' + line, "file", Recording())
