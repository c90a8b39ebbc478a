"""A small module written as text, and what is found out about it, by the names of its functions.

In the modules of these tests every imported function suspends unless a test says otherwise. The code of a function is
written one instruction a line where a test speaks of single instructions: the index of an instruction, counted from 0,
is that of its line.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from caesura.analysis.body import Body, decode_body
from caesura.analysis.calls import CallGraph, read_calls
from caesura.analysis.decoder import Decoder
from caesura.analysis.suspension import Lists, Suspension, find_suspending
from caesura.analysis.tail_calls import TailCalls, find_tail_calls
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, Names
from tests.support.engine import assemble


class Sample:
    """A module; all of its functions have names in the text, as `$f`."""

    def __init__(self, text: str) -> None:
        self.module = Module(assemble(text))
        section = self.module.custom_section("name")
        assert section is not None
        names = Names(self.module.data[section.payload : section.end]).maps[FUNCTION_NAMES]
        self.names = [names[index] for index in range(len(self.module.function_types))]
        count = len(self.names)
        imported = self.module.imported_functions
        self.lists = Lists(
            imports=[function < imported for function in range(count)],
            remove=[False] * count,
            add=[False] * count,
            only=[False] * count,
        )

    @cached_property
    def graph(self) -> CallGraph:
        """The module's calls."""
        return read_calls(self.module)

    @cached_property
    def suspension(self) -> Suspension:
        """Who may suspend; `lists` must not change any more."""
        return find_suspending(self.module, self.graph, self.lists, [])

    @cached_property
    def tail_calls(self) -> TailCalls:
        """What can leave or be entered by tail calls that may suspend."""
        return find_tail_calls(self.module, self.graph, self.suspension, self.decoder)

    @property
    def decoder(self) -> Decoder:
        """What decodes the bodies."""
        return Decoder(self.module, self.suspension, ignores_catches=False)

    def index(self, name: str) -> FunctionIndex:
        """Return the index of a function."""
        return FunctionIndex(self.names.index(name))

    def body(self, name: str = "f") -> Body:
        """Return the decoded body of a function."""
        return decode_body(self.module, self.index(name), self.suspension)

    def named(self, functions: Iterable[int]) -> list[str]:
        """Return the names of functions."""
        return [self.names[function] for function in functions]

    def marked(self, marks: list[bool]) -> list[str]:
        """Return the names of the functions that are marked, given a mark for each of all."""
        assert len(marks) == len(self.names)
        return [name for name, mark in zip(self.names, marks, strict=True) if mark]


def calls(callees: dict[int, int]) -> dict[FunctionIndex, FunctionIndex]:
    """Return functions, and what each calls, as function indices."""
    return {FunctionIndex(caller): FunctionIndex(callee) for caller, callee in callees.items()}


def function_of(code: str, head: str = "", others: str = "") -> Sample:
    """Return a module with one function of its own, `$f`, and `$wait`, which suspends, `$tag` and a memory.

    `head` declares the function's parameters, results and locals; `others` are more of the module's fields.
    """
    return Sample(f"""
      (module
        (import "env" "wait" (func $wait))
        (memory 1)
        (global $g (mut i32) (i32.const 0))
        (tag $tag)
        {others}
        (func $f {head} {code}))""")
