"""Getting compiled modules without stopping the event loop: from memory, from the disk, or made anew.

Three kinds of work have threads of their own, so that none waits for a slower one:

* looking: reading a file, hashing it, mapping what the cache has. A program that is there is not held up by what others
  compile;
* making what is small, in a thread, where it takes a few milliseconds. Some small modules take long to instrument or to
  compile, as their code shows (see `effort`): these are left to the next;
* making the others, in worker processes (see `workers`), a bounded number at a time. The threads only wait for them.

What several ask for is made once. When the last of them has been cancelled, the work is: a worker is killed.

All of it works after a `fork`, in the parent and in the child, which begins with threads and workers of its own. A
`fork` waits until no thread is inside Wasmtime, whose locks the child would find locked for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import wasmtime

from caesura.errors import MalformedModule, ResourceError
from caesura.host import cache, cache_limit, warning, workers
from caesura.host.compiling import CompiledCode, Prepared, Provided, Recipe, compile_prepared, prepare_module
from caesura.host.description import Description
from caesura.host.engines import engine_of
from caesura.host.lanes import Lane
from caesura.host.making_memory import memory_for
from caesura.host.messages import Request
from caesura.host.program import CompiledModule, Key, Program, find_compiled, keep_compiled, load_code
from caesura.host.sources import Source, known_digest, read_source
from caesura.host.text import assemble, is_text

_T = TypeVar("_T")

# What a thread may instrument: bytes, and nanoseconds for which the transformation, where it runs compiled, may hold
# Python's lock. A worker's start takes 0.2 seconds.
_SMALL: Final = 16 * 1024
_MOST_INSTRUMENTING: Final = 10_000_000

# What a thread may compile: nanoseconds beyond what goes with the size.
_MOST_COMPILING: Final = 25_000_000

# How often a module is tried again whose worker was killed: the system chooses whom to kill, not always the culprit.
_RETRIES: Final = 1

_LOOKING: Final = 4
_MOST_WORKERS: Final = 4


def worker_limit() -> int:
    """Return how many modules are made in processes at a time: as many as there are processors, up to four."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    return min(_MOST_WORKERS, os.cpu_count() or 1)


async def obtain_compiled(source: Source, recipe: Recipe, provided: Provided, use_cache: bool) -> CompiledModule:
    """Return a compiled module. Raises what `compile_module` raises, and UsageError for a file that cannot be read."""
    digest = known_digest(source)
    found = find_compiled((digest, recipe)) if digest is not None else None
    if found is not None:
        return found
    maker = _maker
    place = cache.folder() if use_cache and cache_limit.limit() > 0 else None
    looked = await _in_lane(maker.looking, lambda: maker.look(source, recipe, place))
    if isinstance(looked, CompiledModule):
        return looked
    data, key = looked
    return await maker.make(_Job(data, key, provided, place))


async def link(compiled: CompiledModule, provided: Provided) -> Program:
    """Return the program that is linked with what is there. Raises UsageError if that is not all it imports."""
    if compiled.is_linked_quickly(provided):
        return compiled.program(provided)
    maker = _maker

    def work() -> Program:
        with maker.mapping:
            return compiled.program(provided)

    return await _in_lane(maker.looking, work)


def obtain_compiled_now(source: Source, recipe: Recipe, provided: Provided, use_cache: bool) -> CompiledModule:
    """Do what `obtain_compiled` does, but stop the thread: for programs that have nothing else to do."""
    place = cache.folder() if use_cache else None
    looked = _maker.look(source, recipe, place)
    if isinstance(looked, CompiledModule):
        return looked
    data, key = looked
    return _maker.make_now(_Job(data, key, provided, place))


async def _in_lane(lane: Lane, work: Callable[[], _T]) -> _T:
    """Let a thread do some work and wait for it."""
    waiter = _Waiter[_T]()
    lane.put(lambda: waiter.tell(*_outcome(work)))
    return await waiter.future


def _outcome(work: Callable[[], _T]) -> tuple[_T | None, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:
        return None, error


class _Waiter(Generic[_T]):
    """Somebody who waits, in a loop of his own, for what a thread finds out."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[_T] = self._loop.create_future()

    def tell(self, result: _T | None, failure: BaseException | None) -> None:
        """Tell the result, or what was raised instead; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._arrive, result, failure)

    def _arrive(self, result: Any, failure: BaseException | None) -> None:
        if self.future.done():
            return  # cancelled
        if failure is not None:
            self.future.set_exception(failure)
        else:
            self.future.set_result(result)


