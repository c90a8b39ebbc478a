"""Emscripten, with caesura-wasm-opt as its wasm-opt and with the real one.

`build` compiles programs in both ways and keeps what comes out below build/tests, named for everything that went into
it: emcc takes a second for the smallest program. Debian's Emscripten looks for Binaryen's tools on the PATH, others
below BINARYEN_ROOT; the folder made here serves both.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import caesura
from tests.support.paths import BUILD
from tests.support.sharing import alone, write_whole

PROGRAMS: Final = Path(__file__).resolve().parent / "programs"

_FOLDER: Final = BUILD / "emscripten"
_REASON: Final = _FOLDER / "not-installed.txt"
_STAND_IN: Final = "wasm-opt"

# Where Debian puts the JavaScript modules of Emscripten; the package says so only to its own Node.
_DEBIAN_MODULES: Final = "/usr/share/nodejs"

# Emscripten 3.1.6 takes Node's fetch for a browser's.
_NODE_FLAGS: Final = ("--no-experimental-fetch", "--unhandled-rejections=strict")


def missing() -> str:
    """Return why Emscripten cannot be used; "" if it can."""
    if shutil.which("emcc") is None:
        if _REASON.is_file():
            return _REASON.read_text().strip()
        return "emcc is not installed; tests/emscripten/setup.sh installs it on Debian"
    return "" if shutil.which("wasm-opt") else "there is no wasm-opt beside emcc on the PATH"


@dataclass(frozen=True)
class Result:
    """What a program did."""

    code: int
    output: str
    errors: str


@dataclass(frozen=True)
class Built:
    """A program as Emscripten left it, and what was said on the way."""

    script: Path
    messages: str

    @property
    def module(self) -> bytes:
        """The wasm file."""
        return self.script.with_suffix(".wasm").read_bytes()

    def run(self) -> Result:
        """Run the program under Node."""
        node = shutil.which("node")
        assert node is not None, "the tests need Node (20 or later) on the path"
        done = subprocess.run(
            [node, *_NODE_FLAGS, self.script.name],
            cwd=self.script.parent,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Result(done.returncode, done.stdout, done.stderr)


def build(sources: str, *flags: str, real: bool = False, side: str = "", side_flags: tuple[str, ...] = ()) -> Built:
    """Build a program of `programs/`, with the real wasm-opt if asked to.

    `side` is a side module to link dynamically, with flags of its own.
    """
    key = hashlib.sha256(repr((sources, flags, real, side, side_flags)).encode())
    for file in sorted(PROGRAMS.iterdir()):
        key.update(file.read_bytes())
    if not real:
        key.update(_fingerprint())
    folder = _FOLDER / ("real" if real else "caesura") / f"{Path(sources).stem}-{key.hexdigest()[:16]}"
    script = folder / "program.js"
    log = folder / "messages.txt"
    with alone(folder):
        if not log.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            log.write_text(_make(script, real, sources, flags, side, side_flags))
    return Built(script, log.read_text())


def _make(
    script: Path, real: bool, sources: str, flags: tuple[str, ...], side: str, side_flags: tuple[str, ...]
) -> str:
    """Build a program in an empty folder; return what was said."""
    messages = ""
    inputs = []
    if side:
        inputs = [f"{Path(side).stem}.wasm"]
        messages += _emcc(script.parent, real, side, "-sSIDE_MODULE=1", *side_flags, "-o", *inputs)
    messages += _emcc(script.parent, real, sources, *inputs, *flags, "-o", script.name)
    if side:
        _share_state(script)
    return messages


def _emcc(folder: Path, real: bool, source: str, *arguments: str) -> str:
    compiler = "em++" if source.endswith(".cpp") else "emcc"
    command = [compiler, str(PROGRAMS / source), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=_environment(real), check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def _share_state(script: Path) -> None:
    """Let the modules have one state, as later versions of Emscripten do themselves.

    Where `shared_state.js` makes the globals, the main module imports them too; else it exports them, as they are.
    """
    text = script.read_text()
    if "var ___asyncify_state" in text:
        place = "var asmLibraryArg = {"
        shared = "var asmLibraryArg = {__asyncify_state: ___asyncify_state, __asyncify_data: ___asyncify_data,"
    else:
        place = "exports = relocateExports(exports,"
        names = ("__asyncify_state", "__asyncify_data")
        shared = "".join(f"asmLibraryArg.{name} = exports.{name}; " for name in names) + place
    assert text.count(place) == 1
    script.write_text(text.replace(place, shared))


def _environment(real: bool) -> dict[str, str]:
    environment = dict(os.environ)
    if Path(_DEBIAN_MODULES).is_dir():
        environment["NODE_PATH"] = os.pathsep.join(filter(None, [environment.get("NODE_PATH", ""), _DEBIAN_MODULES]))
    if not real:
        wasm_opt = shutil.which("wasm-opt")
        assert wasm_opt is not None
        root = _stand_ins(wasm_opt)
        environment["CAESURA_WASM_OPT"] = wasm_opt
        environment["EM_BINARYEN_ROOT"] = str(root)
        environment["PATH"] = os.pathsep.join([str(root / "bin"), environment["PATH"]])
    return environment


@functools.cache
def _stand_ins(wasm_opt: str) -> Path:
    """Make the folder that takes Binaryen's place; return it."""
    root = _FOLDER / "binaryen"
    tools = root / "bin"
    with alone(root):
        tools.mkdir(parents=True, exist_ok=True)
        for tool in Path(wasm_opt).parent.glob("wasm*"):
            if tool.name != _STAND_IN and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    package = Path(caesura.__file__).parents[1]
    script = (
        f"#!{sys.executable}\nimport sys\n\nsys.path.insert(0, {str(package)!r})\n"
        "from caesura.cli.wasm_opt import main\n\nsys.exit(main())\n"
    )
    file = tools / _STAND_IN
    if not file.is_file() or file.read_text() != script:
        write_whole(file, script, executable=True)
    return root


@functools.cache
def _fingerprint() -> bytes:
    """Return a hash of caesura's own code, so that what an older one built is not taken for this one's."""
    digest = hashlib.sha256()
    for file in sorted(Path(caesura.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.digest()
