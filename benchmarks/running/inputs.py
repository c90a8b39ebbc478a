"""The programs: SQLite, QuickJS and PHP as npm has them, in the builds that cannot be suspended, and C programs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.running.builds import BUILD, NODE_MODULES, Input, NotBuilt
from examples.compiling import CompilationFailed, compiled
from tests.real.php.build import IMPORTS as PHP_IMPORTS
from tests.real.php.build import SOURCE as PHP_FILE

GUESTS: Final = Path(__file__).resolve().parent / "guests"
C_FLAGS: Final = ("-target", "wasm32-wasi", "-O2", "-Wall", "-Werror", "-s", "-mexec-model=reactor")

SQLITE: Final = Input("sqlite", NODE_MODULES / "wa-sqlite" / "dist" / "wa-sqlite.wasm")
QUICKJS: Final = Input(
    "quickjs", NODE_MODULES / "@jitl" / "quickjs-wasmfile-release-sync" / "dist" / "emscripten-module.wasm"
)
# The imports that PHP's own glue marks as suspending. It suspends inside catch bodies of the old form nowhere, which
# neither tool can know.
PHP: Final = Input("php", PHP_FILE, PHP_IMPORTS, ignore_unwind_from_catch=True, is_slow=True)

# The import that may suspend is called in the innermost place of each of these; guests/guest.h says how.
C_PROGRAMS: Final = ("fannkuch", "nbody", "spectral_norm", "binary_trees", "interpreter", "mandelbrot")


def c_program(name: str) -> Input:
    """Return guests/<name>.c, compiled; raise NotBuilt."""
    try:
        headers = sorted(GUESTS.glob("*.h"))
        return Input(name, compiled(GUESTS / f"{name}.c", ["cc", *C_FLAGS], BUILD / "running", headers))
    except CompilationFailed as error:
        raise NotBuilt(str(error)) from error
