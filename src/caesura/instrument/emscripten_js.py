"""The names that Emscripten's JavaScript has for the shortened imports and exports of its module.

Optimised output of Emscripten calls imports and exports by letters, which only the JavaScript next to the module
explains: `{b:_ask, c:_fd_write}` for imports, `Module["_twice"]=wasmExports["g"]` for exports. Put back into the
module, names are what everything else here goes by: `malloc`, WASI, lists, the four functions of the ABI.

Closure's compiler goes further: imports that are written in JavaScript become nameless functions, `p:()=>Date.now()`.
Those of Emscripten's own library are few, and recognised by what they do; those that call something which the user
gives to the module (`Module.callbacks.ask(...)`) are called by that path. Both count only where nothing else fits: a
name goes to one import with the right type, or to none. What stays nameless keeps its letter and is told.

The script is read with expressions for the few forms that Emscripten writes, and brackets that are matched with an eye
on texts and comments. Parsing JavaScript was rejected, and so was running it: it would instantiate the module. Like
`api`, this file is not compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from caesura.argument_kinds import BYTES, check_kind
from caesura.errors import UsageError
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, MEMORY_KIND, TABLE_KIND, Export, Import
from caesura.wasm.leb128 import encode_name, encode_unsigned, encode_vector
from caesura.wasm.module import Module
from caesura.wasm.renumber import encode_import
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.types import F64, I32, I64

ENVIRONMENT: Final = "env"
WASI: Final = "wasi_snapshot_preview1"

_WASI_NAME: Final = re.compile(
    r"(fd|path|sock)_\w+|args_(sizes_)?get|environ_(sizes_)?get|clock_(res|time)_get|proc_(exit|raise)|random_get"
    r"|poll_oneoff|sched_yield"
)
# Functions of WASI with a number of 64 bits, which Emscripten may have divided into two halves: then it is no WASI.
_WASI_LONG: Final = frozenset(["fd_seek", "fd_pread", "fd_pwrite", "fd_allocate", "fd_advise", "clock_time_get"])

_LETTERS: Final = {"i": I32, "j": I64, "d": F64}


@dataclass(frozen=True)
class _Known:
    """A function of Emscripten's library: name, type (parameters:results), and what its JavaScript has in it."""

    name: str
    type: str
    has: str
    has_not: str = r"(?!)"


# What is left of them after Closure's compiler. Texts, properties and numbers survive it, variables do not.
_LIBRARY: Final = (
    _Known("__assert_fail", "iiii:", r"Assertion failed: "),
    _Known("_abort_js", ":", r"^(\(\)=>|function\(\)\{)[\w$]+\([\"'`]{2}\);?\}?$"),
    _Known("_emscripten_runtime_keepalive_clear", ":", r"^(\(\)=>|function\(\))\{[\w$]+=(!1|false);[\w$]+=0;?\}$"),
    _Known("_localtime_js", "ji:", r"(?s)getSeconds\(\).*getTimezoneOffset\(\)"),
    _Known("_gmtime_js", "ji:", r"(?s)getUTCSeconds\(\)"),
    _Known("_tzset_js", "iiii:", r"(?s)getTimezoneOffset\(\).*(Math\.abs|toLocaleTimeString)"),
    _Known("_setitimer_js", "id:i", r"(?s)clearTimeout\(.*setTimeout\("),
    _Known("emscripten_date_now", ":d", r"^(\(\)=>|function\(\)\{return )Date\.now\(\);?\}?$"),
    _Known("emscripten_get_now", ":d", r"^(\(\)=>|function\(\)\{return )performance\.now\(\);?\}?$"),
    _Known("emscripten_resize_heap", "i:i", r"(?s)Math\.max.*\.grow\("),
    _Known("environ_get", "ii:i", r"(?s)\bof\b.*Infinity", r"\.length;"),
    _Known("environ_sizes_get", "ii:i", r"(?s)\.length;.*\bof\b"),
    _Known("fd_close", "i:i", r"^(\(\)=>|function\(\w*\)\{return )52;?\}?$"),
    _Known("fd_seek", "ijii:i", r"^((\(\)=>)|function\([\w$,]*\)\{return )70;?\}?$"),
    _Known("fd_write", "iiii:i", r"(?s)\bfor\(.*===10|\bfor\(.*10==="),
    _Known("proc_exit", "i:", r"\.onExit"),
)

