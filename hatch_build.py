"""Compiles the rooms wasm, analysis and instrument to native code while a wheel is built, where that is possible.

mypyc turns the rooms' modules into C, one file a module, which this hook compiles and adds to the wheel next to the
Python files. Where there is no C compiler (or anything else fails) it says so and leaves a pure wheel, which does the
same work interpreted. The environment variable CAESURA_COMPILE chooses: 0 never compiles, 1 makes a failure an error.

The packaged hook hatch-mypyc was rejected, since it fails where there is no compiler. One C file a module, and -O2,
are measured choices: all in one file takes a third longer and cannot use a second core, -O3 takes as long again, and
neither made the transformation of a 14.5 MB module faster; -O1 compiles in three quarters of the time and is 5%
slower. Object files are kept in `build/objects`, each under a hash of all that went into it, so that after a change
only what differs is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from setuptools import Extension
    from setuptools.command.build_ext import build_ext

ROOMS = ("wasm", "analysis", "instrument")
# What people meet in `help` and in editors stays Python: mypyc keeps neither docstrings nor signatures.
INTERPRETED = ("instrument/__init__.py", "instrument/api.py", "instrument/emscripten_js.py")
REQUIREMENTS = ["mypy>=2.4,<3", "setuptools>=70"]
OPTIMISATION = "2"


class CompileHook(BuildHookInterface[Any]):
    """The hook that hatchling calls."""

    PLUGIN_NAME = "custom"
    _workspace: Path | None = None

    def dependencies(self) -> list[str]:
        """Return what the build environment needs in addition to pyproject.toml's list."""
        return REQUIREMENTS if self._is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the libraries into the wheel. An editable install stays interpreted."""
        if version == "editable" or not self._is_wanted():
            return
        self._workspace = Path(tempfile.mkdtemp(prefix="caesura-build-"))
        try:
            libraries = compile_rooms(Path(self.root), self._workspace)
        except (Exception, SystemExit) as error:  # mypyc reports errors in the sources by leaving the interpreter
            if os.environ.get("CAESURA_COMPILE") == "1":
                shutil.rmtree(self._workspace)
                raise
            self.app.display_warning(f"caesura will run interpreted, several times slower: cannot compile it: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update(libraries)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was only needed until the wheel is written."""
        if self._workspace is not None:
            shutil.rmtree(self._workspace, ignore_errors=True)

    def _is_wanted(self) -> bool:
        choice = os.environ.get("CAESURA_COMPILE", "")
        return self.target_name == "wheel" and choice != "0" and platform.python_implementation() == "CPython"


def compile_rooms(root: Path, workspace: Path) -> dict[str, str]:
    """Compile the rooms; return the path of each library and its place in the wheel."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    files: list[str] = []
    package = root / "src" / "caesura"
    for room in ROOMS:
        sources = [
            file for file in package.glob(f"{room}/**/*.py") if file.relative_to(package).as_posix() not in INTERPRETED
        ]
        files += [str(file.relative_to(root)) for file in sorted(sources)]
    previous = Path.cwd()
    os.chdir(root)  # what tracebacks call the source files is relative to here
    try:
        # Other rooms are read for their types only; what they import need not be installed while building.
        settings = ["--config-file=", "--follow-imports=silent", f"--cache-dir={workspace / 'mypy'}"]
        extensions = mypycify(
            [*settings, *files],
            opt_level=OPTIMISATION,
            debug_level="0",
            multi_file=True,
            group_name="caesura",
            target_dir=str(workspace / "c"),
        )
        for extension in extensions:
            extension.extra_compile_args.append("-Wno-error")  # other compilers have other warnings
        command = _command(Distribution({"name": "caesura", "ext_modules": extensions}), root / "build" / "objects")
        command.build_lib = str(workspace / "libraries")
        command.build_temp = str(workspace / "objects")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(previous)
    libraries = Path(command.build_lib)
    return {str(file): str(file.relative_to(libraries)) for file in libraries.rglob("*") if file.is_file()}


def _command(distribution: Any, cache: Path) -> build_ext:
    """Return setuptools' command that compiles extensions, made to use every core and the cache of object files."""
    from mypy.version import __version__ as mypy_version
    from setuptools.command.build_ext import build_ext

    class BuildExtensions(build_ext):
        def build_extensions(self) -> None:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                compiling = [
                    [pool.submit(self.compile_cached, extension, source) for source in extension.sources]
                    for extension in self.extensions
                ]
                for extension, futures in zip(self.extensions, compiling, strict=True):
                    library = self.get_ext_fullpath(extension.name)
                    Path(library).parent.mkdir(parents=True, exist_ok=True)
                    self.compiler.link_shared_object([future.result() for future in futures], library)

        def compile_cached(self, extension: Extension, source: str) -> str:
            """Compile a C file unless that was done before; return the path of the object file."""
            content = hashlib.sha256(f"{sys.version} {mypy_version} {vars(self.compiler)!r}".encode())
            content.update(repr(extension.extra_compile_args).encode())
            for name in sorted({source, *extension.depends}):
                content.update(Path(name).read_bytes())
            kept = cache / f"{content.hexdigest()}.o"
            if not kept.is_file():
                (compiled,) = self.compiler.compile(
                    [source],
                    output_dir=self.build_temp,
                    include_dirs=extension.include_dirs,
                    extra_postargs=extension.extra_compile_args,
                )
                cache.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(compiled, f"{kept}.new")
                Path(f"{kept}.new").replace(kept)
            return str(kept)

    return BuildExtensions(distribution)
