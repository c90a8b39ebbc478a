"""Values that frames cannot hold, references above all: what type they have, and what to tell of them.

The planner knows operands by the instructions that gave them. For a reference the type then often depends on what lies
below it on the stack, which only full typing tells: here it is worth that.
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.wasm.decode import read_immediates, read_opcode
from caesura.wasm.module import Module
from caesura.wasm.stack_typing import StackTyper
from caesura.wasm.types import type_name


def unsaved_value(what: str, value_type: int | None, offset: int, origin: str = "") -> UnsupportedModule:
    """Return the error for a value that would have to be saved; its type is None where it is not known.

    `origin` is the name of the instruction that gives it.
    """
    described = "reference" if value_type is None else type_name(value_type)
    comes = f" (it comes from {origin})" if origin else ""
    return UnsupportedModule(
        f"{what} of type {described} must be saved across a suspension, which is not supported yet{comes}; leave the "
        "function out with --remove-list NAME if it never suspends",
        offset,
        kind=f"value of type {described}",
    )


def type_behind(module: Module, body: Body, results: tuple[int, ...], instruction: int) -> int | None:
    """Return the type of the operand on top of the stack behind an instruction, None where that is not known.

    `results` are the function's, `instruction` counts from its first.
    """
    typer = StackTyper(module, [body.local_type(local) for local in range(body.local_count)], results)
    try:
        for place in range(instruction + 1):
            code, position = read_opcode(module.data, body.positions[place])
            typer.step(code, read_immediates(module.data, position, code)[0])
    except (MalformedModule, IndexError):
        return None
    return typer.stack[-1] if typer.stack and typer.stack[-1] > 0 else None
