"""JavaScript in Python: QuickJS from npm, whose scripts call functions that wait.

    npm install @jitl/quickjs-wasmfile-release-sync
    python -m examples.quickjs node_modules/@jitl/quickjs-wasmfile-release-sync/dist 'fetch_all([1, 2]).join()'

The package is Emscripten's output: a module whose imports and exports are letters, and JavaScript that explains them.
`caesura.name_emscripten` puts the names back, so this file speaks of `QTS_Eval` and `callbacks.callFunction`, as the
package's own documentation does. The script runs on in the middle of an expression, while others have their turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import wasmtime

import caesura

MODULE = "emscripten-module.wasm"
SCRIPT = "emscripten-module.mjs"

HostFunction = Callable[..., Awaitable[Any]]


class QuickJS:
    """A JavaScript engine. `functions` are global in its scripts: they take and return what JSON can say."""

    def __init__(self, guest: caesura.Guest, functions: dict[str, HostFunction]) -> None:
        self._guest = guest
        self._functions = list(functions.values())
        self._runtime = guest.call_nowait("QTS_NewRuntime")
        self._context = guest.call_nowait("QTS_NewContext", self._runtime, 0)
        for number, name in enumerate(functions):
            self._define(name, number)

    async def evaluate(self, code: str) -> Any:
        """Return the value of a script; raises RuntimeError with what the script throws."""
        text, name = self._text(code), self._text("script.js")
        value = await self._guest.call("QTS_Eval", self._context, text, len(code.encode()), name, 0, 0)
        error = self._guest.call_nowait("QTS_ResolveException", self._context, value)
        for address in (text, name):
            self._guest.call_nowait("free", address)
        if error:
            raise RuntimeError(self._dump(error))
        return self._dump(value)

    async def call_function(self, this: int, count: int, arguments: int, number: int) -> int:
        """Call a function of ours for a script; return a new value."""
        values = [
            self._dump(self._guest.call_nowait("QTS_ArgvGetJSValueConstPointer", arguments, index), free=False)
            for index in range(count)
        ]
        return self._parsed(json.dumps(await self._functions[number](*values)))

    def _define(self, name: str, number: int) -> None:
        """Make a function of ours a global one of the scripts."""
        guest, context = self._guest, self._context
        text = self._text(name)
        function = guest.call_nowait("QTS_NewFunction", context, text, 0, 0, number)
        scope = guest.call_nowait("QTS_GetGlobalObject", context)
        key = guest.call_nowait("QTS_NewString", context, text)
        guest.call_nowait("QTS_SetProp", context, scope, key, function)
        for value in (function, scope, key):
            guest.call_nowait("QTS_FreeValuePointer", context, value)
        guest.call_nowait("free", text)

    def _parsed(self, text: str) -> int:
        """Return a new value, given as JSON."""
        code, name = self._text(f"({text})"), self._text("value.js")
        value: int = self._guest.call_nowait("QTS_Eval", self._context, code, len(text.encode()) + 2, name, 0, 0)
        for address in (code, name):
            self._guest.call_nowait("free", address)
        return value

    def _dump(self, value: int, *, free: bool = True) -> Any:
        """Return a value, which QuickJS writes as JSON."""
        text = self._guest.call_nowait("QTS_Dump", self._context, value)
        content = self._guest.memory.read_string(text)
        self._guest.call_nowait("QTS_FreeCString", self._context, text)
        if free:
            self._guest.call_nowait("QTS_FreeValuePointer", self._context, value)
        try:
            return json.loads(content)
        except ValueError:
            return content

    def _text(self, text: str) -> int:
        """Return the address of a new C string."""
        content = text.encode() + b"\0"
        address: int = self._guest.call_nowait("malloc", len(content))
        self._guest.memory.write(address, content)
        return address


async def load(folder: Path, functions: dict[str, HostFunction]) -> QuickJS:
    """Return an engine, from the folder with the package's module and JavaScript."""
    named = caesura.name_emscripten((folder / MODULE).read_bytes(), (folder / SCRIPT).read_text())
    engine: list[QuickJS] = []

    async def call_function(context: int, this: int, count: int, arguments: int, number: int) -> int:
        return await engine[0].call_function(this, count, arguments, number)

    def refuse(*arguments: int) -> int:
        raise RuntimeError("this example has no modules, and QuickJS should not fail")

    environment = {
        "memory": wasmtime.MemoryType(wasmtime.Limits(1024, 32768)),  # 64 MiB, as it cannot grow below
        "callbacks.callFunction": call_function,
        "callbacks.shouldInterrupt": lambda runtime: 0,
        "callbacks.loadModuleSource": refuse,
        "callbacks.normalizeModule": refuse,
        "callbacks.freeHostRef": lambda runtime, number: None,
        "__assert_fail": refuse,
        "_abort_js": refuse,
        "_emscripten_runtime_keepalive_clear": lambda: None,
        "_localtime_js": _local_time,
        "_setitimer_js": lambda which, milliseconds: 0,
        "_tzset_js": lambda zone, daylight, standard, summer: None,
        "emscripten_date_now": lambda: time.time() * 1000,
        "emscripten_resize_heap": lambda size: 0,
    }
    asyncify = {"u": lambda pointer, size: None}  # only in the build that is asyncified already: the one left unnamed
    guest = await caesura.load(named.module, {"env": environment, "a": asyncify}, wasi=caesura.Wasi())
    await guest.call("__wasm_call_ctors")
    engine.append(QuickJS(guest, functions))
    return engine[0]


def _local_time(guest: caesura.Guest, seconds: int, result: int) -> None:
    """Write C's `struct tm` for a time."""
    there = time.localtime(seconds)
    date = (there.tm_sec, there.tm_min, there.tm_hour, there.tm_mday, there.tm_mon - 1, there.tm_year - 1900)
    rest = ((there.tm_wday + 1) % 7, there.tm_yday - 1, max(there.tm_isdst, 0), there.tm_gmtoff)
    guest.memory.write_struct("<10i", result, *date, *rest)


async def main(folder: Path, code: str) -> None:
    """Evaluate a script that may call `fetch_all`, which takes its time."""

    async def fetch_all(keys: list[int]) -> list[str]:
        await asyncio.sleep(0.1)
        return [f"content of {key}" for key in keys]

    engine = await load(folder, {"fetch_all": fetch_all})
    print(json.dumps(await engine.evaluate(code)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.quickjs", description="evaluate a script that waits for functions of the host"
    )
    parser.add_argument("folder", type=Path, help="that of npm's @jitl/quickjs-wasmfile-release-sync")
    parser.add_argument("script", help="JavaScript that may call fetch_all, with keys")
    given = parser.parse_args()
    asyncio.run(main(given.folder, given.script))