class _Job:
    """A module that is to be made, and who waits for it."""

    def __init__(self, data: bytes, key: Key, provided: Provided, place: Path | None) -> None:
        self.data = data
        self.key = key
        self.provided = provided
        self.place = place
        self.waiters: set[_Waiter[CompiledModule]] = set()
        self.worker: workers.Worker | None = None
        self.cancelled = False

    @property
    def recipe(self) -> Recipe:
        """How the module is made."""
        return self.key[1]

    def cancel(self) -> None:
        """End the work, in the middle if a process does it."""
        self.cancelled = True
        worker = self.worker
        if worker is not None:
            worker.kill()

    def keep(self, made: CompiledCode) -> None:
        """Put what was made into the cache."""
        if self.place is not None:
            reason = cache.write(self.place, _entry_name(self.key), made)
            if reason:
                cache.warn(self.place, reason)


class _Maker:
    """The threads of a process that make modules, and what they are to make."""

    def __init__(self) -> None:
        self.looking = Lane("looking", _LOOKING)
        self._small = Lane("making", 1)
        self._large = Lane("waiting", worker_limit())
        self._lock = threading.Lock()
        self._jobs: dict[tuple[Key, Provided, Path | None], _Job] = {}
        self._idle: list[workers.Worker] = []
        # Each is held while a thread is inside Wasmtime.
        self.mapping = threading.Lock()
        self.compiling = threading.Lock()

    def look(self, source: Source, recipe: Recipe, place: Path | None) -> CompiledModule | tuple[bytes, Key]:
        """Return a compiled module from memory or from the cache, or what one is made of."""
        digest = known_digest(source, place)
        found = self._known(digest, recipe, place) if digest is not None else None
        if found is not None:
            return found  # and a file has not been read
        data, digest = read_source(source, place)
        found = self._known(digest, recipe, place)
        return (data, (digest, recipe)) if found is None else found

    def _known(self, digest: bytes, recipe: Recipe, place: Path | None) -> CompiledModule | None:
        key = (digest, recipe)
        return find_compiled(key) or (self._cached(place, key) if place is not None else None)

    def _cached(self, place: Path, key: Key) -> CompiledModule | None:
        recipe = key[1]
        with cache.opened(place, _entry_name(key)) as entry:
            if entry is None:
                return None
            try:
                description = Description.from_json(entry.description)
                with self.mapping:
                    engine = engine_of(recipe.engine)
                    module = wasmtime.Module.deserialize_file(engine, entry.path)
                made = CompiledModule(module, description, recipe.engine)
            except (wasmtime.WasmtimeError, ValueError, KeyError, TypeError):
                return None  # damaged, or another Wasmtime's
        return keep_compiled(key, made)

    async def make(self, job: _Job) -> CompiledModule:
        """Return a module that is neither in memory nor in the cache; if it is being made already, wait for that."""
        name = (job.key, job.provided, job.place)
        waiter = _Waiter[CompiledModule]()
        with self._lock:
            known = self._jobs.get(name)
            job = known or job
            job.waiters.add(waiter)
            self._jobs[name] = job
        if known is None:
            lane, work = (self._small, self._make_if_quick) if len(job.data) <= _SMALL else self._slow
            lane.put(lambda: self._fulfil(name, job, work))
        try:
            return await waiter.future
        except asyncio.CancelledError:
            with self._lock:
                job.waiters.discard(waiter)
                is_unwanted = not job.waiters and self._jobs.get(name) is job
                if is_unwanted:
                    del self._jobs[name]
            if is_unwanted:
                job.cancel()
            raise

    def make_now(self, job: _Job) -> CompiledModule:
        """Return a module that is neither in memory nor in the cache, made in or for this thread."""
        made = self._make_if_quick(job) if len(job.data) <= _SMALL else None
        return made or self._make_elsewhere(job)

    @property
    def _slow(self) -> tuple[Lane, Callable[[_Job], CompiledModule]]:
        return self._large, self._make_elsewhere

    def _fulfil(
        self, name: tuple[Key, Provided, Path | None], job: _Job, work: Callable[[_Job], CompiledModule | None]
    ) -> None:
        """Do some work and tell whoever waits; if it turns out to be no work for this thread, pass it on."""
        result: CompiledModule | None = None
        failure: BaseException | None = None
        if not job.cancelled:
            result, failure = _outcome(lambda: find_compiled(job.key) or work(job))
            if result is None and failure is None:
                lane, work = self._slow
                lane.put(lambda: self._fulfil(name, job, work))
                return
        with self._lock:
            if self._jobs.get(name) is job:
                del self._jobs[name]
            waiters = list(job.waiters)
        for waiter in waiters:
            waiter.tell(result, failure)

    def _make_if_quick(self, job: _Job) -> CompiledModule | None:
        """Make a small module in this thread, or return None if that would take long."""
        data = assemble(job.data) if is_text(job.data) else job.data
        if len(data) > _SMALL or not _is_instrumented_quickly(data):
            return None
        from caesura.host.effort import compiling_effort  # programs from the cache do without
        from caesura.wasm.module import Module

        prepared = prepare_module(data, job.recipe, job.provided)
        if compiling_effort(Module(prepared.module)) > _MOST_COMPILING:
            return None
        return self._compile_here(job, prepared)

    def _make_here(self, job: _Job) -> CompiledModule:
        """Make a module in this thread, however long it takes."""
        data = assemble(job.data) if is_text(job.data) else job.data
        return self._compile_here(job, prepare_module(data, job.recipe, job.provided))

    def _compile_here(self, job: _Job, prepared: Prepared) -> CompiledModule:
        with self.compiling:
            made = compile_prepared(prepared, job.recipe, parallel=False)
        job.keep(made)
        with self.compiling:
            return keep_compiled(job.key, load_code(made, job.recipe.engine))

    def _make_elsewhere(self, job: _Job) -> CompiledModule:
        """Make a module in a worker process, or here if there can be none."""
        try:
            answer, code = self._ask(job)
        except workers.NoWorker as reason:
            warning.warn(
                f"a module is instrumented in a thread, and the event loop may stand still meanwhile: {reason}",
                RuntimeWarning,
            )
            return self._make_here(job)
        if answer.not_kept and job.place is not None:
            cache.warn(job.place, answer.not_kept)
        if not code and job.place is not None:
            found = self._cached(job.place, job.key)
            return found if found is not None else self._make_here(job)  # somebody has removed it already
        with self.mapping:
            return keep_compiled(job.key, load_code(CompiledCode(answer.description, code), job.recipe.engine))

    def _ask(self, job: _Job) -> tuple[Any, bytes]:
        """Let a worker make a module, one that is idle if there is one; if that is killed, try again once.

        Raises ResourceError if the next one is killed, too.
        """
        request = Request(job.recipe, job.provided, job.place, _entry_name(job.key), memory_for(len(job.data)))
        killed = 0
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            is_new = worker is None
            worker = worker or workers.Worker()
            job.worker = worker
            if job.cancelled:
                worker.end()
                raise asyncio.CancelledError
            try:
                answer = worker.ask(request, job.data)
            except workers.WorkerGone:
                if job.cancelled:
                    raise asyncio.CancelledError from None
                if is_new:
                    raise workers.NoWorker("it ended before it took the module") from None
                continue
            except workers.WorkerKilled as error:
                if job.cancelled:
                    raise asyncio.CancelledError from None
                killed += 1
                if killed > _RETRIES:
                    raise ResourceError(
                        f"the process that was to instrument and compile the module was ended from outside ({error}), "
                        "and so was the one before: the system may have run out of memory; try again later"
                    ) from None
                continue
            finally:
                self._release(job)
            return answer

    def _release(self, job: _Job) -> None:
        """Keep a worker that has done its work, if it lives."""
        worker, job.worker = job.worker, None
        if worker is None or not worker.is_alive():
            return
        with self._lock:
            self._idle.append(worker)


def _entry_name(key: Key) -> str:
    digest, recipe = key
    return cache.key_of(digest, repr(recipe.import_list), repr(recipe.settings), repr(recipe.engine))


def _is_instrumented_quickly(data: bytes) -> bool:
    """Tell whether a binary module can be instrumented in a thread without harm to an event loop.

    Raises MalformedModule for some of what is malformed; what is wrong inside of a function shows elsewhere.
    """
    from caesura.host.effort import instrumenting_effort
    from caesura.wasm.module import Module

    module = Module(data)
    try:
        return instrumenting_effort(module, _MOST_INSTRUMENTING) <= _MOST_INSTRUMENTING
    except MalformedModule:
        return False  # how much of it is looked at before it is refused, nobody knows


_maker = _Maker()


def _restart() -> None:
    """Begin anew in a process that was forked."""
    global _maker
    workers.abandon_workers()
    _maker = _Maker()


def _before_fork() -> None:
    _maker.mapping.acquire()
    _maker.compiling.acquire()


def _after_fork() -> None:
    _maker.mapping.release()
    _maker.compiling.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_restart)
