"""The modules that are measured, each in every variant: as it came, from caesura, from Binaryen.

caesura's output is made anew in every run, by the interpreter and the package that run this. That of npm's `binaryen`
takes from seconds (QuickJS) to half an hour (PHP), so it is kept in `build/benchmarks` under a name made of what it
depends on: the input's content, the flags and the version. (Times of files were rejected as keys: npm sets them all to
the same day.) Both tools get the same options; Binaryen in addition the features that the programs use, since it reads
no others, and no newer ones, since Node 20 could not read the output.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
NODE_MODULES: Final = REPOSITORY / "node_modules"
BUILD: Final = REPOSITORY / "build" / "benchmarks"
WASM_OPT: Final = NODE_MODULES / "binaryen" / "bin" / "wasm-opt"

FEATURES: Final = (
    "sign-ext",
    "mutable-globals",
    "nontrapping-float-to-int",
    "bulk-memory",
    "reference-types",
    "multivalue",
    "simd",
    "exception-handling",
)


class NotBuilt(Exception):
    """A variant that could not be made, or is not there; the message says why."""


@dataclass(frozen=True)
class Input:
    """A module, and what both tools are told about it: the imports that may suspend (none given: all)."""

    name: str
    path: Path
    imports: tuple[str, ...] = ()
    ignore_unwind_from_catch: bool = False
    is_slow: bool = False


@dataclass(frozen=True)
class Variant:
    """One way to instrument: the tool and the option that sets it apart from the tool's other variants."""

    name: str
    tool: str
    option: str


ORIGINAL: Final = Variant("original", "", "")
DEFAULT: Final = Variant("balanced", "caesura", "--optimize=balanced")
BINARYEN: Final = Variant("Binaryen -O1", "binaryen", "-O1")
VARIANTS: Final = (
    ORIGINAL,
    Variant("size", "caesura", "--optimize=size"),
    DEFAULT,
    Variant("speed", "caesura", "--optimize=speed"),
    BINARYEN,
    Variant("Binaryen -O3", "binaryen", "-O3"),
)


def build(source: Input, variant: Variant, *, cached_only: bool = False) -> Path:
    """Return the file of a variant, made if need be; raise NotBuilt.

    With `cached_only`, what Binaryen would take long for is not made, only taken from where it is kept.
    """
    if not source.path.is_file():
        raise NotBuilt(f"{source.path.relative_to(REPOSITORY)} is missing: run `npm ci --ignore-scripts`")
    if variant.tool == "caesura":
        return _caesura(source, variant)
    if variant.tool == "binaryen":
        return _binaryen(source, variant, cached_only=cached_only and source.is_slow)
    return source.path


def _caesura(source: Input, variant: Variant) -> Path:
    target = BUILD / "running" / f"{source.name}.caesura-{variant.name}.wasm"
    arguments = ["instrument", str(source.path), "-o", str(target), "--quiet", variant.option]
    if source.imports:
        arguments += ["--imports", ",".join(source.imports)]
    if source.ignore_unwind_from_catch:
        arguments.append("--ignore-unwind-from-catch")
    target.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "caesura", *arguments])
    return target


def _binaryen(source: Input, variant: Variant, *, cached_only: bool) -> Path:
    arguments = [variant.option, "--asyncify", *(f"--enable-{feature}" for feature in FEATURES)]
    if source.imports:
        arguments.append(f"--pass-arg=asyncify-imports@{','.join(source.imports)}")
    if source.ignore_unwind_from_catch:
        arguments.append("--pass-arg=asyncify-ignore-unwind-from-catch")
    target = kept_output(source.name, source.path, arguments)
    if target.is_file():
        return target
    if cached_only:
        raise NotBuilt(f"npm's Binaryen has not been run on {source.name} with {variant.option}; it takes long")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        _run(["node", str(WASM_OPT), *arguments, str(source.path), "-o", str(unfinished)])
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def kept_output(name: str, path: Path, arguments: Sequence[str]) -> Path:
    """Return where npm's Binaryen's output for an input and these flags is kept, be it there or not."""
    key = hashlib.sha256("\0".join([binaryen_version(), *arguments]).encode())
    key.update(path.read_bytes())
    return BUILD / "binaryen" / f"{name}.{key.hexdigest()[:16]}.wasm"


@functools.cache
def binaryen_version() -> str:
    """Return what npm's Binaryen says of itself."""
    return _run(["node", str(WASM_OPT), "--version"])


def caesura_version() -> str:
    """Return what the caesura says of itself that is measured."""
    return _run([sys.executable, "-m", "caesura", "--version"])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    if done.returncode != 0:
        # The message goes into the report, where only paths below the repository mean something.
        shown = " ".join(part for part in command if len(part) < 200).replace(f"{REPOSITORY}{os.sep}", "")
        raise NotBuilt(f"`{shown}` ended with {done.returncode}. {done.stderr.strip()[-2000:]}".strip())
    return done.stdout.strip()
