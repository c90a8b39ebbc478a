"""Old-form exceptions in the text of modules: from the folded form, which parsers know no more, to the flat one."""

from __future__ import annotations

from tests.spec.reading import Node, read


def with_flat_tries(source: bytes) -> bytes:
    """Return a module's text in which each `(try (do ...) (catch ...))` is `try ... catch ... end`."""
    if b"(try" not in source:
        return source
    return _flat(source, read(source)[0])


def _flat(source: bytes, node: Node) -> bytes:
    """Return an expression's text, its tries flat."""
    if node.head == b"try" and any(item.head == b"do" for item in node.items):
        return _flat_try(source, node)
    out = []
    position = node.start
    for item in node.items:
        out += [source[position : item.start], _flat(source, item)]
        position = item.end
    return b"".join(out) + source[position : node.end]


def _flat_try(source: bytes, node: Node) -> bytes:
    out = []
    delegates = False
    for item in node.items:
        if item.head in (b"do", b"catch", b"catch_all", b"delegate"):
            words = item.items[1:] if item.head == b"do" else item.items
            out += [_flat(source, word) for word in words]
            delegates = delegates or item.head == b"delegate"
        else:
            out.append(_flat(source, item))
    return b" ".join(out if delegates else [*out, b"end"])
