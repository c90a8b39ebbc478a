"""Rows of the instruction table: threads (prefix 0xFE).

The format of a row is explained in `caesura.wasm.instructions`. Atomic loads count as effects, unlike plain
loads: they order the accesses of other threads, so nothing may be moved across them or run twice.
"""

from __future__ import annotations

from typing import Final

# (proposal, rows)
GROUPS: Final[list[tuple[str, str]]] = [
    # Wait, notify, fence.
    (
        "atomics",
        """
500 memory.atomic.notify : memarg : addr i32     -> i32 : effect
501 memory.atomic.wait32 : memarg : addr i32 i64 -> i32 : effect
502 memory.atomic.wait64 : memarg : addr i64 i64 -> i32 : effect
503 atomic.fence         : byte   :              ->     : effect
        """,
    ),
    # Loads and stores.
    (
        "atomics",
        """
510 i32.atomic.load     : memarg : addr     -> i32 : effect
511 i64.atomic.load     : memarg : addr     -> i64 : effect
512 i32.atomic.load8_u  : memarg : addr     -> i32 : effect
513 i32.atomic.load16_u : memarg : addr     -> i32 : effect
514 i64.atomic.load8_u  : memarg : addr     -> i64 : effect
515 i64.atomic.load16_u : memarg : addr     -> i64 : effect
516 i64.atomic.load32_u : memarg : addr     -> i64 : effect
517 i32.atomic.store    : memarg : addr i32 ->     : effect
518 i64.atomic.store    : memarg : addr i64 ->     : effect
519 i32.atomic.store8   : memarg : addr i32 ->     : effect
51A i32.atomic.store16  : memarg : addr i32 ->     : effect
51B i64.atomic.store8   : memarg : addr i64 ->     : effect
51C i64.atomic.store16  : memarg : addr i64 ->     : effect
51D i64.atomic.store32  : memarg : addr i64 ->     : effect
        """,
    ),
    # Read-modify-write.
    (
        "atomics",
        """
51E i32.atomic.rmw.add         : memarg : addr i32     -> i32 : effect
51F i64.atomic.rmw.add         : memarg : addr i64     -> i64 : effect
520 i32.atomic.rmw8.add_u      : memarg : addr i32     -> i32 : effect
521 i32.atomic.rmw16.add_u     : memarg : addr i32     -> i32 : effect
522 i64.atomic.rmw8.add_u      : memarg : addr i64     -> i64 : effect
523 i64.atomic.rmw16.add_u     : memarg : addr i64     -> i64 : effect
524 i64.atomic.rmw32.add_u     : memarg : addr i64     -> i64 : effect
525 i32.atomic.rmw.sub         : memarg : addr i32     -> i32 : effect
526 i64.atomic.rmw.sub         : memarg : addr i64     -> i64 : effect
527 i32.atomic.rmw8.sub_u      : memarg : addr i32     -> i32 : effect
528 i32.atomic.rmw16.sub_u     : memarg : addr i32     -> i32 : effect
529 i64.atomic.rmw8.sub_u      : memarg : addr i64     -> i64 : effect
52A i64.atomic.rmw16.sub_u     : memarg : addr i64     -> i64 : effect
52B i64.atomic.rmw32.sub_u     : memarg : addr i64     -> i64 : effect
52C i32.atomic.rmw.and         : memarg : addr i32     -> i32 : effect
52D i64.atomic.rmw.and         : memarg : addr i64     -> i64 : effect
52E i32.atomic.rmw8.and_u      : memarg : addr i32     -> i32 : effect
52F i32.atomic.rmw16.and_u     : memarg : addr i32     -> i32 : effect
530 i64.atomic.rmw8.and_u      : memarg : addr i64     -> i64 : effect
531 i64.atomic.rmw16.and_u     : memarg : addr i64     -> i64 : effect
532 i64.atomic.rmw32.and_u     : memarg : addr i64     -> i64 : effect
533 i32.atomic.rmw.or          : memarg : addr i32     -> i32 : effect
534 i64.atomic.rmw.or          : memarg : addr i64     -> i64 : effect
535 i32.atomic.rmw8.or_u       : memarg : addr i32     -> i32 : effect
536 i32.atomic.rmw16.or_u      : memarg : addr i32     -> i32 : effect
537 i64.atomic.rmw8.or_u       : memarg : addr i64     -> i64 : effect
538 i64.atomic.rmw16.or_u      : memarg : addr i64     -> i64 : effect
539 i64.atomic.rmw32.or_u      : memarg : addr i64     -> i64 : effect
53A i32.atomic.rmw.xor         : memarg : addr i32     -> i32 : effect
53B i64.atomic.rmw.xor         : memarg : addr i64     -> i64 : effect
53C i32.atomic.rmw8.xor_u      : memarg : addr i32     -> i32 : effect
53D i32.atomic.rmw16.xor_u     : memarg : addr i32     -> i32 : effect
53E i64.atomic.rmw8.xor_u      : memarg : addr i64     -> i64 : effect
53F i64.atomic.rmw16.xor_u     : memarg : addr i64     -> i64 : effect
540 i64.atomic.rmw32.xor_u     : memarg : addr i64     -> i64 : effect
541 i32.atomic.rmw.xchg        : memarg : addr i32     -> i32 : effect
542 i64.atomic.rmw.xchg        : memarg : addr i64     -> i64 : effect
543 i32.atomic.rmw8.xchg_u     : memarg : addr i32     -> i32 : effect
544 i32.atomic.rmw16.xchg_u    : memarg : addr i32     -> i32 : effect
545 i64.atomic.rmw8.xchg_u     : memarg : addr i64     -> i64 : effect
546 i64.atomic.rmw16.xchg_u    : memarg : addr i64     -> i64 : effect
547 i64.atomic.rmw32.xchg_u    : memarg : addr i64     -> i64 : effect
548 i32.atomic.rmw.cmpxchg     : memarg : addr i32 i32 -> i32 : effect
549 i64.atomic.rmw.cmpxchg     : memarg : addr i64 i64 -> i64 : effect
54A i32.atomic.rmw8.cmpxchg_u  : memarg : addr i32 i32 -> i32 : effect
54B i32.atomic.rmw16.cmpxchg_u : memarg : addr i32 i32 -> i32 : effect
54C i64.atomic.rmw8.cmpxchg_u  : memarg : addr i64 i64 -> i64 : effect
54D i64.atomic.rmw16.cmpxchg_u : memarg : addr i64 i64 -> i64 : effect
54E i64.atomic.rmw32.cmpxchg_u : memarg : addr i64 i64 -> i64 : effect
        """,
    ),
]
