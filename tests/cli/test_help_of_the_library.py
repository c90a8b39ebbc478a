"""`help`, signatures and sources are there in the compiled package too, which editors and `help` read."""

from __future__ import annotations

import ast
import inspect
import pydoc
from pathlib import Path

import pytest

import caesura

CLASSES_AND_FUNCTIONS = [name for name in caesura.__all__ if name not in ("EXTERNAL", "__version__")]


@pytest.mark.parametrize("name", CLASSES_AND_FUNCTIONS)
def test_everything_public_is_described(name: str) -> None:
    thing = getattr(caesura, name)
    assert inspect.getdoc(thing)
    assert inspect.getsource(thing)
    assert name in pydoc.plain(pydoc.render_doc(thing))


def test_what_stands_for_no_function_says_so() -> None:
    assert "function without a body" in (inspect.getdoc(caesura.EXTERNAL) or "")


def test_signature_of_instrument() -> None:
    signature = inspect.signature(caesura.instrument)
    assert list(signature.parameters) == ["module", "options", "progress"]
    assert str(signature.parameters["module"]) == "module: 'bytes | bytearray | memoryview'"
    assert "Make a module's call stack pausable." in pydoc.plain(pydoc.render_doc(caesura.instrument))


@pytest.mark.parametrize("thing", [caesura.Options, caesura.Instrumented, caesura.FunctionReport])
def test_types_of_fields_are_those_of_the_source(thing: type) -> None:
    source = inspect.getsourcefile(thing)
    assert source is not None
    (definition,) = (
        node
        for node in ast.parse(Path(source).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == thing.__name__
    )
    written = {
        node.target.id: ast.unparse(node.annotation)
        for node in definition.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    parameters = inspect.signature(thing).parameters
    assert {name: parameter.annotation for name, parameter in parameters.items()} == written
    assert inspect.getdoc(thing) == ast.get_docstring(definition)


@pytest.mark.parametrize("name", ["instrumented", "sites"])
def test_properties_are_described(name: str) -> None:
    assert inspect.getdoc(getattr(caesura.Instrumented, name))
