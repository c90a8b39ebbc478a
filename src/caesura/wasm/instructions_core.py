"""Rows of the instruction table: control flow, calls, variables, references, tables and memory.

Each row reads `code name : immediates : operands -> results : effect : flow`; the columns are explained in
`caesura.wasm.instructions`, which parses the rows. Rows are text and not calls, because text with aligned
columns can be compared with the specification's index of instructions line by line.
"""

from __future__ import annotations

from typing import Final

# (proposal, rows)
GROUPS: Final[list[tuple[str, str]]] = [
    # Control flow.
    (
        "mvp",
        """
000 unreachable   :            : *       -> * : control : raise
001 nop           :            :         ->   : pure
002 block         : block      : *       -> * : control : block
003 loop          : block      : *       -> * : control : loop
004 if            : block      : *       -> * : control : if
005 else          :            : *       -> * : control : else
00B end           :            : *       -> * : control : end
00C br            : label      : *       -> * : control : branch
00D br_if         : label      : *       -> * : control : branch_if
00E br_table      : labels     : *       -> * : control : branch_table
00F return        :            : *       -> * : control : return
010 call          : func       : *       -> * : call
011 call_indirect : type table : *       -> * : call
01A drop          :            : ?       ->   : pure
01B select        :            : ? ? i32 -> ? : pure
        """,
    ),
    # Exceptions, the legacy form (0x06, 0x07, 0x09, 0x18, 0x19) and the final one.
    (
        "exception-handling",
        """
006 try       : block         : * -> * : control : try
007 catch     : tag           : * -> * : control : catch
008 throw     : tag           : * -> * : control : raise
009 rethrow   : label         : * -> * : control : raise
00A throw_ref :               : * -> * : control : raise
018 delegate  : label         : * -> * : control : delegate
019 catch_all :               : * -> * : control : catch
01F try_table : block catches : * -> * : control : try
        """,
    ),
    # Tail calls.
    (
        "tail-call",
        """
012 return_call          : func       : * -> * : call : return
013 return_call_indirect : type table : * -> * : call : return
        """,
    ),
    # Variables.
    (
        "mvp",
        """
020 local.get  : local  :   -> ? : local
021 local.set  : local  : ? ->   : local
022 local.tee  : local  : ? -> ? : local
023 global.get : global :   -> ? : read
024 global.set : global : ? ->   : effect
        """,
    ),
    # References and tables.
    (
        "reference-types",
        """
01C select      : types : ? ? i32 -> ?   : pure
025 table.get   : table : addr    -> ?   : read_trapping
026 table.set   : table : addr ?  ->     : effect
0D0 ref.null    : heap  :         -> ?   : pure
0D1 ref.is_null :       : ref     -> i32 : pure
0D2 ref.func    : func  :         -> ?   : pure
        """,
    ),
    # Typed function references and reference equality (target_features files both under gc).
    (
        "gc",
        """
014 call_ref        : type  : *           -> *   : call
015 return_call_ref : type  : *           -> *   : call    : return
0D3 ref.eq          :       : eqref eqref -> i32 : pure
0D4 ref.as_non_null :       : ref         -> ?   : trapping
0D5 br_on_null      : label : *           -> *   : control : branch_on
0D6 br_on_non_null  : label : *           -> *   : control : branch_on
        """,
    ),
    # Memory.
    (
        "mvp",
        """
028 i32.load     : memarg : addr     -> i32  : read_trapping
029 i64.load     : memarg : addr     -> i64  : read_trapping
02A f32.load     : memarg : addr     -> f32  : read_trapping
02B f64.load     : memarg : addr     -> f64  : read_trapping
02C i32.load8_s  : memarg : addr     -> i32  : read_trapping
02D i32.load8_u  : memarg : addr     -> i32  : read_trapping
02E i32.load16_s : memarg : addr     -> i32  : read_trapping
02F i32.load16_u : memarg : addr     -> i32  : read_trapping
030 i64.load8_s  : memarg : addr     -> i64  : read_trapping
031 i64.load8_u  : memarg : addr     -> i64  : read_trapping
032 i64.load16_s : memarg : addr     -> i64  : read_trapping
033 i64.load16_u : memarg : addr     -> i64  : read_trapping
034 i64.load32_s : memarg : addr     -> i64  : read_trapping
035 i64.load32_u : memarg : addr     -> i64  : read_trapping
036 i32.store    : memarg : addr i32 ->      : effect
037 i64.store    : memarg : addr i64 ->      : effect
038 f32.store    : memarg : addr f32 ->      : effect
039 f64.store    : memarg : addr f64 ->      : effect
03A i32.store8   : memarg : addr i32 ->      : effect
03B i32.store16  : memarg : addr i32 ->      : effect
03C i64.store8   : memarg : addr i64 ->      : effect
03D i64.store16  : memarg : addr i64 ->      : effect
03E i64.store32  : memarg : addr i64 ->      : effect
03F memory.size  : memory :          -> addr : read
040 memory.grow  : memory : addr     -> addr : effect
        """,
    ),
    # Bulk memory (0xFC 0x08 to 0x0E); of two memories' or tables' sizes the smaller counts.
    (
        "bulk-memory",
        """
208 memory.init : data memory   : addr i32 i32   ->  : effect
209 data.drop   : data          :                ->  : effect
20A memory.copy : memory memory : addr addr addr ->  : effect
20B memory.fill : memory        : addr i32 addr  ->  : effect
20C table.init  : elem table    : addr i32 i32   ->  : effect
20D elem.drop   : elem          :                ->  : effect
20E table.copy  : table table   : addr addr addr ->  : effect
        """,
    ),
    # Table size (0xFC 0x0F to 0x11).
    (
        "reference-types",
        """
20F table.grow : table : ? addr      -> addr : effect
210 table.size : table :             -> addr : read
211 table.fill : table : addr ? addr ->      : effect
        """,
    ),
]
