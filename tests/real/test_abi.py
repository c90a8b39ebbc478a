"""What the Asyncify ABI promises to a host, beyond that a guest can be suspended."""

from __future__ import annotations

import functools
import struct

import pytest
import wasmtime

import caesura
from tests.support.guests import text_guest
from tests.support.instrumenting import instrument
from tests.support.plain_abi import (
    HEADER,
    HostFunction,
    PlainGuest,
    StackArea,
    SuspendAt,
    Value,
    always,
    never,
)

PATTERN = (b"\xa5\x5a\x3c" * 65536)[: 65536 - 4096]
ARGUMENTS: tuple[Value, ...] = (0x12345678, 0x1122334455667788, 1.5, -3.25)


@functools.cache
def frames() -> bytes:
    """Return the instrumented guest of most tests here."""
    return instrument(text_guest("frames"))


def host() -> dict[tuple[str, str], HostFunction]:
    """Return the host functions of that guest."""
    return {("env", "ask"): lambda value: (value * 31 + 7) & 0xFFFF, ("env", "note"): lambda *arguments: None}


def new_guest(binary: bytes, suspend_at: SuspendAt = always, size: int = 4096) -> PlainGuest:
    """Return a guest whose asyncify stacks lie in its first page, behind what it uses itself."""
    return PlainGuest(binary, host(), suspend_at=suspend_at, stacks=StackArea(4096, size, 2))


@functools.cache
def expected() -> tuple[object, bytes, dict[str, Value]]:
    """Return result, memory and globals of a run of the original."""
    guest = new_guest(text_guest("frames"), never)
    result = guest.call("outer", *ARGUMENTS)
    return result, guest.memory_image(), guest.globals()


def suspend(guest: PlainGuest) -> int:
    """Call `outer` until it is suspended for the first time, by hand; return the stack's address."""
    function = guest.function("outer")
    guest.suspend_at = never
    assert guest.stacks is not None
    address = guest.stacks.address
    guest.set_stack_pointers(address, address + HEADER, guest.stacks.address + guest.stacks.size)

    def start(value: int) -> int:
        guest.function("asyncify_start_unwind")(guest.store, address)
        return 0

    guest.replace(("env", "ask"), start)
    function(guest.store, *ARGUMENTS)
    assert guest.state() == 1
    return address


def resume(guest: PlainGuest, address: int, *arguments: Value) -> object:
    """End the unwinding, and rewind `outer` with these arguments to its end."""
    ask = host()["env", "ask"]

    def arrive(value: int) -> Value | tuple[Value, ...]:
        if guest.state() == 2:
            guest.function("asyncify_stop_rewind")(guest.store)
        return ask(value)

    guest.replace(("env", "ask"), arrive)
    guest.function("asyncify_stop_unwind")(guest.store)
    guest.function("asyncify_start_rewind")(guest.store, address)
    return guest.function("outer")(guest.store, *arguments)


def test_exports() -> None:
    """The five functions are exported, with the signatures of the ABI."""
    guest = new_guest(frames())
    i32 = wasmtime.ValType.i32()
    wanted = {
        "start_unwind": [i32],
        "stop_unwind": [],
        "start_rewind": [i32],
        "stop_rewind": [],
        "get_state": [],
    }
    for name, parameters in wanted.items():
        kind = guest.function(f"asyncify_{name}").type(guest.store)
        assert kind.params == parameters
        assert kind.results == ([i32] if name == "get_state" else [])


def test_states() -> None:
    """The state is 0, then 1 while unwinding, 0 when stopped, 2 while rewinding, 0 when stopped."""
    guest = new_guest(frames())
    assert guest.stacks is not None
    address = guest.stacks.address
    guest.set_stack_pointers(address, address + HEADER, address + 100)
    seen = [guest.state()]
    for name, parameters in (
        ("start_unwind", (address,)),
        ("stop_unwind", ()),
        ("start_rewind", (address,)),
        ("stop_rewind", ()),
    ):
        guest.function(f"asyncify_{name}")(guest.store, *parameters)
        seen.append(guest.state())
    assert seen == [0, 1, 0, 2, 0]


