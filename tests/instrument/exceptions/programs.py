"""Random programs of old-form exceptions: tries, catch clauses, delegates, rethrows, and branches between all of them.

The oracle's generator draws whole programs, of which exceptions are a part. Here everything is about exceptions: a
program is a few functions that call one another downwards, each a thicket of constructs with parameters and results on
a typed operand stack. What a run does is decided while it runs, by random numbers from a seed that the entry is given,
so that one program takes many ways. Everything that happens goes into a hash in a global, and a counter ends loops.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tests.oracle.encoder import function_type, name, section, signed, unsigned, vector

I32: Final = 0x7F
I64: Final = 0x7E
F64: Final = 0x7C

Types = tuple[int, ...]

# What exceptions carry, by tag.
TAGS: Final[tuple[Types, ...]] = ((), (I32,), (I64, I32), (F64,))

_STACKS: Final[tuple[Types, ...]] = ((), (), (), (I32,), (I32,), (I64,), (F64,), (I32, I64), (I64, I64, I32))

_LOG, _RANDOM, _FIRST = 0, 1, 2
_HASH, _SEED, _FUEL = 0, 1, 2

_BLOCK, _LOOP, _IF, _ELSE, _TRY, _CATCH, _END = b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07", b"\x0b"
_THROW, _RETHROW, _DELEGATE, _CATCH_ALL = b"\x08", b"\x09", b"\x18", b"\x19"
_BR, _BR_IF, _BR_TABLE, _RETURN, _CALL = b"\x0c", b"\x0d", b"\x0e", b"\x0f", b"\x10"
_UNREACHABLE, _DROP = b"\x00", b"\x1a"

# From a value on the stack to an i64 for the hash.
_TO_HASH: Final = {I32: b"\xac", I64: b"", F64: b"\xbd"}


@dataclass(frozen=True)
class Label:
    """A label: what branches to it carry, and whether we are in a handler of the construct."""

    carries: Types
    catching: bool = False


def program(seed: int) -> bytes:
    """Return a module with an export `run` (i32 -> i32) and the exported global `hash`."""
    return _Program(random.Random(seed)).module()


class _Program:
    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.types: list[tuple[Types, Types]] = []
        stacks = [source.choice(_STACKS) for _ in range(4)]
        self.signatures: list[tuple[Types, Types]] = [((I32,), (I32,))]
        for _ in range(source.randrange(1, 4)):
            self.signatures.append((source.choice(stacks), source.choice(stacks)))

    def type_index(self, params: Types, results: Types) -> int:
        if (params, results) not in self.types:
            self.types.append((params, results))
        return self.types.index((params, results))

    def module(self) -> bytes:
        functions = [self.type_index((I64,), ()), self.type_index((), (I32,))]
        functions += [self.type_index(*signature) for signature in self.signatures]
        bodies = [_log_body(), _random_body()]
        bodies += [_Function(self, place).body() for place in range(len(self.signatures))]
        tags = [b"\0" + unsigned(self.type_index(payload, ())) for payload in TAGS]
        globals_ = [b"\x7e\x01\x42\x00\x0b", b"\x7f\x01\x41\x01\x0b", b"\x7f\x01\x41" + signed(400) + b"\x0b"]
        exports = [name("run") + b"\0" + unsigned(_FIRST), name("hash") + b"\3\0", name("seed") + b"\3\1"]
        return b"".join(
            [
                b"\0asm\1\0\0\0",
                section(1, vector(function_type(*one) for one in self.types)),
                section(3, vector(unsigned(one) for one in functions)),
                section(13, vector(tags)),
                section(6, vector(globals_)),
                section(7, vector(exports)),
                section(10, vector(unsigned(len(body)) + body for body in bodies)),
            ]
        )


def _log_body() -> bytes:
    """Return the code of hash = rotated((hash ^ value) * an odd number)."""
    return b"\0\x23\0\x20\0\x85\x42" + signed(0x9E3779B97F4A7C15 - (1 << 64)) + b"\x7e\x42\x17\x89\x24\0\x0b"


def _random_body() -> bytes:
    """Xorshift of the seed, which is never 0."""
    steps = b"".join(
        b"\x23\1\x23\1\x41" + signed(by) + shift + b"\x73\x24\1"
        for by, shift in ((13, b"\x74"), (17, b"\x76"), (5, b"\x74"))
    )
    return b"\0" + steps + b"\x23\1\x0b"


class _Function:
    def __init__(self, program: _Program, place: int) -> None:
        self.program = program
        self.random = program.random
        self.place = place
        self.params, self.results = program.signatures[place]
        self.locals = [*self.params, *[self.random.choice((I32, I64, F64)) for _ in range(self.random.randrange(4))]]
        self.code: list[bytes] = []
        self.labels = [Label(self.results)]
        self.budget = self.random.choice((20, 40, 80, 160))

    def body(self) -> bytes:
        if self.place == 0:  # the entry's argument is the seed
            self.code.append(b"\x20\0\x41\1\x72\x24" + unsigned(_SEED))
        self.sequence((), self.results, 5)
        own = self.locals[len(self.params) :]
        declarations = vector(b"\1" + bytes([one]) for one in own)
        return declarations + b"".join(self.code) + _END

    # Values.

    def push(self, value_type: int) -> None:
        """Push a value of a type."""
        places = [place for place, one in enumerate(self.locals) if one == value_type]
        if places and self.random.random() < 0.5:
            self.code.append(b"\x20" + unsigned(self.random.choice(places)))
        elif self.random.random() < 0.5:
            number = signed(self.random.randrange(-1000, 1000))
            convert = b"\xb7" if value_type == F64 else b""
            self.code.append((b"\x42" if value_type == I64 else b"\x41") + number + convert)
        else:
            self.code.append(_CALL + unsigned(_RANDOM) + {I32: b"", I64: b"\xac", F64: b"\xb7"}[value_type])

    def push_all(self, types: Types) -> None:
        for value_type in types:
            self.push(value_type)

    def chance(self, one_in: int) -> None:
        """Push a condition that holds one time in so many."""
        self.code.append(_CALL + unsigned(_RANDOM) + b"\x41" + signed(one_in) + b"\x70\x45")

    def take(self, stack: list[int]) -> None:
        """Take the topmost value: into a local, into the hash, or away."""
        value_type = stack.pop()
        places = [place for place, one in enumerate(self.locals) if one == value_type]
        if places and self.random.random() < 0.4:
            self.code.append(b"\x21" + unsigned(self.random.choice(places)))
        elif self.random.random() < 0.8:
            self.code.append(_TO_HASH[value_type] + _CALL + unsigned(_LOG))
        else:
            self.code.append(_DROP)

    def fit(self, stack: list[int], wanted: Types) -> None:
        """Make the whole stack of the current block what is wanted."""
        keep = len(stack) if tuple(stack) == wanted[: len(stack)] else 0
        while len(stack) > keep:
            self.take(stack)
        self.push_all(wanted[keep:])
        stack[:] = wanted

    # Code.

    def sequence(self, start: Types, end: Types, depth: int) -> None:
        """Code from one stack to another."""
        stack = list(start)
        for _ in range(self.random.randrange(1, 7)):
            if self.budget <= 0:
                break
            self.budget -= 1
            if not self.step(stack, depth):
                self.dead(end, depth)
                return
        self.fit(stack, end)

    def dead(self, end: Types, depth: int) -> None:
        """Code behind an instruction that never goes on: nothing, or something with operands out of nowhere."""
        if self.random.random() < 0.5:
            return
        stack: list[int] = []
        while self.budget > 0 and self.random.random() < 0.6:
            self.budget -= 1
            if not self.step(stack, depth):
                stack.clear()
        while stack:
            self.take(stack)
        self.push_all(end[self.random.randrange(len(end) + 1) :])

    def step(self, stack: list[int], depth: int) -> bool:
        """One step; returns whether control can go on behind it."""
        kind = self.random.randrange(100)
        if kind < 15:
            value_type = self.random.choice((I32, I64, F64))
            self.push(value_type)
            stack.append(value_type)
        elif kind < 24:
            self.code.append(b"\x42" + signed(self.random.randrange(64)) + _CALL + unsigned(_LOG))
        elif kind < 32:
            if stack:
                self.take(stack)
        elif kind < 40:
            self.call(stack)
        elif kind < 52:
            self.unlikely_leave()
        elif kind < 58:
            self.branch_if(stack)
        elif kind < 63:
            return self.leave()
        elif depth > 0:
            self.construct(stack, depth - 1)
        return True

    def call(self, stack: list[int]) -> None:
        """Call a function further down."""
        if self.place + 1 < len(self.program.signatures):
            callee = self.random.randrange(self.place + 1, len(self.program.signatures))
            params, results = self.program.signatures[callee]
            self.push_all(params)
            self.code.append(_CALL + unsigned(_FIRST + callee))
            stack += results

    def unlikely_leave(self) -> None:
        """An `if` around an instruction that never goes on."""
        self.chance(self.random.choice((2, 3, 6)))
        self.code.append(_IF + b"\x40")
        self.labels.append(Label(()))
        self.leave()
        self.labels.pop()
        self.code.append(_END)

    def leave(self) -> bool:
        """An instruction that never goes on."""
        catching = [depth for depth, label in enumerate(reversed(self.labels)) if label.catching]
        kind = self.random.randrange(12)
        if kind < 5:
            tag = self.random.randrange(len(TAGS))
            self.push_all(TAGS[tag])
            self.code.append(_THROW + unsigned(tag))
        elif kind < 8 and catching:
            self.code.append(_RETHROW + unsigned(self.random.choice(catching)))
        elif kind < 9:
            self.push_all(self.results)
            self.code.append(_RETURN)
        elif kind < 10 and self.random.random() < 0.1:
            self.code.append(_UNREACHABLE)
        else:
            self.branch()
        return False

    def depths(self, carries: Types) -> list[int]:
        return [depth for depth, label in enumerate(reversed(self.labels)) if label.carries == carries]

    def branch(self) -> None:
        depth = self.random.randrange(len(self.labels))
        carries = self.labels[-1 - depth].carries
        self.push_all(carries)
        if self.random.random() < 0.4:
            fitting = self.depths(carries)
            labels = [self.random.choice(fitting) for _ in range(self.random.randrange(1, 5))]
            self.code.append(_CALL + unsigned(_RANDOM) + b"\x41\x07\x71" + _BR_TABLE)
            self.code.append(unsigned(len(labels) - 1) + b"".join(unsigned(label) for label in labels))
        else:
            self.code.append(_BR + unsigned(depth))

    def branch_if(self, stack: list[int]) -> None:
        depth = self.random.randrange(len(self.labels))
        carries = self.labels[-1 - depth].carries
        self.push_all(carries)
        self.chance(3)
        self.code.append(_BR_IF + unsigned(depth))
        stack += carries

    # Constructs.

    def construct(self, stack: list[int], depth: int) -> None:
        """A construct, with parameters from the stack."""
        count = self.random.randrange(min(len(stack), 3) + 1) if self.random.random() < 0.4 else 0
        params = tuple(stack[len(stack) - count :])
        results = self.random.choice(_STACKS)
        kind = self.random.randrange(20)
        if kind < 3:
            self.open(_BLOCK, params, results)
            self.inside(params, results, results, depth)
        elif kind < 5:
            self.loop(params, results, depth)
        elif kind < 7:
            self.chance(2)
            self.open(_IF, params, results)
            self.inside(params, results, results, depth)
            self.code.append(_ELSE)
            self.inside(params, results, results, depth)
        else:
            self.open(_TRY, params, results)
            self.guarded(params, results, depth)
            del stack[len(stack) - count :]
            stack += results
            return
        self.code.append(_END)
        del stack[len(stack) - count :]
        stack += results

    def open(self, code: bytes, params: Types, results: Types) -> None:
        if not params and not results:
            block_type = b"\x40"
        elif not params and len(results) == 1 and self.random.random() < 0.8:
            block_type = bytes(results)
        else:
            block_type = signed(self.program.type_index(params, results))
        self.code.append(code + block_type)

    def inside(self, start: Types, end: Types, carries: Types, depth: int, *, catching: bool = False) -> None:
        self.labels.append(Label(carries, catching))
        self.sequence(start, end, depth)
        self.labels.pop()

    def loop(self, params: Types, results: Types, depth: int) -> None:
        """A loop that ends when fuel is used up."""
        self.open(_LOOP, params, results)
        self.labels.append(Label(params))
        fuel = unsigned(_FUEL)
        self.code.append(b"\x23" + fuel + b"\x45\x04\x40")
        self.push_all(self.results)
        self.code.append(_RETURN + _END)
        self.code.append(b"\x23" + fuel + b"\x41\x01\x6b\x24" + fuel)
        self.sequence(params, results, depth)
        self.labels.pop()

    def guarded(self, params: Types, results: Types, depth: int) -> None:
        """The body and the handlers of a `try`."""
        self.inside(params, results, results, depth)
        kind = self.random.randrange(20)
        if kind < 7:
            self.code.append(_DELEGATE + unsigned(self.random.randrange(len(self.labels))))
            return
        if kind < 8:
            self.code.append(_END)
            return
        tags = [self.random.randrange(len(TAGS)) for _ in range(self.random.choice((0, 1, 1, 2, 3)))]
        for tag in tags:
            self.code.append(_CATCH + unsigned(tag))
            self.code.append(b"\x42" + signed(100 + tag) + _CALL + unsigned(_LOG))
            self.inside(TAGS[tag], results, results, depth, catching=True)
        if not tags or self.random.random() < 0.5:
            self.code.append(_CATCH_ALL)
            self.code.append(b"\x42" + signed(200) + _CALL + unsigned(_LOG))
            self.inside((), results, results, depth, catching=True)
        self.code.append(_END)