# Where a pattern begins with a word, it says that no word goes on there: else each place in a long word, as in data
# that is text, would be tried.
_WORD: Final = r"[A-Za-z_$][\w$]*"

# What stands before a slash that begins a regular expression.
_BEFORE_EXPRESSION: Final = "(,=:[!&|?{};\n"

_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Named:
    """A module with its names: `imports` and `exports` say what became of the shortened ones.

    Imports are `module.name`. A memory that is imported only is exported as `memory` too. `unnamed` has those, of both,
    that keep their letters.
    """

    module: bytes
    imports: dict[str, str]
    exports: dict[str, str]
    unnamed: tuple[str, ...]


def name_emscripten(module: bytes | bytearray | memoryview, script: str) -> Named:
    """Return a module of Emscripten's with the names that its JavaScript, `script`, has for imports and exports.

    The names are those of C: imports are `env.ask` or `wasi_snapshot_preview1.fd_write`, exports `malloc`, with
    `__wasm_call_ctors` for what has to be called first. An import that passes a call on to the user of the JavaScript
    is called by the property that it calls (`env.callbacks.ask` for `Module.callbacks.ask(...)`). Raises
    MalformedModule, and UsageError for a script that does not belong to the module.
    """
    check_kind("module", module, *BYTES)
    check_kind("script", script, str)
    parsed = Module(bytes(module))
    imports = _import_names(parsed, script)
    exports = _export_names(parsed, script)
    if parsed.memories and all(item.kind != MEMORY_KIND and item.name != "memory" for item in exports):
        exports.append(Export("memory", MEMORY_KIND, 0))  # hosts, and WASI, look for it there
    edits = SectionEdits()
    if imports:
        edits.replace[sec.IMPORT] = encode_vector([encode_import(parsed, item) for item in imports])
    if exports:
        edits.replace[sec.EXPORT] = encode_vector(
            [encode_name(item.name) + bytes([item.kind]) + encode_unsigned(item.index) for item in exports]
        )
    before = [f"{item.module}.{item.name}" for item in parsed.imports]
    after = [f"{item.module}.{item.name}" for item in imports]
    old_exports = [item.name for item in parsed.exports]
    new_exports = [item.name for item in exports]
    return Named(
        write_sections(parsed.data, parsed.sections, edits),
        {old: new for old, new in zip(before, after, strict=True) if old != new},
        {old: new for old, new in zip(old_exports, new_exports, strict=False) if old != new},
        tuple(
            [name for name, new in zip(before, after, strict=True) if name == new and _is_short(name.partition(".")[2])]
            + [name for name, new in zip(old_exports, new_exports, strict=False) if name == new and _is_short(name)]
        ),
    )


def _is_short(name: str) -> bool:
    """Tell whether a name looks like one of Emscripten's letters."""
    return len(name) <= 2


def _import_names(module: Module, script: str) -> list[Import]:
    wanted = {item.name for item in module.imports}
    tables = [table for table in _tables(script) if wanted <= set(table)]
    if not tables and not any(_is_short(name) for name in wanted):
        return list(module.imports)  # nobody has shortened them
    if not tables and wanted:
        raise UsageError("the script has no table of the module's imports: it does not belong to this module")
    if not tables:
        return []
    table = min(tables, key=len)
    values = {name: _resolved(script, table[name]) for name in wanted}
    user = _user_object(script)
    found: dict[str, list[str]] = {}
    for item in module.imports:
        for name in _candidates(module, item, table[item.name], values[item.name], user):
            found.setdefault(name, []).append(item.name)
    renamed: list[Import] = []
    for item in module.imports:
        names = [name for name, letters in found.items() if letters == [item.name]]
        name = names[0] if len(names) == 1 and _is_short(item.name) else item.name
        home = _home(module, item, name) if name != item.name else item.module
        renamed.append(Import(home, name, item.kind, item.index))
    return renamed


