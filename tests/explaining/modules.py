"""Modules whose functions call each other at random, by name, through tables and through references."""

from __future__ import annotations

import random

from tests.support.engine import assemble

IMPORTS = ("a", "b", "c")
TYPES = ("(func)", "(func (param i32))", "(func (result i32))")
# What stands before and behind a call of each type, so that it fits anywhere.
BEFORE = ("", "(i32.const 1)", "")
BEHIND = ("", "", "(drop)")


def random_module(seed: int, functions: int = 12) -> bytes:
    """Return a module; table 0 is exported in half of them, table 1 is the module's own."""
    chance = random.Random(seed)
    exported = chance.random() < 0.5
    types = [chance.randrange(3) for _ in range(functions)]
    targets = {table: sorted(chance.sample(range(functions), 4)) for table in (0, 1)}
    parts = ["(module"]
    parts += [f"(type $t{number} {text})" for number, text in enumerate(TYPES)]
    parts += [f'(import "env" "{name}" (func ${name} (type $t0)))' for name in IMPORTS]
    export = '(export "t")' if exported else ""
    parts.append(f"(table $table0 {export} 4 funcref) (table $table1 4 funcref)")
    for table, indices in targets.items():
        parts.append(f"(elem (table $table{table}) (i32.const 0) func {' '.join(f'$f{one}' for one in indices)})")
    for number, type_number in enumerate(types):
        body: list[str] = []
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            body.append(_call(chance, types))
        result = "(i32.const 7)" if type_number == 2 else ""
        parts.append(f'(func $f{number} (export "f{number}") (type $t{type_number}) {" ".join(body)} {result})')
    return assemble("\n".join([*parts, ")"]))


def _call(chance: random.Random, types: list[int]) -> str:
    kind = chance.random()
    if kind < 0.15:
        return f"(call ${chance.choice(IMPORTS)})"
    if kind < 0.75:
        callee = chance.randrange(len(types))
        return f"{BEFORE[types[callee]]} (call $f{callee}) {BEHIND[types[callee]]}"
    called = chance.randrange(3)
    table = 0 if chance.random() < 0.3 else 1
    index = f"(i32.const {chance.randrange(4)})"
    if chance.random() < 0.5:
        index = f"(i32.add {index} (i32.const 0))"
    return f"{BEFORE[called]} {index} (call_indirect $table{table} (type $t{called})) {BEHIND[called]}"
