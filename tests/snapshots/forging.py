"""Saved states that nobody would write, with checksums that are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from caesura.snapshots import container
from caesura.snapshots.compression import STORED, Unpacking
from caesura.snapshots.container import DOCUMENT, Section


def content_of_section(data: bytes, kind: int) -> bytes:
    """Return what is in a section of a saved state."""
    return Unpacking(container.read(data)[kind]).read_all()


def document_of(data: bytes) -> dict[str, Any]:
    """Return the document of a saved state."""
    document: dict[str, Any] = json.loads(content_of_section(data, DOCUMENT))
    return document


def with_section(data: bytes, section: Section) -> bytes:
    """Return a saved state with another section of a kind."""
    sections = {**container.read(data), section.kind: section}
    return container.write([sections[kind] for kind in sorted(sections)])


def with_stored(data: bytes, kind: int, content: bytes) -> bytes:
    """Return a saved state with another content of a section."""
    return with_section(data, Section(kind, STORED, len(content), content))


def with_document(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a saved state whose document was changed."""
    document = document_of(data)
    change(document)
    return with_stored(data, DOCUMENT, canonical(document))


def canonical(document: Any) -> bytes:
    """Return JSON as documents have it."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