@pytest.mark.parametrize("name", ["start_unwind", "start_rewind"])
def test_stack_beyond_its_end_traps(name: str) -> None:
    """A data structure whose current pointer is past its end is refused; one that is full is not."""
    guest = new_guest(frames())
    guest.set_stack_pointers(4096, 5001, 5000)
    with pytest.raises(wasmtime.Trap):
        guest.function(f"asyncify_{name}")(guest.store, 4096)
    guest = new_guest(frames())
    guest.set_stack_pointers(4096, 5000, 5000)
    guest.function(f"asyncify_{name}")(guest.store, 4096)


def test_same_result_when_suspended_everywhere() -> None:
    """Suspended at each of its calls, the guest gives the original's result, memory and globals."""
    guest = new_guest(frames())
    result = guest.call("outer", *ARGUMENTS)
    assert (result, guest.memory_image(), guest.globals()) == expected()
    assert guest.suspensions == 3


def test_garbage_arguments_on_rewind() -> None:
    """A host may rewind an export with any arguments: parameters come from the frame."""
    corners: list[tuple[Value, ...]] = [(0, 0, 0.0, 0.0), (-1, -1, float("nan"), float("inf")), ARGUMENTS]
    for arguments in corners:
        guest = new_guest(frames())
        address = suspend(guest)
        assert resume(guest, address, *arguments) == expected()[0]
        assert (guest.memory_image(), guest.globals()) == expected()[1:]


def test_imports_get_their_arguments_again() -> None:
    """On rewind the suspending import is called again with its real arguments; no other import is called."""
    guest = new_guest(frames())
    address = suspend(guest)
    calls: list[tuple[Value, ...]] = []
    guest.replace(("env", "note"), lambda *arguments: calls.append(arguments))
    first: list[int] = []
    guest.function("asyncify_stop_unwind")(guest.store)
    guest.function("asyncify_start_rewind")(guest.store, address)

    def arrive(value: int) -> int:
        first.append(value)
        guest.function("asyncify_stop_rewind" if len(first) == 1 else "asyncify_get_state")(guest.store)
        return 5

    guest.replace(("env", "ask"), arrive)
    guest.function("outer")(guest.store, 0, 0, 0.0, 0.0)
    assert first == [0x12345678 + 1, 5]
    assert calls == []


def test_values_lie_in_the_clear() -> None:
    """Saved values are stored as they are, so that a conservative collector finds the pointers among them."""
    guest = new_guest(frames())
    address = suspend(guest)
    current, _ = guest.stack_pointers(address)
    saved = guest.read(address + HEADER, current - address - HEADER)
    a, b, c, d = ARGUMENTS
    assert struct.pack("<i", a) in saved
    assert struct.pack("<q", b) in saved
    assert struct.pack("<f", c) in saved
    assert struct.pack("<d", d) in saved
    lanes = struct.pack("<q", (b * 5 + (1 << 63)) % (1 << 64) - (1 << 63)) if isinstance(b, int) else b""
    assert lanes + lanes[:4] + struct.pack("<i", a) in saved


def test_suspended_stack_can_move() -> None:
    """A suspended stack is data: copied to another place, with its pointers adjusted, it resumes from there."""
    guest = new_guest(frames())
    address = suspend(guest)
    current, end = guest.stack_pointers(address)
    size = current - address - HEADER
    elsewhere = 16384
    guest.write(elsewhere + HEADER, guest.read(address + HEADER, size))
    guest.set_stack_pointers(elsewhere, elsewhere + HEADER + size, elsewhere + end - address)
    guest.write(address, bytes(4096))
    assert resume(guest, elsewhere, 0, 0, 0.0, 0.0) == expected()[0]


@pytest.mark.parametrize("imports", [(), ("env.ask",), ("env.*",)])
def test_exports_called_while_unwinding_do_nothing(imports: tuple[str, ...]) -> None:
    """A runtime may call exports from inside the import that has begun to suspend: they return zeros, no more.

    Also where options say what may suspend, which is when functions look whether they were entered later than that.
    """
    guest = new_guest(instrument(text_guest("frames"), caesura.Options(imports=imports)))
    address = suspend_calling_exports(guest)
    assert resume(guest, address, 0, 0, 0.0, 0.0) == expected()[0]
    assert (guest.memory_image(), guest.globals()) == expected()[1:]


