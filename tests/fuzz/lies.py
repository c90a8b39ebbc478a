"""Modules that say that they are instrumented and lie: a grammar of lies.

Most of a module is what an honest one has, so that the host gets far; each part may be a lie instead. The functions of
the ABI, the entry thunks and malloc do what a hostile author would think of: write into the control block, grow and
shrink what they answer, call the host, call each other, trap.
"""

from __future__ import annotations

import asyncio
import ctypes
import random
from typing import Final, TypeVar

import wasmtime

import caesura
from caesura.abi import CONTRACT_SECTION
from tests.fuzz.driving import ALLOWED, Host, Refused, drive
from tests.support.guests import CONTRACT

_IMPORTS: Final = """
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "pair" (func $pair (param i32) (result i32 f64)))
  (import "env" "object" (func $object (param externref) (result externref)))
  (import "env" "choose" (func $choose (param i64) (result funcref)))
  (import "env" "forge" (func $forge (param i64) (result externref)))
  (import "env" "note" (func $note (param i32) (result i32)))
  (import "env" "again" (func $again (param i32) (result i32)))
  (import "env" "yield" (func $yield (param i32) (result i32)))"""

_CONTRACTS: Final = tuple(
    [f'(@custom "{CONTRACT_SECTION}" "{text}")' for text in ("", r"\02", r"\01", r"\01\40", r"\01\00\ff")]
)

# What a forged reference may point to.
_FORGED: Final = ctypes.create_string_buffer(256)

_ADDRESSES: Final = (0, 4, 8, 16, 20, 24, 32, 40, 288, 304, 1024, 1028, 1040, 1048, 1056, 65532, 65536, 131072)
_NUMBERS: Final = (0, 1, 2, 3, 5, 16, 288, 304, 1024, 1312, 1316, 1344, 65536, 0x40000000, 0x7FFFFFF0, -1, -16)
_TYPES: Final = ("i32", "i64", "f32", "f64", "v128", "externref", "funcref", "(ref func)", "(ref null $t)")
_VALUES: Final = {
    "i32": "(i32.const 1)",
    "i64": "(i64.const 1)",
    "f32": "(f32.const 1)",
    "f64": "(f64.const 1)",
    "v128": "(v128.const i64x2 1 1)",
    "externref": "(ref.null extern)",
    "funcref": "(ref.func $h)",
    "(ref func)": "(ref.func $h)",
    "(ref null $t)": "(ref.func $h)",
}


Value = TypeVar("Value")


def claims_of_plain_abi() -> str:
    """Return the functions of the plain ABI, which do nothing."""
    lines = [f'(func (export "asyncify_{name}") (param i32))' for name in ("start_unwind", "start_rewind")]
    return " ".join([*lines, *(f'(func (export "asyncify_{name}"))' for name in ("stop_unwind", "stop_rewind"))])


