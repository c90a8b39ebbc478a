"""The syntax of lists, matching, and what lists mean in a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from caesura import Options, UsageError
from caesura.analysis.list_text import read_list
from caesura.analysis.lists import PatternList, resolve_lists
from tests.cli.running import MODULE, caesura_command


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", ()),
        ("one", ("one",)),
        ("one,two,three", ("one", "two", "three")),
        ("one, two ,", ("one", "two")),
        (",,one,,two", ("one", "two")),
        ("foo(int, double),bar", ("foo(int, double)", "bar")),
        (
            "std::map<int, std::pair<a, b>>::f(x[1,2], {3,4}),g",
            ("std::map<int, std::pair<a, b>>::f(x[1,2], {3,4})", "g"),
        ),
        ("a\nb,c\nd\n", ("a", "b,c", "d")),
        ("operator<\noperator()\r\n\r\nlast", ("operator<", "operator()", "last")),
        ("one,two\n", ("one", "two")),
        ("env.*,wasi.fd_*", ("env.*", "wasi.fd_*")),
    ],
)
def test_syntax(text: str, entries: tuple[str, ...], tmp_path: Path) -> None:
    assert read_list(text) == entries
    (tmp_path / "list").write_bytes(text.encode())
    assert read_list(f"@{tmp_path / 'list'}") == entries


# Names that have commas and brackets which do not match.
OPERATORS = [
    "operator<(Key const&, Key const&)",
    "operator>(A, B)",
    "operator<< <char, int>(A, B)",
    "Ptr::operator->(A, B) const",
    "operator,(A const&, B)",
    "operator, (A)",
    "closure (Int, Int) -> Int in f",
]


@pytest.mark.parametrize("name", [*OPERATORS, "operator<=>(A, B)", "Log::write(char const*, ...)", "step() (.llvm.1)"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r", "\n\n"])
def test_the_only_name_in_a_file(name: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes((name + end).encode())
    assert read_list(f"@{tmp_path / 'list'}") == (name,)
    (tmp_path / "list").write_bytes((f"{name}{end or chr(10)}other{end}").encode())
    assert read_list(f"@{tmp_path / 'list'}") == (name, "other")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_of_editors(encoding: str, tmp_path: Path) -> None:
    """They are no part of the first name; `utf-16-le` and `utf-16-be` write none, so it is added."""
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "list").write_bytes((mark + "caf\u00e9\r\nsecond\r\n").encode(encoding))
    assert read_list(f"@{tmp_path / 'list'}") == ("caf\u00e9", "second")


def test_names_that_are_not_utf8_survive_in_files(tmp_path: Path) -> None:
    """Only where it is asked for, as it is for Binaryen's pass arguments."""
    (tmp_path / "list").write_bytes(b"caf\xe9\nok")
    assert read_list(f"@{tmp_path / 'list'}", as_binaryen=True) == ("caf\udce9", "ok")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"ok\ncaf\xe9\n", r"byte 6 \(0xe9\) is not valid UTF-8"),
        (b"\xef\xbb\xbfcaf\xe9", r"byte 6 \(0xe9\) is not valid UTF-8"),
        (b"\xff\xfea\0\x00\xd8b\0", r"byte 4 \(0x00\) is not valid UTF-16"),
        (b"a\0b\0\x00\xdc", r"byte 4 \(0x00\) is not valid UTF-16"),
    ],
)
def test_files_in_other_encodings(data: bytes, place: str, tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=f"^cannot read the list file '{file}': {place}"):
        read_list(f"@{file}")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (MODULE, "it is a WebAssembly module; expected a text with"),
        (b"\0asm\x0d\0\1\0", "it is a WebAssembly module; expected a text with"),  # a component
        (b"\x7fELF\2\1\1\0\0\0\0more", "it is no text, since it has zero bytes"),
        (b"\0caesura\1\0\0\0more", "it is no text, since it has zero bytes"),
    ],
)
def test_files_that_are_no_text(data: bytes, why: str, tmp_path: Path) -> None:
    """A module looks like UTF-16: without a look at it, it would be a list of odd names."""
    file = tmp_path / "list"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=f"^cannot read the list file '{file}': {why}"):
        read_list(f"@{file}")


