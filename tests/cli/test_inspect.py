"""`caesura inspect`: what is in a saved state, what differs between two, and what becomes of damaged ones."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.cli import main
from caesura.inspection.changes import changed_ranges
from caesura.inspection.memory_map import DATA, FRAMES, HEAP, STACK, ZERO, regions_of
from caesura.snapshots.format import encode
from caesura.snapshots.state import Descriptor, StacksState, WasiState
from tests.cli.running import caesura_command
from tests.snapshots.states import memory_of, state_of
from tests.support.engine import assemble
from tests.support.guests import c_text

TEXT = """(module
  (import "env" "ask" (func $ask (param i32 f64) (result i32)))
  (memory (export "memory") 2) (data (i32.const 1024) "hello world")
  (global $count (mut i64) (i64.const -5)) (global $nan (mut f32) (f32.const nan:0x200001))
  (table 4 funcref) (elem (i32.const 1) func $deep)
  (func $deep (param $n i32) (param $x i32) (result i32)
    (global.set $count (i64.add (global.get $count) (i64.const 1)))
    (i32.store (i32.const 100000) (local.get $n))
    (if (result i32) (local.get $n)
      (then (i32.add (local.get $n) (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $x))))
      (else (call $ask (local.get $x) (f64.const 1.5)))))
  (func (export "set") (table.set (i32.const 2) (ref.func $deep)) (global.set $nan (f32.const 2))
    (i32.store (i32.const 70000) (i32.const -1)) (i32.store (i32.const 70012) (i32.const -1))
    (i32.store (i32.const 1024) (i32.const -1)))
  (func (export "run") (param $x i32) (result i32) (i32.add (call $deep (i32.const 2) (local.get $x)) (i32.const 1))))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a module, a state of its guest, a later one, and the latter as what changed."""
    folder = tmp_path_factory.mktemp("states")
    (folder / "app.wasm").write_bytes(assemble(TEXT))
    guest = asyncio.run(caesura.load(folder / "app.wasm", external=["env.ask"]))
    step = guest.start("run", 5)
    earlier = guest.snapshot()
    earlier.save(folder / "earlier.caesura")
    step.resume(1)
    guest.start("run", 6)
    guest.call_nowait("set")
    guest.snapshot().save(folder / "later.caesura")
    guest.snapshot(base=earlier).save(folder / "change.caesura")
    return folder


def told(*words: str | Path) -> Any:
    done = caesura_command("inspect", *words, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_all_that_is_in_a_state(folder: Path) -> None:
    state = told(folder / "earlier.caesura")
    assert state["module"]["path"] == str(folder / "app.wasm")
    assert state["module"]["imports"] == ["env.ask"]
    (call,) = state["calls"]
    assert (call["export"], call["function"], call["mode"]) == ("run", "env.ask", "start")
    assert [one["value"] for one in call["arguments"]] == ["5", "1.5"]
    assert [frame["function"] for frame in call["backtrace"]] == ["deep", "deep", "deep", "run"]
    assert [{one["name"]: one["value"] for one in frame["variables"]} for frame in call["backtrace"]] == [
        {"n": "0", "x": "5"},
        {"n": "1", "x": "5"},
        {"n": "2", "x": "5"},
        {},
    ]
    (memory,) = state["memories"]
    assert (memory["size"], memory["used"], memory["initial"]) == (131072, 4096, 4096)
    assert memory["kinds"][DATA] == {"size": 11, "used": 11}
    assert [(one["index"], one["name"], one["type"], one["bits"], one["value"]) for one in state["globals"]] == [
        (0, "count", "i64", "0xfffffffffffffffe", "-2"),
        (1, "nan", "f32", "0x7fa00001", "nan"),
    ]
    assert state["tables"] == [{"index": 0, "type": "funcref", "size": 4, "null": 3}]
    assert [section["name"] for section in state["sections"]] == ["document", "bulk"]
    assert all(0 < section["stored"] <= section["size"] + 64 for section in state["sections"])


def test_as_text(folder: Path) -> None:
    done = caesura_command("inspect", folder / "earlier.caesura")
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    constant = b"\x44" + struct.pack("<d", 1.5)
    offset = assemble(TEXT).index(constant + b"\x10\x00") + len(constant)
    for line in (
        "1 suspended call:",
        "  run, in env.ask(5, 1.5), 40 bytes of frames",
        f"    #0 deep (+{offset:#x}) n: i32 = 0, x: i32 = 5",
        "memory 0: 131,072 bytes, 4,096 bytes in chunks that are not zero, 4,096 of them as the module makes them",
        "  data                        11 bytes, 11 used",
        "    data 0x400 to 0x40b",
        "  0 count: i64 = -2 (0xfffffffffffffffe)",
        "  0: 4 funcrefs, 3 of them null",
    ):
        assert line in text.splitlines(), text
    assert "a state of the guest" not in text


def test_what_changed(folder: Path) -> None:
    whole = told("--diff", folder / "earlier.caesura", folder / "later.caesura")
    assert told("--diff", folder / "earlier.caesura", folder / "change.caesura") == whole
    assert told("--base", folder / "earlier.caesura", folder / "change.caesura")["calls"] != []
    assert [(call["change"], call["arguments"][0]["value"]) for call in whole["calls"]] == [("gone", "5"), ("new", "6")]
    assert [(one["before"]["value"], one["now"]["value"]) for one in whole["globals"]] == [("-2", "1"), ("nan", "2.0")]
    assert whole["tables"] == [{"index": 0, "before": 4, "now": 4, "changed": 1}]
    (memory,) = whole["memories"]
    assert memory["ranges"] == [
        {"start": 1024, "size": 4, "kind": DATA},
        {"start": 70000, "size": 16, "kind": HEAP},
    ]
    assert (memory["changed"], memory["unknown"]) == (20, 0)
    text = caesura_command("inspect", "--diff", folder / "earlier.caesura", folder / "later.caesura").out.decode()
    for line in (
        "global 0 count: i64 = 1 (0x0000000000000001), before -2 (0xfffffffffffffffe)",
        "table 0: 1 element changed",
        "memory 0: 20 bytes in 2 ranges changed",
        "  0x11170: 16 bytes, heap",
    ):
        assert line in text.splitlines(), text
    same = caesura_command("inspect", "--diff", folder / "later.caesura", folder / "later.caesura")
    assert (same.code, same.out) == (0, b"no difference\n")


def test_files_and_dropped_segments(tmp_path: Path) -> None:
    one = WasiState(
        arguments=("app", "x"),
        folders=(("/data", "/home/data", False),),
        descriptors=(
            Descriptor(number=3, kind="preopen", path="/data", below=0),
            Descriptor(number=4, kind="file", path="log", below=0, offset=17),
        ),
    )
    other = replace(one, descriptors=(one.descriptors[0], replace(one.descriptors[1], offset=29)))
    states = [state_of(bytes(65536), wasi=one), state_of(bytes(65536), wasi=other, dropped_data=(1,))]
    for name, state in zip("ab", states, strict=True):
        (tmp_path / name).write_bytes(encode(state))
    text = caesura_command("inspect", tmp_path / "a").out.decode()
    assert {"  3: preopen /data", "  4: file log below /data, at 17"} <= {*text.splitlines()}
    assert "  folder /data is /home/data, to be read only" in text.splitlines()
    changes = told("--diff", tmp_path / "a", tmp_path / "b")
    assert changes["dropped"]["data"] == [1]
    assert [(one["before"]["offset"], one["now"]["offset"]) for one in changes["files"]] == [(17, 29)]
    shown = caesura_command("inspect", "--diff", tmp_path / "a", tmp_path / "b").out.decode()
    assert "file 4: file log below /data, at 29, before 4: file log below /data, at 17" in shown.splitlines()


def test_what_terminals_act_upon_is_escaped(tmp_path: Path) -> None:
    """Names are those of whoever made the state."""
    wasi = WasiState(
        arguments=("\x1b[31mred", "two words"), descriptors=(Descriptor(number=4, kind="file", path="\udc80\n"),)
    )
    (tmp_path / "state").write_bytes(encode(state_of(bytes(65536), wasi=wasi)))
    done = caesura_command("inspect", tmp_path / "state")
    assert (done.code, done.err) == (0, "")
    lines = done.out.decode().splitlines()
    assert "program: '\\x1b[31mred' 'two words'" in lines
    assert "  4: file \\udc80\\n, at 0" in lines
    assert told(tmp_path / "state")["wasi"]["arguments"] == ["\x1b[31mred", "two words"]


def test_without_the_module_there_is_the_rest(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "state"
    state = caesura.Snapshot.load(str(folder / "earlier.caesura")).state
    moved.write_bytes(encode(replace(state, module=replace(state.module, path=str(tmp_path / "gone.wasm")))))
    (call,) = told(moved)["calls"]
    assert call["backtrace"] is None
    assert "gone.wasm" in call["why_no_backtrace"]
    assert len(told(moved, "--module", folder / "app.wasm")["calls"][0]["backtrace"]) == 4
    later = tmp_path / "later"
    state = caesura.Snapshot.load(str(folder / "later.caesura")).state
    later.write_bytes(encode(replace(state, module=replace(state.module, path=""))))
    (memory,) = told("--diff", moved, later)["memories"]
    assert memory["ranges"] == [{"start": 0, "size": 4096, "kind": HEAP}, {"start": 70000, "size": 16, "kind": HEAP}]
    assert memory["unknown"] == 4096
    assert b"give it with --module" in caesura_command("inspect", "--diff", moved, later).out
    assert told("--diff", moved, later, "--module", folder / "app.wasm")["memories"][0]["changed"] == 20
    (tmp_path / "other.wasm").write_bytes(assemble("(module)"))
    done = caesura_command("inspect", moved, "--module", tmp_path / "other.wasm")
    assert done.code == 1
    assert "is not the module of the saved state" in done.error_line()


def test_a_module_that_comes_along_has_the_frames_layouts(folder: Path, tmp_path: Path) -> None:
    module = tmp_path / "app.wasm"
    module.write_bytes((folder / "app.wasm").read_bytes())
    guest = asyncio.run(caesura.load(module, external=["env.ask"]))
    guest.start("run", 5)
    guest.snapshot(embed=True).save(tmp_path / "state")
    shown = told(tmp_path / "state")
    frames = caesura.Snapshot.load(tmp_path / "state").backtraces()
    for change in (module.unlink, lambda: module.write_bytes(assemble("(module)")), lambda: module.write_bytes(b"?")):
        change()
        now = told(tmp_path / "state")
        assert now["calls"] == shown["calls"]
        assert now["globals"] == shown["globals"]
        assert now["memories"] == shown["memories"]
        assert caesura.Snapshot.load(tmp_path / "state").backtraces() == frames
    assert [frame["function"] for frame in shown["calls"][0]["backtrace"]] == ["deep", "deep", "deep", "run"]
    # The guest that is made of it can be looked into, too.
    again = asyncio.run(caesura.restore(tmp_path / "state", {"env": {"ask": caesura.EXTERNAL}}))
    assert again.pending[0].backtrace() == frames[0]
    state = caesura.Snapshot.load(tmp_path / "state").state
    assert again.snapshot().state == replace(state, embedded=None, module=replace(state.module, path=""))


def test_a_module_that_comes_along_and_is_not_the_states_own(folder: Path, tmp_path: Path) -> None:
    state = caesura.Snapshot.load(str(folder / "earlier.caesura")).state
    state = replace(state, module=replace(state.module, path=""))
    options = caesura.Options(imports=("env.ask",), snapshots=True, thunks=True)
    for module, message in (
        (b"\0asm\1\0\0\0", "brings along is another one"),
        (caesura.instrument(assemble(TEXT), options).module, "brings along is another one"),
        (b"\0asm\1\0\0\0\1", "at byte offset 9"),
    ):
        (tmp_path / "state").write_bytes(encode(replace(state, embedded=module)))
        (call,) = told(tmp_path / "state")["calls"]
        assert call["backtrace"] is None
        assert message in call["why_no_backtrace"]
        with pytest.raises(caesura.CaesuraError, match=message):
            caesura.Snapshot.load(tmp_path / "state").backtraces()


def test_states_are_read_wherever_fsspec_leads(folder: Path) -> None:
    place = folder.as_uri()
    assert told(f"{place}/earlier.caesura") == told(folder / "earlier.caesura")
    change = told("--base", f"{place}/earlier.caesura", f"{place}/change.caesura")
    assert change == told("--base", folder / "earlier.caesura", folder / "change.caesura")
    differences = told("--diff", f"{place}/earlier.caesura", f"{place}/change.caesura")
    assert differences == told("--diff", folder / "earlier.caesura", folder / "change.caesura")
    for words, message in (
        ((f"{place}/nothing.caesura",), "cannot read 'file://"),
        (("nowhere://state",), "fsspec cannot open 'nowhere://state'"),
        ((f"{place}/change.caesura", "--base", "nowhere://state"), "fsspec cannot open 'nowhere://state'"),
    ):
        done = caesura_command("inspect", *words)
        assert done.code == 1
        assert message in done.error_line()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--diff", "earlier.caesura"), "--diff compares two states"),
        (("earlier.caesura", "later.caesura"), "one state is shown at a time"),
    ],
)
def test_wrong_usage(folder: Path, words: tuple[str, ...], message: str) -> None:
    done = caesura_command("inspect", *[folder / word if "." in word else word for word in words])
    assert done.code == 2
    assert message in done.error_line()


def test_a_change_without_its_base(folder: Path) -> None:
    done = caesura_command("inspect", folder / "change.caesura")
    assert done.code == 1
    assert "--base" in done.error_line()


def test_a_change_of_a_change(folder: Path, tmp_path: Path) -> None:
    """All bases are named, in whatever order, and who has forgotten one is told which."""
    guest = asyncio.run(caesura.load(folder / "app.wasm", external=["env.ask"]))
    snapshot = None
    for place in range(4):
        guest.start("run", place)
        snapshot = guest.snapshot(base=snapshot)
        snapshot.save(tmp_path / str(place))
    bases = [word for place in (1, 0, 2) for word in ("--base", tmp_path / str(place))]
    state = told(*bases, tmp_path / "3")
    assert [call["arguments"] for call in state["calls"]] == [call["arguments"] for call in _calls(guest, tmp_path)]
    assert len(told("--diff", tmp_path / "2", tmp_path / "3", *bases[:4])["calls"]) == 1
    missing = caesura_command("inspect", tmp_path / "3", *bases[:4])
    assert missing.code == 1 and f"{tmp_path / '3'}: this holds what changed since" in missing.error_line()
    assert missing.error_line().endswith("as --base, too")
    done = caesura_command("inspect", tmp_path / "3", *bases[4:])
    assert done.code == 1 and f"{tmp_path / '2'}: this holds what changed since" in done.error_line()


def _calls(guest: caesura.Guest, folder: Path) -> Any:
    guest.snapshot().save(folder / "whole")
    return told(folder / "whole")["calls"]


def damaged(data: bytes) -> Iterator[bytes]:
    """Yield a file with every kind of damage."""
    for end in range(0, len(data), 13):
        yield data[:end]
    for place in range(0, len(data), 5):
        yield data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]


def test_damaged_files_are_one_line_and_exit_code_1(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "damaged.caesura"
    for data in damaged((folder / "earlier.caesura").read_bytes()):
        file.write_bytes(data)
        assert main(["inspect", str(file)]) == 1
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("caesura: error: ")
        assert err.count("\n") == 1
        assert "bug in caesura" not in err


def test_forged_frames_give_no_backtrace_and_all_the_rest(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever makes a state can make its checksum, too."""
    state = caesura.Snapshot.load(str(folder / "earlier.caesura")).state
    (call,) = state.calls
    forged = [call.frames[:end] for end in range(0, len(call.frames), 4)]
    forged += [
        call.frames[:place] + b"\xff\xff\xff\x7f" + call.frames[place + 4 :] for place in range(0, len(call.frames), 4)
    ]
    shown = 0
    for frames in forged:
        (tmp_path / "forged").write_bytes(encode(replace(state, calls=(replace(call, frames=frames),))))
        assert main(["inspect", "--json", str(tmp_path / "forged")]) == 0
        (one,) = json.loads(capfd.readouterr().out)["calls"]
        shown += one["backtrace"] is not None
        assert one["backtrace"] is not None or "no frames of this module" in one["why_no_backtrace"]
    assert 0 < shown < len(forged)


