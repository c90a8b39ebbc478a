"""The names of functions, for lists, reports and errors.

A function's name is the one in the name section. Where that has none, it is the name the function is exported under,
or `module.name` for an import, or else its index, so that modules without names can be worked on too.
"""

from __future__ import annotations

from caesura.errors import printable
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, LOCAL_NAMES, Names


class FunctionNames:
    """`names[f]` is the name of function f; `has_section` tells whether the module has a name section at all, and
    `has_locals` whether that names any locals. `named` are the subsections in which it names anything. Functions that
    were added to the module that was given go by the names in `added`.
    """

    def __init__(self, module: Module, added: dict[int, str] | None = None) -> None:
        section = module.custom_section("name")
        self.has_section = section is not None
        self.has_locals = False
        self.named: list[int] = []
        known: dict[int, str] = {}
        if section is not None:
            names = Names(module.data[section.payload : section.end])
            known = names.maps[FUNCTION_NAMES]
            self.has_locals = names.has(LOCAL_NAMES)
            self.named = [subsection for subsection in range(len(names.maps)) if names.has(subsection)]
        if added:
            known = {**known, **added}
        exported: dict[int, str] = {}
        for export in module.exports:
            if export.kind == FUNCTION_KIND and export.index not in exported:
                exported[export.index] = export.name
        self.names: list[str] = []
        for item in module.function_imports():
            self.names.append(known.get(item.index, f"{item.module}.{item.name}"))
        for index in range(module.imported_functions, len(module.function_types)):
            self.names.append(known[index] if index in known else exported.get(index, str(index)))

    def name(self, function: FunctionIndex, index: FunctionIndex) -> str:
        """Return the name of a function, or, where it has none, `index`: the one it has in the file that was given."""
        name = self.names[function]
        return str(index) if name == str(function) else name

    def describe(self, function: FunctionIndex, index: FunctionIndex) -> str:
        """Return how to speak of a function in a message: its index in the file, and its name where it has one."""
        name = self.names[function]
        return f"function {index}" if name == str(function) else f"function {index} ({printable(name)})"
