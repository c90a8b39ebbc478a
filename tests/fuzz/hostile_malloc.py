"""A guest that is honestly instrumented, with a C stack, and a `malloc` and `free` that are not honest."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

import caesura
from tests.fuzz.driving import ALLOWED, Host, Refused, drive

# Functions that open a frame on the C stack as compilers do, and write into it.
_FUNCTIONS: Final = """
  (func $inner (param i32) (result i32) (local $frame i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 64))))
    (i32.store (local.get $frame) (local.get 0))
    (drop (call $ask (local.get 0)))
    (local.set 0 (i32.load (local.get $frame)))
    (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 64)))
    (local.get 0))
  (func $outer (export "f") (param i32) (result i32) (local $frame i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 32))))
    (i32.store (local.get $frame) (call $inner (local.get 0)))
    (local.set 0 (i32.load (local.get $frame)))
    (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 32)))
    (local.get 0))
  (func (export "g") (param i32) (result i32) (drop (call $again (i32.const 1))) (call $outer (local.get 0)))
  (func (export "h") (param i32) (result i32) (drop (call $yield (local.get 0))) (call $inner (local.get 0)))"""

_IMPORTS: Final = """
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "again" (func $again (param i32) (result i32)))
  (import "env" "yield" (func $yield (param i32) (result i32)))"""

_ANSWERS: Final = ("0", "8", "16", "1024", "1025", "32768", "65520", "65536", "131072", "0x7fff0000", "-1", "-16")


def module(source: random.Random) -> str:
    """Return a module."""
    pages = source.choice((1, 2, 4))
    pointer = source.choice((0, 16, 1024, 32768, 65536 * pages, -16))
    lines = [
        "(module (type $t (func))",
        _IMPORTS,
        f'(memory (export "memory") {pages} {source.choice(("", "4", "100"))})',
        f'(global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const {pointer}))',
        f"(global $next (mut i32) (i32.const {source.choice(_ANSWERS)}))",
        "(global $calls (mut i32) (i32.const 0))",
        _FUNCTIONS,
        f'(func (export "malloc") (param i32) (result i32) {_actions(source)} {_answer(source)})',
        f'(func (export "free") (param i32) {_actions(source)})',
    ]
    for name in ("__stack_low", "__stack_high", "__stack_end", "__heap_base", "__data_end"):
        if source.random() < 0.2:
            kind = source.choice(("i32", "(mut i32)", "(mut i64)"))
            value = f"({'i64' if '64' in kind else 'i32'}.const {source.choice(_ANSWERS)})"
            lines.append(f'(global (export "{name}") {kind} {value})')
    for name in ("emscripten_stack_get_end", "emscripten_stack_get_base", "emscripten_stack_get_free"):
        if source.random() < 0.1:
            lines.append(f'(func (export "{name}") (result i32) {_actions(source)} {_answer(source)})')
    for name in ("emscripten_stack_set_limits",):
        if source.random() < 0.1:
            lines.append(f'(func (export "{name}") (param i32 i32) {_actions(source)})')
    return "\n".join([*lines, ")"])


def _answer(source: random.Random) -> str:
    if source.random() < 0.5:
        return f"(i32.const {source.choice(_ANSWERS)})"
    step = source.choice(("(local.get 0)", "(i32.const 16)", "(i32.const 65536)"))
    step = step if "local" not in step else "(i32.const 1024)"
    return f"(global.set $next (i32.add (global.get $next) {step})) (global.get $next)"


def _actions(source: random.Random) -> str:
    """Return statements, which run in the first two hundred calls."""
    actions = (
        "",
        "",
        "",
        "(drop (memory.grow (i32.const 1)))",
        "(unreachable)",
        "(drop (call $ask (i32.const 1)))",
        "(drop (call $again (i32.const 1)))",
        "(drop (call $outer (i32.const 1)))",
        f"(global.set $__stack_pointer (i32.const {source.choice(_ANSWERS)}))",
        f"(i32.store (i32.const {source.choice(_ANSWERS)}) (i32.const -1))",
        f"(if (i32.gt_u (global.get $calls) (i32.const {source.randint(0, 5)})) (then (unreachable)))",
    )
    chosen = " ".join(source.choice(actions) for _ in range(source.randint(0, 2)))
    count = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))"
    return f"{count} (if (i32.lt_u (global.get $calls) (i32.const 200)) (then {chosen}))"


def case(seed: int) -> str:
    """Load such a module and use it."""
    source = random.Random(f"malloc {seed}")
    text = module(source).encode()
    plain = source.random() < 0.3
    return asyncio.run(_use(text, plain, source))


async def _use(text: bytes, plain: bool, source: random.Random) -> str:
    host = Host(source)
    settings: dict[str, Any] = {"shadow_stack_size": source.choice((256, 1024, 65536, 1 << 20, 1 << 31, 1 << 32))}
    try:
        if plain:
            import wasmtime

            options = caesura.Options(thunks=source.random() < 0.5)
            text = caesura.instrument(bytes(wasmtime.wat2wasm(text)), options).module
        guest = await caesura.load(text, host.imports(), cache=False, **settings)
    except (*ALLOWED, Refused) as error:
        return f"refused: {type(error).__name__}"
    ended = await drive(guest, source, host)
    return "used" if ended else "used in vain"
