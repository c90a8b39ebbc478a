"""SQLite and QuickJS, saved in the middle of their work, go on as modules as they do in the guest that was saved."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura.host.wasi.pausing import PausingWasi
from caesura.snapshots.to_wasm import to_wasm
from examples.quickjs import QuickJS, load
from tests.host.test_quickjs import BUILDS, package
from tests.support.bare import in_node, in_wasmtime
from tests.support.engine import engine
from tests.support.guests import c_text
from tests.support.hops import hop_until
from tests.support.paths import npm_file

_QUERY: Final = "SELECT sum(a * b), count(*), group_concat(b ORDER BY a DESC) FROM t WHERE b % 3 = 1 AND a % 10 <> 4"
_SETUP: Final = (
    "CREATE TABLE t (a, b); WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100) "
    "INSERT INTO t SELECT x, x * x FROM c"
)


class SQLite:
    """SQLite as npm has it, with a table in memory; in a query it asks its host every few steps whether to go on."""

    def __init__(self, guest: caesura.Guest) -> None:
        self.guest = guest
        self.suspensions = 0
        for name in ("ua", "main"):  # the first is `__wasm_call_ctors`, which this build of Emscripten's has not named
            self.call(name, *[0] * len(guest.parameters(name)))
        place = self.call("malloc", 8)
        assert self.call("sqlite3_open_v2", self.text(":memory:"), place, 6, 0) == 0
        database = guest.memory.read_struct("<I", place)[0]
        assert self.call("sqlite3_exec", database, self.text(_SETUP), 0, 0, 0) == 0
        self.call("progress_handler", database, 20)
        assert self.call("sqlite3_prepare_v2", database, self.text(_QUERY), -1, place, 0) == 0
        self.statement = guest.memory.read_struct("<I", place)[0]

    @classmethod
    async def load(cls, *, own_memory: bool) -> SQLite:
        """Return one whose frames lie in its own memory, or in another one."""
        file = npm_file("wa-sqlite/dist/wa-sqlite.wasm")
        module = caesura.name_emscripten(file.read_bytes(), file.with_suffix(".mjs").read_text()).module
        if own_memory:
            module = caesura.instrument(module, caesura.Options(thunks=True, imports=("a.*",))).module
        names = [f"{item.module}.{item.name}" for item in wasmtime.Module(engine(), module).imports]
        return cls(await caesura.load(module, external=names))

    def call(self, name: str, *arguments: int, stop: int = -1) -> Any:
        """Call an export; return the PendingCall of a suspension, counted from 0, or the result."""
        step = self.guest.start(name, *arguments)
        self.suspensions = 0
        while isinstance(step, caesura.PendingCall):
            if self.suspensions == stop:
                return step
            self.suspensions += 1
            step = step.resume(0)
        return step

    def text(self, text: str) -> int:
        """Return the address of a new C string."""
        content = text.encode() + b"\0"
        address: int = self.call("malloc", len(content))
        self.guest.memory.write(address, content)
        return address


@pytest.mark.parametrize("own_memory", [False, True])
def test_sqlite_in_the_middle_of_a_query(own_memory: bool, tmp_path: Path) -> None:
    async def main() -> None:
        sqlite = await SQLite.load(own_memory=own_memory)
        statement = sqlite.statement
        assert sqlite.call("sqlite3_step", statement) == 100
        wanted = sqlite.call("sqlite3_column_int64", statement, 0), sqlite.call("sqlite3_column_int", statement, 1)
        text = sqlite.guest.memory.read_string(sqlite.call("sqlite3_column_text", statement, 2))
        sqlite.call("sqlite3_reset", statement)
        sqlite.call("sqlite3_step", statement)
        points = sqlite.suspensions
        assert points > 30
        instrumented = sqlite.guest.snapshot(embed=True).state.embedded
        assert instrumented is not None
        point = random.Random(own_memory).randrange(points - 1)
        sqlite.call("sqlite3_reset", statement)
        sqlite.call("sqlite3_step", statement, stop=point)
        module = to_wasm(sqlite.guest.snapshot().state, instrumented)
        kinds = enumerate(("int64", "int", "text"))
        steps: list[list[Any]] = [
            ["resume", 0],
            *[[f"sqlite3_column_{kind}", statement, place] for place, kind in kinds],
            ["text", {"step": 3}],
            *[["sqlite3_step", statement], ["sqlite3_reset", statement], ["sqlite3_step", statement]],
        ]
        node = Path(shutil.which("node") or "") if own_memory else None
        ran = in_node(module, steps, folder=tmp_path, node=node)
        assert in_wasmtime(module, steps) == ran
        assert ran.results == [100, *wanted, ran.results[3], text, 101, 0, 100]
        assert len(ran.asked) == points - point - 1 + points

    asyncio.run(main())


_SCRIPT: Final = """
    function* numbers() { yield* [5, 3, 9, 1].sort((a, b) => { if (a + b == 6) ask(a); return a - b; }); }
    [...numbers()].map(n => n * ask(n)).join() + 'abc'.replace(/b/, () => ask(0))
