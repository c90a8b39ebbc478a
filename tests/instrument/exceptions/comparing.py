"""Compares a program of old-form exceptions with its translation, in every engine that runs either."""

from __future__ import annotations

from caesura.instrument.exceptions.translate import translate_to_exnref
from caesura.wasm.module import Module
from tests.instrument.exceptions.engines import Node, run_in_wasmtime
from tests.instrument.exceptions.programs import program


def compare(number: int, old: Node, new: Node, seeds: list[int]) -> None:
    """Run the program of a number; raises AssertionError where the translation does something else."""
    binary = program(number)
    expected = old.run(binary, seeds)
    translated = translate_to_exnref(Module(binary)).module.data
    assert new.run(translated, seeds) == expected, f"program {number}, in the new Node"
    assert run_in_wasmtime(translated, seeds) == expected, f"program {number}, in Wasmtime"