def _candidates(module: Module, item: Import, given: str, body: str, user: str) -> Iterator[str]:
    """Return the names that may be meant by an import, for which the script's table gives a value."""
    if item.kind == MEMORY_KIND:
        yield "memory"
        return
    if item.kind == TABLE_KIND:
        yield "__indirect_function_table"
        return
    if item.kind != FUNCTION_KIND:
        return
    direct = re.fullmatch(r"_(\w+)|(invoke_\w+)", given)
    if direct is not None:
        yield direct[1] or direct[2]
        return
    path = re.search(
        rf"(?:return |=>|[;{{]){re.escape(user)}\.((?:{_WORD}\.)*{_WORD})\((?:[^()]|\([^()]*\))*\);?\}}?$", body
    )
    if path is not None and user:
        yield path[1]
        return
    types = module.types[module.function_types[item.index]]
    for known in _LIBRARY:
        params, _, results = known.type.partition(":")
        fits = [_LETTERS[x] for x in params] == list(types.params) and [_LETTERS[x] for x in results] == list(
            types.results
        )
        if fits and re.search(known.has, body) and not re.search(known.has_not, body):
            yield known.name


def _home(module: Module, item: Import, name: str) -> str:
    """Return the module that an import with a name comes from."""
    if item.kind != FUNCTION_KIND or not _WASI_NAME.fullmatch(name):
        return ENVIRONMENT
    params = module.types[module.function_types[item.index]].params
    return WASI if name not in _WASI_LONG or I64 in params else ENVIRONMENT


def _export_names(module: Module, script: str) -> list[Export]:
    """Return the exports, named by the assignments from the object of exports that names most of them."""
    known = {item.name: item for item in module.exports}
    found: dict[str, dict[str, set[str]]] = {}
    others: dict[str, str] = {}
    for match in _EXPORT.finditer(script):
        short = match["property"] or match["text"]
        if short in known:
            if not _takes_as_many(module, known[short], match["several"], match["single"]):
                others[match["object"]] = short
            names = found.setdefault(match["object"], {}).setdefault(short, set())
            names.update(re.findall(r"(?:^|[.\s\"'=])_(\w+)|(dynCall_\w+)", match["targets"])[0])
    home = max(found, key=lambda name: len(found[name]), default="")
    best = found.get(home, {})
    if home in others:
        raise UsageError(
            f"the script calls export '{others[home]}' with another number of arguments than it takes: it belongs to "
            "another build of the module"
        )
    names_of = {short: (names - {""}).pop() for short, names in best.items() if len(names - {""}) == 1}
    constructors = _constructors(module, script)
    if constructors and constructors not in names_of:
        names_of[constructors] = "__wasm_call_ctors"
    for kind, name in ((MEMORY_KIND, "memory"), (TABLE_KIND, "__indirect_function_table")):
        of_kind = [item.name for item in module.exports if item.kind == kind]
        if len(of_kind) == 1 and _is_short(of_kind[0]):
            names_of[of_kind[0]] = name
    taken = list(names_of.values())
    renamed: list[Export] = []
    for item in module.exports:
        name = names_of.get(item.name, item.name)
        is_sure = taken.count(name) == 1 and (name not in known or name == item.name)
        renamed.append(Export(name if is_sure else item.name, item.kind, item.index))
    return renamed


def _takes_as_many(module: Module, item: Export, several: str | None, single: str | None) -> bool:
    """Tell whether an export takes as many arguments as the script's function that calls it, as far as that tells."""
    if item.kind != FUNCTION_KIND or (several is None and single is None) or "..." in (several or ""):
        return True
    count = 1 if several is None else len([name for name in several.split(",") if name.strip()])
    return count == len(module.types[module.function_types[item.index]].params)


# `_twice=Module["_twice"]=wasmExports["g"]`, `d._malloc=b.v`, with or without a function that is made of it first.
_EXPORT: Final = re.compile(
    rf"""(?P<targets>(?:(?<![\w$])(?:{_WORD}\.|{_WORD}\[["']|)(?:_\w+|dynCall_\w+)(?:["']\])?\s*=\s*(?:{_WORD}\s*=\s*)?)+)
    (?:function\(\)\s*\{{\s*return\s*\(?(?:[\w$.\[\]"']+\s*=\s*)*|\((?P<several>[^()]*)\)\s*=>\s*\(?(?:[\w$.\[\]"']+\s*=\s*)*|(?P<single>{_WORD})\s*=>\s*\((?:[\w$.\[\]"']+\s*=\s*)*)?
    (?P<object>{_WORD}(?:\[["']asm["']\])?)(?:\.(?P<property>{_WORD})|\[["'](?P<text>[^"']+)["']\])""",
    re.VERBOSE,
)


# `wasmExports["g"]()`, `b.v()`.
_CALL: Final = re.compile(rf"(?<![\w$.])({_WORD})(?:\.({_WORD})|\[[\"']({_WORD})[\"']\])\(\)")