def test_snapshots_have_backtraces_too(folder: Path) -> None:
    snapshot = caesura.Snapshot.load(str(folder / "later.caesura"))
    (frames,) = snapshot.backtraces()
    assert [frame.function for frame in frames] == ["deep", "deep", "deep", "run"]
    assert snapshot.backtraces(assemble(TEXT)) == [frames]
    with pytest.raises(caesura.UsageError, match="not the module"):
        snapshot.backtraces(assemble("(module)"))


PROGRAM = """
__attribute__((import_module("env"), import_name("ask"))) int ask(int);
static volatile char text[] = "static data of a program";
static char *heap = (char *)0x180000;
__attribute__((export_name("run"))) int run(void) {
    volatile char local[5000];
    local[17] = 1;
    heap[5] = 2;
    return ask((int)local + 17) + text[0] + local[17];
}
"""


def test_memory_of_a_c_program_by_regions(tmp_path: Path) -> None:
    arguments = (
        "-target",
        "wasm32-freestanding",
        "-nostdlib",
        "-Wl,--no-entry",
        "-fno-sanitize=all",
        "-O1",
        "-Wl,--initial-memory=2097152",
    )
    (tmp_path / "c.wasm").write_bytes(c_text(PROGRAM, *arguments))
    guest = asyncio.run(caesura.load(tmp_path / "c.wasm", external=["env.ask"]))
    address = guest.start("run").arguments[0]
    guest.snapshot().save(tmp_path / "c.caesura")
    (memory,) = told(tmp_path / "c.caesura")["memories"]

    def kind(place: int) -> Any:
        return next(one["kind"] for one in memory["regions"] if one["start"] <= place < one["end"])

    assert kind(address) == STACK
    assert kind(0x180000 + 5) == HEAP
    assert kind(0x180000 + 8192) == ZERO
    assert memory["kinds"][DATA]["size"] >= 20
    assert memory["kinds"][STACK]["used"] < 3 * 4096 < memory["kinds"][STACK]["size"]
    assert sum(one["size"] for one in memory["kinds"].values()) == memory["size"]


