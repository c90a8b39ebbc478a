"""Large modules are made in processes of their own: shared, bounded, killed, missed, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.host import compile_queue, messages, obtaining, worker, worker_memory, workers
from caesura.host.compiling import Provided, Recipe
from caesura.host.engines import EngineSettings, default_reservation
from caesura.host.settings import ProgramSettings
from tests.host.support import WAITER, run
from tests.support.engine import assemble
from tests.support.paths import REPOSITORY

pytestmark = [
    pytest.mark.one_form,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and forks are other things there"),
]


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    return value


IMPORTS = {"env": {"wait": wait}}


def large(number: int = 0) -> bytes:
    """Return a module that is made in a process for its size, and is quickly made."""
    data = f'(data (i32.const 0) "{number:04}{"x" * 30_000}")'
    return assemble(WAITER.decode().rstrip().removesuffix(")") + data + ")")


async def load_and_call(module: bytes, *, use_cache: bool = False) -> None:
    async with await caesura.load(module, IMPORTS, cache=use_cache) as guest:
        assert await guest.call("outer", 1) == 101


def processes() -> list[int]:
    return [worker.process.pid for worker in workers._running]


def lives(process: int) -> bool:
    """Tell whether a process runs; one that has ended and that nobody asked for does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return done.stdout.strip() not in ("", "Z", "Z+", "Zs")


async def until_gone(process: int) -> None:
    while lives(process):
        await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Begin and end without workers."""
    workers.end_workers()
    yield
    workers.end_workers()


def test_a_process_makes_one_module_after_the_other() -> None:
    async def main() -> None:
        await load_and_call(large(1))
        (process,) = processes()
        await load_and_call(large(2))
        await load_and_call(large(3), use_cache=True)
        assert processes() == [process]
        await load_and_call(WAITER)
        assert processes() == [process]

    run(main())


def test_what_is_wrong_with_a_module_is_said_as_ever() -> None:
    async def main() -> None:
        broken = large() + b"\x63\x01\x00"
        with pytest.raises(caesura.MalformedModule, match=r"at byte offset .*unknown section id 99") as caught:
            await caesura.load(broken, IMPORTS, cache=False)
        assert caught.value.offset == len(large()) and caught.value.reason.startswith("unknown section id 99")
        with pytest.raises(caesura.UsageError, match=r"imports what it is not given: env\.wait"):
            await caesura.load(large(), cache=False)
        await load_and_call(large())
        assert len(processes()) == 1

    run(main())


def test_a_process_that_was_killed_is_missed_by_its_module_only() -> None:
    async def main() -> None:
        await load_and_call(large(1))
        (process,) = processes()
        os.kill(process, signal.SIGKILL)  # while it waits
        await load_and_call(large(2))
        (other,) = processes()
        assert other != process
        os.kill(other, signal.SIGSTOP)  # it takes the next module, and does nothing
        load = asyncio.create_task(caesura.load(large(3), IMPORTS, cache=False))
        await asyncio.sleep(0.1)
        os.kill(other, signal.SIGKILL)
        await load_and_call(large(4))
        async with await load as guest:  # it had not said that it had taken it
            assert await guest.call("outer", 1) == 101

    run(main())


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows each time that a process says that it has taken a module."""
    said: list[str] = []
    read_really = messages.read_head

    def read_head(pipe: Any) -> Any:
        head = read_really(pipe)
        if head == messages.ACCEPTED:
            said.append(head)
        return head

    monkeypatch.setattr(messages, "read_head", read_head)
    return said


async def until_begun(begun: list[str], times: int) -> None:
    while len(begun) < times:
        await asyncio.sleep(0.001)


def test_a_process_that_ends_in_the_middle(begun: list[str]) -> None:
    """As when the system runs out of memory; here it is told to compile a module that keeps it busy for long."""

    async def main() -> None:
        loads = [asyncio.create_task(caesura.load(busy(), IMPORTS, cache=False)) for _ in range(2)]
        killed: set[int] = set()
        for turn in range(2):  # it is tried again, once
            await until_begun(begun, turn + 1)
            (process,) = set(processes()) - killed
            os.kill(process, signal.SIGKILL)
            killed.add(process)
        for load in loads:
            with pytest.raises(caesura.ResourceError, match=r"ended from outside \(by signal 9\).*out of memory"):
                await load
        await load_and_call(large())

    run(main())


