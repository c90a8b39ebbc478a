"""A program that sleeps in the middle under Node, whose event loop goes on meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.support.guests import text_guest
from tests.support.instrumenting import instrument_file
from tests.support.node import run_driver


def test_sleeps_while_events_come(tmp_path: Path) -> None:
    """`sleep(2000)` lets a timer event through and goes on after two seconds, at the place where it was called."""
    source = tmp_path / "blog.wasm"
    source.write_bytes(text_guest("blog_js"))
    events = run_driver("blog.mjs", instrument_file(source, tmp_path / "instrumented.wasm"), "500")
    assert [event["what"] for event in events] == [
        "before",
        "asleep",
        "main returned",
        "event",
        "awake",
        "after",
    ]
    times = {event["what"]: event["at"] for event in events}
    assert times["event"] >= 450
    assert times["awake"] - times["asleep"] >= 1950
