"""`caesura diff`: what gained or lost instrumentation, sizes, stale entries of lists, exit codes, and bad documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import MODULE, TEXT, caesura_command
from tests.support.engine import assemble

SLEEP = ("--imports", "env.sleep")

LATER = TEXT.replace("call $now)", "call $now i32.const 0 call $inner)").replace(
    "(func $add", "(func $fresh call $clock drop) (func $add"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old.wasm").write_bytes(MODULE)
    (tmp_path / "new.wasm").write_bytes(assemble(LATER))
    kept = caesura_command("explain", tmp_path / "old.wasm", *SLEEP, "--json")
    (tmp_path / "old.json").write_bytes(kept.out)
    return tmp_path


def difference(folder: Path, old: str, new: str, *more: str) -> Any:
    done = caesura_command("diff", old, new, "--json", "--quiet", *more, folder=folder)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_what_gained_and_why(folder: Path) -> None:
    for old in ("old.wasm", "old.json"):
        told = difference(folder, old, "new.wasm", *SLEEP)
        assert {one["name"] for one in told["gained"]["functions"]} == {"clock", "fresh"}
        (origin,) = told["gained"]["origins"]
        assert (origin["name"], origin["because"], origin["functions"]) == ("clock", ["inner"], 2)
        assert told["lost"] == {"origins": [], "functions": []}
        assert told["now"]["bytes_after"] > told["before"]["bytes_after"]
    text = caesura_command("diff", "old.wasm", "new.wasm", *SLEEP, folder=folder).out.decode()
    assert "gained instrumentation: 2 functions" in text
    assert "  clock (2) by inner: " in text


def test_what_lost_and_why(folder: Path) -> None:
    told = difference(folder, "new.wasm", "old.wasm", *SLEEP)
    reasons = {one["name"]: one["reason_now"] for one in told["lost"]["functions"]}
    assert reasons["fresh"] is None
    assert reasons["clock"].startswith("it calls nothing that may suspend")


def test_lists_that_changed(folder: Path) -> None:
    told = difference(folder, "old.json", "old.wasm", "--only-list", "outer,inne")
    assert [one["name"] for one in told["lost"]["functions"]] == ["inner", "outer"]
    assert told["stale"] == [{"list": "only_list", "entry": "inne", "matched_before": None}]
    assert {one["option"] for one in told["options"]} == {"imports", "only_list"}
    renamed = assemble(TEXT.replace("$inner", "$deep"))
    (folder / "renamed.wasm").write_bytes(renamed)
    told = difference(folder, "old.wasm", "renamed.wasm", "--only-list", "outer,inner")
    assert told["stale"] == [{"list": "only_list", "entry": "inner", "matched_before": 1}]


def test_functions_without_names_are_told_by_their_bodies(folder: Path) -> None:
    imports = '(import "env" "sleep" (func))'
    old = assemble(f"(module {imports} (func (call 0)) (func (call 1)))")
    new = assemble(f"(module {imports} (func (call 0)) (func (call 1)) (func nop))")
    (folder / "a.wasm").write_bytes(old)
    (folder / "b.wasm").write_bytes(new)
    told = difference(folder, "a.wasm", "b.wasm")
    assert told["gained"]["functions"] == told["lost"]["functions"] == []


LIMITS = [("2%", 3), ("8.3%", 0), ("61", 3), ("62", 0), ("0", 3)]


@pytest.mark.parametrize(("limit", "code"), LIMITS)
def test_growth_fails(folder: Path, limit: str, code: int) -> None:
    done = caesura_command("diff", "old.wasm", "new.wasm", *SLEEP, "--fail-on-growth", limit, folder=folder)
    assert done.code == code, done.err
    if code:
        assert f"caesura: error: the instrumented module grew by 62 bytes, and {limit} is allowed" in done.err
    assert caesura_command("diff", "new.wasm", "old.wasm", "--fail-on-growth", limit, folder=folder).code == 0


def lies(document: Any) -> Iterator[Any]:
    """Return documents in each of which one value is not what belongs there."""
    for key in list(document):
        for value in (None, 7, "text", [7], {"a": 7}):
            yield {**document, key: value}
    for key in document["module"]:
        for size in (None, "7", -1, True):
            changed = deepcopy(document)
            changed["module"][key] = size
            yield changed
    for key in document["functions"][1]:
        for wrong in (None, -3, [[7]], {"x": 1}):
            changed = deepcopy(document)
            changed["functions"][1][key] = wrong
            yield changed
    ring = deepcopy(document)
    for one in ring["functions"]:
        one["instrumented"] = True
        one["because"] = [{"kind": "function", "name": "x", "index": one["index"]}]
    yield ring


@pytest.mark.parametrize("number", [10**400, 1 << 53, -1, 1.5, 1e300, True, "1", None])
def test_numbers_that_no_module_has_are_refused_by_their_names(folder: Path, number: object) -> None:
    from caesura.errors import UsageError
    from caesura.explaining.reading import read_document

    document = json.loads((folder / "old.json").read_bytes())
    document["lists"] = [{"list": "only_list", "entry": "f", "matches": 1}]
    places = [("module", key) for key in document["module"]]
    places += [("functions", key) for key in ("index", "bytes_before", "bytes_after")] + [("lists", "matches")]
    for place, key in places:
        changed = deepcopy(document)
        (changed[place] if place == "module" else changed[place][0])[key] = number
        where = rf"^{place}(\[0\])?\.{key}: .* is not what belongs there, an integer from 0 to 9007199254740991$"
        with pytest.raises(UsageError, match=where):
            read_document(json.dumps(changed).encode())
    (folder / "lie.json").write_text(json.dumps(changed))
    done = caesura_command("diff", "lie.json", "old.json", folder=folder)
    assert done.code == 1 and done.error_line().startswith("lie.json: lists[0].matches: ")


def test_documents_that_lie_are_refused_or_compared(folder: Path) -> None:
    from caesura.errors import UsageError
    from caesura.explaining.difference import describe_difference
    from caesura.explaining.reading import read_document

    document = json.loads((folder / "old.json").read_bytes())
    refused = 0
    for lie in lies(document):
        try:
            read = read_document(json.dumps(lie).encode())
        except UsageError:
            refused += 1
            continue
        describe_difference(document, read)
        describe_difference(read, document)
    assert refused > 50


BAD = [
    (("old.wasm", "new.wasm", "--fail-on-growth", "x"), 2, "--fail-on-growth x: expected a share (2%) or a number of"),
    (("old.json", "old.json", "--imports", "a.b"), 2, "both OLD and NEW are explanations"),
    (("-", "-"), 2, "only one of OLD and NEW can be standard input"),
    (("old.wasm", "bad.json"), 1, "bad.json: this is not what `caesura explain --json` prints"),
    (("old.wasm", "deep.json"), 1, "deep.json: this is no JSON"),
    (("old.wasm", "none.wasm"), 1, "cannot read 'none.wasm'"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_bad_input(folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    (folder / "bad.json").write_text("{}")
    (folder / "deep.json").write_text('{"a":' + "[" * 200_000)
    done = caesura_command("diff", *arguments, folder=folder)
    assert done.code == code
    assert message in done.error_line()


def test_an_instrumented_module_is_refused(folder: Path) -> None:
    assert caesura_command("instrument", "old.wasm", "-o", "done.wasm", folder=folder).code == 0
    done = caesura_command("diff", "done.wasm", "new.wasm", folder=folder)
    assert done.code == 1
    assert "instrumented already" in done.error_line()


# A module whose names Emscripten has shortened, and the next build, in which the same things have other letters.
SHORTENED = """(module
  (import "a" "%s" (func $now (result f64))) (import "a" "%s" (func $ask (param i32) (result i32)))
  (memory (export "m") 1)
  (func $start (export "s"))
  (func $twice (export "%s") (param i32) (result i32) (call $ask (call $ask (local.get 0)))) %s)"""
GLUE = """var wasmImports={%s:_ask,%s:_emscripten_date_now}; var wasmExports; function initRuntime(){wasmExports["s"]()}
var _twice=Module["_twice"]=a0=>(_twice=Module["_twice"]=wasmExports["%s"])(a0);"""


@pytest.fixture
def builds(tmp_path: Path) -> Path:
    """Two builds with the JavaScript of each; the later one has a function more."""
    more = '(func $more (export "b") (param i32) (result i32) (call $twice (local.get 0)))'
    for name, letters, added in (("old", ("a", "b", "t"), ""), ("new", ("b", "a", "u"), more)):
        now, ask, twice = letters
        (tmp_path / f"{name}.wasm").write_bytes(assemble(SHORTENED % (now, ask, twice, added)))
        (tmp_path / f"{name}.js").write_text(GLUE % (ask, now, twice))
    return tmp_path


ASK = ("--imports", "env.ask")


def test_builds_whose_names_are_short_are_compared_by_the_names_of_each(builds: Path) -> None:
    scripts = ("--emscripten-js", "old.js", "--emscripten-js", "new.js")
    told = difference(builds, "old.wasm", "new.wasm", *scripts, *ASK)
    assert [one["name"] for one in told["gained"]["functions"]] == ["more"]
    assert told["stale"] == [] and told["causes"] == {"gained": [], "lost": []}
    kept = caesura_command("explain", "old.wasm", "--emscripten-js", "old.js", *ASK, "--json", "--quiet", folder=builds)
    (builds / "kept.json").write_bytes(kept.out)
    told = difference(builds, "kept.json", "new.wasm", "--emscripten-js", "new.js", *ASK)
    assert [one["name"] for one in told["gained"]["functions"]] == ["more"]
    told = difference(builds, "old.wasm", "old.wasm", "--emscripten-js", "old.js", *ASK)
    assert told["gained"]["functions"] == told["lost"]["functions"] == told["stale"] == []


def test_scripts_that_are_for_nothing(builds: Path) -> None:
    (builds / "kept.json").write_bytes(caesura_command("explain", builds / "old.wasm", "--json", "--quiet").out)
    script = ("--emscripten-js", "old.js")
    for files, given in (
        (("kept.json", "kept.json"), script),
        (("kept.json", "new.wasm"), script * 2),
        (("old.wasm", "new.wasm"), script * 3),
    ):
        done = caesura_command("diff", *files, *given, folder=builds)
        assert done.code == 2 and "--emscripten-js" in done.error_line()
    done = caesura_command("diff", "old.wasm", "new.wasm", "--emscripten-js", "old.wasm", folder=builds)
    assert (
        done.code == 1 and done.error_line() == "'old.wasm' is a WebAssembly module; expected Emscripten's JavaScript"
    )
