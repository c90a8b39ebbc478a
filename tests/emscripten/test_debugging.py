"""Names and source maps of programs that Emscripten builds with caesura-wasm-opt."""

from __future__ import annotations

import json

from caesura.cli.wasm_opt.source_map import decode_mappings
from caesura.wasm.module import Module
from tests.emscripten.toolchain import PROGRAMS, build


def test_names_are_kept_where_asked_for_only() -> None:
    plain = Module(build("lists.c", "-sASYNCIFY", "-O1").module)
    named = Module(build("lists.c", "-sASYNCIFY", "-O1", "--profiling-funcs").module)
    assert plain.custom_section("name") is None
    assert named.custom_section("name") is not None
    assert not any(section.name.startswith(".debug") for section in named.sections)


def test_source_map_points_to_the_lines_of_calls() -> None:
    built = build("lists.c", "-sASYNCIFY", "-O1", "-gsource-map")
    document = json.loads(built.script.with_suffix(".wasm.map").read_text())
    source = next(number for number, name in enumerate(document["sources"]) if name.endswith("lists.c"))
    module = Module(built.module)
    wanted = ["emscripten_sleep(1)", "operations[which](value)", "dispatch(0, value)"]
    lines = (PROGRAMS / "lists.c").read_text().splitlines()
    numbers = [next(i for i, line in enumerate(lines) if text in line) for text in wanted]
    mapped: dict[int, set[int]] = {}
    for offset, place in decode_mappings(document["mappings"]):
        if place and place[0] == source:
            mapped.setdefault(place[1], set()).add(offset)
    for number in numbers:
        assert number in mapped, lines[number]
        for offset in mapped[number]:
            assert module.body_starts[0] <= offset < module.body_ends[-1]
    assert built.run().code == 0
