"""Functions of modules `wasm:...`, which engines provide themselves: how long they take.

No host stands between the guest and such a function, so none looks at a clock when it returns, and where only a count
tells of time (`preempt=fuel`), it has to tell of theirs. Those of JavaScript's strings are known. What takes as long
whatever it is given neither counts nor has a look behind it, since a program calls it for each character of its text;
others take as long as their strings are. What is not known may take any time.

Engines make a string that `concat` returns at once, whatever its length, and put it into one piece when somebody first
asks for a character of it, so that this takes long, and not `concat`. Nothing in the guest tells for which strings that
is still to be done. To count it for each character would make a loop over a text take as long as the square of that;
so a part of it is counted in `concat`: all of it would do the same to a program that appends piece by piece.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import BUILTIN_MODULES
from caesura.wasm.module import Module
from caesura.wasm.types import EXTERNREF, I32

_STRINGS: Final = "wasm:js-string"

# Those that take as long whatever they are given.
_CONSTANT: Final = ("cast", "charCodeAt", "codePointAt", "fromCharCode", "fromCodePoint", "length", "test")

# Which parameters are the strings that others take as long as, and those that are given a part of an array instead.
_STRINGS_OF: Final = {
    "compare": (0, 1),
    "concat": (0, 1),
    "equals": (0, 1),
    "intoCharCodeArray": (0,),
    "substring": (0,),
}
_ARRAY_TO_STRING: Final = "fromCharCodeArray"

# How many bits of its strings' lengths `concat` does not count.
CONCATENATION: Final = "concat"
CONCATENATION_SHIFT: Final = 4

# The place of a function that is not imported.
NOT_IMPORTED: Final = -1


def takes_no_time(module: str, name: str) -> bool:
    """Tell whether an import takes as long whatever it is given, a few instructions' time."""
    return module == _STRINGS and name in _CONSTANT


def long_builtins(module: Module) -> list[int]:
    """Return the imported functions that engines may provide, and which may take long, ascending."""
    return [
        index
        for index, item in enumerate(module.function_imports())
        if item.module.startswith(BUILTIN_MODULES) and not takes_no_time(item.module, item.name)
    ]


def length_function(module: Module) -> int:
    """Return the import that tells how long a string is, or NOT_IMPORTED."""
    for index, item in enumerate(module.function_imports()):
        definition = module.types[module.function_types[index]]
        if item.module == _STRINGS and item.name == "length":
            if definition.params == (EXTERNREF,) and definition.results == (I32,):
                return index
    return NOT_IMPORTED


def strings_of(module: Module, function: int) -> tuple[int, ...]:
    """Return which parameters of an import are the strings that it takes as long as; none where that is not known."""
    item = module.function_imports()[function]
    strings = _STRINGS_OF.get(item.name, ()) if item.module == _STRINGS else ()
    params = module.types[module.function_types[function]].params
    for param in strings:
        if param >= len(params) or params[param] != EXTERNREF:
            return ()
    return strings


def takes_part_of_array(module: Module, function: int) -> bool:
    """Tell whether an import makes a string of the part of an array from its second operand to its third."""
    item = module.function_imports()[function]
    params = module.types[module.function_types[function]].params
    return item.module == _STRINGS and item.name == _ARRAY_TO_STRING and params[1:] == (I32, I32)
