"""The names that C++ and Rust have for functions whose names in a module are mangled.

Itanium's mangling (`_Z...`, which Rust's older one is a form of) and Rust's newer one (`_R...`) are undone by LLVM's
demanglers in `pycxxfilt`, which is an optional part: nearly nobody needs it, and Emscripten's Python has none. Names of
Rust's older mangling come out as Rust writes them (`<T as core::fmt::Debug>::fmt`), with and without the hash behind
them, which every build has anew; linkers that demangle names leave both in, so that is done without `pycxxfilt` too.
Written in Python, a demangler would be a thousand lines; `cxxfilt` loads whatever C++ runtime the machine has, and
knows nothing of Rust. Several functions can have one name (the constructors of a class and of what derives from it).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Final

# What to install, as said to users.
EXTRA: Final = "caesura[demangle]"

_MANGLED: Final = ("_Z", "__Z", "_R")
_RUST_HASH: Final = re.compile(r"::h[0-9a-f]{16}$")
_RUST_ESCAPE: Final = re.compile(r"\$(u[0-9a-f]{1,6}|[A-Z]{1,2})\$")
_RUST_ESCAPES: Final = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}


def may_be_demangled(entry: str) -> bool:
    """Tell whether an entry can be, or match, what a mangled name stands for: these have parameters or paths."""
    return "*" in entry or looks_demangled(entry)


def looks_demangled(entry: str) -> bool:
    """Tell whether an entry looks like a name as it stands in a source."""
    return "(" in entry or "::" in entry or "<" in entry


def _mangled_from(name: str) -> int:
    """Return where the mangled part of a name begins (behind the module, if it is an import's), or -1."""
    if name.startswith(_MANGLED):
        return 0
    for prefix in _MANGLED:
        place = name.find("." + prefix)
        if place >= 0:
            return place + 1
    return -1


class DemangledNames:
    """What the names of a module stand for; found out when it is first asked for.

    `needs_extra` says that there are mangled names and nothing to demangle them.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._pairs: list[tuple[str, str]] | None = None
        self.needs_extra = False

    def pairs(self) -> list[tuple[str, str]]:
        """Return (what a name stands for, the name) for all names that stand for something."""
        if self._pairs is None:
            self._pairs = self._demangle()
        return self._pairs

    def _demangle(self) -> list[tuple[str, str]]:
        demangle: Callable[[str], str | None] | None = None
        is_sought = False
        pairs: list[tuple[str, str]] = []
        for name in self._names:
            start = _mangled_from(name)
            if start < 0:
                if _RUST_HASH.search(name):
                    pairs += [(form, name) for form in _as_rust_writes_it(name) if form != name]
                continue
            if not is_sought:
                demangle = find_demangler()
                is_sought = True
                self.needs_extra = demangle is None
            if demangle is not None:
                pairs += [(name[:start] + form, name) for form in demangled_forms(name[start:], demangle)]
        return pairs


def demangled_forms(name: str, demangle: Callable[[str], str | None]) -> list[str]:
    """Return the forms that a list can name a mangled function by; none if it is not mangled after all."""
    try:
        text = demangle(name)
    except ValueError:  # it only begins so
        return []
    if text is None:
        return []
    if not _RUST_HASH.search(text):
        return [text]
    return [*_as_rust_writes_it(text), text]


def _as_rust_writes_it(text: str) -> list[str]:
    """Return a path of Rust's older mangling without its hash and with it, both without escapes."""
    path = "::".join([_unescaped(part) for part in text.split("::")])
    return [_RUST_HASH.sub("", path), path]


def _unescaped(part: str) -> str:
    if part.startswith("_$"):
        part = part[1:]
    return _RUST_ESCAPE.sub(_character, part).replace("..", "::")


def _character(escape: re.Match[str]) -> str:
    word = escape[1]
    if not word.startswith("u"):
        return _RUST_ESCAPES.get(word, escape[0])
    code = int(word[1:], 16)
    return chr(code) if code < 0x110000 else escape[0]


def find_demangler() -> Callable[[str], str | None] | None:
    """Return what demangles a name, or None where `pycxxfilt` is not installed."""
    try:
        demangle: Callable[[str], str | None] = import_module("pycxxfilt").demangle
    except ImportError:
        return None
    return demangle
