"""Reads scripts of the specification's test suite: S-expressions, cut into commands.

A script is a sequence of modules in the text format, of actions and of assertions. Only what stands around modules is
understood here; a module's text is handed to a parser of the text format as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    rb"""(?P<space>[ \t\r\n]+|;;[^\n]*)|(?P<comment>\(;)|(?P<open>\()|(?P<close>\))"""
    rb"""|(?P<string>"(?:[^"\\]|\\.)*")|(?P<atom>[^ \t\r\n()";]+(?:"(?:[^"\\]|\\.)*")?)"""
    rb"""|(?P<other>.)""",
    re.DOTALL,
)
_FIELDS: Final = (
    b"type",
    b"rec",
    b"import",
    b"func",
    b"table",
    b"memory",
    b"global",
    b"export",
    b"elem",
    b"data",
    b"tag",
)
_ESCAPES: Final = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b'"': b'"', b"'": b"'", b"\\": b"\\"}
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")
_ESCAPE: Final = re.compile(rb"\\(u\{[0-9a-fA-F_]+\}|[0-9a-fA-F]{2}|[tnr\"'\\])")


@dataclass
class Node:
    """An S-expression in brackets, or an atom: a word, or a string with its quotes. `start` and `end` are offsets."""

    start: int
    end: int = 0
    atom: bytes = b""
    items: list[Node] = field(default_factory=list)

    @property
    def head(self) -> bytes:
        """The word behind the opening bracket."""
        return self.items[0].atom if self.items else b""

    @property
    def is_string(self) -> bool:
        """Whether this is a string."""
        return self.atom.startswith(b'"')


class Script:
    """A script and its top-level expressions."""

    def __init__(self, text: bytes) -> None:
        if read(text)[0].head in _FIELDS:
            text = b"(module " + text + b")"  # a script may be the fields of a module and nothing else
        self.text = text
        self.commands = read(text)

    def line(self, node: Node) -> int:
        """Return the number of the line that an expression starts in."""
        return self.text.count(b"\n", 0, node.start) + 1

    def source(self, node: Node) -> bytes:
        """Return the text of an expression."""
        return self.text[node.start : node.end]


def string(node: Node) -> bytes:
    """Return the bytes that a string stands for."""
    return _ESCAPE.sub(_unescape, node.atom[1:-1])


def name(node: Node) -> str:
    """Return a string that is a name."""
    return string(node).decode()


def in_ascii(source: bytes) -> bytes:
    """Return the text of a module with characters in strings escaped that parsers warn of."""
    return _STRING.sub(lambda match: _BEYOND_ASCII.sub(_escape, match[0]), source)


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\%02x" % match[0][0]


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape.startswith(b"u{"):
        return chr(int(escape[2:-1].replace(b"_", b""), 16)).encode("utf-8", "surrogatepass")
    return bytes([int(escape, 16)])


def read(text: bytes) -> list[Node]:
    """Return the expressions of a text."""
    position = 0
    top = Node(0)
    open_nodes = [top]
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None  # annotations hold anything, so that each byte else is a token
        start, position = position, match.end()
        kind = match.lastgroup
        if kind == "comment":
            position = _end_of_comment(text, start)
        elif kind == "open":
            node = Node(start)
            open_nodes[-1].items.append(node)
            open_nodes.append(node)
        elif kind == "close":
            node = open_nodes.pop()
            node.end = position
            if not open_nodes:
                raise ValueError(f"byte {start} of the script closes what is not open")
            if node.head.startswith(b"@"):  # an annotation, which may stand anywhere
                open_nodes[-1].items.pop()
        elif kind != "space":
            open_nodes[-1].items.append(Node(start, position, match[0]))
    if len(open_nodes) > 1:
        raise ValueError(f"what byte {open_nodes[-1].start} of the script opens is not closed")
    return top.items


def _end_of_comment(text: bytes, position: int) -> int:
    depth = 0
    for match in re.finditer(rb"\(;|;\)", text[position:]):
        depth += 1 if match[0] == b"(;" else -1
        if depth == 0:
            return position + match.end()
    raise ValueError(f"the comment at byte {position} of the script does not end")
