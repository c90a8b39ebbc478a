"""What users hand over is looked at by its kind, and refused by the parameter's name before anything is done."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

import caesura
from tests.host.support import WAITER, run


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    return value


IMPORTS: Final = {"env": {"wait": wait}}
NAN: Final = float("nan")

FOR_GUESTS: Final[dict[str, list[Any]]] = {
    "memory_limit": ["64M", [], 1.5, True],
    "table_limit": ["64M", [], 1.5],
    "memories": ["1", 1.0],
    "tables": ["1", 1.0],
    "instances": ["64M", [], 1.5],
    "recursion_limit": [None, NAN, float("inf"), 1.5],
    "shadow_stack_size": ["x", NAN, 1 << 40, 1],
    "stack_space": [-1, 0, True, 1.5, "x", (1,), (1, "x"), (1, 2, 3), [1, 2]],
    "single_stack": [object(), 1],
    "wasi": [True, "x"],
    "imports": [5, [1], "x", 0, {5: {}}, {"env": 5}, {"env": {5: wait}}],
}
FOR_PROGRAMS: Final[dict[str, list[Any]]] = {
    "memory_reservation": ["x", 1.5],
    "native_stack_size": [None, "x", 1.5e6],
    "options": [None, {}],
    "cache": [object(), 1],
    "accept_instrumented": [[], None, 1],
    "interruptible": [object(), 1],
    "source": [None, 5, [1], 1.5],
}


# No number that a parameter takes is so large, not even as a float; the second is one that Python does not write out.
HUGE: Final = (10**400, -(10**5000))
NUMBERS: Final = (
    "memory_limit",
    "table_limit",
    "memories",
    "tables",
    "instances",
    "suspended_calls",
    "recursion_limit",
    "shadow_stack_size",
    "stack_space",
    "time_slice",
    "weight",
    "priority",
    "memory_reservation",
    "native_stack_size",
    "single_stack",
    "preempt",
)


@pytest.mark.parametrize("value", HUGE, ids=["large", "negative"])
def test_huge_integers(value: int) -> None:
    async def main() -> None:
        for name in NUMBERS:
            with pytest.raises(caesura.UsageError, match=name):
                await caesura.load(**{"source": WAITER, "imports": IMPORTS, name: value})  # type: ignore[arg-type]
        for name in ("cpu", "fuel"):
            with pytest.raises(caesura.UsageError, match=f"{name} is an integer of [0-9]+ bits: expected one of 1000"):
                caesura.Budget(**{name: value})
        with pytest.raises(caesura.UsageError, match="stack_space is"):
            await caesura.load(WAITER, IMPORTS, stack_space=(value, value + 100))
        with pytest.raises(caesura.UsageError, match="count is an integer"):
            caesura.limit_guests(value)
        with pytest.raises(caesura.UsageError, match="secondary memory is"):
            caesura.Options(secondary_memory_size=value)
        with pytest.raises(caesura.UsageError, match="secondary memory is"):
            caesura.Options(secondary_memory_maximum=value)
        guest = await caesura.load(WAITER, IMPORTS)
        with pytest.raises(caesura.UsageError, match="budget is"):
            await guest.call("calls", 1, budget=value)  # type: ignore[arg-type]
        with pytest.raises(caesura.UsageError, match="the name of an export"):
            await guest.call(value)  # type: ignore[arg-type]

    run(main())


def is_named(name: str, error: caesura.UsageError) -> bool:
    """Tell whether an error says which parameter is wrong."""
    return name in str(error) and "expect" in str(error)


@pytest.mark.parametrize("name", [*FOR_GUESTS, *FOR_PROGRAMS])
def test_parameters_of_load(name: str) -> None:
    async def main() -> None:
        for value in {**FOR_GUESTS, **FOR_PROGRAMS}[name]:
            with pytest.raises(caesura.UsageError) as caught:
                await caesura.load(**{"source": WAITER, "imports": IMPORTS, name: value})
            assert is_named(name, caught.value), value

    run(main())


@pytest.mark.parametrize("name", [*FOR_PROGRAMS, "imports", "wasi"])
def test_parameters_of_compile(name: str) -> None:
    values = FOR_PROGRAMS.get(name, []) + (FOR_GUESTS["imports"] if name == "imports" else [])
    if name == "wasi":
        values = ["x", 1, None]

    async def main() -> None:
        for value in values:
            with pytest.raises(caesura.UsageError) as caught:
                await caesura.compile(**{"source": WAITER, "imports": IMPORTS, name: value})
            assert is_named(name, caught.value), value

    run(main())


def test_parameters_of_a_programs_load() -> None:
    async def main() -> None:
        program = await caesura.compile(WAITER, IMPORTS, wasi=True)
        for name, values in {**FOR_GUESTS, "interruptions": [True, 5]}.items():
            for value in values:
                with pytest.raises(caesura.UsageError) as caught:
                    await program.load(**{name: value})
                assert is_named(name, caught.value), value
        with pytest.raises(caesura.UsageError, match="imports is 5: expected a mapping"):
            await program.load(5)  # type: ignore[arg-type]

    run(main())


def test_imports_that_are_no_functions() -> None:
    async def main() -> None:
        for value in (None, 5, "x"):
            with pytest.raises(caesura.UsageError, match=r"import env\.wait is a function .*: expected a callable"):
                await caesura.load(WAITER, {"env": {"wait": value}})

    run(main())


@pytest.mark.parametrize("name", [5, None, [], {}])
def test_names_of_exports(name: Any) -> None:
    async def main() -> None:
        guest = await caesura.load(WAITER, IMPORTS)
        for use in (guest.call_nowait, guest.generate, guest.agenerate, guest.function, guest.parameters):
            with pytest.raises(caesura.UsageError, match=r"the name of an export is .*: expected text"):
                use(name)
        with pytest.raises(caesura.UsageError, match="the name of an export"):
            await guest.call(name)

    run(main())


def test_functions_and_modules() -> None:
    anything: Any
    for anything in (5, None):
        with pytest.raises(caesura.UsageError, match=r"yielding was given .*: expected a function"):
            caesura.yielding(anything)
    for anything in (None, "path", 5, [0, 1]):
        with pytest.raises(caesura.UsageError, match=r"module is .*: expected bytes"):
            caesura.instrument(anything)
        with pytest.raises(caesura.UsageError, match=r"module is .*: expected bytes"):
            caesura.name_emscripten(anything, "x")
    for anything in (None, {}):
        with pytest.raises(caesura.UsageError, match=r"options is .*: expected a caesura\.Options"):
            caesura.instrument(b"", anything)
    for anything in (None, 5, b"x"):
        with pytest.raises(caesura.UsageError, match=r"script is .*: expected text"):
            caesura.name_emscripten(b"\0asm\1\0\0\0", anything)
