"""What instrumenting adds for one function alone is told of that function, wherever in the file it stands."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from caesura.abi import COPY_PREFIX, RESUME_PREFIX
from caesura.explaining.document import describe_module
from caesura.explaining.explanation import explain
from caesura.instrument.abi.naming import FunctionNames
from caesura.options import Options
from caesura.wasm.module import Module
from tests.instrument.test_uninstrumented_copies import GUEST, PADDING
from tests.support.engine import assemble

NAMES = ("inner", "outer", "left", "through", "run")


def bodies_by_name(data: bytes) -> dict[str, int]:
    """Return the bytes of each named body of a module."""
    module, names = Module(data), FunctionNames(Module(data)).names
    first = module.imported_functions
    sizes = [end - start for start, end in zip(module.body_starts, module.body_ends, strict=True)]
    return {names[first + own]: size for own, size in enumerate(sizes)}


@pytest.mark.parametrize(
    ("options", "second", "copied"),
    [
        ({"two_bodies": "all"}, NAMES, ()),
        ({"two_bodies": "all", "thunks": True}, NAMES, ()),
        ({"two_bodies": "all", "snapshots": True}, NAMES, ()),
        ({"two_bodies": "all", "preempt": "fuel"}, NAMES, ()),
        ({"two_bodies": "none"}, (), ()),
        ({"only_list": ("run", "inner", "outer"), "two_bodies": "none"}, (), ("inner", "outer")),
        ({"only_list": ("run", "inner", "outer"), "two_bodies": "all"}, ("run", "inner", "outer"), ("inner", "outer")),
    ],
)
def test_second_bodies_and_copies_belong_to_their_functions(
    options: dict[str, Any], second: tuple[str, ...], copied: tuple[str, ...]
) -> None:
    given = assemble(GUEST % PADDING)
    explanation = explain(given, Options(**options))
    wasmtime.Module.validate(wasmtime.Engine(), explanation.instrumented.module)
    sizes = bodies_by_name(explanation.instrumented.module)
    assert {name for name in NAMES if RESUME_PREFIX + name in sizes} == set(second)
    assert {name for name in NAMES if COPY_PREFIX + name in sizes} == set(copied)
    document = describe_module(explanation, given, Options(**options))
    functions = {one["name"]: one for one in document["functions"]}
    for name in NAMES:
        others = sizes.get(RESUME_PREFIX + name, 0) + sizes.get(COPY_PREFIX + name, 0)
        assert functions[name]["other_bodies"] == others
        assert functions[name]["bytes_after"] == sizes[name] + others
    instrumented = [one for one in document["functions"] if one["instrumented"]]
    freed = sum(node["frees"]["bytes"] for node in document["tree"] if node["parent"] is None)
    assert freed == sum(one["bytes_after"] - one["bytes_before"] for one in instrumented)