"""


class _Bare:
    """An instance in Wasmtime, with as much of a guest's interface as `QuickJS` takes."""

    def __init__(self, module: bytes, ask: Callable[[Any], Any]) -> None:
        self._store = wasmtime.Store(engine())
        compiled = wasmtime.Module(engine(), module)
        self._engine = QuickJS.__new__(QuickJS)
        self._engine._functions = [ask]
        self._engine._guest = self  # type: ignore[assignment]
        items = [wasmtime.Func(self._store, item.type, self._import(item)) for item in compiled.imports]  # type: ignore[arg-type]
        self._exports = wasmtime.Instance(self._store, compiled, items).exports(self._store)
        self.memory = self

    def _import(self, item: wasmtime.ImportType) -> Callable[..., Any]:
        if item.name == "callbacks.callFunction":
            return lambda context, this, count, arguments, number: _result(
                self._engine.call_function(this, count, arguments, number)
            )
        kind = item.type
        assert isinstance(kind, wasmtime.FuncType)
        return lambda *arguments: 0 if kind.results else None

    def call_nowait(self, name: str, *arguments: Any) -> Any:
        """Call an export."""
        function = self._exports[name]
        assert isinstance(function, wasmtime.Func)
        return function(self._store, *arguments)

    def go_on(self, context: int, answer: Any) -> Any:
        """Go on with the script, and return its value."""
        self._engine._context = context
        return self._engine._dump(self.call_nowait("resume", self._engine._parsed(json.dumps(answer))))

    def write(self, address: int, content: bytes) -> None:
        """Write to its memory."""
        self._memory.write(self._store, content, address)

    def read_string(self, address: int) -> str:
        """Read a C string."""
        return bytes(self._memory.read(self._store, address)).partition(b"\0")[0].decode()

    @property
    def _memory(self) -> wasmtime.Memory:
        memory = self._exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return memory


def _result(coroutine: Any) -> Any:
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


@pytest.mark.parametrize("build", BUILDS)
def test_quickjs_in_the_middle_of_a_script(build: str, tmp_path: Path) -> None:
    """In a comparator of a sort that a generator does, and later; the answers are values that are made anew there.

    One build is instrumented by Binaryen: there the module itself ends the rewinding.
    """
    folder = package(build)
    node = Path(shutil.which("node") or "") if build == "asyncify" else None  # which has one memory

    async def main() -> None:
        saved: list[tuple[caesura.Snapshot, list[Any]]] = []
        asked: list[Any] = []

        async def ask(value: Any) -> Any:
            await asyncio.sleep(0)
            saved.append((quickjs._guest.snapshot(embed=not saved), [*asked]))
            asked.append(value)
            return value * 10

        quickjs = await load(folder, {"ask": ask})
        wanted = await quickjs.evaluate(_SCRIPT)
        assert wanted == "10,90,250,810a0c"
        context = quickjs._context
        instrumented = saved[0][0].state.embedded
        assert instrumented is not None
        assert len(saved) >= 6
        for snapshot, before in (saved[0], saved[-2]):
            module = to_wasm(snapshot.state, instrumented)
            later: list[Any] = []

            async def again(value: Any, later: list[Any] = later) -> Any:
                later.append(value)
                return value * 10

            assert _Bare(module, again).go_on(context, asked[len(before)] * 10) == wanted
            assert [*before, asked[len(before)], *later] == asked
            answers = asked[len(before) :]
            made: list[list[Any]] = [["QTS_NewFloat64", context, value * 10] for value in answers]
            steps = [*made, ["resume", {"step": 0}], ["QTS_Dump", context, {"step": len(made)}]]
            steps.append(["text", {"step": len(made) + 1}])
            said = [{"step": place} for place in range(1, len(made))]
            assert in_node(module, steps, said, folder=tmp_path, node=node).results[-1] == json.dumps(wanted)

    asyncio.run(main())


_PRINTS: Final = """
#include <stdio.h>
int main(int count, char **arguments) {
    for (int number = 1; number <= 20; number++) {
        printf("%s %d\\n", arguments[1], number);
        fflush(stdout);
    }
    return count + 40;
}
"""


def test_a_wasi_program_in_the_middle_of_its_output(tmp_path: Path) -> None:
    """It goes on under Wasmtime's WASI, with the arguments that it has read before."""
    module = c_text(_PRINTS, "-target", "wasm32-wasi", "-O1", "-s")
    output = bytearray()

    def make_wasi() -> PausingWasi:
        return PausingWasi(("program", "line"), stdout=output.extend)

    data, code, _ = asyncio.run(hop_until(module, None, make_wasi, 12))
    assert code is None
    snapshot = caesura.Snapshot.load(data)
    assert snapshot.state.calls[0].function == "wasi_snapshot_preview1.fd_write"
    store = wasmtime.Store(engine())
    configuration = wasmtime.WasiConfig()
    configuration.stdout_file = str(tmp_path / "output")
    store.set_wasi(configuration)
    linker = wasmtime.Linker(engine())
    linker.define_wasi()
    compiled = wasmtime.Module(engine(), snapshot.to_wasm(module=module))
    resume = linker.instantiate(store, compiled).exports(store)["resume_call"]
    assert isinstance(resume, wasmtime.Func)
    with pytest.raises(wasmtime.ExitTrap) as end:
        resume(store)
    assert end.value.code == 42
    store.close()
    whole = bytes(output) + (tmp_path / "output").read_bytes()
    assert 0 < len(output) < len(whole)
    assert whole == b"".join(b"line %d\n" % number for number in range(1, 21))
