"""Modules without their name sections, as they are published."""

from __future__ import annotations

from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections


def without_names(module: bytes) -> bytes:
    """Return the module without its name section, if it has one."""
    edits = SectionEdits()
    edits.custom["name"] = None
    return write_sections(module, Module(module).sections, edits)
