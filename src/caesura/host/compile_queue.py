"""Making compiled modules for event loops, in threads and processes, each once for all that want it.

What is small is made in a thread, where it takes a few milliseconds. Some small modules take long to instrument or to
compile, as their code shows (see `effort`): these, and the others, are made in worker processes (see `workers`), a
bounded number at a time. Threads only wait for those. So nobody waits for somebody slower.

What several ask for is made once. When the last of them has been cancelled, the work is: a worker is killed.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from caesura.errors import MalformedModule, ResourceError
from caesura.host import cache, warning, workers
from caesura.host.compiled_modules import Key, entry_name, find_cached, find_compiled, keep_compiled, load_code
from caesura.host.compiling import CompiledCode, GuestModule, Provided, Recipe, compile_guest_module, make_guest_module
from caesura.host.fork_locks import inside
from caesura.host.lanes import Lane, Waiter, outcome
from caesura.host.messages import Request
from caesura.host.program import CompiledModule
from caesura.host.text import assemble, is_text
from caesura.host.worker_memory import memory_for

# What a thread may instrument: bytes, and nanoseconds for which the transformation, where it runs compiled, may hold
# Python's lock. A worker's start takes 0.2 seconds.
_SMALL: Final = 16 * 1024
_MOST_INSTRUMENTING: Final = 10_000_000

# What a thread may compile: nanoseconds beyond what goes with the size.
_MOST_COMPILING: Final = 25_000_000

# How often a module is tried again whose worker was killed: the system chooses whom to kill, not always the culprit.
_RETRIES: Final = 1

_MOST_WORKERS: Final = 4

_Name = tuple[Key, Provided, Path | None]


def worker_limit() -> int:
    """Return how many modules are made in processes at a time: as many as there are processors, up to four."""
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    return min(_MOST_WORKERS, os.cpu_count() or 1)


class Job:
    """A module that is to be made, and who waits for it."""

    def __init__(self, data: bytes, key: Key, provided: Provided, place: Path | None) -> None:
        self.data = data
        self.key = key
        self.provided = provided
        self.place = place
        self.waiters: set[Waiter[CompiledModule]] = set()
        self.worker: workers.Worker | None = None
        self.cancelled = False

    @property
    def name(self) -> _Name:
        """What it is known by: a job with the same name is the same work."""
        return self.key, self.provided, self.place

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
            reason = cache.write(self.place, entry_name(self.key), made)
            if reason:
                cache.warn(self.place, reason)


class CompileQueue:
    """The threads of a process that make modules, and what they are to make."""

    def __init__(self) -> None:
        self._small = Lane("making", 1)
        self._large = Lane("waiting", worker_limit())
        self._lock = threading.Lock()
        self._jobs: dict[_Name, Job] = {}
        self._idle: list[workers.Worker] = []

    async def make(self, job: Job) -> CompiledModule:
        """Return a module that is neither in memory nor in the cache; if it is being made already, wait for that."""
        name = job.name
        waiter = Waiter[CompiledModule]()
        with self._lock:
            known = self._jobs.get(name)
            job = known or job
            job.waiters.add(waiter)
            self._jobs[name] = job
        if known is None:
            lane, work = (self._small, self._make_if_quick) if len(job.data) <= _SMALL else self._slow
            lane.put(lambda: self._fulfil(job, work))
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

    def make_now(self, job: Job) -> CompiledModule:
        """Return a module that is neither in memory nor in the cache, made in or for this thread."""
        made = self._make_if_quick(job) if len(job.data) <= _SMALL else None
        return made or self._make_elsewhere(job)

    @property
    def _slow(self) -> tuple[Lane, Callable[[Job], CompiledModule]]:
        return self._large, self._make_elsewhere

    def _fulfil(self, job: Job, work: Callable[[Job], CompiledModule | None]) -> None:
        """Do some work and tell whoever waits; if it turns out to be no work for this thread, pass it on."""
        result: CompiledModule | None = None
        failure: BaseException | None = None
        if not job.cancelled:
            result, failure = outcome(lambda: find_compiled(job.key) or work(job))
            if result is None and failure is None:
                lane, work = self._slow
                lane.put(lambda: self._fulfil(job, work))
                return
        with self._lock:
            if self._jobs.get(job.name) is job:
                del self._jobs[job.name]
            waiters = list(job.waiters)
        for waiter in waiters:
            waiter.tell(result, failure)

    def _make_if_quick(self, job: Job) -> CompiledModule | None:
        """Make a small module in this thread, or return None if that would take long."""
        data = assemble(job.data) if is_text(job.data) else job.data
        if len(data) > _SMALL or not _is_instrumented_quickly(data):
            return None
        from caesura.host.effort import compiling_effort  # programs from the cache do without
        from caesura.wasm.module import Module

        guest = make_guest_module(data, job.recipe, job.provided)
        if compiling_effort(Module(guest.module)) > _MOST_COMPILING:
            return None
        return self._compile_here(job, guest)

    def _make_here(self, job: Job) -> CompiledModule:
        """Make a module in this thread, however long it takes."""
        data = assemble(job.data) if is_text(job.data) else job.data
        return self._compile_here(job, make_guest_module(data, job.recipe, job.provided))

    def _compile_here(self, job: Job, guest: GuestModule) -> CompiledModule:
        with inside.compiling:
            made = compile_guest_module(guest, job.recipe, parallel=False)
        job.keep(made)
        with inside.compiling:
            return keep_compiled(job.key, load_code(made, job.recipe.engine))

    def _make_elsewhere(self, job: Job) -> CompiledModule:
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
            found = find_cached(job.place, job.key)
            return found if found is not None else self._make_here(job)  # somebody has removed it already
        with inside.mapping:
            return keep_compiled(job.key, load_code(CompiledCode(answer.description, code), job.recipe.engine))

    def _ask(self, job: Job) -> tuple[Any, bytes]:
        """Let a worker make a module, one that is idle if there is one; if that is killed, try again once.

        Raises ResourceError if the next one is killed, too.
        """
        request = Request(job.recipe, job.provided, job.place, entry_name(job.key), memory_for(job.data))
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

    def _release(self, job: Job) -> None:
        """Keep a worker that has done its work, if it lives."""
        worker, job.worker = job.worker, None
        if worker is None or not worker.is_alive():
            return
        with self._lock:
            self._idle.append(worker)


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
