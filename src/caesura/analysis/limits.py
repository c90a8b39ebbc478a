"""What engines take, as far as instrumenting can go beyond it: then a module is refused, or written another way.

The WebAssembly JavaScript interface names these limits, and engines outside of browsers have the same or larger ones.
Nothing is said where a module is beyond a limit before it is instrumented: that is between it and its engine.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import UnsupportedModule
from caesura.wasm.decode import MAXIMUM_LOCALS

# Bytes of a function body, entries of a br_table beside the default, and entries of the type, function, export and
# global index spaces.
MAXIMUM_BODY: Final = 7_654_321
MAXIMUM_TABLE: Final = 65_520
MAXIMUM_ENTRIES: Final = 1_000_000

# Tables of a module.
MAXIMUM_TABLES: Final = 100

# What a call and its check take at least: a constant, a look at the state, a branch.
_LEAST_SITE: Final = 8


def check_locals(count: int, offset: int) -> None:
    """Raise UnsupportedModule where a new body has too many locals, parameters included; `offset` is the original's."""
    if count > MAXIMUM_LOCALS:
        raise UnsupportedModule(
            f"instrumented, this function would have {count:,} locals; engines allow {MAXIMUM_LOCALS:,}; divide it, or "
            "leave it out with --remove-list NAME if it never suspends",
            offset,
            kind="too many locals",
        )


def check_body(size: int, original: int, offset: int) -> None:
    """Raise UnsupportedModule where a new body has too many bytes, given the original's bytes and its offset."""
    if size > MAXIMUM_BODY >= original:
        raise UnsupportedModule(
            f"instrumented, this function would have {size:,} bytes; engines allow {MAXIMUM_BODY:,}; divide it, or "
            "leave it out with --remove-list NAME if it never suspends",
            offset,
            kind="too many bytes",
        )


def check_sites(sites: int, original: int, offset: int) -> None:
    """Raise UnsupportedModule where a function has so many call sites that a new body must have too many bytes.

    That is known long before the body is written, which would take some hundred bytes of memory for each call site.
    """
    if sites * _LEAST_SITE > MAXIMUM_BODY >= original:
        raise UnsupportedModule(
            f"instrumented, this function would have more than {sites * _LEAST_SITE:,} bytes; engines allow "
            f"{MAXIMUM_BODY:,}; divide it, or leave it out with --remove-list NAME if it never suspends",
            offset,
            kind="too many bytes",
        )


def check_entries(count: int, original: int, what: str) -> None:
    """Raise UnsupportedModule where there are too many of something, given how many there were."""
    if count > MAXIMUM_ENTRIES >= original:
        raise UnsupportedModule(
            f"instrumented, the module would have {count:,} {what}; engines allow {MAXIMUM_ENTRIES:,}"
        )
