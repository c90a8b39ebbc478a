"""The spellings of Asyncify's pass arguments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from caesura import Options
from caesura.cli.wasm_opt.asyncify import read_options as options_of


def read_options(given: list[str]) -> Options:
    """Return the options of pass arguments that are all known."""
    warnings: list[str] = []
    options = options_of(given, warnings.append)
    assert not warnings
    return options


# Lists are Binaryen's, whatever else caesura's can be.
PLAIN = Options(plain_lists=True)


def test_every_spelling_of_the_pass_arguments(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("env.sleep\nenv.*\n")
    assert read_options([]) == PLAIN
    assert read_options(["asyncify-imports@a.b,c.d"]).imports == ("a.b", "c.d")
    assert read_options(["asyncify-imports@*.name"]).imports == ("*.name",)
    assert read_options([f"asyncify-imports@@{names}"]).imports == ("env.sleep", "env.*")
    assert read_options(["asyncify-imports@a.b", "asyncify-imports@c.d"]).imports == ("c.d",)
    assert read_options(["asyncify-imports@", "other@x"]) == PLAIN
    assert read_options(["asyncify-ignore-imports"]).ignore_imports
    assert not read_options(["asyncify-ignore-imports@"]).ignore_imports
    assert read_options(["asyncify-ignore-indirect@"]).ignore_indirect
    assert read_options(["asyncify-removelist@f(int, char),g"]).remove_list == ("f(int, char)", "g")
    assert read_options(["asyncify-blacklist@f"]).remove_list == ("f",)
    assert read_options(["asyncify-blacklist@f", "asyncify-removelist@g"]).remove_list == ("g",)
    assert read_options(["asyncify-whitelist@f", "asyncify-onlylist@"]).only_list == ("f",)
    assert read_options(["asyncify-addlist@f", "asyncify-propagate-addlist"]) == replace(
        PLAIN, add_list=("f",), propagate_addlist=True
    )
    assert read_options(["asyncify-asserts", "asyncify-verbose", "asyncify-ignore-unwind-from-catch"]) == replace(
        PLAIN, asserts=True, verbose=True, ignore_unwind_from_catch=True
    )
    assert read_options(["asyncify-relocatable"]).import_globals
    assert read_options(["asyncify-import-globals"]).import_globals
    assert read_options(["asyncify-export-globals"]).export_globals
    assert read_options(["asyncify-memory@second"]).memory == "second"
    assert read_options(["asyncify-in-secondary-memory", "asyncify-secondary-memory-size@7"]) == replace(
        PLAIN, in_secondary_memory=True, secondary_memory_size=7
    )


def test_the_guard_is_on_wherever_a_list_leaves_out_functions() -> None:
    for given in ("asyncify-onlylist@f", "asyncify-removelist@f", "asyncify-ignore-indirect"):
        assert read_options([given]).guards()
        assert not read_options([given, "asyncify-no-guard"]).guards()
    assert not read_options(["asyncify-addlist@f", "asyncify-imports@a.b"]).guards()


def test_misspelt_pass_arguments_are_told() -> None:
    warnings: list[str] = []
    assert options_of(["asyncify-import@a.b"], warnings.append) == PLAIN
    assert warnings == ["unknown pass argument 'asyncify-import' is ignored: did you mean 'asyncify-imports'?"]