class Grammar:
    """Makes one module."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._wide = self._rarely(0.08)  # addresses of the memory that the module's functions write to
        self._has_memory = not self._rarely(0.05)
        self._thunks = source.random() < 0.5
        self._own = source.random() < 0.5

    def module(self) -> str:
        """Return a module's text."""
        parts = [
            "(module (type $t (func)) (func $h)",
            self._memories(),
            *self._globals(),
            *self._abi(),
            *self._allocator(),
            *self._functions(),
        ]
        if self._rarely(0.1):
            parts.append(f"(func $start {self._actions()}) (start $start)")
        if self._rarely(0.05):
            parts.append('(tag (export "tag") (param i32))')
        parts.append('(elem declare func $h $ask $note) (table (export "table") 4 funcref))')
        imports = [line for line in _IMPORTS.splitlines() if line]
        if self._rarely(0.1):
            imports.append('  (import "env" "memory" (memory $imported 1))')
        return "\n".join([parts[0].removesuffix(" (func $h)"), *imports, "(func $h)", *parts[1:]])

    def _memories(self) -> str:
        lines: list[str] = []
        if self._has_memory:
            limits = f"{self._pick(0, 1, 2, 10, 10, 10, 10, 10)} {self._pick('', '20', '65536')}"
            lines.append(f'(memory $m (export "memory") {"i64" if self._wide else ""} {limits})')
        if self._own:
            limits = f"{self._pick(0, 1, 1, 1, 1, 1, 1, 1, 1, 2)} {self._pick('', '8', '65536')}"
            lines.append(f'(memory $own (export "asyncify_memory") {"i64" if self._rarely(0.05) else ""} {limits})')
        elif self._rarely(0.1) and self._has_memory:
            lines.append('(export "asyncify_memory" (memory $m))')
        return "\n".join(lines)

    def _globals(self) -> list[str]:
        kind = self._pick(*["(mut i32)"] * 12, "(mut i64)", "i32", "(mut f32)", "(mut externref)")
        plain = kind.strip("()").split()[-1]
        value = "(ref.null extern)" if plain == "externref" else f"({plain}.const {self._pick(0, 1024, 65536)})"
        name = self._pick("asyncify_stack_pointer", "__stack_pointer", "sp", "asyncify_stack_pointer_")
        lines = [f'(global $sp (export "{name}") {kind} {value})'] if self._rarely(0.6) else []
        for limit in ("__stack_low", "__stack_high", "__stack_end", "__data_end", "__heap_base"):
            if self._rarely(0.1):
                lines.append(
                    f'(global (export "{limit}") {self._pick("(mut i32)", "i32")} (i32.const {self._number()}))'
                )
        lines.append("(global $steps (mut i32) (i32.const 0))")
        return lines

    def _abi(self) -> list[str]:
        pointer = "i64" if self._wide and not self._own else "i32"
        lines: list[str] = []
        for name in ("start_unwind", "start_rewind", "stop_unwind", "stop_rewind"):
            params = f"(param {pointer})" if name.startswith("start") else ""
            if self._rarely(0.03):
                params = self._pick("", "(param i32)", "(param i64)", "(param i32 i32)", "(param externref)")
            lines.append(self._function(f"asyncify_{name}", params, "", 0.5))
        if self._thunks:
            params = f"(param {pointer})" if not self._rarely(0.05) else "(param i64)"
            lines.append(self._function("asyncify_set_data_pointer", params, "", 0.2))
            lines.append(CONTRACT if not self._rarely(0.05) else self._pick("", *_CONTRACTS))
        if self._rarely(0.6):
            results = "i32" if not self._rarely(0.1) else self._pick(*_TYPES)
            lines.append(self._function("asyncify_get_state", "", results, 0.2))
        for name in ("emscripten_stack_get_end", "emscripten_stack_get_base", "stackAlloc", "__wasm_call_ctors"):
            if self._rarely(0.08):
                lines.append(self._function(name, self._pick("", "(param i32)"), self._pick("", "i32"), 0.5))
        return lines

    def _allocator(self) -> list[str]:
        kind = "i64" if self._wide else "i32"
        lines: list[str] = []
        if self._rarely(0.7):
            answer = self._pick(*["1024"] * 8, "1040", "0", "1", "-1", "0x7fff0000", "65530", "655360", "500000")
            body = f"{self._actions(0.3)} ({kind}.const {answer})"
            lines.append(f'(func (export "malloc") (param {kind}) (result {kind}) {body})')
        if self._rarely(0.7):
            lines.append(f'(func (export "free") (param {kind}) {self._actions(0.3)})')
        return lines

    def _functions(self) -> list[str]:
        lines: list[str] = []
        for name in self._source.sample(("f", "g", "k"), self._source.randint(1, 3)):
            params = [self._pick(*_TYPES[:7]) for _ in range(self._pick(0, 1, 1, 2))]
            results = [
                self._pick(*_TYPES) if self._rarely(0.1) else self._pick(*_TYPES[:6])
                for _ in range(self._pick(0, 1, 1, 2))
            ]
            lines.append(self._export(name, params, results))
            if self._thunks and not self._rarely(0.1):
                if self._rarely(0.1):
                    results = [*results, self._pick(*_TYPES)]
                elif self._rarely(0.1):
                    params = [self._pick(*_TYPES[:6])]
                elif self._rarely(0.1) and results:
                    results = [self._pick(*_TYPES)] + results[1:]
                lines.append(self._export(f"asyncify_entry:{name}", params, results))
        return lines

    def _export(self, name: str, params: list[str], results: list[str]) -> str:
        given = f"(param {' '.join(params)})" if params else ""
        taken = f"(result {' '.join(results)})" if results else ""
        values = " ".join(_VALUES[kind] for kind in results)
        actions = self._actions(0.9, asking=True)
        return f'(func ${name.replace(":", "_")} (export "{name}") {given} {taken} {actions} {values})'

    def _function(self, name: str, params: str, result: str, acting: float) -> str:
        taken = f"(result {result})" if result else ""
        value = _VALUES[result] if result else ""
        return f'(func ${name} (export "{name}") {params} {taken} {self._actions(acting)} {value})'

    def _actions(self, acting: float = 1.0, *, asking: bool = False) -> str:
        """Return statements. They count their steps, so that no recursion and no loop is endless."""
        if self._source.random() > acting:
            return ""
        lines = [self._action() for _ in range(self._source.randint(1, 5))]
        if asking:
            lines.insert(self._source.randint(0, len(lines)), self._ask())
        if not self._rarely(0.3):
            lines.append(self._advance())
        steps = "(global.set $steps (i32.add (global.get $steps) (i32.const 1)))"
        return f"{steps} (if (i32.lt_u (global.get $steps) (i32.const 200)) (then {' '.join(lines)}))"

    def _action(self) -> str:
        what = self._source.random()
        if what < 0.35:
            return self._store()
        if what < 0.45:
            return self._ask()
        if what < 0.5:
            return f"(drop (call $note (i32.const {self._number()})))"
        if what < 0.55:
            return "(drop (call $again (i32.const 1)))"
        if what < 0.6:
            return f"(call $asyncify_{self._pick('stop_unwind', 'stop_rewind')})"
        if what < 0.67 and self._has_memory:
            kind = "i64" if self._wide else "i32"
            return f"(drop (memory.grow $m ({kind}.const {self._pick(1, 16, 1000)})))"
        if what < 0.72 and self._own:
            return "(if (i32.const 1) (then (nop)))"
        if what < 0.78:
            return self._loop()
        if what < 0.81:
            return "(unreachable)"
        if what < 0.84:
            return f"(call_indirect (type $t) (i32.const {self._pick(0, 1, 1)}))"
        if what < 0.88:
            return "(table.set 0 (i32.const 0) (ref.func $ask))"
        if what < 0.92:
            return "(drop (call $object (extern.convert_any (ref.i31 (i32.const 5)))))"
        return self._advance()

    def _ask(self) -> str:
        number = self._number()
        place = self._pick(number, ctypes.addressof(_FORGED))
        return self._pick(
            f"(table.set 0 (i32.const 1) (call $choose (i64.const {place})))",
            f"(drop (call $object (call $forge (i64.const {place}))))",
            f"(drop (call $ask (i32.const {number})))",
            f"(drop (call $ask (i32.const {number})))",
            f"(drop (call $yield (i32.const {number})))",
            f"(call $pair (i32.const {number})) (drop) (drop)",
            "(drop (call $object (ref.null extern)))",
        )

    def _store(self) -> str:
        if not self._has_memory and not self._own:
            return ""
        memory = "$own" if self._own and (not self._has_memory or self._rarely(0.6)) else "$m"
        kind = "i64" if memory == "$m" and self._wide else "i32"
        return f"(i32.store {memory} ({kind}.const {self._pick(*_ADDRESSES)}) (i32.const {self._number()}))"

    def _advance(self) -> str:
        """Let *current* move as if a frame was written."""
        if self._own:
            return "(i32.store $own (i32.const 16) (i32.add (i32.const 4) (i32.load $own (i32.const 16))))"
        if not self._has_memory or self._wide:
            return ""
        return "(i32.store $m (i32.const 1024) (i32.add (i32.const 4) (i32.load $m (i32.const 1024))))"

    def _loop(self) -> str:
        return "(call $again (i32.const 2)) (drop)" if self._rarely(0.5) else self._store()

    def _number(self) -> int:
        return int(self._pick(*_NUMBERS))

    def _rarely(self, chance: float) -> bool:
        return self._source.random() < chance

    def _pick(self, *values: Value) -> Value:
        return self._source.choice(values)


def case(seed: int) -> str:
    """Load a lying module and use it."""
    source = random.Random(f"lies {seed}")
    text = Grammar(source).module()
    return asyncio.run(_use(text, source))


async def _use(text: str, source: random.Random) -> str:
    host = Host(source)
    imports = host.imports()
    imports["env"]["memory"] = wasmtime.MemoryType(wasmtime.Limits(1, None))
    space = source.choice(
        (None, None, None, None, (1024, 65536), (1024, 65536), (1024, 65536), (1024, 1320), (16, 1 << 33), (0, 0))
    )
    try:
        guest = await caesura.load(text.encode(), imports, cache=False, stack_space=space)
    except (*ALLOWED, Refused) as error:
        return f"refused: {type(error).__name__}"
    ended = await drive(guest, source, host)
    return "used" if ended else "used in vain"
