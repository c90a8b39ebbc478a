"""Programs that Emscripten builds with caesura-wasm-opt do what they do when it is built with the real one."""

from __future__ import annotations

import pytest

from caesura.wasm.module import Module
from tests.emscripten.toolchain import PROGRAMS, Built, build


def assert_same(ours: Built, real: Built) -> str:
    """Run both; return what they print, after checking that it is the same and that neither failed."""
    wanted, got = real.run(), ours.run()
    assert (wanted.code, wanted.errors) == (0, ""), wanted
    assert got == wanted
    return got.output


def assert_same_program(program: str, *flags: str) -> str:
    return assert_same(build(program, *flags), build(program, *flags, real=True))


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3", "-Os", "-Oz"])
def test_infinite_loop_waits_for_a_timer(level: str) -> None:
    output = assert_same_program("timers.c", "-sASYNCIFY", level)
    assert output == "timer happened, after some passes\n"


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3", "-Os", "-Oz"])
def test_output_is_smaller_than_binaryens(level: str) -> None:
    flags = ("-sASYNCIFY", level)
    assert len(build("timers.c", *flags).module) < len(build("timers.c", *flags, real=True).module)


def test_fibers_swap_on_small_asyncify_stacks() -> None:
    output = assert_same_program("fibers.c", "-sASYNCIFY", "-O1")
    assert output.count("main got") == 4


def test_fibers_with_assertions() -> None:
    assert_same_program("fibers.c", "-sASYNCIFY", "-O1", "-sASSERTIONS=1")


def test_calls_from_javascript_and_async_functions_in_c() -> None:
    flags = ("-sASYNCIFY", "-O2", "-sEXPORTED_RUNTIME_METHODS=ccall", "-sASYNCIFY_IMPORTS=later,halve_later")
    output = assert_same_program("calls.c", *flags)
    assert output == "halved 2.5\nhold 12345678, found 1\nsum 42\ntext 147\n"


@pytest.mark.parametrize("level", ["-O1", "-O2"])
def test_sleeps_among_exceptions_in_javascript_form(level: str) -> None:
    output = assert_same_program("exceptions.cpp", "-sASYNCIFY", level, "-fexceptions")
    assert output.endswith("sum 1019\n")


@pytest.mark.parametrize("level", ["-O1", "-O2"])
def test_sleeps_among_exceptions_in_their_old_form(level: str) -> None:
    """Binaryen's pass ends with a failed assertion here: the output is compared with that of the other form."""
    ran = build("exceptions.cpp", "-sASYNCIFY", level, "-fwasm-exceptions").run()
    assert (ran.code, ran.errors) == (0, "")
    assert ran.output == build("exceptions.cpp", "-sASYNCIFY", level, "-fexceptions").run().output


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_longjmp_across_a_sleep(level: str) -> None:
    output = assert_same_program("jumps.c", "-sASYNCIFY", level)
    assert output.endswith("back with 7, marker 6\nsum 30\n")


LINKED = ("-O1", "-sASYNCIFY=1")
MAIN_MODULE = (*LINKED, "-sMAIN_MODULE=2", "-sASYNCIFY_IMPORTS=side_work")


def test_dynamically_linked_modules_import_the_state() -> None:
    imports = "-sBINARYEN_EXTRA_PASSES=--pass-arg=asyncify-relocatable"
    flags = (*MAIN_MODULE, imports, "--js-library", str(PROGRAMS / "shared_state.js"))
    ours, real = (
        build("main_module.c", *flags, side="side_module.c", side_flags=(*LINKED, imports), real=real)
        for real in (False, True)
    )
    assert assert_same(ours, real).endswith("callback 3\ncallback 4\nmain 15006\n")


def test_dynamically_linked_module_imports_the_state_that_the_main_module_exports() -> None:
    """Binaryen 108 cannot do this yet; what must come out is known from importing on both sides."""
    exports = "-sBINARYEN_EXTRA_PASSES=--pass-arg=asyncify-export-globals"
    imports = "-sBINARYEN_EXTRA_PASSES=--pass-arg=asyncify-import-globals"
    flags = (*MAIN_MODULE, exports, "-sERROR_ON_UNDEFINED_SYMBOLS=0", "-sWARN_ON_UNDEFINED_SYMBOLS=0")
    built = build("main_module.c", *flags, side="side_module.c", side_flags=(*LINKED, imports))
    assert {"__asyncify_state", "__asyncify_data"} <= {item.name for item in Module(built.module).exports}
    result = built.run()
    assert (result.code, result.errors) == (0, "")
    assert result.output.endswith("callback 3\ncallback 4\nmain 15006\n")
