"""Host functions without a body: whoever drives the call gets a `PendingCall`, and answers."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import caesura

# Calls `ask` with its argument and each answer, three times, and adds 1 at each step; `nested` is deep when it asks.
ASKER = """
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "fetch" (func $fetch (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $deep (param $n i32) (param $x i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $x))))
      (else (call $ask (local.get $x)))))
  (func (export "three") (param $x i32) (result i32)
    (local $k i32)
    (loop $again
      (local.set $x (i32.add (i32.const 1) (call $ask (local.get $x))))
      (local.set $k (i32.add (local.get $k) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $k) (i32.const 3))))
    (local.get $x))
  (func (export "nested") (param $x i32) (result i32) (call $deep (i32.const 20) (local.get $x)))
  (func (export "both") (param $x i32) (result i32) (call $ask (call $fetch (local.get $x))))
  (func (export "plain") (result i32) (i32.const 9)))
"""


async def fetch(value: int) -> int:
    await asyncio.sleep(0)
    return value * 10


IMPORTS = {"env": {"ask": caesura.EXTERNAL, "fetch": fetch}}


def load(**more: Any) -> caesura.Guest:
    return asyncio.run(caesura.load(ASKER.encode(), IMPORTS, **more))


def test_steps_without_an_event_loop() -> None:
    guest = load()
    seen = []
    step = guest.start("three", 5)
    while isinstance(step, caesura.PendingCall):
        seen.append((step.export, step.function, step.arguments))
        step = step.resume(step.arguments[0] * 2)
    # 5 -> 10 + 1 -> 22 + 1 -> 46 + 1
    assert seen == [("three", "env.ask", (5,)), ("three", "env.ask", (11,)), ("three", "env.ask", (23,))]
    assert step == 47
    assert guest.pending == []


def test_a_call_that_asks_nobody_returns_at_once() -> None:
    assert load().start("plain") == 9


def test_several_calls_in_steps_in_any_order() -> None:
    guest = load()
    calls = [guest.start("nested", number) for number in range(5)]
    assert [call.arguments for call in guest.pending] == [(0,), (1,), (2,), (3,), (4,)]
    assert guest.pending == calls
    for number in (3, 0, 4, 1, 2):
        assert calls[number].resume(100 + number) == 120 + number
    assert guest.suspended == 0


def test_an_error_is_raised_where_the_guest_waits() -> None:
    guest = load()
    call = guest.start("three", 1)
    with pytest.raises(ZeroDivisionError, match="of the tool") as caught:
        call.throw(ZeroDivisionError("of the tool"))
    assert "three" in str(caught.value.__notes__)
    assert guest.pending == []
    assert guest.start("plain") == 9


def test_a_call_is_resumed_once() -> None:
    guest = load()
    call = guest.start("three", 1)
    following = call.resume(1)
    assert following == call  # the same call, which waits again
    assert following.resume(1).resume(1) == 2
    with pytest.raises(caesura.UsageError, match="not yours to resume"):
        call.resume(1)


@pytest.mark.parametrize("answer", ["no number", 1 << 32, -(1 << 31) - 1, 1.5, None, (1, 2), b"1"])
def test_an_answer_that_does_not_fit_is_refused_and_the_call_waits_for_another(answer: Any) -> None:
    guest = load()
    call = guest.start("three", 1)
    with pytest.raises(caesura.UsageError, match=r"result 1 of host function env\.ask is .* i32"):
        call.resume(answer)
    assert guest.pending == [call] and call.is_held
    assert guest.snapshot().state.calls[0].arguments == ((0x7F, 1),)
    assert call.resume((1 << 32) - 1).arguments == (0,)

    async def awaited() -> None:
        call = await guest.call("nested", 5)
        with pytest.raises(caesura.UsageError, match=r"expected an integer for i32|out of range for i32"):
            call.resume(answer)
        assert call.is_held
        assert await call.resume(7) == 27

    asyncio.run(awaited())


def test_an_answer_is_converted_once_and_may_fail() -> None:
    class Number:
        asked = 0

        def __index__(self) -> int:
            self.asked += 1
            if self.asked == 1:
                raise KeyError("not yet")
            return 40

    guest = load()
    call, number = guest.start("nested", 1), Number()
    with pytest.raises(KeyError, match="not yet"):
        call.resume(number)
    assert call.resume(number) == 60
    assert number.asked == 2


REFERRER = b"""
(module
  (import "env" "function" (func $function (result funcref)))
  (import "env" "several" (func $several (result i64 f32)))
  (table $table 1 funcref)
  (type $number (func (result i32)))
  (func (export "seven") (result i32) (i32.const 7))
  (func (export "call") (result i32)
    (table.set $table (i32.const 0) (call $function))
    (call_indirect $table (type $number) (i32.const 0)))
  (func (export "sum") (result f32)
    (local $x f32)
    (local.set $x (call $several))
    f32.convert_i64_s
    (f32.add (local.get $x))))