def many_elements(count: int) -> bytes:
    """Return a module whose table is filled as it starts: Wasmtime compiles code for each element."""
    table = f"(table {count} funcref) (elem (i32.const 0) func {'$f ' * count})"
    return assemble(f"{WAITER.decode().rstrip().removesuffix(')')} (func $f) {table})")


def many_globals(count: int) -> bytes:
    """Return a module of which the transformation keeps more in mind than there are bytes."""
    return assemble(f"{WAITER.decode().rstrip().removesuffix(')')} {'(global i32 (i32.const 0))' * count})")


@pytest.mark.skipif(not worker_memory.IS_LIMITED, reason="processes have a limit for their memory on Linux")
@pytest.mark.parametrize(
    ("make", "count"), [(many_elements, 1_100_000), (many_globals, 500_000)], ids=["Wasmtime", "ours"]
)
def test_a_module_that_takes_too_much_memory(
    make: Callable[[int], bytes], count: int, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two has no more: the module is refused, without being tried again."""
    module = make(count)

    async def main() -> None:
        monkeypatch.setenv(worker_memory.VARIABLE, "150M")
        with pytest.raises(caesura.UnsupportedModule, match=r"more than 157,286,400 bytes of memory.*CAESURA_WORKER"):
            await caesura.load(module, IMPORTS, cache=False)
        assert len(begun) == 1
        await load_and_call(large())

    run(main())


@pytest.mark.parametrize("text", [False, True])
def test_functions_and_exports_are_given_what_the_compiler_takes_for_each(text: bool) -> None:
    """That is some 10 KiB, and an export that may suspend is two functions in the end."""
    count = 3_000
    functions = "".join(f'(func (export "f{number}") call 0)' for number in range(count))
    module = f"(module {functions})".encode() if text else assemble(f"(module {functions})")
    spared = worker_memory.memory_for(module) - worker_memory.memory_for(bytes(len(module)))
    assert spared == (12 << 10) * 2 * count


def test_a_module_that_counts_more_functions_than_there_can_be_gets_no_more_than_half_of_the_machine() -> None:
    size, claimed = b"\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f"
    for lie in (b"\x03\x05" + claimed, b"\x03" + claimed + claimed, b"\x03" + claimed, b"\x07" + size, b"\x07"):
        least = (1 << 30) + 64 * (8 + len(lie))
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        given = worker_memory.memory_for(b"\0asm\1\0\0\0" + lie)
        assert least <= given <= max(least + 5 * (12 << 10), machine // 2)


def test_how_much_memory_a_process_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        await load_and_call(large(1))
        assert worker_memory.memory_for(bytes(1000)) == (1 << 30) + 64 * 1000
        for given, wanted in (("3G", 3 << 30), ("5", 5)):
            monkeypatch.setenv(worker_memory.VARIABLE, given)
            assert worker_memory.memory_for(bytes(1000)) == wanted
        if worker_memory.IS_LIMITED:
            with pytest.raises(caesura.UnsupportedModule, match="more than 5 bytes"):
                await caesura.load(large(2), IMPORTS, cache=False)
        monkeypatch.setenv(worker_memory.VARIABLE, "much")
        with pytest.raises(caesura.UsageError, match="CAESURA_WORKER_MEMORY is 'much': expected a number of bytes"):
            await caesura.load(large(2), IMPORTS, cache=False)
        monkeypatch.delenv(worker_memory.VARIABLE)
        await load_and_call(large(2))  # the limit is each module's own

    run(main())


def test_a_module_is_made_although_its_process_was_killed(begun: list[str]) -> None:
    async def main() -> None:
        await load_and_call(large())
        (process,) = processes()
        load = asyncio.create_task(caesura.load(bomb(170), IMPORTS, cache=False))
        await until_begun(begun, 2)
        os.kill(process, signal.SIGKILL)
        (await load).close()
        assert len(processes()) == 1 and processes() != [process]

    run(main())


def bomb(calls: int) -> bytes:
    """Return a module that is small, and takes long: the results of all calls stand on the stack."""
    body = f"{'(call $wait (i32.const 0))' * calls} {'drop ' * calls}"
    return assemble(f'(module (import "env" "wait" (func $wait (param i32) (result i32))) (func (export "f") {body}))')


def test_small_modules_that_take_long_hold_up_nobody() -> None:
    async def main() -> None:
        assert len(bomb(300)) < 2000
        loads = [asyncio.create_task(caesura.load(bomb(300 + n), IMPORTS, cache=False)) for n in range(8)]
        await load_and_call(WAITER)
        assert not any(load.done() for load in loads)
        while not processes():
            await asyncio.sleep(0.01)
        begun = processes()
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        for process in begun:
            await until_gone(process)
        while processes():
            await asyncio.sleep(0.01)
        await load_and_call(WAITER)

    run(main())


def test_a_text_that_takes_long_is_made_in_a_process() -> None:
    async def main() -> None:
        text = b'(module (import "env" "wait" (func $wait (param i32) (result i32))) (func (export "f")'
        text += b"(call $wait (i32.const 0))" * 80 + b"drop " * 80 + b"))"
        (await caesura.load(text, IMPORTS, cache=False)).close()
        assert len(processes()) == 1

    run(main())


def test_a_time_limit_for_making_a_module() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await caesura.compile(busy(), IMPORTS, cache=False)
        while processes():
            await asyncio.sleep(0.01)

    run(main())


def busy() -> bytes:
    """Return a module that takes a minute."""
    body = f"(func (param i32) (result i32) {'(drop (call $wait (local.get 0)))' * 300} (local.get 0))"
    return assemble(f'(module (import "env" "wait" (func $wait (param i32) (result i32))) {body * 4000})')


def test_cancelling_ends_the_work_of_the_last_who_waits() -> None:
    async def main() -> None:
        module = busy()
        loads = [asyncio.create_task(caesura.load(module, IMPORTS, cache=False)) for _ in range(2)]
        while not processes():
            await asyncio.sleep(0.01)
        (process,) = processes()
        loads[0].cancel()
        await asyncio.sleep(0.1)
        assert lives(process) and not loads[1].done()
        loads[1].cancel()
        await until_gone(process)
        await load_and_call(large())

    run(main())


def test_uploads_are_bounded_and_others_go_past() -> None:
    async def main() -> None:
        await load_and_call(large(), use_cache=True)
        obtaining._compile_queue()._idle.clear()
        workers.end_workers()
        module = busy()
        loads = [
            asyncio.create_task(caesura.load(module + bytes([0, 2, 1, 65 + n]), IMPORTS, cache=False)) for n in range(9)
        ]
        while len(processes()) < compile_queue.worker_limit():
            await asyncio.sleep(0.01)
        await load_and_call(large(), use_cache=True)
        await load_and_call(WAITER)
        assert len(processes()) == compile_queue.worker_limit()
        assert not any(load.done() for load in loads)
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    run(main())


def test_loops_in_several_threads_wait_for_one_module() -> None:
    threads = [threading.Thread(target=lambda: run(load_and_call(large(5)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(processes()) <= compile_queue.worker_limit()


SCRIPT = f"""
import asyncio, os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
import caesura
from caesura.host import compile_queue, obtaining, workers
from tests.host.test_workers import IMPORTS, busy, large, load_and_call
"""


def script(code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a program, as a file without a guard for its main part."""
    file = folder / "program.py"
    file.write_text(SCRIPT + code)
    command = [sys.executable, *options, str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)


def test_a_program_without_a_guard(tmp_path: Path) -> None:
    code = """
print("once")
asyncio.run(load_and_call(large()))
print(len(workers._running))
"""
    done = script(code, tmp_path, "-X", "dev", "-W", "error")
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing ")]  # asyncio: a slow step
    assert (done.returncode, done.stdout, said) == (0, "once\n1\n", [])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("sys.executable = None", "no Python interpreter"),
        ("sys.executable = '/bin/sh'", "no Python interpreter"),
        ("sys.executable = '/does/not/exist/python3'", "cannot start"),
        (
            "os.mkdir('bin'); os.symlink('/bin/echo', 'bin/python'); sys.executable = 'bin/python'",
            "does not run caesura",
        ),
        ("sys.frozen = True", "no Python interpreter"),
    ],
)
def test_where_no_process_can_be_started_a_thread_does_it(spoil: str, said: str, tmp_path: Path) -> None:
    done = script(f"{spoil}\nasyncio.run(load_and_call(large()))\nprint(len(workers._running))", tmp_path)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert "RuntimeWarning: a module is instrumented in a thread" in done.stderr and said in done.stderr


