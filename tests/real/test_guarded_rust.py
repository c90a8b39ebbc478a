"""A Rust program by lists of names as its source has them, in both forms in which its compiler mangles names.

What the guard names as missing, one run after the other, comes to the functions that these names stand for, and to
nothing else; instrumented by them the program does what it does when nobody waits.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

import caesura
from caesura.analysis.demangling import DemangledNames
from caesura.analysis.lists import PatternList
from tests.host.support import run
from tests.support.rust import rust_program

MANGLINGS = {"older": (), "newer": ("-C", "symbol-mangling-version=v0")}
# What stands on the stack while somebody is asked: methods of traits that are called through tables, generic functions
# (the newer mangling has what they are generic in), and what of the library calls them.
SOURCE = [
    "tools",
    "order",
    "plugin::asked",
    "plugin::sorted",
    "<plugin::Doubled as plugin::Tool>::run",
    "<plugin::Shown<*> as plugin::Tool>::run",
    "<plugin::Asked as core::fmt::Display>::fmt",
    "core::fmt::write",
    "alloc::fmt::format::format_inner",
    "alloc::slice::merge_sort*",
]
CALLS = [("tools", 4), ("tools", 11), ("order", 5), ("order", 30)]


def answer(value: int) -> int:
    return 37 * value % 11


async def waiting_answer(value: int) -> int:
    await asyncio.sleep(0)
    return answer(value)


async def results(module: bytes, only_list: list[str]) -> list[int]:
    """Return what the program answers if each question to the host waits."""
    options = caesura.Options(only_list=only_list)
    guest = await caesura.load(module, {"env": {"ask": waiting_answer}}, options=options, cache=False)
    return [await guest.call(name, value) for name, value in CALLS]


async def expected(module: bytes) -> list[int]:
    guest = await caesura.load(module, {"env": {"ask": answer}}, cache=False)
    return [guest.call_nowait(name, value) for name, value in CALLS]


def told_as_missing(text: str, known: list[str]) -> list[str]:
    """Return what the guard's error names, which is something, and nothing that it has named before."""
    told = re.search(r"Missing in the list: (\[.*\])", text)
    assert told is not None, text
    missing: list[str] = json.loads(told[1])
    assert missing and not {*missing} & {*known}
    return missing


async def missing_one_run_after_the_other(module: bytes, only_list: list[str]) -> list[str]:
    """Return what the guard names as missing until nothing is."""
    missing: list[str] = []
    while True:
        try:
            assert await results(module, [*only_list, *missing]) == await expected(module)
        except caesura.UsageError as error:
            missing += told_as_missing(str(error), missing)
        else:
            return missing


@pytest.mark.parametrize("mangling", MANGLINGS)
def test_the_guard_names_what_a_list_by_names_in_the_source_has(mangling: str, tmp_path: Path) -> None:
    async def main() -> None:
        module = rust_program("plugin", tmp_path, *MANGLINGS[mangling])
        mangled = await missing_one_run_after_the_other(module, ["nothing"])
        patterns = PatternList(SOURCE, mangled, DemangledNames(mangled))
        assert [name for name in mangled if not patterns.match(name)] == []
        assert len(mangled) >= len(SOURCE) and [name for name in mangled if name.startswith(("_ZN", "_R"))]
        assert await results(module, SOURCE) == await expected(module)

    run(main())


@pytest.mark.parametrize("mangling", MANGLINGS)
@pytest.mark.parametrize("left_out", SOURCE)
def test_what_a_list_by_names_in_the_source_leaves_out_is_named(mangling: str, left_out: str, tmp_path: Path) -> None:
    async def main() -> None:
        module = rust_program("plugin", tmp_path, *MANGLINGS[mangling])
        listed = [name for name in SOURCE if name != left_out]
        missing = await missing_one_run_after_the_other(module, listed)
        patterns = PatternList([left_out], missing, DemangledNames(missing))
        assert missing and all(patterns.match(name) for name in missing)

    run(main())
