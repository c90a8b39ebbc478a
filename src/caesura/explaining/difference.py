"""What differs between two explanations: which functions gained or lost instrumentation, and why.

Functions are the same where their names are, or, without names, where their bodies are: indices change whenever
anything is added. Of many functions that gain instrumentation together, most do so because one that they call did. So
they are told by their *origin*: the last function on the path to the cause that has gained, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


def describe_difference(before: Json, now: Json) -> dict[str, Any]:
    """Return what differs between two documents, the earlier one first."""
    old, new = _by_identity(before), _by_identity(now)
    gained = [key for key, one in new.items() if one["instrumented"] and not _is_instrumented(old.get(key))]
    lost = [key for key, one in old.items() if one["instrumented"] and not _is_instrumented(new.get(key))]
    return {
        "before": before["module"],
        "now": now["module"],
        "options": _options(before["options"], now["options"]),
        "gained": {
            "origins": _origins(new, gained),
            "functions": [_change(new[key], old.get(key), new[key]) for key in gained],
        },
        "lost": {
            "origins": _origins(old, lost),
            "functions": [_change(old[key], old[key], new.get(key)) for key in lost],
        },
        "resized": _resized(old, new),
        "causes": {
            "gained": _names(now["causes"], before["causes"]),
            "lost": _names(before["causes"], now["causes"]),
        },
        "stale": _stale(before, now),
    }


def _by_identity(told: Json) -> dict[tuple[str, str, int], Json]:
    """Return the functions by what tells them: name or body, and the how manieth of these it is."""
    counts: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str, int], Json] = {}
    for one in told["functions"]:
        key = ("body", one["body"]) if "body" in one else ("name", one["name"])
        counts[key] = counts.get(key, 0) + 1
        found[(*key, counts[key])] = one
    return found


def _is_instrumented(one: Json | None) -> bool:
    return one is not None and bool(one["instrumented"])


def _added(one: Json | None) -> int:
    return 0 if one is None else int(one["bytes_after"] - one["bytes_before"])


def _change(shown: Json, old: Json | None, new: Json | None) -> dict[str, Any]:
    return {
        "name": shown["name"],
        "index": shown["index"],
        "added_before": _added(old),
        "added_now": _added(new),
        "reason_before": None if old is None else old["reason"],
        "reason_now": None if new is None else new["reason"],
    }


def _origins(functions: Mapping[tuple[str, str, int], Json], changed: list[tuple[str, str, int]]) -> list[Json]:
    """Return where the changed functions come from, those with the most functions first."""
    by_index = {functions[key]["index"]: functions[key] for key in changed}
    origin: dict[int, int] = {}
    for index in by_index:
        chain: list[int] = []
        step = index
        while step not in origin:
            chain.append(step)
            origin[step] = step  # a document that was made up may have a ring
            following = _next(by_index[step])
            if following not in by_index:
                break
            step = following
        for one in chain:
            origin[one] = origin[step]
    found: dict[int, dict[str, Any]] = {}
    for index, function in by_index.items():
        first = by_index[origin[index]]
        entry = found.setdefault(
            first["index"],
            {
                "name": first["name"],
                "index": first["index"],
                "because": [step["name"] for step in first["because"]],
                "reason": first["reason"],
                "functions": 0,
                "bytes": 0,
            },
        )
        entry["functions"] += 1
        entry["bytes"] += _added(function)
    return sorted(found.values(), key=lambda entry: (-entry["functions"], -entry["bytes"], entry["index"]))


def _next(one: Json) -> int:
    """Return the index of the next function on the path; -1 where a cause comes next."""
    steps = one["because"]
    index = steps[-1].get("index") if steps else None
    return -1 if index is None else int(index)


def _resized(old: Mapping[Any, Json], new: Mapping[Any, Json]) -> list[Json]:
    """Return the functions that are instrumented in both and for which more or less is added, most change first."""
    found = [
        _change(new[key], one, new[key])
        for key, one in old.items()
        if one["instrumented"] and _is_instrumented(new.get(key)) and _added(one) != _added(new[key])
    ]
    return sorted(found, key=lambda one: -abs(one["added_now"] - one["added_before"]))


def _options(before: Json, now: Json) -> list[Json]:
    return [
        {"option": name, "before": before.get(name), "now": now.get(name)}
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _names(these: list[Json], others: list[Json]) -> list[str]:
    known = {one["name"] for one in others}
    return [one["name"] for one in these if one["name"] not in known]


def _stale(before: Json, now: Json) -> list[Json]:
    """Return the entries of lists that match nothing now, and how many functions they matched before."""
    matched = {(one["list"], one["entry"]): one["matches"] for one in before["lists"]}
    return [
        {"list": one["list"], "entry": one["entry"], "matched_before": matched.get((one["list"], one["entry"]))}
        for one in now["lists"]
        if not one["matches"]
    ]