def test_odd_places_and_environments(tmp_path: Path) -> None:
    code = """
os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
os.environ.clear()
os.environ["PYTHONINSPECT"] = "1"
asyncio.run(load_and_call(large()))
print(len(workers._running), flush=True)
os._exit(0)
"""
    assert script(code, tmp_path).stdout == "1\n"


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit(0)", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("work", ["large()", "busy()"])
def test_no_process_outlives_its_program(end: str, work: str, tmp_path: Path) -> None:
    code = f"""
async def main():
    load = asyncio.create_task(caesura.load({work}, IMPORTS, cache=False))
    while not workers._running:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    print(*[worker.process.pid for worker in workers._running], flush=True)
    {end}
asyncio.run(main())
"""
    done = script(code, tmp_path)
    (process,) = done.stdout.split()
    asyncio.run(asyncio.wait_for(until_gone(int(process)), 20))


FORK = '''
small = b"""(module (import "env" "wait" (func (param i32) (result i32)))
  (func (export "outer") (param i32) (result i32) i32.const 101))"""
async def all():
    await load_and_call(large(1), use_cache=True)
    for module in (large(2), small, large(1)):
        await load_and_call(module)
asyncio.run(load_and_call(large(1), use_cache=True))
{before}
pid = os.fork()
if pid == 0:
    try:
        asyncio.run(asyncio.wait_for(all(), 60))
        print("child", len(workers._running), flush=True)
    finally:
        workers.end_workers()
        os._exit(0)
os.waitpid(pid, 0)
asyncio.run(load_and_call(large(3)))
print("parent", len(workers._running))
'''


