"""Profiles: the forms that they have, what is refused, and which functions get second bodies by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm

import caesura
from caesura import Options, UsageError
from tests.cli.running import MODULE, caesura_command

CALL = '(import "env" "sleep" (func $sleep)) (memory 1)'
LOOP = "(loop (call $sleep) (br_if 0 (local.get 0)))"

PERF = """\
# captured on a machine
node 4711 50649.982241:     250000 cpu-clock:ppp:
\t    31d915df491e JS:io::read(char const*) (.llvm.1)-1-liftoff+0x9e (/tmp/perf-4711.map)
\t    31d915df4800 JS:cold-2-turbofan+0x1 (/tmp/perf-4711.map)

node 4711/4712 [001] 50649.982504:     500000 cycles:u:
\tffffffff8133e076 access_error+0xe6 ([kernel.kallsyms])
\t    31d915df4800 JS:cold-2-turbofan+0x1 (/tmp/perf-4711.map)

node 4711 50649.982504:     750000 cycles:u:
\t    31d915df4800 JS:wasm-function[3]-3-turbofan+0x1 (/tmp/perf-4711.map (deleted))

node 4711 50649.982504:     900000 cycles:u:
\t    31d915df4800 JS:wasm-to-js::-sleep-0-turbofan+0x1 (/tmp/perf-4711.map)
"""
FLAT = """\
            node 4711 50649.982241:     250000 cpu-clock:ppp:      31d915df48da JS:hot-1-liftoff+0x5a (/tmp/perf-1.map)
            node 4711 50649.982241:     750000 cpu-clock:ppp:      31d915df48da JS:cold-2-liftoff (/tmp/perf-1.map)
