"""Entries of lists that stand for functions without names: `#1234@9f3c0a5b6d7e8f90`, an index and a hash of a body.

Such a list survives a rebuild as far as it can. Where the function with this index has this body, it is meant; where
one other function alone has it, that one is, and is said; where none or several have it, nothing is matched, and what
is known is said. An index alone would silently mean another function as soon as one is added before it. The form is no
name that a compiler gives, and an entry that is exactly a name is that name. Bodies are hashed only if there are such
entries, and all of them only if one is not where it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from caesura.analysis.body_hash import body_hash
from caesura.analysis.list_text import can_be_named
from caesura.errors import MalformedModule, UsageError
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, Names

_FORM: Final = re.compile(r"#([0-9]{1,10})@([0-9a-f]{16})")
# How many functions with the same body are told.
_SHOWN: Final = 3


@dataclass(frozen=True)
class BodyEntries:
    """What entries by bodies mean in a module: `functions` has the own function that an entry means, by its index in
    that module, `unmatched` why an entry means none.
    """

    functions: dict[str, int] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)

    def moved(self, entry: str) -> str:
        """Return what is to be said of an entry whose function has another index now; nothing of others."""
        if entry not in self.functions:
            return ""
        index = str(self.functions[entry])
        same = entry.startswith(f"#{index}@")
        return "" if same else f"the function that a list calls '{entry}' is function {index} of this module"


def body_entry(module: Module, function: FunctionIndex) -> str:
    """Return the entry for one of a module's functions; raises UsageError for one that is imported, or not there."""
    if not module.imported_functions <= function < len(module.function_types):
        first, last = module.imported_functions, len(module.function_types) - 1
        raise UsageError(f"there is no function {function} with a body: the module's own are {first} to {last}")
    return f"#{function}@{body_hash(module, function)}"


def list_entry(module: Module, function: FunctionIndex) -> str:
    """Return the entry by which lists name one of a module's functions: its name in the name section, or, where it has
    none, what `body_entry` returns. Raises UsageError as that does.
    """
    name = function_names(module).get(function, "")
    return name if can_be_named(name) else body_entry(module, function)


def function_names(module: Module) -> dict[int, str]:
    """Return the names that a module's name section gives to functions, by their indices."""
    section = module.custom_section("name")
    if section is None:
        return {}
    return Names(module.data[section.payload : section.end]).maps[FUNCTION_NAMES]


def find_bodies(module: Module, entries: Sequence[str]) -> BodyEntries:
    """Return what those of some entries that have the form mean in a module."""
    found = BodyEntries()
    by_hash: dict[str, list[int]] | None = None
    for entry in entries:
        form = _FORM.fullmatch(entry)
        if form is None or entry in found.functions or entry in found.unmatched:
            continue
        index, wanted = int(form[1]), form[2]
        if _hash_of(module, index) == wanted:
            found.functions[entry] = index
            continue
        if by_hash is None:
            by_hash = _all_hashes(module)
        alike = by_hash.get(wanted, [])
        if len(alike) == 1:
            found.functions[entry] = alike[0]
        elif alike:
            shown = ", ".join([str(function) for function in alike[:_SHOWN]])
            more = ", ..." if len(alike) > _SHOWN else ""
            found.unmatched[entry] = f"{len(alike)} functions have this body: {shown}{more}"
        else:
            found.unmatched[entry] = "no function has this body any more"
    return found


def _hash_of(module: Module, index: int) -> str:
    """Return the hash of a function, or nothing where there is none with a body that can be read.

    Code that cannot be read is refused, with its place, when it is looked at for itself.
    """
    if not module.imported_functions <= index < len(module.function_types):
        return ""
    try:
        return body_hash(module, FunctionIndex(index))
    except (MalformedModule, IndexError):
        return ""


def _all_hashes(module: Module) -> dict[str, list[int]]:
    by_hash: dict[str, list[int]] = {}
    for own in range(len(module.body_starts)):
        index = module.function_of(OwnFunction(own))
        by_hash.setdefault(_hash_of(module, index), []).append(index)
    return by_hash
