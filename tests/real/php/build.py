"""Instrument PHP 8.3 for the tests: the build that npm ships for engines with JSPI.

Writes `build/php/php_8_3.<build>.wasm`, unless it is newer than what it is made from. The imports that may suspend are
those that PHP's own glue marks as suspending.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import caesura

REPOSITORY: Final = Path(__file__).resolve().parents[3]
SOURCE: Final = REPOSITORY / "node_modules" / "@php-wasm" / "node-8-3" / "jspi" / "8_3_33" / "php_8_3.wasm"
BUILD: Final = REPOSITORY / "build" / "php"

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


def main() -> None:
    """Build what the arguments name: `plain`, `thunks`."""
    BUILD.mkdir(parents=True, exist_ok=True)
    package = Path(caesura.__file__).parent
    newest = max(file.stat().st_mtime for file in [SOURCE, Path(__file__), *package.rglob("*.py")])
    for kind in sys.argv[1:]:
        target = BUILD / f"php_8_3.{kind}.wasm"
        if target.is_file() and target.stat().st_mtime > newest:
            continue
        # PHP suspends inside catch bodies of the old form nowhere; the analysis cannot know.
        options = caesura.Options(imports=IMPORTS, thunks=kind == "thunks", ignore_unwind_from_catch=True)
        unfinished = target.with_suffix(".new")
        unfinished.write_bytes(caesura.instrument(SOURCE.read_bytes(), options).module)
        unfinished.rename(target)


if __name__ == "__main__":
    main()
