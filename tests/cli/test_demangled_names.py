"""Lists name functions as sources do, where a module has mangled names; entries that are names mean what they did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from wasmtime import wat2wasm

import caesura
from caesura import Options, UsageError
from caesura.analysis.demangling import DemangledNames
from caesura.analysis.lists import PatternList
from tests.support.guests import CPP_FLAGS
from tests.support.paths import GUESTS

NAMES = [
    "_ZN2io4BaseC2Ei",
    "_ZN2io6ReaderC2Ei",
    "_ZN2io6ReaderC1Ei",
    "_ZN2io6Reader4readEi",
    "_ZN2io6Reader4readEPKc",
    "run",
    "_ZN2io5twiceIlEET_S1_",
    "_ZN2io5twiceIiEET_S1_",
]
RUST = {
    "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE": "core::fmt::Formatter::pad",
    "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE": (
        "<Test + 'static as foo::Bar<Test>>::bar"
    ),
    "_RNvCs1234_7mycrate3foo": "mycrate::foo",
    "_RINvNtC3std3mem8align_ofjEC3foo": "std::mem::align_of::<usize>",
    # As linkers leave it that demangle names themselves.
    "<alloc::vec::Vec<T>>::push::h0123456789abcdef": "<alloc::vec::Vec<T>>::push",
    "_$LT$T$GT$::drop::h0123456789abcdef": "<T>::drop",
}


def matching(*entries: str, names: list[str] = NAMES) -> list[str]:
    patterns = PatternList(entries, names, DemangledNames(names))
    return [name for name in names if patterns.match(name)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A C++ program whose linker left names as they are."""
    folder = tmp_path_factory.mktemp("mangled")
    zig = [sys.executable, "-m", "ziglang"]
    compiling = [flag for flag in CPP_FLAGS if not flag.startswith("-Wl,") and flag != "-s"]
    source = GUESTS / "cpp" / "mangled.cpp"
    for command in (
        [*zig, "c++", *compiling, "-O1", "-fno-rtti", "-fno-sanitize=all", "-c", str(source), "-o", "mangled.o"],
        [*zig, "wasm-ld", "mangled.o", "--no-entry", "--no-demangle", "--allow-undefined", "-o", "mangled.wasm"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "mangled.wasm").read_bytes()


def instrumented(result: caesura.Instrumented) -> list[str]:
    return [function.name for function in result.functions if function.instrumented]


def test_a_program(program: bytes) -> None:
    """Overloads are told apart, templates have their arguments; both constructors of a class have one name."""
    only = ("run", "io::Reader::Reader(int)", "io::Base::Base(int)", "io::Reader::read(int)", "int io::twice<*>(*)")
    result = caesura.instrument(program, Options(only_list=only, strict=True))
    assert sorted(instrumented(result)) == sorted(
        ["run", *NAMES[:4], "_ZN2io5twiceIiEET_S1_"],
    )


def test_the_same_bytes_as_by_mangled_names(program: bytes) -> None:
    by_source = caesura.instrument(program, Options(remove_list=("io::Reader::read(*)",), strict=True))
    by_name = caesura.instrument(program, Options(remove_list=("_ZN2io6Reader4read*",), strict=True))
    assert by_source.module == by_name.module != caesura.instrument(program).module
    second = caesura.instrument(program, Options(two_bodies=["long io::twice<long>(long)"], strict=True)).module
    assert b"asyncify_resume:_ZN2io5twiceIlEET_S1_" in second and b"asyncify_resume:run" not in second


def test_an_entry_that_matches_a_name_as_it_stands_matches_nothing_else() -> None:
    names = ["foo(int)", "_Z3fooi", "_Z3food", "_Z4pickPi", "_Z4pickPiPl", "pick2"]
    assert matching("foo(int)", names=names) == ["foo(int)"]
    assert matching("foo(*", names=names) == ["foo(int)"]
    assert matching("foo(double)", names=names) == ["_Z3food"]
    assert matching("*pick*", names=names) == ["_Z4pickPi", "_Z4pickPiPl", "pick2"]


def test_an_entry_that_is_exactly_what_a_name_stands_for_is_no_pattern() -> None:
    names = ["_Z4pickPi", "_Z4pickPiPl"]
    assert matching("pick(int*)", names=names) == ["_Z4pickPi"]
    assert matching("pick(int*, long*)", names=names) == ["_Z4pickPiPl"]
    assert matching("pick(*)", names=names) == names


@pytest.mark.parametrize("name", RUST)
def test_names_of_rust(name: str) -> None:
    assert matching(RUST[name], names=["main", name]) == [name]
    assert matching(f"*{RUST[name][1:]}", names=["main", name]) == [name]


def test_with_the_hash_of_a_build() -> None:
    names = ["_ZN3foo3bar17h0123456789abcdefE", "_ZN3foo3bar17hfedcba9876543210E"]
    assert matching("foo::bar", names=names) == names
    assert matching("foo::bar::h0123456789abcdef", names=names) == names[:1]


def test_names_that_only_begin_like_mangled_ones() -> None:
    assert matching("f(int)", names=["_Zoo", "_Rust", "_ZN", "_Z1fi"]) == ["_Z1fi"]


def test_nothing_is_demangled_that_no_entry_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caesura.analysis.demangling.import_module", None)  # a call of it fails
    assert matching("run", "_ZN2io4BaseC2Ei", "_ZN2io6*", "missing") == [*NAMES[:5], "run"]
    assert matching("missing::name(int)", "a*", names=["run", "malloc"]) == []


def test_imports() -> None:
    text = '(module (import "env" "_Z5sleepi" (func)) (import "env" "f" (func)) (func $a call 0) (func $b call 1))'
    module = bytes(wat2wasm(text))
    assert instrumented(caesura.instrument(module, Options(imports=("env.sleep(int)",), strict=True))) == ["a"]
    with pytest.raises(UsageError, match="removelist contained an imported function name"):
        caesura.instrument(module, Options(remove_list=("env.sleep(int)",)))


def test_without_what_demangles(program: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that looks like a name in a source says what to install; others are spoken of as ever."""
    monkeypatch.setitem(sys.modules, "pycxxfilt", None)  # as if it were not installed
    options = Options(add_list=("io::Base::Base(int)", "typo"), remove_list=("*(x)",))
    assert caesura.instrument(program, options).warnings[-3:] == (
        "Asyncify removelist contained a non-matching pattern: '*(x)' (names in this module are mangled: to name them "
        "as in the source, install caesura[demangle])",
        "Asyncify addlist contained a non-existing function name: 'io::Base::Base(int)' (names in this module are "
        "mangled: to name them as in the source, install caesura[demangle])",
        "Asyncify addlist contained a non-existing function name: 'typo'",
    )


def test_plain_lists(program: bytes) -> None:
    """The form of Binaryen's lists, which caesura-wasm-opt takes them for."""
    entries = ("io::Base::Base(int)", caesura.body_entries(program, [1])[0])
    result = caesura.instrument(program, Options(only_list=entries, plain_lists=True))
    assert instrumented(result) == []
    assert len([warning for warning in result.warnings if "contained a non-existing" in warning]) == 2


def test_the_drop_in_takes_lists_as_binaryen_does(program: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(program)
    (tmp_path / "list").write_text("# run\n[in.wasm]\nrun\n")
    for text in ("io::Base::Base(int)", "@list"):
        command = [sys.executable, "-m", "caesura.cli.wasm_opt", "--asyncify", f"--pass-arg=asyncify-onlylist@{text}"]
        done = subprocess.run(
            [*command, "in.wasm", "-o", "out.wasm"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        entries = ["# run", "[in.wasm]"] if text == "@list" else [text]
        for entry in entries:
            assert f"Asyncify onlylist contained a non-existing function name: '{entry}'" in done.stderr
