"""The pointer of the C stack is found for certain or not at all: in real modules, with names and without."""

from __future__ import annotations

import pytest
import wasmtime

import caesura
from caesura.analysis.shadow_stack import NAMES, find_shadow_stack
from caesura.wasm.definitions import GLOBAL_KIND
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections
from tests.support.engine import assemble, engine
from tests.support.guests import C_FLAGS, c_guest, c_text
from tests.support.paths import GUESTS, npm_file

# A function with a frame, as LLVM writes it.
FRAME = """(func (export "{name}") (param i32) (result i32) (local i32)
  (global.set $g (local.tee 1 (i32.sub (global.get $g) (i32.const 32))))
  (i32.store offset=12 (local.get 1) (call $ask (local.get 0)))
  (if (i32.eqz (local.get 0)) (then
    (global.set $g (i32.add (local.get 1) (i32.const 32))) (return (i32.const 7))))
  (local.set 0 (i32.load offset=12 (local.get 1)))
  (global.set $g (i32.add (local.get 1) (i32.const 32)))
  (local.get 0))"""

# One that never returns, and one that needs no pointer of its own since it calls nothing.
ABORT = """(func (export "abort") (local i32)
  (global.set $g (local.tee 0 (i32.sub (global.get $g) (i32.const 16))))
  (drop (call $ask (local.get 0))) (unreachable))"""
LEAF = """(func (export "leaf") (param i32) (result i32) (local i32)
  (local.set 1 (i32.sub (global.get $g) (i32.const 16)))
  (i32.store (local.get 1) (local.get 0)) (i32.load (local.get 1)))"""

# With a buffer of a size that is only known when it runs, aligned, as Zig's own backend and `alloca` do.
VARYING = """(func (export "varying") (param i32) (result i32) (local i32 i32)
  (local.set 1 (global.get $g))
  (local.set 2 (i32.and (i32.sub (local.get 1) (local.get 0)) (i32.const -16)))
  (global.set $g (local.get 2))
  (i32.store (local.get 2) (i32.const 5))
  (local.set 0 (call $ask (local.get 2)))
  (global.set $g (local.get 1))
  (local.get 0))"""

# What allocates for its caller does not close the frame.
ALLOCATE = """(func (export "allocate") (param i32) (result i32)
  (global.set $g (local.tee 0 (i32.and (i32.sub (global.get $g) (local.get 0)) (i32.const -16)))) (local.get 0))"""

# AssemblyScript's frames are no multiples of 16, and are opened and closed with the global itself.
ASSEMBLYSCRIPT = """(func (export "{name}") (param i32) (result i32)
  (global.set $g (i32.sub (global.get $g) (i32.const 4)))
  (i32.store (global.get $g) (local.get 0))
  (local.set 0 (call $ask (i32.load (global.get $g))))
  (global.set $g (i32.add (global.get $g) (i32.const 4)))
  (local.get 0))"""


def stripped(module: bytes) -> Module:
    """Return a module without its names and without exports that say which global is the pointer."""
    found = Module(module)
    edits = SectionEdits()
    edits.custom["name"] = None
    bare = Module(write_sections(module, found.sections, edits))
    bare.exports = [item for item in bare.exports if "stack" not in item.name.lower()]
    return bare


def module_of(*functions: str, start: str = "(i32.const 65536)", more: str = "") -> Module:
    """Return a module without names in which global 1 may be the pointer."""
    text = f"""(module (import "env" "ask" (func $ask (param i32) (result i32))) (memory (export "memory") 2) {more}
      (global $other (mut i32) (i32.const 0)) (global $g (mut i32) {start}) {" ".join(functions)})"""
    return stripped(assemble(text))


@pytest.mark.parametrize("flag", ["-O0", "-O2", "-Os"])
def test_pointers_of_c_programs_are_found_without_names(flag: str) -> None:
    text = (GUESTS / "c" / "host_calls.c").read_text()
    flags = ("-target", "wasm32-wasi", "-I", str(GUESTS / "c"), "-mexec-model=reactor")
    module = c_text(text, *flags, flag)
    assert find_shadow_stack(Module(module)).pointer == 0
    assert find_shadow_stack(stripped(module)).pointer == 0


def test_the_pointer_of_a_program_with_one_function_is_found() -> None:
    found = find_shadow_stack(stripped(c_text(ONE_FUNCTION, *C_FLAGS, "-mexec-model=reactor")))
    assert found.pointer == 0


ONE_FUNCTION = """
  __attribute__((import_module("env"), import_name("wait"))) int wait_(int);
  __attribute__((export_name("work"))) int work(int n) {
    volatile char room[64] = {0};
    room[n & 63] = n;
    return wait_(n) + room[n & 63];
  }"""