def test_a_module_in_the_place_of_a_text(tmp_path: Path) -> None:
    """Wherever the command line takes a text."""
    module = tmp_path / "app.wasm"
    module.write_bytes(MODULE)
    output = tmp_path / "output"
    instrument: list[str | Path] = ["instrument", module, "-o", output]
    commands: list[list[str | Path]] = [
        *(
            [*instrument, option, f"@{module}"]
            for option in ("--only-list", "--remove-list", "--add-list", "--imports")
        ),
        [*instrument, "--profile", module],
        [*instrument, "--emscripten-js", module],
        ["explain", module, "--recorded", module],
        ["record", "--merge", module, "-o", output],
        ["fix", "--list", module, module, "-o", output, "--", "true"],
        ["list", module, f"@{module}"],
    ]
    for command in commands:
        done = caesura_command(*command)
        assert done.code != 0, command
        assert "WebAssembly module" in done.err, (command, done.err)
        assert not output.exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_no_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("first\r\ncaf\u00e9\n".encode(encoding))
    assert read_list(f"@{tmp_path / 'list'}") == ("first", "caf\u00e9")


@pytest.mark.parametrize("text", ["f(a", "operator<,b", "f)"])
def test_unbalanced_brackets(text: str) -> None:
    with pytest.raises(UsageError, match="do not match: put such names in a file"):
        read_list(text)


@pytest.mark.parametrize("path", ["none", ".", "a\0b"])
def test_unreadable_files(path: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the list file"):
        read_list(f"@{tmp_path}/{path}")


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("name", ["name"], ["names", "nam", "Name", ""]),
        ("*", ["", "anything", "a\nb"], []),
        ("**", ["", "a"], []),
        ("a*", ["a", "ab"], ["ba", ""]),
        ("*a", ["a", "ba"], ["ab"]),
        ("a*b", ["ab", "acb", "abab"], ["a", "b", "aba", "ba"]),
        ("a*a", ["aa", "aba"], ["a"]),
        ("*a*b*", ["ab", "xaxbx", "aab"], ["ba", "a"]),
        ("a*bc*bcd", ["abcbcd", "abcxbcd", "abcbcbcd"], ["abcd", "abcbc"]),
        ("f(*).?[x]+", ["f(1).?[x]+", "f().?[x]+"], ["f(1).y[x]+", "f(1).?x+"]),
        ("a" + "*a" * 30 + "b", ["a" * 40 + "b"], ["a" * 5000]),
    ],
)
def test_matching(pattern: str, matching: list[str], others: list[str]) -> None:
    for name in matching:
        assert PatternList((pattern,), []).match(name), name
    for name in others:
        entries = PatternList((pattern,), [])
        assert not entries.match(name), name
        assert entries.unmatched() == [pattern]


def test_every_entry_that_matches_is_remembered() -> None:
    entries = PatternList(("typo", "abc", "a*", "*c", "z*", "abc"), [])
    assert entries.match("abc")
    assert entries.unmatched() == ["typo", "z*"]
    assert entries.match("z")
    assert entries.unmatched() == ["typo"]


def test_a_pattern_is_not_a_name() -> None:
    entries = PatternList(("a*",), [])
    assert not entries.has_name("a*")
    assert entries.match("a*")


def test_an_entry_that_is_a_name_is_no_pattern() -> None:
    """The stars of C++'s pointers: other overloads are other functions."""
    names = ["pick(int*)", "pick(int, long*)", "operator*(A)", "operator*(A, B)"]
    entries = PatternList(("pick(int*)", "operator*(A*"), names)
    assert [entries.match(name) for name in names] == [True, False, True, True]
    assert entries.has_name("pick(int*)")
    assert not entries.unmatched()
    entries = PatternList(("pick(int*)",), names[1:])
    assert [entries.match(name) for name in names[1:]] == [True, False, False]