def suspend_calling_exports(guest: PlainGuest) -> int:
    """Suspend `outer`, and call the other exports from inside the import that does so."""
    assert guest.stacks is not None
    address = guest.stacks.address
    guest.set_stack_pointers(address, address + HEADER, guest.stacks.address + guest.stacks.size)
    asked: list[int] = []

    def start(value: int) -> int:
        asked.append(value)
        assert len(asked) == 1, "an export that is called while unwinding must not call imports"
        guest.function("asyncify_start_unwind")(guest.store, address)
        before = guest.read(0, 4096 * 3), guest.globals()
        assert guest.function("effects")(guest.store, 4) == 0
        assert guest.function("effects_i64")(guest.store, -1) == 0
        assert guest.function("effects_floats")(guest.store, 2.5) == [0.0, 0.0]
        assert guest.function("effects_loop")(guest.store, 3) is None
        assert guest.function("outer")(guest.store, *ARGUMENTS) == 0.0
        assert guest.function("calm")(guest.store, 21) == 42
        assert (guest.read(0, 4096 * 3), guest.globals()) == before
        assert guest.state() == 1
        return 0

    guest.replace(("env", "ask"), start)
    guest.function("outer")(guest.store, *ARGUMENTS)
    assert len(asked) == 1
    return address


def needed_bytes() -> int:
    """Return how many bytes of stack the deepest suspension of `outer` takes."""
    guest = new_guest(frames())
    current, _ = guest.stack_pointers(suspend(guest))
    return current - 4096 - HEADER


def overflow(begin: int, end: int) -> tuple[PlainGuest, wasmtime.Trap | None]:
    """Suspend `outer` on a stack between these addresses, with a pattern all around; return its trap, if any."""
    guest = new_guest(frames())
    guest.write(4096, PATTERN)
    guest.set_stack_pointers(4096, begin, end)

    def start(value: int) -> int:
        guest.function("asyncify_start_unwind")(guest.store, 4096)
        return 0

    guest.replace(("env", "ask"), start)
    try:
        guest.function("outer")(guest.store, *ARGUMENTS)
    except wasmtime.Trap as trap:
        return guest, trap
    return guest, None


def test_overflow_traps_and_harms_nothing() -> None:
    """With any size of stack, either the guest is suspended, or it traps and no byte outside the stack has changed."""
    enough = needed_bytes()
    fits: list[bool] = []
    for size in range(enough + 9):
        begin, end = 8192, 8192 + size
        guest, trap = overflow(begin, end)
        fits.append(trap is None)
        current, still_end = guest.stack_pointers(4096)
        assert still_end == end
        assert begin <= current <= end
        assert guest.read(4096 + 8, begin - 4096 - 8) == PATTERN[8 : begin - 4096]
        assert guest.read(end, 65536 - end) == PATTERN[end - 4096 :]
        assert guest.read(0, 512) == bytes(512)
    assert fits == [size >= enough for size in range(enough + 9)]


def test_overflow_says_what_happened() -> None:
    """The trap's backtrace has a function whose name speaks of the stack that overflowed."""
    _, trap = overflow(8192, 8196)
    assert trap is not None
    assert any("overflow" in (frame.func_name or "") for frame in trap.frames)


@pytest.mark.parametrize("depth", [1, 2, 3, 50, 1000])
def test_recursion(depth: int) -> None:
    """Frames of one function lie on the stack as often as it is active, and all of them come back."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 8)
        (func $down (export "down") (param $n i32) (result i32)
          (local $kept i32)
          (if (i32.eqz (local.get $n)) (then (return (call $ask (i32.const 1000)))))
          (local.set $kept (i32.mul (local.get $n) (i32.const 7)))
          (local.set $kept (i32.xor (local.get $kept) (call $down (i32.sub (local.get $n) (i32.const 1)))))
          (i32.add (local.get $kept) (i32.mul (local.get $n) (i32.const 3)))))
    """
    binary = bytes(wasmtime.wat2wasm(text))
    ask: dict[tuple[str, str], HostFunction] = {("env", "ask"): lambda value: value + 1}
    wanted = PlainGuest(binary, ask).call("down", depth)
    guest = PlainGuest(instrument(binary), ask, suspend_at=always, stacks=StackArea(65536, 6 * 65536, 1))
    assert guest.call("down", depth) == wanted
    assert guest.suspensions == 1