def _constructors(module: Module, script: str) -> str:
    """Return the letter of what the script calls, without arguments, once the memory is there ("": none is found)."""
    types = {
        item.name: module.types[module.function_types[item.index]]
        for item in module.exports
        if item.kind == FUNCTION_KIND
    }
    objects = set(re.findall(rf"(?<![\w$])({_WORD})\s*=\s*{_WORD}\.exports\b", script)) | {"wasmExports"}
    calls = {match[2] or match[3] for match in _CALL.finditer(script) if match[1] in objects}
    calls.update(re.findall(r"addOnInit\(Module\[[\"']asm[\"']\]\[[\"'](\w+)[\"']\]\)", script))
    found = [name for name in calls if name in types and not types[name].params and not types[name].results]
    return found[0] if len(found) == 1 else ""


def _user_object(script: str) -> str:
    """Return what the script calls the object that its user gives and gets ("": it does not tell)."""
    if re.search(r"\bvar Module\b", script):
        return "Module"
    match = re.search(rf"(?<![\w$])({_WORD})\s*=\s*moduleArg\b", script)
    return match[1] if match else ""


def _resolved(script: str, value: str) -> str:
    """Return the function that a value of a table is, where it is the name of one."""
    if not re.fullmatch(_WORD, value):
        return value
    literal = re.escape(value)  # first, so that it is what is searched for
    for form in (rf"{literal}(?<![\w$.]{literal})\s*=(?!=)\s*", rf"\bfunction\s+(?={literal}\s*\()"):
        for match in re.finditer(form, script):
            end = _end_of_value(script, match.end())
            body = script[match.end() : end]
            if "=>" in body or body.startswith("function") or "function" in match[0]:
                return body
    return value


def _tables(script: str) -> Iterator[dict[str, str]]:
    """Return every object in the script that is assigned to something and has simple keys."""
    for match in re.finditer(r"[\w$\])]\s*=\s*\{", script):
        table = _table(script, match.end())
        if table:
            yield table


def _table(script: str, position: int) -> dict[str, str]:
    """Return the entries of an object whose first key is at a position; none if it is anything else."""
    entries: dict[str, str] = {}
    while True:
        position = _skip_blanks(script, position)
        if script.startswith("}", position):
            return entries
        match = re.compile(rf"[\"']?({_WORD})[\"']?\s*:\s*").match(script, position)
        if match is None:
            return {}
        end = _end_of_value(script, match.end())
        entries[match[1]] = script[match.end() : end].strip()
        position = end + 1 if script.startswith(",", end) else end
        if end >= len(script):
            return {}


def _skip_blanks(script: str, position: int) -> int:
    match = re.compile(r"(?:\s|/\*(?s:.*?)\*/|//[^\n]*)*").match(script, position)
    assert match is not None
    return match.end()


def _end_of_value(script: str, position: int) -> int:
    """Return where an expression ends: at a comma, semicolon or closing bracket that is not inside of it."""
    expected: list[str] = []
    last = "("
    while position < len(script):
        character = script[position]
        if character in "\"'":
            position = _end_of_text(script, position)
            last = character
            continue
        if character == "`":
            position = _end_of_template(script, position)
            last = character
            continue
        if character == "/":
            after = _skip_blanks(script, position)
            if after > position:
                position = after
                continue
            if last in _BEFORE_EXPRESSION or script.endswith("return", 0, position):
                position = _end_of_pattern(script, position)
                last = "/"
                continue
        if character in _CLOSING:
            expected.append(_CLOSING[character])
        elif expected and character == expected[-1]:
            expected.pop()
        elif not expected and character in ",;)]}":
            return position
        if not character.isspace():
            last = character
        position += 1
    return position


def _end_of_text(script: str, position: int) -> int:
    match = re.compile(r"\"(?:[^\"\\]|\\(?s:.))*\"|'(?:[^'\\]|\\(?s:.))*'").match(script, position)
    return match.end() if match else len(script)


def _end_of_pattern(script: str, position: int) -> int:
    match = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*").match(script, position)
    return match.end() if match else position + 1


def _end_of_template(script: str, position: int) -> int:
    position += 1
    while position < len(script):
        if script.startswith("\\", position):
            position += 2
        elif script.startswith("${", position):
            position = _end_of_value(script, position + 2) + 1
        elif script[position] == "`":
            return position + 1
        else:
            position += 1
    return position
