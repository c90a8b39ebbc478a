"""Code that stops its thread until another one notifies it (`memory.atomic.wait32` and `wait64`).

Nothing can pause a guest that stands in such an instruction, for as long as it likes, so modules with pause points have
none. Waiting a moment at a time, with a look in between, would be another program: a notification that comes in between
is lost. In a memory that is not shared it traps, and is left alone.
"""

from __future__ import annotations

from caesura.errors import UnsupportedModule
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates
from caesura.wasm.immediates import instruction_name, read_instruction, skip_locals
from caesura.wasm.module import Module


def refuse_waits(module: Module) -> None:
    """Raise UnsupportedModule if code can wait for another thread; the code is well formed."""
    if not any(memory.shared for memory in module.memories):
        return
    data = module.data
    for own in module.own_functions():
        position = skip_locals(data, module.body_starts[own])
        while position < module.body_ends[own]:
            start = position
            code, immediates, position = read_instruction(data, start)
            if code != op.MEMORY_ATOMIC_WAIT32 and code != op.MEMORY_ATOMIC_WAIT64:
                continue
            if module.memories[read_immediates(data, immediates, code)[0][1]].shared:
                raise UnsupportedModule(
                    f"{instruction_name(code)} stops the thread until another one notifies it, and nothing can pause "
                    "the guest there: modules that have it cannot have pause points (leave preempt out)",
                    start,
                    f"function {module.function_of(own)}",
                )
