"""A host for the plain Asyncify ABI that keeps any number of calls suspended, on Wasmtime.

Each call has the frames that were taken off the one asyncify stack, as bytes, as a runtime has that knows nothing of
what lies beside it. Every call of the import that suspends, suspends; what it returns is made anew by `answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import wasmtime

from tests.support.engine import engine

NORMAL: Final = 0
UNWINDING: Final = 1
REWINDING: Final = 2

HEADER: Final = 8


class PlainCalls:
    """An instance and its suspended calls, by a number that the test gives each.

    `suspending` is the import that suspends, `answer` what it returns at last, given its arguments; `others` are the
    other imports' functions. The asyncify stack lies at `stack`.
    """

    def __init__(
        self,
        binary: bytes,
        suspending: tuple[str, str],
        answer: Callable[..., Any],
        others: Mapping[tuple[str, str], Callable[..., Any]],
        stack: range,
    ) -> None:
        self.store = wasmtime.Store(engine())
        self.frames: dict[int, bytes] = {}
        self._answer = answer
        self._stack = stack
        self._waiting: dict[int, object] = {}
        self._running = -1
        module = wasmtime.Module(self.store.engine, binary)
        imports: list[wasmtime.Func] = []
        for item in module.imports:
            assert isinstance(item.type, wasmtime.FuncType)
            key = (item.module, item.name or "")
            imports.append(wasmtime.Func(self.store, item.type, self._suspend if key == suspending else others[key]))
        self.exports = wasmtime.Instance(self.store, module, imports).exports(self.store)

    def abi(self, name: str, *arguments: int) -> int:
        """Call a function of the ABI."""
        function = self.exports[f"asyncify_{name}"]
        assert isinstance(function, wasmtime.Func)
        result = function(self.store, *arguments)
        return result if isinstance(result, int) else 0

    def start(self, call: int, export: str, *arguments: object) -> Any:
        """Begin a call; return its result, or None if it is suspended."""
        self._running = call
        return self._run(call, export, arguments)

    def resume(self, call: int, export: str, *arguments: object) -> Any:
        """Go on with a suspended call; `arguments` do not matter."""
        self._running = call
        self.put_back(self.frames.pop(call))
        self.abi("start_rewind", self._stack.start)
        return self._run(call, export, arguments)

    def give_up(self, call: int) -> None:
        """Forget a suspended call without rewinding it."""
        self.put_back(self.frames.pop(call))
        self.abi("drop_references", self._stack.start)
        del self._waiting[call]

    def put_back(self, frames: bytes) -> None:
        """Put frames back on the asyncify stack."""
        memory = self._memory()
        start = self._stack.start + HEADER
        memory.write(self.store, frames, start)
        memory.write(self.store, (start + len(frames)).to_bytes(4, "little"), self._stack.start)
        memory.write(self.store, self._stack.stop.to_bytes(4, "little"), self._stack.start + 4)

    def _run(self, call: int, export: str, arguments: Sequence[object]) -> object:
        function = self.exports[export]
        assert isinstance(function, wasmtime.Func)
        result = function(self.store, *arguments)
        if self.abi("get_state") == NORMAL:
            return result
        self.abi("stop_unwind")
        memory = self._memory()
        start = self._stack.start
        current = int.from_bytes(memory.read(self.store, start, start + 4), "little")
        self.frames[call] = bytes(memory.read(self.store, start + HEADER, current))
        memory.write(self.store, bytes(current - start - HEADER), start + HEADER)
        return None

    def _suspend(self, *arguments: object) -> object:
        if self.abi("get_state") == REWINDING:
            self.abi("stop_rewind")
            return self._waiting.pop(self._running)
        assert self.abi("get_state") == NORMAL
        self._waiting[self._running] = self._answer(*arguments)
        self.put_back(b"")
        self.abi("start_unwind", self._stack.start)
        return None

    def _memory(self) -> wasmtime.Memory:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return memory
