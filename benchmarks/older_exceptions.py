"""MicroPython with exceptions in their older form, for engines such as Node 20's that do not read the newer one.

PyPI's MicroPython is compiled with the newer form (`try_table`), for C's `setjmp` alone. Nothing translates that back
in general, since the older form cannot throw on an exception outside of its handler; but what a compiler writes for
`setjmp` has two patterns only. `catch` of a tag that leaves for a label is a handler that branches there.
`catch_all_ref` is around the calls that note where to jump to, and do not throw: it leaves for the function's end,
which throws on. That becomes a handler that must not be reached, and traps. Anything else is refused.
"""

from __future__ import annotations

import re

import wasmtime

from caesura.wasm.print_module import print_module

_OPENING = re.compile(r"(block|loop|if|try_table)\b")
_CLAUSES = re.compile(r"try_table( \((?:param|result) [^)]*\))* \((catch|catch_all_ref)(?: (\d+))? (\d+)\)")


def in_older_form(module: bytes) -> bytes:
    """Return a module that does the same; raises ValueError for what is not of the two patterns."""
    lines: list[str] = []
    handlers: list[list[str]] = []  # of each block that is open
    for line in print_module(module).splitlines():
        words = line.strip()
        if words.startswith("(func "):
            handlers = []
        if words == "block (result exnref)":
            words = "block"
        elif words == "throw_ref":
            words = "unreachable"
        if opening := _OPENING.match(words):
            handlers.append(_handler(words) if opening[1] == "try_table" else [])
            words = _CLAUSES.sub(lambda found: "try" + (found[1] or ""), words)
        elif words == "end" and handlers:
            lines.extend(handlers.pop())
        if "exnref" in words or ("_ref " in words and "catch" in words):
            raise ValueError(f"no pattern of setjmp: {words}")
        lines.append(words)
    return bytes(wasmtime.wat2wasm("\n".join(lines)))


def _handler(words: str) -> list[str]:
    """Return what stands in front of the end of a `try`; the label counts it, as that of a `try_table` does not."""
    found = _CLAUSES.fullmatch(words)
    if not found:
        raise ValueError(f"no pattern of setjmp: {words}")
    if found[2] == "catch_all_ref":
        return ["catch_all", "unreachable"]
    return [f"catch {found[3]}", f"br {int(found[4]) + 1}"]
