"""Modules that Emscripten and its Binaryen instrumented are recognised and driven, with names and without."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import caesura
from caesura.abi import STOP_REWIND, STOP_UNWIND
from caesura.analysis.instrumented import asyncify_exports
from caesura.wasm.module import Module
from tests.emscripten.toolchain import missing
from tests.host.support import Gates, run, settle
from tests.support.engine import assemble
from tests.support.guests import c_guest
from tests.support.paths import BUILD, GUESTS, npm_file
from tests.support.sharing import alone

pytestmark = pytest.mark.one_form

SOURCE = GUESTS / "c" / "host_calls.c"
FLAGS = ("-sASYNCIFY", "-sASYNCIFY_IMPORTS=wait,fill,again", "-sERROR_ON_UNDEFINED_SYMBOLS=0", "--no-entry")
EXPORTS = "-sEXPORTED_FUNCTIONS=_malloc,_free"

needs_emscripten = pytest.mark.skipif(bool(missing()), reason=missing())


@dataclass(frozen=True)
class Built:
    """A module, and what its imports and exports are called now, by their names in C."""

    module: bytes
    import_module: str
    imports: dict[str, str]
    exports: dict[str, str]


def build(level: str, target: str) -> Built:
    """Compile host_calls.c with emcc, once."""
    key = hashlib.sha256(SOURCE.read_bytes() + repr((level, target, FLAGS)).encode()).hexdigest()[:16]
    folder = BUILD / "emscripten-host" / key
    file = folder / target
    with alone(folder):
        if not file.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            environment = {"NODE_PATH": "/usr/share/nodejs"} | os.environ  # where Debian has Emscripten's modules
            command = ["emcc", level, *FLAGS, EXPORTS, str(SOURCE), "-o", target]
            done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    names = {name: name for name in ("descend", "add", "divide", "wait_then_divide")}
    if target.endswith(".wasm"):
        return Built(file.read_bytes(), "env", {}, names)
    script = file.read_text()
    table = re.search(r"asmLibraryArg\s*=\s*\{([^}]*)\}", script)
    assert table is not None
    imports = {name: short for short, name in re.findall(r'"?(\w+)"?\s*:\s*_(\w+)', table[1])}
    shortened = dict(re.findall(r'Module\["_(\w+)"\]=Module\["asm"\]\["(\w+)"\]', script))
    is_short = "memory" not in shortened and shortened.get("descend") != "descend" and level not in ("-O0", "-O1")
    return Built(
        file.with_suffix(".wasm").read_bytes(),
        "a" if is_short else "env",
        imports if is_short else {},
        shortened if is_short else names,
    )


async def load(built: Built, gates: Gates, **options: object) -> caesura.Guest:
    def note(value: int) -> None:
        pass

    def resize(size: int) -> int:
        return 0

    functions = {"wait": gates.wait, "note": note, "emscripten_resize_heap": resize}
    functions |= dict.fromkeys(("fill", "again"), print)
    given = {built.imports.get(name, name): function for name, function in functions.items()}
    return await caesura.load(built.module, {built.import_module: given}, cache=False, **options)  # type: ignore[arg-type]


def expected(depth: int, seed: int) -> int:
    return sum(seed * 31 + d * 16 + (d & 15) for d in range(depth + 1))


@needs_emscripten
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
@pytest.mark.parametrize(("level", "target"), [("-O0", "a.js"), ("-O1", "a.js"), ("-O2", "a.js"), ("-O3", "a.wasm")])
def test_modules_with_names(level: str, target: str, order: tuple[int, ...]) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load(build(level, target), gates)
        calls = [asyncio.create_task(guest.call("descend", 10 * seed, seed)) for seed in (1, 2, 3)]
        await settle()
        assert guest.suspended == 3
        for seed in order:
            gates.open(seed, 0)
            await settle()
            deep = asyncio.create_task(guest.call("descend", 200, 9))  # over what others have on the C stack
            await settle()
            gates.open(9, 0)
            assert await deep == expected(200, 9)
        assert [call.result() for call in calls] == [expected(10 * seed, seed) for seed in (1, 2, 3)]

    run(main())


@needs_emscripten
@pytest.mark.parametrize("level", ["-O3", "-Os"])
def test_modules_with_shortened_names(level: str) -> None:
    async def main() -> None:
        gates = Gates()
        built = build(level, "a.js")
        exports = built.exports
        assert exports["descend"] != "descend", "this Emscripten does not shorten names here"
        assert asyncify_exports(Module(built.module))[STOP_UNWIND] in (exports["asyncify_stop_unwind"],) + (
            exports["asyncify_stop_rewind"],
        )
        with pytest.raises(caesura.UsageError, match=r"exports no malloc .* stack_space"):
            await load(built, gates)
        guest = await load(built, gates, stack_space=(12 << 20, 13 << 20))
        assert exports["descend"] in guest.exports and exports["asyncify_stop_unwind"] not in guest.exports
        for seed in (1, 2, 3):
            call = asyncio.create_task(guest.call(exports["descend"], 40, seed))
            await settle()
            assert guest.call_nowait(exports["add"], 20, 22) == 42
            with pytest.raises(caesura.UsageError, match="exports no malloc and free"):
                await guest.call(exports["descend"], 1, 1)
            gates.open(seed, 0)
            assert await call == expected(40, seed)
        with pytest.raises(caesura.GuestTrap, match="integer division by zero"):
            await guest.call(exports["divide"], 1, 0)

    run(main())


@needs_emscripten
@pytest.mark.parametrize("level", ["-O3", "-Os"])
def test_modules_that_get_their_names_back(level: str) -> None:
    """With a name, `malloc` is found: any number of calls may be suspended."""

    async def main() -> None:
        gates = Gates()
        build(level, "a.js")
        key = hashlib.sha256(SOURCE.read_bytes() + repr((level, "a.js", FLAGS)).encode()).hexdigest()[:16]
        folder = BUILD / "emscripten-host" / key
        named = caesura.name_emscripten((folder / "a.wasm").read_bytes(), (folder / "a.js").read_text())
        guest = await load(Built(named.module, "env", {}, {}), gates)
        calls = [asyncio.create_task(guest.call("descend", 10 * seed, seed)) for seed in (1, 2, 3)]
        await settle()
        assert guest.suspended == 3
        for seed in (2, 3, 1):
            gates.open(seed, 0)
            await settle()
        assert [call.result() for call in calls] == [expected(10 * seed, seed) for seed in (1, 2, 3)]

    run(main())


PUBLISHED = {
    "wa-sqlite/dist/wa-sqlite-async.wasm": True,
    "wa-sqlite/dist/wa-sqlite.wasm": False,
    "@jitl/quickjs-wasmfile-release-asyncify/dist/emscripten-module.wasm": True,
    "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm": False,
}


@pytest.mark.parametrize("path", PUBLISHED)
def test_published_modules_are_told_apart(path: str) -> None:
    found = asyncify_exports(Module(npm_file(path).read_bytes()))
    assert bool(found) == PUBLISHED[path]
    assert len(set(found.values())) == len(found) and not any(name in found.values() for name in found)


ALMOST = """(module
  (global $state (mut i32) (i32.const 0)) (global $data (mut i32) (i32.const 0)) (memory 1)
  (func (export "a") (param i32) (global.set $state (i32.const 1)) (global.set $data (local.get 0)) CHECK)
  (func (export "b") (global.set $state (i32.const 0)) CHECK)
  (func (export "c") (param i32) (global.set $state (i32.const SECOND)) (global.set $data (local.get 0)) CHECK)
  (func (export "d") (global.set $state (i32.const 0)) CHECK))"""
CHECK = "(if (i32.gt_u (i32.load (global.get $data)) (i32.load offset=4 (global.get $data))) (then (unreachable)))"


@pytest.mark.parametrize(
    ("check", "second", "recognised"), [(CHECK, "2", True), ("", "2", False), (CHECK, "3", False), (CHECK, "1", False)]
)
def test_only_the_four_functions_are_recognised(check: str, second: str, recognised: bool) -> None:
    text = ALMOST.replace("CHECK", check).replace("SECOND", second)
    found = asyncify_exports(Module(assemble(text)))
    assert bool(found) == recognised
    if recognised:
        assert {found[STOP_UNWIND], found[STOP_REWIND]} == {"b", "d"}


def test_programs_that_nobody_instrumented_are_not_taken_for_it() -> None:
    for name in ("host_calls", "machine", "heap", "recursion"):
        assert asyncify_exports(Module(c_guest(name, "-mexec-model=reactor"))) == {}


CHECKED = """
  #include <emscripten.h>
  int wait_(int);
  __attribute__((noinline)) static int fill(char *target, int size) {
    for (int place = 0; place < size; place++) target[place] = place;
    return target[size / 2];
  }
  EMSCRIPTEN_KEEPALIVE int work(int size) {
    char room[100];
    fill(room, size);
    return wait_(room[3]) + room[5];
  }
  int main(void) { return 0; }"""


@needs_emscripten
def test_emscriptens_stack_check_finds_calls_within_their_stacks(tmp_path: Path) -> None:
    """With STACK_OVERFLOW_CHECK=2 there are two pairs of limits: compiler-rt's, and one that Binaryen's check adds."""
    (tmp_path / "checked.c").write_text(CHECKED)
    flags = ("-O2", "-sSTANDALONE_WASM", "-sSTACK_OVERFLOW_CHECK=2", "-sERROR_ON_UNDEFINED_SYMBOLS=0")
    environment = {"NODE_PATH": "/usr/share/nodejs"} | os.environ
    command = ["emcc", *flags, "-sEXPORTED_FUNCTIONS=_malloc,_free,_main", "checked.c", "-o", "checked.wasm"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def overflowed(pointer: int) -> None:
        raise AssertionError(f"the guest takes {pointer} for an overflow")

    async def wait(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def main() -> None:
        functions = {"wait_": wait, "__handle_stack_overflow": overflowed}
        imports = {"env": functions | {"emscripten_notify_memory_growth": lambda memory: None}}
        guest = await caesura.load(tmp_path / "checked.wasm", imports, wasi=caesura.Wasi(), cache=False)
        guest.call_nowait("emscripten_stack_init")
        ends = [guest.call_nowait(f"emscripten_stack_get_{end}") for end in ("base", "end")]
        guest.call_nowait("__set_stack_limits", *ends)
        assert await asyncio.gather(*[guest.call("work", 50) for _ in range(3)]) == [8, 8, 8]
        assert guest.call_nowait("emscripten_stack_get_free") == ends[0] - ends[1]
        assert [guest.call_nowait(f"emscripten_stack_get_{end}") for end in ("base", "end")] == ends

    run(main())