"""
FOLDED = """\
node;main;JS:cold-2-turbofan;JS:io::hot(int, char)-1-turbofan 30
node;JS:cold-2-turbofan 10
node;JS:cold-2-liftoff;[kernel] 99
"""


def v8(*samples: tuple[str, int], url: str = "wasm://wasm/1234") -> dict[str, Any]:
    """Return a CPU profile with these samples."""
    names = list(dict.fromkeys(name for name, _ in samples))
    nodes = [
        {"id": number, "callFrame": {"functionName": name, "url": url if name != "js" else "file:///a.mjs"}}
        for number, name in enumerate(names, 1)
    ]
    return {
        "nodes": nodes,
        "samples": [names.index(name) + 1 for name, _ in samples],
        "timeDeltas": [time for _, time in samples],
    }


def read(folder: Path, *contents: object) -> dict[str, float]:
    paths = [folder / f"profile{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return caesura.read_profile(*paths)


def test_forms(tmp_path: Path) -> None:
    profile = v8(("a", 30), ("js", 900), ("a", 25), ("wasm-function[7]", 45))
    assert read(tmp_path, profile) == {"a": 0.55, "7": 0.45}
    assert read(tmp_path, PERF) == {"3": 0.75, "io::read(char const*) (.llvm.1)": 0.25}
    assert read(tmp_path, FLAT) == {"cold": 0.75, "hot": 0.25}
    assert read(tmp_path, FOLDED) == {"io::hot(int, char)": 0.75, "cold": 0.25}


def test_samples_of_v8_count_in_the_order_of_their_times(tmp_path: Path) -> None:
    """Its deltas can be negative, also that of the only sample of a node."""
    profile = v8(("a", 30), ("js", 900), ("a", 30), ("wasm-function[7]", 80), ("b", -40))
    assert read(tmp_path, profile) == {"a": 60 / 140, "b": 40 / 140, "7": 40 / 140}
    assert read(tmp_path, v8(("b", -5), ("a", 15))) == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    for text in (json.dumps(v8(("a", 30), ("js", 900))), FOLDED):
        (tmp_path / "profile").write_text(text, encoding=encoding)
        assert caesura.read_profile(tmp_path / "profile") == read(tmp_path, text)


def test_several_profiles_count_for_the_same(tmp_path: Path) -> None:
    times = read(tmp_path, v8(("a", 1_000_000)), v8(("a", 1), ("b", 3)))
    assert list(times.items()) == [("a", 0.625), ("b", 0.375)]


HOSTILE: list[tuple[object, str]] = [
    ("", "no function of WebAssembly took any time"),
    ("{", "it is no valid JSON"),
    ("[" * 100_000, "it is no CPU profile of V8: it has lists or objects in each other, too many to read"),
    ([], "it is no CPU profile of V8: 'samples' is None, expected a list"),
    ({"samples": [], "timeDeltas": []}, "'nodes' is None, expected a list"),
    ({**v8(("a", 1)), "nodes": {}}, "'nodes' is {}, expected a list"),
    ({**v8(("a", 1)), "nodes": [1]}, "'callFrame' is None, expected an object"),
    ({**v8(("a", 1)), "nodes": [{"id": "1", "callFrame": {"functionName": "a", "url": ""}}]}, "'id' is '1'"),
    ({**v8(("a", 1)), "samples": [9]}, "sample 0 is of node 9, which it does not have"),
    ({**v8(("a", 1)), "samples": [1, 1]}, "it has 2 samples, but 1 timeDeltas"),
    ({**v8(("a", 1)), "timeDeltas": ["1"]}, "sample 0 is of node 1 and took '1'"),
    ({**v8(("a", 1)), "timeDeltas": [1 << 80]}, "sample 0 is of node 1 and took 1208"),
    ('{"samples": [1], "timeDeltas": [NaN], "nodes": []}', "sample 0 is of node 1 and took nan"),
    ({**v8(("a", 1)), "timeDeltas": [True]}, "sample 0 is of node 1 and took True"),
    (v8(("a", -1)), "no function of WebAssembly took any time"),
    (v8(("js", 5)), "no function of WebAssembly took any time"),
    (v8(("a", 0)), "no function of WebAssembly took any time"),
    ("hello\nworld\n", "line 1 is no sample of `perf script`, no CPU profile of V8"),
    (PERF + "oops\n", "line 15 is no frame of `perf script`"),
    (FOLDED + "oops\n", "line 4 is no folded stack"),
    (f"JS:a-1-turbofan {10**20}", "line 1 counts for 100000000000000000000 events"),
    ("\0\0\0\xff", "line 1 is no sample"),
]


@pytest.mark.parametrize(("content", "message"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_profile(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"cannot use the profile '{tmp_path / 'profile0'}': ")
    assert message in str(caught.value)
    done = caesura_command("instrument", "-", "--profile", tmp_path / "profile0", stdin=MODULE)
    assert done.code == 2 and message in done.error_line()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the profile .*: No such file"):
        caesura.read_profile(tmp_path / "none")
    with open(tmp_path / "large", "wb") as file:
        file.truncate((1 << 29) + 1)
    with pytest.raises(UsageError, match="it has more than 536870912 bytes"):
        caesura.read_profile(tmp_path / "large")


def module(count: int, *, loops: int = 6) -> bytes:
    """Return a module of functions f0, f1 and so on with calls in loops, and one function without a name."""
    functions = " ".join(f"(func $f{number} (param i32) {LOOP * loops})" for number in range(count))
    return bytes(wat2wasm(f'(module {CALL} {functions} (func (export "last") (param i32) {LOOP}))'))


def second_bodies(result: caesura.Instrumented, count: int) -> list[int]:
    return [number for number in range(count) if f"asyncify_resume:f{number}\0".encode()[:-1] in _names(result, number)]


def _names(result: caesura.Instrumented, number: int) -> bytes:
    name = f"asyncify_resume:f{number}".encode()
    return name if bytes([len(name)]) + name in result.module else b""


def test_the_functions_that_take_most_of_the_time() -> None:
    """As many as second bodies may take bytes, in the order of their time; at `speed` all but those that take none."""
    count = 60
    guest = module(count)
    times = {f"f{number}": 1000.0 - number for number in range(0, count, 3)} | {"f1": 0.5}
    balanced = caesura.instrument(guest, Options(profile=times))
    chosen = second_bodies(balanced, count)
    assert chosen and chosen == list(range(0, 3 * len(chosen), 3)) and len(chosen) < 20
    without = caesura.instrument(guest, Options(two_bodies="never"))
    added = without.code_after - without.code_before
    assert balanced.code_after - without.code_after < added * 0.3
    assert second_bodies(caesura.instrument(guest, Options(profile=times, optimize="speed")), count) == list(
        range(0, count, 3)
    )


def test_what_loses_most_comes_before_what_takes_most() -> None:
    """An interpreter with a single body loses many times what it takes; there is room for one of the two."""
    many = "(call $sleep)" * 400
    interpreter = f"(func $interpreter (param i32) (local {'i32 ' * 120}) {many})"
    parser = f"(func $parser (param i32) (local {'i32 ' * 20}) {many})"
    callers = "".join(
        f"(func $caller{number} {''.join(f'(call $caller{number - back})' for back in range(1, min(number, 30) + 1))}"
        f" {'(call $sleep)' if number == 0 else ''})"
        for number in range(60)
    )
    guest = bytes(wat2wasm(f"(module {CALL} {interpreter} {parser} {callers})"))
    made = caesura.instrument(guest, Options(profile={"interpreter": 1, "parser": 50})).module
    assert b"asyncify_resume:interpreter" in made and b"asyncify_resume:parser" not in made
    alone = caesura.instrument(guest, Options(profile={"parser": 50})).module
    assert b"asyncify_resume:parser" in alone


def test_functions_by_index_and_second_bodies_of_a_profiled_one() -> None:
    guest = module(3)
    result = caesura.instrument(
        guest, Options(profile={"4": 5, "asyncify_resume:f1": 1, "asyncify_uninstrumented:f1": 1}, optimize="speed")
    )
    assert b"asyncify_resume:last" in result.module and b"asyncify_resume:f1" in result.module
    assert b"asyncify_resume:f0" not in result.module and result.warnings == ()


def test_functions_that_the_module_has_not() -> None:
    guest = module(3)
    missing = {f"gone{number}": 1 for number in range(7)}
    assert caesura.instrument(guest, Options(profile={"f1": 3, **missing}, strict=True)).warnings == (
        "the profile has functions that this module has not: 'gone0', 'gone1', 'gone2', 'gone3', 'gone4' and 2 more "
        "(70.0% of its time)",
    )
    assert caesura.instrument(guest, Options(profile=missing)).warnings == (
        "none of the profile's functions is in this module: it is of another program, or of another build",
    )


def test_a_function_that_is_called_like_a_second_body() -> None:
    """What the module has itself is that, and no second body of another."""
    text = '(module (import "m" "f" (func $f)) (func $"asyncify_resume:a" (export "g") (call $f)))'
    options = Options(profile={"asyncify_resume:a": 1}, strict=True)
    assert caesura.instrument(bytes(wat2wasm(text)), options).warnings == ()


def test_what_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="profile excludes two_bodies"):
        Options(profile={"a": 1}, two_bodies="all")
    with pytest.raises(UsageError, match="profile has no effect with optimize=size"):
        Options(profile={"a": 1}, optimize="size")
    for wrong in ("a", b"a", 1, None, {"a"}):
        with pytest.raises(TypeError, match="the option profile"):
            Options(profile=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "time",
    [-1, float("nan"), float("inf"), 10**400, -(10**400), 1e301, True, None, "1", 1j],
    ids=lambda time: f"{time!r:.9}",
)
def test_what_is_no_time(time: Any) -> None:
    """It is refused when the options are made, whatever else the profile has."""
    for profile in ({"a": time, "b": 1.5}, [("a", 1), ("a", time)]):
        with pytest.raises(UsageError, match="profile: the time of 'a' is"):
            Options(profile=profile)


@pytest.mark.parametrize("pairs", [["a"], [("a",)], [["a", 1]], [("a", 10**5000, 1)], {1: 2}, [None]])
def test_what_is_no_function_and_time(pairs: Any) -> None:
    with pytest.raises(UsageError, match=r"profile has .*: expected the name of a function, and a time"):
        Options(profile=pairs)


@pytest.mark.parametrize("profile", [[], {}, {"a": 0}, [("a", 0.0), ("b", 0)]])
def test_a_profile_that_says_nothing(profile: Any) -> None:
    with pytest.raises(UsageError, match="profile: no function took any time in it"):
        Options(profile=profile)
    assert Options(profile=()) == Options()


def test_a_profile_is_a_value() -> None:
    options = Options(profile={"a": 1, "b": 2.5})
    assert options == Options(profile=[("b", 2.5), ("a", 1)]) and hash(options) == hash(
        Options(profile={"b": 2.5, "a": 1})
    )
    assert options != Options(profile={"a": 1})


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(module(3))
    (tmp_path / "profile").write_text(json.dumps(v8(("f2", 30), ("f9", 10))))
    arguments: list[str | Path] = [
        "--profile",
        tmp_path / "profile",
        "--profile",
        tmp_path / "profile",
        "--optimize",
        "speed",
    ]
    done = caesura_command("instrument", tmp_path / "in.wasm", *arguments)
    assert done.code == 0 and b"asyncify_resume:f2" in done.out and b"asyncify_resume:f0" not in done.out
    assert "warning: the profile has functions that this module has not: 'f9' (25.0% of its time)" in done.err
