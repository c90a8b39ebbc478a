"""Emscripten's settings that name functions, and its assertions, work with caesura-wasm-opt."""

from __future__ import annotations

import pytest

from tests.emscripten.toolchain import build

VALUES = "value 3\nvalue 7\nvalue 15\n"


@pytest.mark.parametrize(
    "settings",
    [
        ("-sASYNCIFY_IGNORE_INDIRECT=1", "-sASYNCIFY_ADD=dispatch,__original_main"),
        ("-sASYNCIFY_ONLY=dispatch,__original_main,nap",),
        ("-sASYNCIFY_ONLY=disp*,__original_main,nap",),
        ("-sASYNCIFY_REMOVE=never_sleeps,quick",),
    ],
    ids=["ignore-indirect-add", "only", "only-pattern", "remove"],
)
def test_lists_that_name_what_sleeps(settings: tuple[str, ...]) -> None:
    flags = ("-sASYNCIFY", "-O1", *settings)
    real = build("lists.c", *flags, real=True).run()
    assert real.output == VALUES
    assert build("lists.c", *flags).run() == real


def test_lists_narrow_what_is_instrumented() -> None:
    everything = build("lists.c", "-sASYNCIFY", "-O1").module
    only = build("lists.c", "-sASYNCIFY", "-O1", "-sASYNCIFY_ONLY=dispatch,__original_main,nap").module
    assert len(only) < len(everything)


def test_assertions_find_a_list_that_is_too_short() -> None:
    flags = ("-sASYNCIFY", "-O1", "-sASYNCIFY_IGNORE_INDIRECT=1", "-sASSERTIONS=1")
    for real in (True, False):
        result = build("lists.c", *flags, real=real).run()
        assert result.code != 0
        assert "RuntimeError: unreachable" in result.errors


def test_assertions_name_an_import_that_is_not_listed() -> None:
    for real in (True, False):
        result = build("unlisted.c", "-sASYNCIFY", "-O1", "-sASSERTIONS=1", real=real).run()
        assert result.output == "start\n"
        assert "import sneaky was not in ASYNCIFY_IMPORTS, but changed the state" in result.errors


def test_overflow_of_the_asyncify_stack_aborts_with_emscriptens_message() -> None:
    for real in (True, False):
        result = build("overflow.c", "-sASYNCIFY", "-O1", "-sASSERTIONS=1", real=real).run()
        assert (result.code, result.output) == (7, "shallow 6\n")
        assert result.errors.startswith("Aborted(RuntimeError: unreachable)")


def test_advice_names_the_functions_that_are_instrumented() -> None:
    messages = build("lists.c", "-sASYNCIFY", "-O1", "-sASYNCIFY_ADVISE").messages
    assert "[asyncify] emscripten_sleep is an import that can change the state" in messages
    assert "[asyncify] nap can change the state due to emscripten_sleep" in messages
    assert "[asyncify] quick " not in messages


def test_lists_that_match_nothing_are_told_in_binaryens_words() -> None:
    """As the tests of later versions of Emscripten look for them."""
    name = "DOS_ReadFile(unsigned short, unsigned char*, bool)"
    flags = ("-sASYNCIFY", "-O1", f'-sASYNCIFY_ONLY=["{name}","nosuch","__original_main","dispatch","nap"]')
    messages = build("lists.c", *flags).messages
    assert f"warning: Asyncify onlylist contained a non-matching pattern: '{name}'\n" in messages
    assert "warning: Asyncify onlylist contained a non-existing function name: 'nosuch'\n" in messages


def test_advice_is_in_binaryens_words() -> None:
    """Line by line, but for what calls through the table: there Binaryen knows less."""
    flags = ("-sASYNCIFY", "-O1", "-sASYNCIFY_ADVISE", "-sASYNCIFY_IGNORE_INDIRECT=1", "-sASYNCIFY_REMOVE=nosuch*")
    real, ours = (
        {line for line in build("lists.c", *flags, real=real).messages.splitlines() if line.startswith("[asyncify]")}
        for real in (True, False)
    )
    assert real == ours
    assert len(real) >= 2


@pytest.mark.parametrize("level", ["-O1", "-O2"])
def test_a_remove_list_that_is_wrong_ends_in_a_trap(level: str) -> None:
    """What goes on without being instrumented must not end well, skipping what it should have done."""
    result = build("lists.c", "-sASYNCIFY", level, "-sASYNCIFY_REMOVE=dispatch").run()
    assert result.code != 0
    assert "RuntimeError: unreachable" in result.errors


INVOKING = {
    "invoked.cpp": ("nap,catches", "", "slept\nvalue 18\n"),
    "jumped.c": ("nap,jump,catches", "value 8\nvalue 701\n", "slept\nvalue 18\n"),
}


@pytest.mark.parametrize(
    ("program", "level"), [("invoked.cpp", "-O1"), ("invoked.cpp", "-Os"), ("jumped.c", "-O1"), ("jumped.c", "-O3")]
)
def test_what_is_missing_above_an_invoke_is_refused_in_time(program: str, level: str) -> None:
    """In the import, not when control comes back to what is left out. What is complete works.

    `-O3` and `-Os` run tools over the instrumented module that refuse mutable globals among the exports.
    """
    listed, before, behind = INVOKING[program]
    flags = ("-sASYNCIFY", level, "-fexceptions", "--profiling-funcs")
    listed += ",main,__main_argc_argv,__original_main,_start,dynCall_ii"
    complete = build(program, *flags, f"-sASYNCIFY_ONLY={listed},between").run()
    assert (complete.code, complete.output) == (0, before + behind), complete.errors
    refused = build(program, *flags, f"-sASYNCIFY_ONLY={listed}").run()
    assert refused.code != 0 and refused.output == before
    assert "RuntimeError: unreachable" in refused.errors
    stack = refused.errors.split("\n    at ")
    assert any(line.startswith("Object.handleSleep (") for line in stack)
    assert any(line.startswith("nap (") for line in stack)


@pytest.mark.parametrize("level", ["-O1", "-O3"])
def test_callbacks_sleep_after_an_exception_that_left_main(level: str) -> None:
    """It leaves by a function that a list leaves out, so that this one cannot tell that it is gone."""
    flags = ("-sASYNCIFY", level, "-fexceptions", "-sASYNCIFY_ONLY=nap,begin,tick,dynCall_v", "--profiling-funcs")
    result = build("callbacks.cpp", *flags).run()
    assert (result.code, result.output) == (0, "slept 1\nslept 2\n"), result.errors
