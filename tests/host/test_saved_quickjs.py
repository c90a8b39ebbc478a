"""QuickJS of npm's `quickjs-wasi`, saved inside a comparator inside a generator, from Python and from JavaScript.

The package saves QuickJS between calls only, when its stack is empty; its states are what ours are compared with.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.snapshots.compression import compress
from caesura.snapshots.container import PAGES
from examples import quickjs_saved
from examples.quickjs_saved import IMPORTS, SCRIPT, QuickJS, compare
from tests.support.paths import DRIVERS, REPOSITORY, npm_file

pytestmark = pytest.mark.one_form

MODULE = npm_file("quickjs-wasi/quickjs.wasm")
VALUE = "sorted: apple fig pear quince"


def node(*arguments: str | Path) -> list[str]:
    """Run the driver, and return the lines that it prints."""
    program = shutil.which("node")
    assert program is not None, "the tests need Node (20 or later) on the path"
    command = [program, str(DRIVERS / "quickjs_wasi.mjs"), *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the script, and the module as hosts in both languages run it."""
    folder = tmp_path_factory.mktemp("quickjs")
    script, module = folder / "script.js", folder / "quickjs.wasm"
    script.write_text(SCRIPT)
    options = caesura.Options(imports=("env.host_call",), thunks=True, snapshots=True)
    module.write_bytes(caesura.instrument(MODULE.read_bytes(), options).module)
    return {"script": script, "module": module}


def test_the_example_runs() -> None:
    command = [sys.executable, "-m", "examples.quickjs_saved", str(MODULE)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    *asked, value = done.stdout.splitlines()
    assert value == VALUE
    assert len(asked) == 5 and asked[0].startswith("pear or fig? saved in ")


def test_answers_of_forks_differ() -> None:
    engine = quickjs_saved.load(MODULE)
    engine.begin(SCRIPT, "ask")
    state = bytes(engine.guest.snapshot())
    values = []
    for order in (1, -1):
        fork = quickjs_saved.restore(state)
        step: Any = fork.guest.pending[0]
        while isinstance(step, caesura.PendingCall):
            step = fork.answer(step, order * compare(*fork.asked(step)))
        values.append(fork.text_of(step))
    assert values == [VALUE, "sorted: quince pear fig apple"]


def test_an_error_is_caught_where_the_script_asks() -> None:
    script = 'try { [2, 1].sort((one, other) => ask(one, other)) } catch (error) { "caught " + error.message }'
    engine = quickjs_saved.load(MODULE)
    engine.begin(script, "ask")
    again = quickjs_saved.restore(bytes(engine.guest.snapshot()))
    call = again.guest.call_nowait
    error = call("qjs_new_error")
    text = again._text("no answer")
    call("qjs_set_prop_string", error, again._text("message"), call("qjs_new_string", text, len("no answer")))
    call("qjs_throw", error)
    step = again.guest.pending[0].resume(0)
    assert again.text_of(step) == "caught no answer"


def test_python_and_node_take_turns(files: dict[str, Path], tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert node("begin", files["module"], files["script"], first) == ["pear fig"]

    async def answer_first() -> None:
        engine = await restored(first)
        [call] = engine.guest.pending
        assert engine.asked(call) == ["pear", "fig"]
        step = await go_on(engine, call)
        assert isinstance(step, caesura.PendingCall)
        assert engine.asked(step) == ["pear", "quince"]
        engine.guest.snapshot().save(second)

    async def answer_rest() -> None:
        engine = await restored(third)
        step: caesura.PendingCall | int = engine.guest.pending[0]
        while isinstance(step, caesura.PendingCall):
            step = await go_on(engine, step)
        assert engine.text_of(step) == VALUE

    async def restored(state: Path) -> QuickJS:
        return QuickJS(await caesura.restore(state, IMPORTS, wasi=caesura.Wasi(), module=files["module"]))

    async def go_on(engine: QuickJS, call: caesura.PendingCall) -> caesura.PendingCall | int:
        number = engine.guest.call_nowait("qjs_new_number", compare(*engine.asked(call)))
        step: caesura.PendingCall | int = await call.resume(number)  # JavaScript has begun it as one that is awaited
        return step

    asyncio.run(answer_first())
    assert node("answer", files["module"], second, third) == ["pear quince", "quince apple"]
    asyncio.run(answer_rest())
    assert node("end", files["module"], second) == ["pear quince", VALUE]


def test_states_are_no_larger_than_the_packages_own(files: dict[str, Path], tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert node("own", files["script"], own) == [VALUE]
    engine = quickjs_saved.load(MODULE)
    engine.begin(SCRIPT, "ask")
    snapshot = engine.guest.snapshot()
    memory = [content for memory in snapshot.state.memories for _, content in memory.runs]
    ours = len(bytes(snapshot))
    # Not half as large: what is as the module makes it is left out. Frames, the table of functions, and which module it
    # is come in addition, and are 2 KB.
    assert 2 * ours <= len(compress(PAGES, [own.read_bytes()]).stored)
    assert ours <= len(compress(PAGES, memory).stored) + 2_500
