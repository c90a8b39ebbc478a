"""Runs cases under Node, for what Wasmtime does not run: exceptions in their old form.

One Node process serves all cases: a line of JSON asks for the runs of one case, a line of JSON answers. Starting a
process for each case would cost a hundred times the run.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from wasmtime import wat2wasm

from tests.oracle.cases import Case
from tests.oracle.driver_modules import driver_text, stub_text
from tests.oracle.host_modules import ground_text, world_text
from tests.oracle.outcome import NEVER, Outcome, Schedule, initial_ledger, outcome
from tests.support.node import newer_node

_SERVER = Path(__file__).parent / "node_server.mjs"


def as_text(binary: bytes) -> str:
    """Return bytes as the server takes them."""
    return base64.b64encode(binary).decode()


class NodeEngine:
    """A Node process that runs cases until it is closed.

    Exceptions have their old form, unless it `is_newer` than the one on the path.
    """

    def __init__(self, *, is_newer: bool = False) -> None:
        node = str(newer_node()) if is_newer else shutil.which("node")
        if node is None:
            raise FileNotFoundError("the oracle needs Node (20 or later) for old-form exceptions")
        legacy = self.legacy = not is_newer
        self.process = subprocess.Popen([node, str(_SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hosts = {
            "ground": ground_text(memory64=False),
            "world": world_text(memory64=False),
            "stub": stub_text(),
            "original": driver_text(memory64=False, secondary=False, instrumented=False, legacy_exceptions=legacy),
            "instrumented": driver_text(memory64=False, secondary=False, instrumented=True, legacy_exceptions=legacy),
            "pausing": driver_text(
                memory64=False, secondary=False, instrumented=True, legacy_exceptions=legacy, pausing="fuel"
            ),
        }
        self._ask({key: as_text(bytes(wat2wasm(text))) for key, text in hosts.items()})

    def __enter__(self) -> NodeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run_all(self, case: Case, instrumented: bytes, schedules: list[Schedule]) -> tuple[Outcome, list[Outcome]]:
        """Run the original once and the instrumented module with each schedule."""
        runs = [{"instrumented": False, "ledger": as_text(initial_ledger(case, NEVER))}]
        runs += [{"instrumented": True, "ledger": as_text(initial_ledger(case, s))} for s in schedules]
        request = {
            "original": as_text(case.module),
            "instrumented": as_text(instrumented),
            "entries": case.entries,
            "driver": "pausing" if case.preempt else "instrumented",
            "runs": runs,
        }
        answers = self.ask(request)
        outcomes = [outcome(a["trap"], base64.b64decode(a["ledger"]), base64.b64decode(a["memory"])) for a in answers]
        return outcomes[0], outcomes[1:]

    def ask(self, request: dict[str, Any]) -> Any:
        """Return the answers to a request for runs; raises AssertionError for one that fails."""
        answers = self._ask(request)
        if isinstance(answers, dict):
            raise AssertionError(answers["error"])
        return answers

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"Node ended with {self.process.wait()}")
        return json.loads(line)
