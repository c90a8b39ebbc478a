"""What every benchmark writes down next to its figures, and where it writes them.

Each part of the benchmarks has a JSON file of its own in docs/, so that running one part leaves the figures of the
others alone; the report is made of whatever files there are.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
DOCS: Final = REPOSITORY / "docs"
BUILD: Final = REPOSITORY / "build" / "benchmarks"


def heading(command: str) -> dict[str, Any]:
    """Return when, where and how the figures of a part were measured."""
    return {
        "date": today(),
        "machine": machine(),
        "command": command,
    }


def today() -> str:
    """Return the date, which every figure is kept with."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def machine() -> str:
    """Return what the figures were measured on."""
    cores = os.cpu_count() or 1
    return f"{platform.system()} {platform.machine()}, {processor()}, {cores} core{'s' if cores > 1 else ''}"


def processor() -> str:
    """Return the processor's name where the system says it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or "unknown processor"


@functools.cache
def forms() -> dict[str, dict[str, str]]:
    """Return the environments in which caesura runs in its forms: compiled, if it is installed so, and interpreted."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    sources = {**clean, "PYTHONPATH": str(REPOSITORY / "src")}
    found: dict[str, dict[str, str]] = {}
    for form, environment in (("compiled", clean), ("interpreted", sources)):
        if f"({form})" in first_line([sys.executable, "-m", "caesura", "--version"], environment):
            found[form] = environment
    return found


def caesura_versions() -> dict[str, str]:
    """Return what caesura says of itself, in each form."""
    command = [sys.executable, "-m", "caesura", "--version"]
    return {f"caesura, {form}": first_line(command, environment) for form, environment in forms().items()}


def first_line(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Return the first line that a command prints."""
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


def show(text: str) -> None:
    """Show what is being done, in one line that the next one replaces; where there is no terminal, nothing."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]}\x1b[K", end="", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Say that a step is done, in a line that stays."""
    show("")
    print(text, flush=True)


def load(name: str) -> dict[str, Any] | None:
    """Return the figures of a part, or None where it has never run."""
    path = DOCS / f"{name}.json"
    if not path.is_file():
        return None
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def save(name: str, facts: dict[str, Any]) -> None:
    """Write the figures of a part; nobody ever sees half a file."""
    path = DOCS / f"{name}.json"
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def merge(old: list[dict[str, Any]], new: list[dict[str, Any]], order: list[str]) -> list[dict[str, Any]]:
    """Return entries by name, the new ones in place of the old ones; those that are no longer in `order` go."""
    entries = {entry["name"]: entry for entry in [*old, *new]}
    return [entries[name] for name in order if name in entries]
