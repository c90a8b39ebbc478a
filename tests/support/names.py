"""Modules without their name sections, as they are published, or without another custom section."""

from __future__ import annotations

from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections


def without_names(module: bytes) -> bytes:
    """Return the module without its name section, if it has one."""
    return without_section(module, "name")


def without_section(module: bytes, name: str) -> bytes:
    """Return the module without its custom section of a name, if it has one."""
    edits = SectionEdits()
    edits.custom[name] = None
    return write_sections(module, Module(module).sections, edits)
