"""Entries that mean functions without names by their bodies, and `caesura list`, which writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from wasmtime import wat2wasm

import caesura
from caesura import Options, UsageError
from tests.cli.running import MODULE, caesura_command
from tests.instrument.building import leb

HEAD = '(import "env" "sleep" (func (param i32))) (memory 1) (global (mut i32) (i32.const 0))'
CALLER = "(func (param i32) (result i32) (call 0 (local.get 0)) (i32.mul (local.get 0) (i32.const 77)))"
ADDER = "(func (param i32) (result i32) (call 0 (i32.const 5)) (i32.add (local.get 0) (global.get 0)))"


def module(*functions: str, head: str = HEAD) -> bytes:
    return bytes(wat2wasm(f"(module {head} {' '.join(functions)})"))


def instrumented(result: caesura.Instrumented) -> list[int]:
    return [function.index for function in result.functions if function.instrumented]


def test_the_function_itself() -> None:
    guest = module(CALLER, ADDER)
    entries = caesura.body_entries(guest, [2])
    assert re.fullmatch(r"#2@[0-9a-f]{16}", entries[0])
    result = caesura.instrument(guest, Options(only_list=entries, strict=True))
    assert (instrumented(result), result.warnings) == ([2], ())


def test_a_rebuild_with_functions_before_it() -> None:
    """Indices of functions, types, globals and addresses move; the entry means the same function, which is said."""
    old = module(
        CALLER,
        "(func (param i32) (result i64) (call 0 (global.get 0)) (drop (call 1 (i32.const 1024)))"
        " (i64.load offset=2000 (local.get 0)))",
    )
    entries = caesura.body_entries(old, [2])
    head = f'(type (func (param f64))) (import "env" "log" (func (param f64))) {HEAD}'
    head = head.replace("(global", "(global f32 (f32.const 1)) (global")
    new = module(
        "(func (param f64) (call 0 (local.get 0)))",
        CALLER.replace("call 0", "call 1"),
        "(func (param i32) (result i64) (call 1 (global.get 1)) (drop (call 3 (i32.const 9000)))"
        " (i64.load offset=4000 (local.get 0)))",
        head=head,
    )
    result = caesura.instrument(new, Options(only_list=entries, strict=True))
    assert instrumented(result) == [4]
    assert result.warnings == (f"the function that a list calls '{entries[0]}' is function 4 of this module",)


@pytest.mark.parametrize(
    "other",
    [
        CALLER.replace("77", "78"),
        CALLER.replace("i32.mul", "i32.add"),
        CALLER.replace("(local.get 0) (i32.const", "(i32.const 1) (i32.const"),
        CALLER.replace("(func (param i32)", "(func (param i32 i32)"),
        CALLER.replace("(result i32)", "(result i32) (local i64)"),
    ],
)
def test_other_functions_have_other_hashes(other: str) -> None:
    guest = module(CALLER, other)
    first, second = caesura.body_entries(guest, [1, 2])
    assert first[3:] != second[3:]


def test_numbers_that_a_linker_padded() -> None:
    """Their value counts."""
    guest = module(CALLER)
    entry = caesura.body_entries(guest, [1])[0]
    body = guest[guest.rindex(b"\x20\x00\x10\x00") :]
    padded = body.replace(b"\x10\x00", b"\x10" + leb(0, 5), 1).replace(
        b"\x20\x00\x41", b"\x20" + leb(0, 5) + b"\x41", 1
    )
    start = guest.rindex(body)
    # The code section: its size, one function, the size of its body, no locals.
    assert guest[start - 4] == len(body) + 3 and guest[start - 2] == len(body) + 1
    larger = bytes([len(padded) + 3, 1, len(padded) + 1, 0])
    assert caesura.body_entries(guest[: start - 4] + larger + padded, [1]) == (entry,)


def test_bodies_that_several_have_or_none() -> None:
    old = module(CALLER, ADDER)
    caller, adder = caesura.body_entries(old, [1, 2])
    new = module("(func)", CALLER, CALLER)
    options = Options(add_list=[caller.replace("#1", "#9"), adder])
    assert caesura.instrument(new, options).warnings == (
        f"Asyncify addlist contained a non-existing function name: '#9{caller[2:]}' "
        "(by its body: 2 functions have this body: 2, 3)",
        f"Asyncify addlist contained a non-existing function name: '{adder}' "
        "(by its body: no function has this body any more)",
    )
    with pytest.raises(UsageError, match="2 functions have this body"):
        caesura.instrument(new, Options(add_list=options.add_list, strict=True))


def test_where_functions_have_other_indices_inside() -> None:
    """Imports of module `asyncify` go away; entries are about the file that is given."""
    head = HEAD.replace("(memory", '(import "asyncify" "stop_unwind" (func)) (memory')
    guest = module(CALLER, ADDER, head=head)
    result = caesura.instrument(guest, Options(only_list=caesura.body_entries(guest, [3]), strict=True))
    assert instrumented(result) == [3]
    second = caesura.instrument(guest, Options(two_bodies=caesura.body_entries(guest, [3]), strict=True))
    assert second.module != caesura.instrument(guest, Options(two_bodies="never")).module


def test_an_entry_that_is_a_name_is_that_name() -> None:
    entry = caesura.body_entries(module(CALLER, ADDER), [1])[0]
    named = module(CALLER, ADDER.replace("(func ", f"(func ${entry} "))
    assert instrumented(caesura.instrument(named, Options(only_list=[entry], strict=True))) == [2]


@pytest.mark.parametrize("index", [0, 3, -1, 1 << 40])
def test_functions_without_a_body(index: int) -> None:
    with pytest.raises(UsageError, match=f"there is no function {index} with a body: the module's own are 1 to 2"):
        caesura.body_entries(module(CALLER, ADDER), [index])
    with pytest.raises(caesura.MalformedModule):
        caesura.body_entries(module(CALLER, ADDER)[:-2], [1])


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(MODULE)
    entries = caesura.body_entries(MODULE, [2, 4])
    done = caesura_command("list", tmp_path / "in.wasm", "outer,clock", "-o", tmp_path / "list.txt")
    assert (done.code, done.out, done.err) == (0, b"", "")
    assert (tmp_path / "list.txt").read_text() == f"# clock\n{entries[0]}\n# outer\n{entries[1]}\n"
    options = ["--only-list", f"@{tmp_path / 'list.txt'}", "--strict", "--quiet"]
    by_list = caesura_command("instrument", tmp_path / "in.wasm", *options)
    by_name = caesura_command("instrument", tmp_path / "in.wasm", "--only-list", "clock,outer", "--quiet")
    assert (by_list.code, by_list.err) == (0, "") and by_list.out == by_name.out != b""
    by_index = caesura_command("list", "-", "2,4", stdin=MODULE)
    assert by_index.out.decode() == (tmp_path / "list.txt").read_text()
    whole = caesura_command("list", "-", stdin=module(CALLER, ADDER))
    assert whole.out.decode().split() == list(caesura.body_entries(module(CALLER, ADDER), [1, 2]))


def test_explained(tmp_path: Path) -> None:
    """What the transformation matches, the explanation does: entries by bodies, by mangled names, and neither."""
    guest = module(CALLER, ADDER.replace("(func ", "(func $_ZN1a1bEi "))
    entry = caesura.body_entries(guest, [1])[0]
    (tmp_path / "in.wasm").write_bytes(guest)
    (tmp_path / "list").write_text(f"{entry}\na::b(int)\na::*\nc::d(int)\n")
    done = caesura_command("explain", tmp_path / "in.wasm", "--json", "--add-list", f"@{tmp_path / 'list'}")
    assert done.code == 0
    told = {one["entry"]: one["matches"] for one in json.loads(done.out)["lists"]}
    assert told == {entry: 1, "a::b(int)": 1, "a::*": 1, "c::d(int)": 0}


def test_the_command_on_what_is_not_there() -> None:
    done = caesura_command("list", "-", "typo", stdin=MODULE)
    assert done.code == 1
    assert "no function with a body has the name or the index 'typo'" in done.error_line()
    assert "byte offset" in caesura_command("list", "-", stdin=MODULE[:-3]).error_line()
