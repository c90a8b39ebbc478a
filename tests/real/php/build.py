"""Instrument PHP 8.3 for the tests: the build that npm ships for engines with JSPI.

Writes `build/php/php_8_3.<build>.wasm` and `build/php/<extension>.<build>.so`, unless they are newer than what they are
made from. The imports that may suspend are those that PHP's own glue marks as suspending. Extensions are side modules,
which share the state of the main one; any of their imports may suspend, since most are functions of PHP.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path
from typing import Final

import caesura
from caesura.analysis.list_text import read_list

REPOSITORY: Final = Path(__file__).resolve().parents[3]
PACKAGE: Final = REPOSITORY / "node_modules" / "@php-wasm" / "node-8-3" / "jspi"
SOURCE: Final = PACKAGE / "8_3_33" / "php_8_3.wasm"
EXTENSIONS: Final = ("redis", "memcached", "xdebug")
BUILD: Final = REPOSITORY / "build" / "php"
PAUSED: Final = BUILD / "php_8_3.paused.wasm"

IMPORTS: Final = (
    "env.__asyncjs__js_module_onMessage",
    "env.__asyncjs__js_popen_to_file",
    "env.__asyncjs__wasm_poll_socket",
    "env.__syscall_fcntl64",
    "env.emscripten_sleep",
    "env.js_fd_read",
    "env.js_flock",
    "env.js_open_process",
    "env.js_process_status",
    "env.js_release_file_locks",
    "env.js_waitpid",
    "env.wasm_close",
    "env.wasm_setsockopt",
    "env.wasm_shutdown",
    "wasi_snapshot_preview1.fd_sync",
)

PAUSING: Final = caesura.Options(
    preempt="fuel", ignore_imports=True, in_secondary_memory=True, secondary_memory_size=64
)


def build(source: Path, target: Path, options: caesura.Options) -> None:
    """Instrument a module, unless that is done already."""
    package = Path(caesura.__file__).parent
    newest = max(file.stat().st_mtime for file in [source, Path(__file__), *package.rglob("*.py")])
    if target.is_file() and target.stat().st_mtime > newest:
        return
    unfinished = target.with_suffix(".new")
    unfinished.write_bytes(caesura.instrument(source.read_bytes(), options).module)
    unfinished.rename(target)


def main() -> None:
    """Build what the arguments name: `plain`, `thunks`, `translated` (thunks, with new-form exceptions).

    With `saved_` before it, the main module alone, so that its state can be saved; with `record_`, so that it notes
    what is on its stack.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test files run side by side
        build_all(sys.argv[1:])


def list_of(name: str) -> tuple[str, ...]:
    """Return a list of functions: the recorded one, or that of npm's own build with Asyncify."""
    if name == "recorded":
        return read_list(f"@{Path(__file__).parent / 'recorded.txt'}")
    from tests.real.php.packaged_list import packaged_list

    return tuple(packaged_list())


def build_all(kinds: list[str]) -> None:
    """Build the main module and its extensions in each of these ways."""
    for kind in kinds:
        if kind == "paused":
            build(SOURCE, PAUSED, PAUSING)
            continue
        if kind.startswith("list_"):
            options = caesura.Options(imports=IMPORTS, thunks=True, only_list=list_of(kind.removeprefix("list_")))
            build(SOURCE, BUILD / f"php_8_3.{kind}.wasm", options)
            continue
        way = kind.removeprefix("saved_").removeprefix("record_")
        saved = kind.startswith("saved_")
        record = kind.startswith("record_")
        thunks = way != "plain"
        translated = way == "translated"
        main_module = caesura.Options(
            imports=IMPORTS,
            thunks=thunks,
            export_globals=way == kind,
            translate_to_exnref=translated,
            snapshots=saved,
            record=record,
        )
        build(SOURCE, BUILD / f"php_8_3.{kind}.wasm", main_module)
        if way != kind:
            continue
        side_module = caesura.Options(thunks=thunks, import_globals=True, translate_to_exnref=translated)
        for name in EXTENSIONS:
            build(PACKAGE / "extensions" / name / f"{name}.so", BUILD / f"{name}.{kind}.so", side_module)


if __name__ == "__main__":
    main()
