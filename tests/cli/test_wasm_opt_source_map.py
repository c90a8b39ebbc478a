"""Source maps through caesura-wasm-opt."""

from __future__ import annotations

import json

import pytest

from caesura import UsageError
from caesura.cli.wasm_opt.source_map import Mapping, carry, decode_mappings, encode_mappings
from caesura.wasm.module import Module
from tests.cli.wasm_opt_folder import MODULE, Folder


def test_source_map_is_carried_through(folder: Folder) -> None:
    original = Module(MODULE)
    inner = original.body_starts[1] + 1
    add = original.body_starts[3] + 1
    # Two mappings: the first instruction of $inner is line 6 of the source, that of $add line 8.
    numbers: list[Mapping] = [(inner, (0, 5, 2)), (add, (0, 7, 2))]
    text = json.dumps({"version": 3, "sources": ["a.c"], "names": [], "mappings": _mappings(numbers)})
    (folder.path / "in.map").write_text(text)
    arguments = ("-ism", "in.map", "-osm", "out.map", "-osu", "http://map", "-g")
    module = folder.module("--asyncify", *arguments, real="")
    carried = json.loads((folder.path / "out.map").read_text())
    assert carried["sources"] == ["a.c"]
    result = Module(module)
    moved = decode_mappings(carried["mappings"])
    assert {place[1] for _, place in moved} == {5, 7}
    for offset, place in moved:
        own = 1 if place[1] == 5 else 3
        assert result.body_starts[own] <= offset < result.body_ends[own]
    assert (result.body_starts[3] + 1, (0, 7, 2)) in moved
    section = result.custom_section("sourceMappingURL")
    assert section is not None
    assert module[section.payload : section.end] == b"\x0ahttp://map"
    # The same through runs of Binaryen on both sides.
    folder.module("--dce", "--asyncify", "--dce", *arguments)
    through = json.loads((folder.path / "out.map").read_text())
    assert {place[1] for _, place in decode_mappings(through["mappings"]) if place} == {5, 7}


def test_source_map_that_is_none_is_refused() -> None:
    for text in ("", "[]", '{"mappings": 5}', '{"mappings": "!"}'):
        with pytest.raises(UsageError, match="not a source map"):
            carry(text, MODULE, MODULE)


def _mappings(numbers: list[Mapping]) -> str:
    text = encode_mappings(numbers)
    assert decode_mappings(text) == numbers
    return text
