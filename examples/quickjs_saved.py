"""JavaScript saved in the middle of a call: in a function of the host's, inside a comparator, inside a generator.

    npm install quickjs-wasi
    python -m examples.quickjs_saved node_modules/quickjs-wasi/quickjs.wasm

That package can save QuickJS between calls, when its stack is empty: its memory is all there is then. Here it is saved
where a script waits for an answer, wherever that is, because the stack is data, too. So no script has to be written for
being saved, as one with `await` at every question is.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import caesura

# Sorts what it is given, and asks for each comparison, in the middle of a generator.
SCRIPT = """
function* sorted(list) {
    yield "sorted:";
    yield* list.sort((one, other) => ask(one, other));
}
Array.from(sorted(["pear", "fig", "quince", "apple"])).join(" ")
"""

# What QuickJS calls its host for, by the package's names; of all that the script needs only `host_call`.
IMPORTS = {
    "env": {
        "host_call": caesura.EXTERNAL,
        "host_get_timezone_offset": lambda seconds, result: 0,
        "host_interrupt": lambda: 0,
        "host_promise_rejection": lambda promise, reason, handled: None,
        "host_module_normalize": lambda base, name: 0,
        "host_module_load": lambda name, size: 0,
    }
}


class QuickJS:
    """A JavaScript engine that waits for answers, or is done. Values in it are addresses."""

    def __init__(self, guest: caesura.Guest) -> None:
        self.guest = guest

    def begin(self, script: str, function: str) -> caesura.PendingCall | int:
        """Run a script in which a function of that name asks the host; return where it waits, or its value."""
        call = self.guest.call_nowait
        call("qjs_init")
        name = self._text(function)
        size = len(function.encode())
        call("qjs_set_prop_string", call("qjs_get_global"), name, call("qjs_new_host_function", name, size, 2))
        step: caesura.PendingCall | int = self.guest.start(
            "qjs_eval", self._text(script), len(script.encode()), self._text("script.js"), 0
        )
        return step

    def asked(self, call: caesura.PendingCall) -> list[str]:
        """Return what the function was called with."""
        _, _, _, count, values = call.arguments
        return [self.text_of(value) for value in self.guest.memory.read_struct(f"<{count}I", values)]

    def answer(self, call: caesura.PendingCall, number: float) -> caesura.PendingCall | int:
        """Return a number to the script, and let it run on."""
        step: caesura.PendingCall | int = call.resume(self.guest.call_nowait("qjs_new_number", number))
        return step

    def text_of(self, value: int) -> str:
        """Return a value as text; raises RuntimeError with what a script has thrown."""
        call = self.guest.call_nowait
        if call("qjs_is_exception", value):
            raise RuntimeError(self.text_of(call("qjs_get_exception")))
        text = call("qjs_get_string", value)
        content = self.guest.memory.read_string(text)
        call("qjs_free_cstring", text)
        return content

    def _text(self, text: str) -> int:
        """Return the address of a C string, which the engine keeps."""
        content = text.encode() + b"\0"
        address: int = self.guest.call_nowait("wasm_malloc", len(content))
        self.guest.memory.write(address, content)
        return address


def load(module: Path) -> QuickJS:
    """Return an engine."""
    return QuickJS(asyncio.run(caesura.load(module, IMPORTS, wasi=caesura.Wasi())))


def restore(state: bytes) -> QuickJS:
    """Return an engine that waits where it was saved."""
    return QuickJS(asyncio.run(caesura.restore(state, IMPORTS, wasi=caesura.Wasi())))


def compare(one: str, other: str) -> int:
    """Return which of two words comes first."""
    return (one > other) - (one < other)


def main(module: Path) -> None:
    """Run the script, in a new engine after each question."""
    engine = load(module)
    step = engine.begin(SCRIPT, "ask")
    while isinstance(step, caesura.PendingCall):
        words = engine.asked(step)
        state = bytes(engine.guest.snapshot())
        engine.guest.close()
        print(f"{' or '.join(words)}? saved in {len(state) / 1000:.0f} KB")
        engine = restore(state)
        step = engine.answer(engine.guest.pending[0], compare(*words))
    print(engine.text_of(step))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.quickjs_saved", description="save a script of JavaScript wherever it asks something"
    )
    parser.add_argument("module", type=Path, help="quickjs.wasm of npm's quickjs-wasi")
    main(parser.parse_args().module)
