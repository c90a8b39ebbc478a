"""Node as an engine for scripts: a second opinion, and what Wasmtime does not run: exceptions in their old form.

One process serves one script; a line of JSON asks, a line of JSON answers.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import wasmtime

from tests.spec.driver import HOSTS, RUNTIME, SLOT
from tests.spec.engines import MOST_RESULTS, SPECTEST, CannotInstantiateError, Import
from tests.support.node import newer_node

_SERVER: Final = Path(__file__).with_name("node_server.mjs")

# What Node 24 knows only if it is asked to.
_FLAGS: Final = ("--experimental-wasm-exnref", "--stack-size=900")


class NodeEngine:
    """A Node process with the instances of a script."""

    def __init__(self) -> None:
        command = [str(newer_node()), *_FLAGS, str(_SERVER)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        texts = {"runtime": RUNTIME, "spectest": SPECTEST}
        binaries = {name: _text(bytes(wasmtime.wat2wasm(text))) for name, text in texts.items()}
        self._ask(**binaries, hosts=HOSTS, size=MOST_RESULTS * SLOT)
        self._record = b""

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def instantiate(self, binary: bytes, imports: list[Import]) -> int:
        """See `Engine`."""
        given = [[item.module, item.name, item.instance, item.export] for item in imports]
        answer = self._ask(binary=_text(binary), imports=given)
        if "error" in answer:
            raise CannotInstantiateError(answer["error"])
        number: int = answer["instance"]
        return number

    def call(self, instance: int, export: str) -> str:
        """See `Engine`."""
        answer = self._ask(instance=instance, export=export)
        self._record = base64.b64decode(answer["record"])
        ending: str = answer["ending"]
        return ending

    def record(self) -> bytes:
        """See `Engine`."""
        return self._record

    def suspensions(self) -> int:
        """See `Engine`."""
        return int(self._ask(suspensions=True)["suspensions"])

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"Node ended with {self._process.wait()}")
        return json.loads(line)


def _text(binary: bytes) -> str:
    return base64.b64encode(binary).decode()