def test_names_with_stars_on_each_list() -> None:
    names = ["f(int*)", "f(int, int*)", "g(int*)", "g(int, int*)", "h(int*)", "h(int, int*)"]
    imports = names[:2]
    options = Options(imports=("f(int*)",), add_list=("g(int*)",), remove_list=("h(int*)",), strict=True)
    lists = resolve_lists(options, imports, names, [])
    assert lists.imports == [True, False, False, False, False, False]
    assert lists.add == [False, False, True, False, False, False]
    assert lists.remove == [False, False, False, False, True, False]
    with pytest.raises(UsageError, match=r"onlylist contained an imported function name .*: f\(int\*\)"):
        resolve_lists(Options(only_list=("f(int*)",)), imports, names, [])


IMPORTS = ["env.sleep", "env.now"]
NAMES = ["sleep", "now", "main", "loop", "helper"]


def resolve(options: Options) -> list[str]:
    """Return the warnings, after a check that only options that warn have any."""
    warnings: list[str] = []
    resolve_lists(options, IMPORTS, NAMES, warnings)
    return warnings


def test_imports_that_may_suspend() -> None:
    def imports(**fields: object) -> list[bool]:
        return resolve_lists(Options(**fields), IMPORTS, NAMES, []).imports[:2]  # type: ignore[arg-type]

    assert imports() == [True, True]
    assert imports(ignore_imports=True) == [False, False]
    assert imports(imports=("env.sleep",)) == [True, False]
    assert imports(imports=("env.sleep",), ignore_imports=True) == [True, False]
    assert imports(imports=("*.n*",)) == [False, True]
    assert imports(imports=("sleep",)) == [False, False]
    assert imports(remove_list=("s*",)) == [False, True]


def test_flags_of_functions() -> None:
    lists = resolve_lists(Options(add_list=("*o*",), remove_list=("helper",)), IMPORTS, NAMES, [])
    assert lists.add == [False, False, False, True, False]
    assert lists.remove == [False, False, False, False, True]
    assert not lists.has_only
    lists = resolve_lists(Options(only_list=("main", "l*")), IMPORTS, NAMES, [])
    assert lists.only == [False, False, True, True, False]
    assert lists.has_only


def test_warnings() -> None:
    options = Options(imports=("env.typo", "env.now"), add_list=("typo", "main"), remove_list=("typo*", "helper"))
    assert resolve(options) == [
        "import list: no imported function matches 'env.typo'",
        "Asyncify removelist contained a non-matching pattern: 'typo*'",
        "Asyncify addlist contained a non-existing function name: 'typo'",
    ]
    assert resolve(Options(only_list=("typo",))) == ["Asyncify onlylist contained a non-existing function name: 'typo'"]


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ("sleep", " (did you mean 'env.sleep'?)"),
        ("sl*", " (did you mean 'env.sleep'?)"),
        ("evn.now", " (did you mean 'env.now'?)"),
        ("env.sleap", " (did you mean 'env.sleep'?)"),
        ("env.typo", ""),
        ("env.x*", ""),
    ],
)
def test_imports_that_may_be_meant(entry: str, hint: str) -> None:
    assert resolve(Options(imports=(entry,))) == [f"import list: no imported function matches '{entry}'{hint}"]


def test_strict() -> None:
    with pytest.raises(UsageError, match=r"onlylist contained .*: 'typo' \(and 1 more like this\)$"):
        resolve(Options(only_list=("typo", "main", "x*"), strict=True))
    assert resolve(Options(only_list=("main",), strict=True)) == []


def test_conflicts() -> None:
    with pytest.raises(UsageError, match=r"^main is found in the add-list and in the remove-list$"):
        resolve(Options(add_list=("main",), remove_list=("m*",)))
    for field in ("add_list", "remove_list", "only_list"):
        for name in ("sleep", "env.sleep"):
            message = f"Asyncify {field.replace('_', '')} contained an imported function name .*: {name}"
            with pytest.raises(UsageError, match=message):
                resolve(Options(**{field: (name,)}))  # type: ignore[arg-type]


def test_a_function_may_be_called_like_an_import() -> None:
    warnings: list[str] = []
    lists = resolve_lists(Options(only_list=("env.sleep",)), IMPORTS, [*NAMES, "env.sleep"], warnings)
    assert lists.only[-1]
    assert not warnings