@pytest.mark.parametrize(
    "file", ["wa-sqlite/dist/wa-sqlite.wasm", "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm"]
)
def test_pointers_of_published_modules_are_found_without_names(file: str) -> None:
    assert find_shadow_stack(stripped(npm_file(file).read_bytes())).pointer == 0


@pytest.mark.parametrize(
    "file",
    ["wa-sqlite/dist/wa-sqlite-async.wasm", "@jitl/quickjs-wasmfile-release-asyncify/dist/emscripten-module.wasm"],
)
def test_pointers_of_modules_that_binaryen_instrumented_are_found_without_names(file: str) -> None:
    assert find_shadow_stack(stripped(npm_file(file).read_bytes()), instrumented=True).pointer == 0


def test_pointers_of_modules_that_were_instrumented_here_are_found_without_names() -> None:
    for options in (caesura.Options(), caesura.Options(optimize="speed"), caesura.Options(optimize="size")):
        made = caesura.instrument(c_guest("host_calls", "-mexec-model=reactor"), options).module
        assert find_shadow_stack(stripped(made), instrumented=True).pointer == 0


@pytest.mark.parametrize(
    "functions",
    [
        (FRAME.format(name="run"),),
        (FRAME.format(name="run"), ABORT, LEAF),
        (FRAME.format(name="run"), VARYING, ALLOCATE),
        (VARYING, LEAF),
        (ASSEMBLYSCRIPT.format(name="a"), ASSEMBLYSCRIPT.format(name="b")),
    ],
)
def test_shapes_of_pointers(functions: tuple[str, ...]) -> None:
    assert find_shadow_stack(module_of(*functions)).pointer == 1


COUNT_DOWN = """(func (export "die") (global.set $g (i32.sub (global.get $g) (i32.const 16))))"""
COUNT_DEPTH = """(func (export "deep") (param i32) (result i32)
  (global.set $g (i32.sub (global.get $g) (i32.const 1)))
  (local.set 0 (call $ask (local.get 0)))
  (global.set $g (i32.add (global.get $g) (i32.const 1)))
  (local.get 0))"""
TAKE = """(func (export "take") (result i32)
  (global.set $g (i32.sub (global.get $g) (i32.const 16)))
  (i32.store (global.get $g) (i32.const 1))
  (global.get $g))"""
UPWARDS = """(func (export "up") (param i32) (result i32) (local i32)
  (local.set 1 (global.get $g))
  (global.set $g (i32.add (local.get 1) (i32.const 32)))
  (i32.store (local.get 1) (call $ask (local.get 0)))
  (global.set $g (local.get 1))
  (i32.load (local.get 1)))"""


@pytest.mark.parametrize(
    "functions",
    [
        (COUNT_DOWN,),
        (COUNT_DOWN, COUNT_DEPTH),
        (TAKE,),
        (TAKE, COUNT_DOWN),
        (UPWARDS,),
        (LEAF,),
        (ALLOCATE,),
    ],
)
def test_what_is_no_pointer(functions: tuple[str, ...]) -> None:
    found = find_shadow_stack(module_of(*functions))
    assert (found.pointer, found.unclear) == (None, False)


@pytest.mark.parametrize(
    ("functions", "start", "more"),
    [
        ((FRAME.format(name="run"),), "(i32.const 0)", ""),
        ((FRAME.format(name="run"),), "(i32.const 65540)", ""),
        ((FRAME.format(name="run"),), "(i32.const 1048576)", ""),
        ((FRAME.format(name="run"),), "(i32.const 65536)", '(data (i32.const 65530) "constants")'),
        ((FRAME.format(name="run"),), "(i32.const 65536)", '(data (i32.const 65300) "\\00" (; 60 bytes ;))'),
        ((FRAME.format(name="run"), COUNT_DOWN, TAKE), "(i32.const 65536)", ""),
        ((FRAME.format(name="run"), UPWARDS), "(i32.const 65536)", ""),
        ((ASSEMBLYSCRIPT.format(name="a"),), "(i32.const 65536)", ""),
    ],
)
def test_what_is_not_certain_is_not_taken(functions: tuple[str, ...], start: str, more: str) -> None:
    if "60 bytes" in more:
        more = more.replace('"\\00" (; 60 bytes ;)', '"' + "\\01" * 60 + '"')
    found = find_shadow_stack(module_of(*functions, start=start, more=more))
    assert (found.pointer, found.unclear) == (None, True)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_enough(name: str) -> None:
    text = f"""(module (memory 1) (global (export "{name}") (mut i32) (i32.const 5)))"""
    assert find_shadow_stack(Module(assemble(text))).pointer == 0


