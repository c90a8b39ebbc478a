"""Rules of CONTRIBUTING.md that no linter knows.

What caesura's two forms may do differently is tested in both. Constructors can be read where they are called: those
written by hand have six parameters at most, and records with more fields than that are made by keyword. ruff's PLR0913
looks at all functions alike, and not at records.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

MOST_PARAMETERS = 6

# What may have more, and why.
EXCEPTIONS = {
    "Wasi": "its keywords are public, and help() shows each; an object of options would be one more to make",
    "Instruction": "a row of the instruction table, made in one place of the row's columns in their order",
}

# Where tests may be marked `one_form`; those of the three compiled rooms, and what checks these, may not. Of the
# command line's, where output goes and what is said are the same in both forms.
MAY_RUN_IN_ONE_FORM = (
    "tests/benchmarks",
    "tests/cli/test_streams.py",
    "tests/cli/test_wasm_opt_words.py",
    "tests/emscripten",
    "tests/host",
)

FOLDERS = ("src", "tests", "benchmarks", "examples", "js/test", "docs")


def classes(*folders: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Return all classes in Python files of some folders, and the file of each."""
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    yield str(path.relative_to(REPOSITORY)), node


def written_by_hand(node: ast.ClassDef) -> int:
    """Return how many parameters the constructor of a class has besides `self`; 0 where it has none of its own."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            given = item.args
            return len([*given.posonlyargs, *given.args, *given.kwonlyargs]) - 1
    return 0


def positional_fields(node: ast.ClassDef) -> int:
    """Return how many fields of a record can be given by position."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    is_record = any(decorator.startswith("dataclass") for decorator in decorators)
    if any("kw_only=True" in decorator for decorator in decorators):
        return 0
    if not is_record and not any(ast.unparse(base).endswith("NamedTuple") for base in node.bases):
        return 0
    fields = [ast.unparse(item.annotation) for item in node.body if isinstance(item, ast.AnnAssign)]
    return fields.index("KW_ONLY") if "KW_ONLY" in fields else len(fields)


def test_constructors_have_few_parameters() -> None:
    found = {
        node.name: f"{path}:{node.lineno}: {node.name} has {written_by_hand(node)}"
        for path, node in classes(*FOLDERS)
        if written_by_hand(node) > MOST_PARAMETERS
    }
    assert [where for name, where in found.items() if name not in EXCEPTIONS] == []


def test_large_records_are_made_by_keyword() -> None:
    found = {
        node.name: f"{path}:{node.lineno}: {node.name} has {positional_fields(node)}"
        for path, node in classes("src")
        if positional_fields(node) > MOST_PARAMETERS
    }
    assert [where for name, where in found.items() if name not in EXCEPTIONS] == []


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_are_needed(name: str) -> None:
    node = next(node for _, node in classes("src") if node.name == name)
    assert max(written_by_hand(node), positional_fields(node)) > MOST_PARAMETERS


def test_only_what_the_forms_share_is_tested_in_one_of_them() -> None:
    marked = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "tests").rglob("*.py")
        if "pytest.mark.one_form" in path.read_text() and path != Path(__file__)
    }
    assert marked
    assert [path for path in sorted(marked) if not path.startswith(MAY_RUN_IN_ONE_FORM)] == []
    assert [path for path in sorted(marked) if "interpreted_only" in (REPOSITORY / path).read_text()] == []
