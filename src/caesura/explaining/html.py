"""An explanation as one page that people look at: `caesura explain --html`.

The page is made of the files in `page`, which linters read as what they are, and of the document that `--json` prints,
in columns and without what the page does not show, with who calls what besides. It loads nothing and runs no script but
its own: its policy names that one by its hash. Names are those of whoever made the module. They stand in the page as
data only, in which nothing can end the element around it, and the script writes them as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

Json = Mapping[str, Any]

_NOBODY: Final = None

# What could end the element that the data stands in.
_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def report_page(document: Json, calls: Json, title: str, chosen: int | None = None) -> str:
    """Return a page about a module; `calls` says who calls what (`call_columns`), `chosen` is the index of the function
    that is shown first.
    """
    style = _file("report.css")
    script = _file("report.js")
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    parts = {
        "policy": policy,
        "style": style,
        "script": script,
        "data": embedded({**page_data(document), **calls, "title": title, "chosen": chosen}),
    }
    page = _file("report.html")
    for name, text in parts.items():
        before, mark, behind = page.partition(f"%{name}%")
        assert mark, name
        page = before + text + behind
    return page


def embedded(data: object) -> str:
    """Return data as JSON that can stand in an element of a page."""
    text = json.dumps(data, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def page_data(document: Json) -> dict[str, Any]:
    """Return what the page shows, functions in columns.

    `next` is the place of the next function on the shortest path, or -1 minus that of the cause; `via` the place of the
    calls through a table that lead there. `above` says the same of what a function would be freed by.
    """
    functions = document["functions"]
    causes = document["causes"]
    place_of = {one["index"]: place for place, one in enumerate(functions)}
    cause_of = {(one["kind"], one["name"]): place for place, one in enumerate(causes)}
    following: list[int | None] = []
    via: list[int | None] = []
    for one in functions:
        steps = one["because"]
        last = steps[-1] if steps else None
        following.append(_place(last, place_of, cause_of))
        via.append(cause_of[steps[0]["kind"], steps[0]["name"]] if len(steps) > 1 else _NOBODY)
    reasons: dict[str, int] = {}
    return {
        "module": document["module"],
        "causes": [
            [one["kind"], one["name"], one["change"], one["frees"]["functions"], one["frees"]["bytes"], one["makers"]]
            for one in causes
        ],
        "whatIf": [[one["change"], one["frees"]["functions"], one["frees"]["bytes"]] for one in document["what_if"]],
        "names": [one["name"] for one in functions],
        "index": [one["index"] for one in functions],
        "before": [one["bytes_before"] for one in functions],
        "after": [one["bytes_after"] for one in functions],
        "sites": [one["sites"] for one in functions],
        "saved": [one["saved"] for one in functions],
        "merges": [one["merges"] for one in functions],
        "freesFunctions": [one["frees"]["functions"] for one in functions],
        "freesBytes": [one["frees"]["bytes"] for one in functions],
        "next": following,
        "via": via,
        "above": _above(document, place_of, cause_of),
        "why": [-1 if one["instrumented"] else reasons.setdefault(one["reason"], len(reasons)) for one in functions],
        "reasons": list(reasons),
        "coverage": document.get("coverage"),
        "listed": [one["listed"] for one in functions] if "coverage" in document else [],
        "recorded": [one["recorded"] for one in functions] if "coverage" in document else [],
    }


def _above(document: Json, place_of: dict[int, int], cause_of: dict[tuple[str, str], int]) -> list[int | None]:
    """Return for each function the node above it in the dominator tree."""
    above: list[int | None] = [_NOBODY] * len(place_of)
    tree = document["tree"]
    for node in tree:
        if node["index"] in place_of and node["parent"] is not None:
            above[place_of[node["index"]]] = _place(tree[node["parent"]], place_of, cause_of)
    return above


def _place(one: Json | None, place_of: dict[int, int], cause_of: dict[tuple[str, str], int]) -> int | None:
    if one is None:
        return _NOBODY
    if one["kind"] == "function":
        return place_of.get(one["index"])
    return -1 - cause_of[one["kind"], one["name"]]


def _hash(text: str) -> str:
    """Return what a policy names an element by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _file(name: str) -> str:
    return (resources.files("caesura.explaining") / "page" / name).read_text(encoding="utf-8")
