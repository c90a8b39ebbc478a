"""The JSON of a saved state: one way to write it, reading that takes no other, and the difference between two of it.

Canonical means: UTF-8, keys in the order of their characters, no spaces, only what must be escaped is, numbers are
integers. What is read is written again and compared, which at once finds keys that stand twice, fractions, NaN, and
every other liberty, so that the same state has one document whoever wrote it. There is no null, so that a difference
can be a JSON merge patch (RFC 7386), which says by null what is gone.
"""

from __future__ import annotations

import json
from typing import Any, Final

from caesura.snapshots.fields import Json, Mistake

# In bytes: how long a document may be. It takes up to 25 times that while it is read.
LONGEST: Final = 16 << 20

Object = dict[str, Any]


def write(document: Object) -> bytes:
    """Return a document as bytes. Raises Mistake if it is too long, or has text that UTF-8 cannot hold."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    # Half a surrogate pair, which names of files may have, is escaped as JSON escapes it.
    content = text.encode("utf-8", "backslashreplace")
    if len(content) > LONGEST:
        raise Mistake(f"the document would have {len(content)} bytes, more than {LONGEST}")
    return content


def read(content: bytes) -> Object:
    """Return the document in bytes. Raises Mistake."""
    if len(content) > LONGEST:
        raise Mistake(f"{len(content)} bytes are more than {LONGEST}")
    try:
        document = json.loads(content.decode())
        canonical = write(document) if type(document) is dict else None
    except RecursionError:
        raise Mistake("it is nested too deeply") from None
    except ValueError as error:  # of UTF-8, of JSON, of integers with thousands of digits
        raise Mistake(f"it is not JSON: {error}") from None
    if canonical is None:
        raise Mistake("it is not an object")
    if canonical != content:
        place = _first_difference(canonical, content)
        raise Mistake(f"it is not canonical JSON from its byte {place} on: {_excerpt(content, place)}")
    return dict(document)


def difference(old: Object, new: Object) -> Object:
    """Return the merge patch that makes the new document of the old one."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if type(value) is dict and type(before) is dict:
            inner = difference(before, value)
            if inner:
                patch[key] = inner
        elif not _same(value, before):
            patch[key] = value
    return patch


def merged(old: Object, patch: Object) -> Object:
    """Return what a merge patch makes of a document."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif type(value) is dict:
            before = new.get(key)
            new[key] = merged(before if type(before) is dict else {}, value)
        else:
            new[key] = value
    return new


def _same(value: Json, before: Json) -> bool:
    """Tell whether two values are the same; to Python 1 and true are equal."""
    return type(value) is type(before) and bool(json.dumps(value) == json.dumps(before))


def _first_difference(left: bytes, right: bytes) -> int:
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return min(len(left), len(right))


def _excerpt(content: bytes, place: int) -> str:
    return repr(content[max(0, place - 10) : place + 20].decode("utf-8", "replace"))
