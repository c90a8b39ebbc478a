"""`Options` is the truth: command line and documentation are derived from it, and bad combinations are refused."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from caesura import Options, UsageError
from caesura.cli.options import add_options, read_options
from caesura.options import CHOICE, FLAG, LIST, NUMBER, TEXT, TIMES, flag_of, render_table
from tests.support.paths import REPOSITORY

KINDS: dict[type, str] = {bool: FLAG, tuple: LIST, str: TEXT, int: NUMBER}
# A field that has a file's name on the command line, and what is in it in the library: tests/cli/test_profiles.py.
PROFILE = "profile"

# Arguments for an option of each kind, and what they mean.
EXAMPLES: dict[str, tuple[list[str], Any]] = {
    FLAG: ([], True),
    LIST: (["a,b*"], ("a", "b*")),
    TEXT: (["heap"], "heap"),
    NUMBER: (["7"], 7),
}


def parse(*arguments: str) -> Options:
    """Return the options that arguments mean."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    add_options(parser)
    return read_options(parser.parse_args(arguments))


def test_documentation_is_up_to_date() -> None:
    page = (REPOSITORY / "docs" / "options.md").read_text()
    assert page.endswith("-->\n\n" + render_table()), "run `python docs/render_options.py`"


def test_metadata_is_complete() -> None:
    arguments = [item.metadata["pass_argument"] for item in dataclasses.fields(Options)]
    named = [argument for argument in arguments if argument]
    assert len(set(named)) == len(named)
    for item in dataclasses.fields(Options):
        kind = item.metadata["kind"]
        assert kind == (TIMES if item.name == PROFILE else KINDS[type(item.default)]) or (
            kind == CHOICE and item.default in item.metadata["choices"]
        )
        assert item.metadata["help"]


def test_no_arguments_are_the_defaults() -> None:
    assert parse() == Options()


@pytest.mark.parametrize(
    "item", [item for item in dataclasses.fields(Options) if item.name != PROFILE], ids=lambda item: item.name
)
def test_every_field_has_its_argument(item: dataclasses.Field[Any]) -> None:
    kind = item.metadata["kind"]
    arguments, value = (
        EXAMPLES[kind] if kind != CHOICE else ([item.metadata["choices"][0]], item.metadata["choices"][0])
    )
    # Those about a new memory are refused where there is none, or where it cannot grow, those about thunks without any.
    needed = {"in_secondary_memory": True, "thunks": True} if item.name.startswith("secondary_memory") else {}
    needed = {"thunks": True} if item.name == "linked" else needed
    flags = [flag_of(name) for name in needed]
    assert parse(flag_of(item.name), *arguments, *flags) == Options(**{item.name: value, **needed})


def test_options_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().asserts = True  # type: ignore[misc]


def test_an_empty_list_is_one_that_was_not_given() -> None:
    assert Options(two_bodies="", imports=(), only_list=[]) == Options()


def test_options_are_values() -> None:
    assert hash(Options(imports=("a.b",))) == hash(dataclasses.replace(Options(), imports=("a.b",)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"only_list": ("a",), "add_list": ("b",)}, "It makes no sense to use both an asyncify only-list"),
        ({"only_list": ("a",), "remove_list": ("b",)}, "It makes no sense to use both an asyncify only-list"),
        ({"import_globals": True, "export_globals": True}, "exclude each other"),
        ({"secondary_memory_size": 0}, "expected 1 to 65536"),
        ({"secondary_memory_size": 65537}, "expected 1 to 65536"),
    ],
)
def test_bad_combinations(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**fields)


class Names(Sequence[str]):
    """A sequence that is neither a list nor a tuple."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return ("a.b", "c.d")[index]


@pytest.mark.parametrize("names", [["a.b", "c.d"], ("a.b", "c.d"), Names()])
def test_any_sequence_is_a_list(names: Sequence[str]) -> None:
    options = Options(imports=names, add_list=names)
    assert options == Options(imports=("a.b", "c.d"), add_list=("a.b", "c.d"))
    assert isinstance(hash(options), int)
    assert options.imports == ("a.b", "c.d")


def test_a_list_that_changes_later_changes_no_options() -> None:
    names = ["a.b"]
    options = Options(imports=names)
    names.append("c.d")
    assert options.imports == ("a.b",)


@pytest.mark.parametrize("item", dataclasses.fields(Options), ids=lambda item: item.name)
def test_a_value_of_the_wrong_kind_is_refused_by_its_field(item: dataclasses.Field[Any]) -> None:
    wrong: dict[str, list[Any]] = {
        LIST: ["env.sleep", b"env.sleep", {"env.sleep"}, None, ["env.sleep", 1]],
        FLAG: [1, "yes", None],
        TEXT: [1, None, ("a",)],
        NUMBER: ["1", 1.0, True, None],
        CHOICE: [1, None],
        TIMES: [1, None, "hot", {"hot"}],
    }
    values = wrong[item.metadata["kind"]]
    if item.name == "two_bodies":  # a list as well
        values = [1, None, ("a", 1)]
    for value in values:
        with pytest.raises(TypeError, match=f"the option {item.name} (is|has) an? "):
            Options(**{item.name: value})


def test_an_option_without_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("--propagate-addlist") == Options(propagate_addlist=True)
    assert "--propagate-addlist has no effect without an add-list" in capsys.readouterr().err
    assert parse("--propagate-addlist", "--add-list", "a").add_list == ("a",)
    assert capsys.readouterr().err == ""


def test_empty_list_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list").write_text("\n")
    assert parse("--only-list", f"@{tmp_path / 'list'}") == Options()
    assert "the list given with --only-list is empty" in capsys.readouterr().err
    for empty in ("", f"@{tmp_path / 'list'}"):
        assert parse("--two-bodies", empty) == Options()
        assert "the list given with --two-bodies is empty" in capsys.readouterr().err
