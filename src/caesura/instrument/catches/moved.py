"""The module as it is planned: some functions have bodies in which the code of catch clauses has moved.

The new bodies lie behind the bytes of the file, so that all offsets into it stay right; what is wrong in one of them is
told with the offset that it has in the file. Functions that do not come to be written stay as they were given.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import CallGraph
from caesura.analysis.decoder import Decoder
from caesura.analysis.suspension import Suspension
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.catches.moved_body import MovedBody
from caesura.instrument.catches.mover import move_bodies
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

# What all bodies may take together: so many times what all functions take, and so many bytes besides. Each clause that
# moves can take as many bytes as the module has tags, and a copy of what is nested in it.
_MOST_TIMES: Final = 16
_MOST_BYTES: Final = 1 << 24


class MovedCatches:
    """`module` has the new bodies, and all else as it was given; `functions` are the functions that have one."""

    def __init__(self, module: Module, functions: dict[FunctionIndex, MovedBody]) -> None:
        self.module: Final = module
        self.functions: Final = functions

    def has_foreign_handlers(self) -> bool:
        """Tell whether call sites are left in catch clauses, for foreign exceptions (see `abi.foreign_handlers`)."""
        return any(moved.has_foreign_handlers for moved in self.functions.values())

    def original_offset(self, function: FunctionIndex, offset: int) -> int:
        """Return where in the given module an offset in the body of a function lies (-1: nowhere)."""
        if function not in self.functions or offset < 0:
            return offset
        start = self.module.body_starts[self.module.own_of(function)]
        return self.functions[function].original_offset(offset - start) if offset >= start else offset


def move_catches(
    module: Module, graph: CallGraph, suspension: Suspension, decoder: Decoder, *, ignores_catches: bool
) -> MovedCatches:
    """Move the code of all catch clauses with call sites; tell the decoder of the new bodies.

    What cannot be moved is refused by the decoder, when the function is decoded for good. With `ignores_catches` no
    catch clause has call sites.
    """
    functions: dict[FunctionIndex, MovedBody] = {}
    if ignores_catches:
        return MovedCatches(module, functions)
    left = _MOST_BYTES + _MOST_TIMES * sum(
        [module.body_ends[own] - module.body_starts[own] for own in range(len(module.body_starts))]
    )
    for own in graph.catching:
        function = module.function_of(own)
        if not suspension.instrumented[function]:
            continue
        try:
            body = decoder.look_at(function)
            if not body.catch_sites:
                continue
            moved = move_bodies(module, function, body)
            left -= len(moved.code)
            if left < 0:
                raise UnsupportedModule(
                    "catch clauses whose code can suspend, with all tags of the module, would take too many bytes",
                    body.code_start,
                    kind="too many bytes",
                )
        except (MalformedModule, UnsupportedModule) as error:
            decoder.refuse(function, error)
        except (IndexError, KeyError):
            start = module.body_starts[own]
            decoder.refuse(function, MalformedModule("the function body is not valid code", start))
        else:
            functions[function] = moved
    if functions:
        module = module.with_bodies({module.own_of(function): moved.code for function, moved in functions.items()})
        decoder.replace(module, list(functions))
    return MovedCatches(module, functions)
