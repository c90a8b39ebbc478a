"""Explanations that were kept in files: read again, and refused where `caesura explain --json` prints no such thing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from caesura.errors import UsageError
from caesura.explaining.document import FORMAT

Json = dict[str, Any]

# What `caesura diff` reads of a document: keys and the kinds of their values.
_MODULE: Final = ("functions", "instrumented", "sites", "bytes_before", "bytes_after", "code_before", "code_after")
_FUNCTION: Final[dict[str, type]] = {
    "index": int,
    "name": str,
    "instrumented": bool,
    "reason": str,
    "bytes_before": int,
    "bytes_after": int,
    "because": list,
}
_LIST: Final[dict[str, type]] = {"list": str, "entry": str, "matches": int}
_CAUSE: Final[dict[str, type]] = {"kind": str, "name": str}
_STEP: Final[dict[str, type]] = {"kind": str, "name": str}


# No number of functions, bytes or the like is larger; those who read JSON know no larger ones for certain.
_MOST: Final = (1 << 53) - 1


def is_document(data: bytes) -> bool:
    """Tell whether a file holds an explanation, and not a module, binary or text."""
    return data.lstrip()[:1] == b"{"


def read_document(data: bytes) -> Json:
    """Return the explanation in a file; raises UsageError."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is no JSON: {error}") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise UsageError(f"this is not what `caesura explain --json` prints: expected the format {FORMAT!r}")
    _check(told.get("module"), dict.fromkeys(_MODULE, int), "module")
    _check(told, {"options": dict}, "document")
    _check_each(told, "functions", _FUNCTION)
    _check_each(told, "lists", _LIST)
    _check_each(told, "causes", _CAUSE)
    for place, one in enumerate(told["functions"]):
        for step in one["because"]:
            _check(step, _STEP, f"functions[{place}].because")
            if step.get("index") is not None:
                _check_number(step["index"], f"functions[{place}].because.index")
        if not isinstance(one.get("body", ""), str):
            raise UsageError(f"functions[{place}].body: expected a text")
    return told


def _check_each(told: Json, key: str, shape: Mapping[str, type]) -> None:
    items = told.get(key)
    if not isinstance(items, list):
        raise UsageError(f"{key}: expected a list")
    for place, one in enumerate(items):
        _check(one, shape, f"{key}[{place}]")


def _check(one: object, shape: Mapping[str, type], where: str) -> None:
    if not isinstance(one, dict):
        raise UsageError(f"{where}: expected an object")
    for key, kind in shape.items():
        value = one.get(key)
        if kind is int:
            _check_number(value, f"{where}.{key}")
        elif not isinstance(value, kind):
            raise UsageError(f"{where}.{key}: {value!r:.40} is not what belongs there, {_WORDS[kind]}")


def _check_number(value: object, where: str) -> None:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise UsageError(f"{where}: {value!r:.40} is not what belongs there, an integer from 0 to {_MOST}")


_WORDS: Final[dict[type, str]] = {str: "a text", bool: "true or false", list: "a list", dict: "an object"}