@pytest.mark.parametrize(
    "before", ["", "workers.end_workers()", "guest = asyncio.run(caesura.load(large(4), IMPORTS))"]
)
def test_after_a_fork_parent_and_child_go_on(before: str, tmp_path: Path) -> None:
    done = script(FORK.format(before=before), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "child 1\nparent 1\n", "")


def test_errors_survive_being_sent() -> None:
    import pickle

    for error in (
        caesura.MalformedModule("wrong", 5, "function 3"),
        caesura.UnsupportedModule("too new"),
        caesura.UsageError("wrong option"),
        caesura.ResourceError("no memory"),
        caesura.InternalError("impossible"),
        caesura.GuestTrap("unreachable", ("inner", "outer")),
        caesura.GuestExit(3),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
        assert vars(again) == vars(error)


@pytest.mark.parametrize("has_cache", [False, True])
def test_what_is_in_the_cache_is_not_sent(has_cache: bool, tmp_path: Path) -> None:
    recipe = Recipe(
        ("env.wait",), ProgramSettings(), EngineSettings(interruptible=False, memory_reservation=default_reservation())
    )
    provided = Provided(frozenset({"env.wait"}), wasi=False)
    place = tmp_path if has_cache else None
    answer, code = worker._answer(messages.Request(recipe, provided, place, "entry", 0), large())
    assert not answer.not_kept
    assert bool(answer.description) is not has_cache
    assert bool(code) is not has_cache
    assert len(list(tmp_path.iterdir())) == has_cache
