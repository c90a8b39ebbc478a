"""The environment of processes whose guests are to note what they see of suspensions.

Our hosts look for the file's name. Node loads a module before any program, which records there: it is put behind what
NODE_OPTIONS says already.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from caesura.recording.place import RECORD_VARIABLE

# What Node loads, and the variable by which it is told.
HOOK: Final = Path(__file__).resolve().parent / "record.mjs"
_NODE_VARIABLE: Final = "NODE_OPTIONS"


def recording_environment(path: str) -> dict[str, str]:
    """Return this process' environment, for others that append to a recording."""
    option = f"--import {HOOK.as_uri()}"
    node = os.environ.get(_NODE_VARIABLE, "")
    if option not in node:
        node = f"{node} {option}".lstrip()
    return {**os.environ, RECORD_VARIABLE: os.path.abspath(path), _NODE_VARIABLE: node}
