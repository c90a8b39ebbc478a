"""One experiment as data: a module, how to instrument it, what its imports do, and when it is suspended.

A case holds the module itself and not the decisions that generated it, so that a regression stays the same program
when the generator changes. Cases are kept as JSON, the module in base64 (`caesura print` shows it as text).
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from tests.oracle.generator import Features, Option, generate
from tests.oracle.world import (
    BEFORE_RETURN,
    BEHAVIOURS_MAXIMUM,
    CHANGE_GLOBALS,
    NESTED_ENTRY,
    NOTHING,
    POKE,
    ROTATE_TABLE,
    SCRIBBLE,
    SCRIBBLE_AND_CHANGE,
    SUSPENSIONS_MAXIMUM,
    THROW_LARGE,
    THROW_SMALL,
    WHEN_CALLED,
    WHILE_SUSPENDED,
)

REGRESSIONS = Path(__file__).parent / "regressions"

_KINDS = (
    *[NOTHING] * 22,
    *[SCRIBBLE] * 8,
    *[CHANGE_GLOBALS] * 8,
    *[SCRIBBLE_AND_CHANGE] * 10,
    *[ROTATE_TABLE] * 4,
    *[NESTED_ENTRY] * 4,
    *[THROW_SMALL] * 5,
    *[THROW_LARGE] * 3,
)
"""What a behaviour's low six bits say."""
_PHASES = (WHEN_CALLED, WHILE_SUSPENDED, BEFORE_RETURN, WHEN_CALLED)


class Case(NamedTuple):
    """One experiment."""

    module: bytes
    options: dict[str, Option]
    behaviours: bytes
    suspensions: bytes
    suspending_mask: int
    memory64: bool
    legacy_exceptions: bool
    entries: int
    seed: int
    note: str = ""

    @property
    def secondary(self) -> bool:
        """Whether the asyncify stack lies in a memory of its own."""
        return bool(self.options.get("in_secondary_memory"))

    @property
    def preempt(self) -> str:
        """What the guest looks at at its pause points; nothing if it has none."""
        return str(self.options.get("preempt", ""))

    @property
    def thunks(self) -> bool:
        """Whether the guest is driven by thunks."""
        return bool(self.options.get("thunks"))

    def to_json(self) -> str:
        """The case as text."""
        fields = self._asdict()
        for key in ("module", "behaviours", "suspensions"):
            fields[key] = base64.b64encode(fields[key]).decode()
        return json.dumps(fields, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Case:
        """The case that was written by `to_json`."""
        fields = json.loads(text)
        for key in ("module", "behaviours", "suspensions"):
            fields[key] = base64.b64decode(fields[key])
        options = fields["options"]
        fields["options"] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        return Case(**fields)

    def save(self, folder: Path = REGRESSIONS) -> Path:
        """Write the case to a file named for its contents."""
        folder.mkdir(parents=True, exist_ok=True)
        text = self.to_json()
        path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        path.write_text(text)
        return path


def _kind(choice: int, *, throwing: bool, pauses: bool) -> int:
    kind = _KINDS[choice]
    # What moves in the table cannot be suspended by imports, but paused: then the rewind would call another function.
    if pauses and kind == ROTATE_TABLE:
        return NOTHING
    # Where nothing catches, an exception ends the entry, and little is tested.
    return NOTHING if kind in (THROW_SMALL, THROW_LARGE) and not throwing and choice & 7 else kind


def make_case(program: bytes, behaviours: bytes, suspensions: bytes, features: Features) -> Case:
    """Build a case from three strings of decisions: the program, what imports do, and the suspensions."""
    guest = generate(program, features)
    kinds = [_kind(b & 63, throwing=guest.throwing, pauses=features.pauses) for b in behaviours[:BEHAVIOURS_MAXIMUM]]
    phases = [_PHASES[b >> 6] for b in behaviours[:BEHAVIOURS_MAXIMUM]]
    return Case(
        module=guest.module,
        options=guest.options,
        behaviours=bytes(kind | phase for kind, phase in zip(kinds, phases, strict=True)) or b"\0",
        suspensions=bytes(b & (3 | POKE) for b in suspensions[:SUSPENSIONS_MAXIMUM]) or b"\0",
        suspending_mask=guest.suspending_mask,
        memory64=guest.memory64,
        legacy_exceptions=features.legacy_exceptions,
        entries=guest.entries,
        seed=program[0] if program else 0,
    )
