"""The programs that are measured, how they are told to both tools, and the size of their code.

Three real programs come from the npm packages that the tests use; the C programs are those of the tests, and those
whose running is measured. Two larger ones, with which the transformation's growth is measured, are fetched from npm
into `build/benchmarks`, in fixed versions: esbuild (Go, whose functions are not like those of C compilers) and Clang
with LLVM (66 MB of code).
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.facts import BUILD, REPOSITORY, say
from benchmarks.running.inputs import C_PROGRAMS, c_program
from tests.real.php.build import IMPORTS as PHP_IMPORTS
from tests.real.php.build import SOURCE as PHP_FILE
from tests.support.guests import c_guest_file

NODE_MODULES: Final = REPOSITORY / "node_modules"
FETCHED: Final = BUILD / "packages"

WORST: Final = "worst"
IMPORT_LIST: Final = "import list"
IGNORE_INDIRECT: Final = "ignore-indirect"
MODES: Final = (WORST, IMPORT_LIST, IGNORE_INDIRECT)

_CODE_SECTION: Final = 10


class Missing(Exception):
    """An input that is not there and cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """A module, where it comes from, and the imports that may suspend when it gets a list of them.

    `ignore_unwind_from_catch` is for PHP: calls in the catch bodies of its old-form exception handling could suspend,
    which neither tool supports. caesura refuses that, Binaryen would let them trap; both are told that it does not
    happen.
    """

    name: str
    package: str
    path: Path
    imports: tuple[str, ...]
    ignore_unwind_from_catch: bool = False

    @property
    def file_name(self) -> str:
        """The name in the names of files."""
        return self.name.lower().replace(" ", "-")

    def caesura_arguments(self, mode: str) -> list[str]:
        """Return the flags of `caesura instrument` for a mode."""
        arguments = ["--imports", ",".join(self.imports)] if mode == IMPORT_LIST else []
        arguments += ["--ignore-indirect"] if mode == IGNORE_INDIRECT else []
        return arguments + (["--ignore-unwind-from-catch"] if self.ignore_unwind_from_catch else [])

    def binaryen_arguments(self, mode: str) -> list[str]:
        """Return the flags of `wasm-opt --asyncify` that mean the same."""
        arguments = [f"--pass-arg=asyncify-imports@{','.join(self.imports)}"] if mode == IMPORT_LIST else []
        arguments += ["--pass-arg=asyncify-ignore-indirect"] if mode == IGNORE_INDIRECT else []
        return arguments + (["--pass-arg=asyncify-ignore-unwind-from-catch"] if self.ignore_unwind_from_catch else [])


# SQLite's list has the 15 methods of a virtual file system, under the short names that Emscripten gave them; QuickJS's
# has the host functions that its own asynchronous build can wait for (call of a host function, source and name of a
# module); PHP's those that its glue marks as suspending.
REAL: Final = (
    Program(
        "SQLite",
        "wa-sqlite",
        NODE_MODULES / "wa-sqlite/dist/wa-sqlite.wasm",
        tuple(f"a.{name}" for name in ["$", *"QPN_YXWVUTSR", "ba", "aa"]),
    ),
    Program(
        "QuickJS",
        "@jitl/quickjs-wasmfile-release-sync",
        NODE_MODULES / "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm",
        ("a.s", "a.h", "a.g"),
    ),
    Program("PHP", "@php-wasm/node-8-3", PHP_FILE, PHP_IMPORTS, ignore_unwind_from_catch=True),
)

_FETCHED_PACKAGES: Final = {"esbuild-wasm": "0.28.2", "@yowasp/clang": "22.0.0-git20542-10"}
LARGE: Final = (
    Program("esbuild", "esbuild-wasm", FETCHED / "node_modules/esbuild-wasm/esbuild.wasm", ()),
    Program("Clang", "@yowasp/clang", FETCHED / "node_modules/@yowasp/clang/gen/llvm.core.wasm", ()),
)

_C_TESTS: Final = ("chains", "heap", "machine", "numbers", "pointers", "recursion", "varargs")


def c_programs() -> list[Program]:
    """Return the C programs of the tests and those whose running is measured; the host's own imports may suspend."""
    paths = {name: c_guest_file(name) for name in _C_TESTS} | {name: c_program(name).path for name in C_PROGRAMS}
    return [Program(name, "C", path, ("env.*",)) for name, path in paths.items()]


def fetch_large() -> None:
    """Install the larger programs, unless they are there; raise Missing if npm cannot."""
    if all(_installed(package) == version for package, version in _FETCHED_PACKAGES.items()):
        return
    wanted = [f"{package}@{version}" for package, version in _FETCHED_PACKAGES.items()]
    say(f"fetching {' and '.join(wanted)} from npm into {FETCHED.relative_to(REPOSITORY)} (31 MB)")
    FETCHED.mkdir(parents=True, exist_ok=True)
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--omit=optional", "--loglevel=error"]
    done = subprocess.run(["npm", "install", f"--prefix={FETCHED}", *flags, *wanted], check=False)
    if done.returncode != 0:
        raise Missing(f"npm cannot install {' '.join(wanted)}")


def _installed(package: str) -> str:
    """Return the installed version of a package that is fetched, or nothing."""
    description = FETCHED / "node_modules" / package / "package.json"
    return str(json.loads(description.read_text())["version"]) if description.is_file() else ""


def package_version(program: Program) -> str:
    """Return the version of the npm package that a program comes from."""
    root = FETCHED / "node_modules" if program in LARGE else NODE_MODULES
    return str(json.loads((root / program.package / "package.json").read_text())["version"])


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
