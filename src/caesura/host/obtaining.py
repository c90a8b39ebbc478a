"""Getting compiled modules without stopping the event loop: from memory, from the disk, or made anew.

Looking has threads of its own: reading a file, hashing it, mapping what the cache has. A program that is there is not
held up by what others compile (see `compile_queue`).

All of it works after a `fork`, in the parent and in the child, which begins with threads and workers of its own. What
compiles is imported when something is to be compiled: a process that only goes on with a saved guest starts without.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from caesura.host import cache, cache_limit
from caesura.host.compiled_modules import Key, find_cached, find_compiled
from caesura.host.compiling import Provided, Recipe
from caesura.host.fork_locks import inside
from caesura.host.lanes import Lane, in_lane
from caesura.host.program import CompiledModule, LinkedProgram
from caesura.host.sources import Source, known_digest, read_source

if TYPE_CHECKING:
    from caesura.host.compile_queue import CompileQueue

_LOOKING: Final = 4


async def obtain_compiled(source: Source, recipe: Recipe, provided: Provided, *, use_cache: bool) -> CompiledModule:
    """Return a compiled module. Raises what `compile_module` raises, and UsageError for a file that cannot be read."""
    digest = known_digest(source)
    found = find_compiled((digest, recipe)) if digest is not None else None
    if found is not None:
        return found
    place = cache.folder() if use_cache and cache_limit.limit() > 0 else None
    looked = await in_lane(_looking, lambda: _look(source, recipe, place))
    if isinstance(looked, CompiledModule):
        return looked
    from caesura.host.compile_queue import Job

    data, key = looked
    return await _compile_queue().make(Job(data, key, provided, place))


def obtain_compiled_now(source: Source, recipe: Recipe, provided: Provided, *, use_cache: bool) -> CompiledModule:
    """Do what `obtain_compiled` does, but stop the thread: for programs that have nothing else to do."""
    place = cache.folder() if use_cache else None
    looked = _look(source, recipe, place)
    if isinstance(looked, CompiledModule):
        return looked
    from caesura.host.compile_queue import Job

    data, key = looked
    return _compile_queue().make_now(Job(data, key, provided, place))


async def link(compiled: CompiledModule, provided: Provided) -> LinkedProgram:
    """Return the program that is linked with what is there. Raises UsageError if that is not all it imports."""
    if compiled.is_linked_quickly(provided):
        return compiled.program(provided)

    def work() -> LinkedProgram:
        with inside.mapping:
            return compiled.program(provided)

    return await in_lane(_looking, work)


def _look(source: Source, recipe: Recipe, place: Path | None) -> CompiledModule | tuple[bytes, Key]:
    """Return a compiled module from memory or from the cache, or what one is made of."""
    digest = known_digest(source, place)
    found = _find((digest, recipe), place) if digest is not None else None
    if found is not None:
        return found  # and a file has not been read
    data, digest = read_source(source, place)
    found = _find((digest, recipe), place)
    return (data, (digest, recipe)) if found is None else found


def _find(key: Key, place: Path | None) -> CompiledModule | None:
    return find_compiled(key) or (find_cached(place, key) if place is not None else None)


_looking = Lane("looking", _LOOKING)
_queue: CompileQueue | None = None


def _compile_queue() -> CompileQueue:
    """Return what compiles in this process."""
    global _queue
    if _queue is None:
        from caesura.host.compile_queue import CompileQueue

        _queue = CompileQueue()
    return _queue


def _begin_anew() -> None:
    """Begin anew in a process that was forked."""
    global _looking, _queue
    _looking = Lane("looking", _LOOKING)
    if _queue is not None:
        from caesura.host.workers import abandon_workers

        abandon_workers()
        _queue = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
