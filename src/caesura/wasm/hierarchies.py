"""The hierarchies of reference types: which references can lie in one table, and how one is told from its supertypes.

Every reference type lies below one of four that are above all others: `extern`, `func`, `any` and `exn`
(specification, section 3.3.3). A table of that type holds references of all types below it. What is taken out again has
the table's type, and a cast gives it its own one back; only `any` and `func` have types in between.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm.definitions import FUNCTION_TYPE
from caesura.wasm.encoded import DROP, REF_AS_NON_NULL, ref_cast, ref_null
from caesura.wasm.module import Module
from caesura.wasm.types import (
    ANY,
    ARRAY,
    EQ,
    EXN,
    EXTERN,
    FUNC,
    I31,
    NOEXN,
    NOEXTERN,
    NOFUNC,
    NONE,
    STRUCT,
    heap_of,
    is_abstract,
    is_nullable,
)

# The types that have no references but null.
_BOTTOMS: Final = (NONE, NOFUNC, NOEXTERN, NOEXN)

# What each abstract heap type lies below.
_TOPS: Final = {
    **dict.fromkeys((ANY, EQ, I31, STRUCT, ARRAY, NONE), ANY),
    **dict.fromkeys((FUNC, NOFUNC), FUNC),
    **dict.fromkeys((EXTERN, NOEXTERN), EXTERN),
    **dict.fromkeys((EXN, NOEXN), EXN),
}


def top_of(module: Module, value_type: int) -> int:
    """Return the heap type above all others in the hierarchy of a reference type."""
    heap = heap_of(value_type)
    if not is_abstract(heap):
        if heap >= len(module.types):
            raise MalformedModule(f"type index {heap} is out of range; there are {len(module.types)}")
        return FUNC if module.types[heap].kind == FUNCTION_TYPE else ANY
    return _TOPS[heap]


def is_bottom(value_type: int) -> bool:
    """Tell whether a reference type has no references but null."""
    return heap_of(value_type) in _BOTTOMS


def narrowed(module: Module, value_type: int) -> bytes:
    """Return the code that gives a reference, as it comes out of a table of its hierarchy, its own type back.

    Types that need no cast get none: engines without garbage collection know no such instruction.
    """
    heap = heap_of(value_type)
    if heap in _BOTTOMS:
        code = DROP + ref_null(heap)
        return code if is_nullable(value_type) else code + REF_AS_NON_NULL
    if heap != top_of(module, value_type):
        return ref_cast(heap, nullable=is_nullable(value_type))
    return b"" if is_nullable(value_type) else REF_AS_NON_NULL