@pytest.mark.parametrize("kind", ["i32", "(mut f64)", "(mut i32)"])
def test_a_name_of_what_cannot_point(kind: str) -> None:
    value = "f64.const 1" if "f64" in kind else "i32.const 4096"
    text = f"""(module (memory 1) (global (export "__stack_pointer") {kind} ({value})))"""
    assert find_shadow_stack(Module(assemble(text))).pointer == (0 if kind == "(mut i32)" else None)


def test_functions_of_compilers_runtimes_say_which_global_it_is() -> None:
    for name, body in (
        ("stackSave", "(result i32) (global.get 1)"),
        ("_emscripten_stack_restore", "(param i32) (global.set 1 (local.get 0))"),
        (
            "__wbindgen_add_to_stack_pointer",
            "(param i32) (result i32) (global.set 1 (i32.add (local.get 0) (global.get 1))) (global.get 1)",
        ),
    ):
        text = f"""(module (memory 1) (global (mut i32) (i32.const 1)) (global (mut i32) (i32.const 4096))
          (func (export "{name}") {body}))"""
        assert find_shadow_stack(Module(assemble(text))).pointer == 1
    misleading = """(module (memory 1) (global (mut i32) (i32.const 1)) (global (mut i32) (i32.const 4096))
      (func (export "stackSave") (result i32) (i32.add (global.get 0) (global.get 1))))"""
    assert find_shadow_stack(Module(assemble(misleading))).pointer is None


def test_a_stack_that_grows_upwards_is_none_whatever_its_functions_are_called() -> None:
    save = """(func (export "stackSave") (result i32) (global.get $g))"""
    text = f"""(module (import "env" "ask" (func $ask (param i32) (result i32))) (memory 2)
      (global $g (mut i32) (i32.const 65536)) {save} {UPWARDS})"""
    assert find_shadow_stack(Module(assemble(text))).pointer is None


def test_thunks_export_no_global_that_only_counts() -> None:
    text = f"""(module (import "env" "ask" (func $ask (param i32) (result i32))) (memory 2)
      (global $g (mut i32) (i32.const 9)) {COUNT_DOWN} {COUNT_DEPTH})"""
    made = caesura.instrument(assemble(text), caesura.Options(thunks=True)).module
    wasmtime.Module.validate(engine(), made)
    assert [item.name for item in Module(made).exports if item.kind == GLOBAL_KIND] == []


def test_code_that_ends_in_mid_instruction() -> None:
    """A function of bytes that are no code says nothing about the stack; who reads it says what is wrong."""
    module = bytes.fromhex(
        "0061736d0100000001040160000003020100040a01400064700001d2000b09080107647001d2000b0a040102010a".replace(" ", "")
    )
    assert find_shadow_stack(Module(module)).pointer is None


WITHIN = """
  __attribute__((import_module("env"), import_name("wait"))) int wait_(int);
  extern char __stack_high;
  __attribute__((noinline)) static int within(void) {
    volatile char here[16] = {0};
    return (const char *)here < &__stack_high;
  }
  __attribute__((export_name("work"))) int work(int n) {
    volatile char room[64] = {0};
    return within() ? wait_(n) + room[3] : -1;
  }"""


def test_programs_that_compare_their_pointer_with_the_ends_of_their_stack() -> None:
    module = c_text(WITHIN, *C_FLAGS, "-mexec-model=reactor")
    assert find_shadow_stack(Module(module)).is_fixed
    assert find_shadow_stack(Module(caesura.instrument(module).module), instrumented=True).is_fixed


@pytest.mark.parametrize(
    ("code", "fixed"),
    [
        ("(i32.lt_u (i32.sub (global.get $g) (i32.const 8)) (i32.const 65536))", True),
        ("(i32.ge_u (i32.const 65536) (global.get $g))", True),
        ("(i32.le_s (i32.const 1024) (global.get $g))", True),
        ("(i32.lt_u (global.get $g) (i32.const 4096))", False),
        ("(i32.lt_u (i32.load (global.get $g)) (i32.const 65536))", False),
        ("(i32.lt_u (global.get $other) (i32.const 65536))", False),
        ("(i32.add (global.get $g) (i32.const 65536))", False),
    ],
)
def test_comparisons_with_the_ends_of_the_stack(code: str, fixed: bool) -> None:
    module = module_of(FRAME.format(name="run"), f"(func (result i32) {code})", more='(data (i32.const 1020) "data")')
    found = find_shadow_stack(module)
    assert (found.pointer, found.is_fixed) == (1, fixed)