def test_regions_have_no_gaps_and_claims_are_cut_off() -> None:
    content = bytearray(65536)
    content[0] = content[9000] = content[20000] = 1
    stacks = StacksState(size=4096, stacks=(8192, 65000))
    state = state_of(bytes(content), stacks=stacks, area=(16384, 100000))
    regions = regions_of(state.memories[0], state, None)
    assert [(one.kind, one.start, one.end, one.used) for one in regions] == [
        (HEAP, 0, 4096, 4096),
        (ZERO, 4096, 8192, 0),
        (STACK, 8192, 12288, 4096),
        (ZERO, 12288, 16384, 0),
        (FRAMES, 16384, 65536, 4096),
    ]


def test_ranges_that_lie_close_are_one() -> None:
    before = bytearray(20000)
    now = bytearray(20000)
    for place in (0, 15, 40, 4095, 4096, 8200, 19999):
        now[place] = 1
    before[8200] = 2
    assert changed_ranges(memory_of(bytes(before)), memory_of(bytes(now))) == [
        (0, 16),
        (40, 41),
        (4095, 4097),
        (8200, 8201),
        (19999, 20000),
    ]
    assert changed_ranges(None, memory_of(bytes(now)))[-1] == (19999, 20000)
    assert changed_ranges(memory_of(bytes(now)), memory_of(bytes(now))) == []


@pytest.mark.parametrize("listed", [False, True])
def test_states_of_modules_that_were_instrumented_elsewhere(tmp_path: Path, listed: bool) -> None:
    """A command instruments otherwise than `caesura.load`; the state says how, and the instrumented module does."""
    original, instrumented, state = tmp_path / "app.wasm", tmp_path / "instrumented.wasm", tmp_path / "state"
    original.write_bytes(assemble(TEXT))
    imports = ("--imports", "env.ask") if listed else ()
    options = ("--thunks", "--snapshots", "--frame-layouts", *imports)
    done = caesura_command("instrument", original, "-o", instrumented, *options)
    assert done.code == 0, done.err
    guest = asyncio.run(caesura.load(instrumented.read_bytes(), external=["env.ask"], stack_space=65536, cache=False))
    guest.start("run", 5)
    guest.snapshot().save(state)
    for module in (instrumented, original):
        (call,) = told(state, "--module", module)["calls"]
        assert [frame["function"] for frame in call["backtrace"]] == ["deep", "deep", "deep", "run"]