"""


def test_answers_of_other_types() -> None:
    imports = {"env": {"function": caesura.EXTERNAL, "several": caesura.EXTERNAL}}
    guest, other = (asyncio.run(caesura.load(REFERRER, imports)) for _ in range(2))
    call = guest.start("call")
    with pytest.raises(caesura.UsageError, match="expected a function of the guest's, or None, for funcref"):
        call.resume(3)
    with pytest.raises(caesura.UsageError, match="a function of another guest"):
        call.resume(other.function("seven"))
    assert call.resume(guest.function("seven")) == 7
    call = guest.start("sum")
    with pytest.raises(caesura.UsageError, match=r"expected 2 results \(i64, f32\), got 1"):
        call.resume(3)
    with pytest.raises(caesura.UsageError, match=r"result 2 .* out of range for f32"):
        call.resume((3, 1e300))
    assert call.resume((3, 0.5)) == 3.5


def test_what_was_answered_does_not_answer_the_next_question() -> None:
    guest = load()
    call = guest.start("three", 1)
    following = call.resume(10)
    for action in (lambda: call.resume(1), lambda: call.throw(ValueError()), call.drop):
        with pytest.raises(caesura.UsageError, match="has gone on since"):
            action()
    assert not call.is_held and following.is_held and guest.pending == [following]
    assert following.resume(20).resume(30) == 31

    async def awaited() -> None:
        call = await guest.call("three", 1)
        first, second = call.resume(10), call.resume(20)
        following = await first
        with pytest.raises(caesura.UsageError, match="has gone on since"):
            await second
        assert await (await following.resume(5)).resume(6) == 7

    asyncio.run(awaited())


def test_what_is_thrown_is_an_exception() -> None:
    guest = load()
    call = guest.start("nested", 1)
    for thrown in ("text", ValueError):
        with pytest.raises(caesura.UsageError, match="expected an exception"):
            call.throw(thrown)
    assert call.resume(1) == 21


def test_a_call_that_cannot_go_on_now_can_later() -> None:
    """What forbids it here is how deep the guest and host functions may call each other."""
    waiting: list[Any] = []

    def again(_: int) -> int:
        with pytest.raises(RecursionError):
            waiting[0].resume(1)
        assert waiting[0].is_held
        return 0

    imports = {"env": {"ask": caesura.EXTERNAL, "fetch": again}}
    guest = asyncio.run(caesura.load(ASKER.encode(), imports, recursion_limit=0))
    waiting.append(guest.start("nested", 3))
    waiting.append(guest.start("both", 3))
    assert waiting[0].resume(5) == 25 and waiting[1].resume(6) == 6


def test_a_dropped_call_is_forgotten() -> None:
    guest = load()
    first, second = guest.start("three", 1), guest.start("nested", 7)
    first.drop()
    assert guest.pending == [second]
    with pytest.raises(caesura.UsageError, match="not yours"):
        first.resume(1)
    assert second.resume(1) == 21


def test_a_call_that_nobody_looks_at_stays() -> None:
    guest = load()
    guest.start("nested", 7)
    gc.collect()
    [call] = guest.pending
    assert call.resume(2) == 22


def test_awaited_calls_hand_the_call_to_whoever_awaits() -> None:
    async def scenario() -> Any:
        async with await caesura.load(ASKER.encode(), IMPORTS) as guest:
            step = await guest.call("both", 4)
            assert isinstance(step, caesura.PendingCall)
            assert step.arguments == (40,)
            assert await guest.call("plain") == 9
            return await step.resume(5)

    assert asyncio.run(scenario()) == 5


def test_generators_yield_the_call() -> None:
    guest = load()
    steps = guest.generate("three", 5)
    asked = next(steps)
    assert isinstance(asked, caesura.PendingCall)
    assert asked.arguments == (5,)
    with pytest.raises(caesura.UsageError, match="not yours to resume"):
        asked.resume(1)
    steps.send(10)
    steps.send(22)
    with pytest.raises(StopIteration) as end:
        steps.send(46)
    assert end.value.value == 47


def test_asynchronous_generators_yield_the_call() -> None:
    async def scenario() -> list[Any]:
        async with await caesura.load(ASKER.encode(), IMPORTS) as guest:
            return [item.arguments async for item in guest.agenerate("nested", 3)]

    with pytest.raises(caesura.UsageError, match="expected an integer"):
        asyncio.run(scenario())


def test_yielding_functions_are_steps_too() -> None:
    @caesura.yielding
    def ask(value: int) -> str:
        return f"what is {value}?"

    guest = asyncio.run(caesura.load(ASKER.encode(), {"env": {"ask": ask, "fetch": fetch}}))
    step = guest.start("nested", 3)
    assert (step.value, step.arguments) == ("what is 3?", (3,))
    assert step.resume(1) == 21


def test_what_has_to_wait_is_refused_in_steps() -> None:
    guest = load()
    with pytest.raises(caesura.UsageError, match=r"env\.fetch has to wait, but both was called with `start`"):
        guest.start("both", 1)
    assert guest.start("plain") == 9


def test_call_nowait_hands_nothing_out() -> None:
    with pytest.raises(caesura.UsageError, match=r"env\.ask has no body.*guest\.start"):
        load().call_nowait("three", 1)


def test_names_without_bodies() -> None:
    async def scenario() -> Any:
        async with await caesura.load(ASKER.encode(), {"env": {"fetch": fetch}}, external=["env.ask"]) as guest:
            step = await guest.call("nested", 4)
        program = await caesura.compile(ASKER.encode(), {"env": {"fetch": fetch}}, external=["env.ask"])
        async with await program.load() as guest:
            return step, await (await guest.call("nested", 1)).resume(5)

    step, result = asyncio.run(scenario())
    assert step.function == "env.ask"
    assert result == 25


@pytest.mark.parametrize("names", ["env.ask", [7], ["ask"]])
def test_names_that_are_none(names: Any) -> None:
    with pytest.raises(caesura.UsageError, match=r"external (is|has) .*expected a"):
        asyncio.run(caesura.load(ASKER.encode(), {"env": {"fetch": fetch}}, external=names))


def test_a_closed_guest_resumes_nothing() -> None:
    guest = load()
    call = guest.start("three", 1)
    guest.close()
    with pytest.raises(caesura.UsageError, match="closed"):
        call.resume(1)


def test_nobody_but_a_guest_calls_it() -> None:
    assert repr(caesura.EXTERNAL) == "caesura.EXTERNAL"
    with pytest.raises(TypeError, match="without a body"):
        caesura.EXTERNAL()
