"""What `caesura diff` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from caesura.cli.explain_text import fitted, growth, named
from caesura.cli.summary import counted

Json = Mapping[str, Any]


def difference_text(told: Json, rows: int) -> str:
    """Return what differs as text; lists have so many rows (0: all)."""
    return fitted(_difference(told, rows))


def _difference(told: Json, rows: int) -> Iterator[str]:
    before, now = told["before"], told["now"]
    yield f"instrumented: {_then(before, now, 'instrumented')} of {_then(before, now, 'functions')} functions"
    yield f"call sites: {_then(before, now, 'sites')}"
    yield f"module, not instrumented: {growth(before['bytes_before'], now['bytes_before'])}"
    yield f"module, instrumented: {growth(before['bytes_after'], now['bytes_after'])}"
    for change in told["options"]:
        yield f"option {change['option']}: {_value(change['before'])}, now {_value(change['now'])}"
    for verb, word in (("gained", "new"), ("lost", "gone")):
        for name in told["causes"][verb]:
            yield f"{word} cause: {name}"
    yield from _section("gained instrumentation", told["gained"], rows)
    yield from _section("lost instrumentation", told["lost"], rows)
    yield from _resized(told["resized"], rows)
    if told["stale"]:
        yield ""
        yield "entries of lists that match nothing:"
        yield from _limited([_stale(one) for one in told["stale"]], rows)


def _then(before: Json, now: Json, key: str) -> str:
    return f"{before[key]:,}" if before[key] == now[key] else f"{before[key]:,} -> {now[key]:,}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"{counted(len(value), 'entry').replace('entrys', 'entries')}" if value else "no list"
    return "the default" if value is None else str(value)


def _section(title: str, told: Json, rows: int) -> Iterator[str]:
    functions = told["functions"]
    if not functions:
        return
    size = sum(abs(one["added_now"] - one["added_before"]) for one in functions)
    yield ""
    yield f"{title}: {counted(len(functions), 'function')}, {counted(size, 'byte')}"
    yield from _limited([_origin(one) for one in told["origins"]], rows)
    others = [one for one in functions if one["index"] not in {origin["index"] for origin in told["origins"]}]
    yield from _limited([f"  {named(one)}" for one in others], rows)
    reasons = [
        f"  {named(one)}: {'gone' if one['reason_now'] is None else one['reason_now']}"
        for one in functions
        if title.startswith("lost") and one["index"] in {origin["index"] for origin in told["origins"]}
    ]
    if reasons:
        yield "now:"
        yield from _limited(reasons, rows)


def _origin(one: Json) -> str:
    others = one["functions"] - 1
    more = f", and {counted(others, 'function')} with it" if others else ""
    reaches = f" by {' -> '.join(one['because'])}" if one["because"] else f": {one['reason']}"
    return f"  {named(one)}{reaches}: {counted(one['bytes'], 'byte')}{more}"


def _resized(changes: Sequence[Json], rows: int) -> Iterator[str]:
    if changes:
        yield ""
        total = sum(one["added_now"] - one["added_before"] for one in changes)
        yield f"instrumented in both, with other sizes: {counted(len(changes), 'function')}, {total:+,} bytes"
        lines = [f"  {named(one)}: {one['added_before']:,} -> {one['added_now']:,} bytes added" for one in changes]
        yield from _limited(lines, rows)


def _stale(one: Json) -> str:
    before = one["matched_before"]
    was = f", before {counted(before, 'function')}" if before else ""
    return f"  {one['entry']} ({one['list'].replace('_', '-')}){was}"


def _limited(lines: Sequence[str], rows: int) -> Iterator[str]:
    yield from lines[: rows or None]
    if rows and len(lines) > rows:
        yield f"  ... {len(lines) - rows:,} more"
