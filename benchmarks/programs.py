"""The real programs that are measured, from npm packages, and the size of their code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = REPOSITORY / "node_modules"
_CODE_SECTION = 10


@dataclass(frozen=True)
class Program:
    """A module, and what caesura is told about it beyond "everything may suspend"."""

    name: str
    path: Path
    package: str
    caesura_arguments: tuple[str, ...] = ()


PROGRAMS = (
    Program("SQLite", _PACKAGES / "wa-sqlite/dist/wa-sqlite.wasm", "wa-sqlite"),
    Program(
        "QuickJS",
        _PACKAGES / "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm",
        "@jitl/quickjs-wasmfile-release-sync",
    ),
    # Calls in the catch bodies of its old-form exception handling could suspend, which neither tool supports. Binaryen
    # does not say so; caesura has to be told that it does not matter, which makes its output larger.
    Program(
        "PHP",
        _PACKAGES / "@php-wasm/node-8-3/jspi/8_3_33/php_8_3.wasm",
        "@php-wasm/node-8-3",
        ("--ignore-unwind-from-catch",),
    ),
)


def code_size(path: Path) -> int:
    """Return the bytes in a module's code section; only the heads of sections are read."""
    with path.open("rb") as file:
        file.seek(8)
        while identifier := file.read(1):
            size = 0
            shift = 0
            while (byte := file.read(1)[0]) & 0x80:
                size |= (byte & 0x7F) << shift
                shift += 7
            size |= byte << shift
            if identifier[0] == _CODE_SECTION:
                return size
            file.seek(size, 1)
    return 0
