"""Rows of the instruction table: garbage-collected structs and arrays, casts, i31 (prefix 0xFB).

The format of a row is explained in `caesura.wasm.instructions`. Allocation counts as an effect: it gives a new
identity each time, so running it again is not the same as having run it once.
"""

from __future__ import annotations

from typing import Final

# (proposal, rows)
GROUPS: Final[list[tuple[str, str]]] = [
    # Structs and arrays (0xFB 0x00 to 0x13).
    (
        "gc",
        """
100 struct.new         : type       : *               -> ?   : effect
101 struct.new_default : type       :                 -> ?   : effect
102 struct.get         : type field : ?               -> ?   : read_trapping
103 struct.get_s       : type field : ?               -> i32 : read_trapping
104 struct.get_u       : type field : ?               -> i32 : read_trapping
105 struct.set         : type field : ? ?             ->     : effect
106 array.new          : type       : ? i32           -> ?   : effect
107 array.new_default  : type       : i32             -> ?   : effect
108 array.new_fixed    : type u32   : *               -> ?   : effect
109 array.new_data     : type data  : i32 i32         -> ?   : effect
10A array.new_elem     : type elem  : i32 i32         -> ?   : effect
10B array.get          : type       : ? i32           -> ?   : read_trapping
10C array.get_s        : type       : ? i32           -> i32 : read_trapping
10D array.get_u        : type       : ? i32           -> i32 : read_trapping
10E array.set          : type       : ? i32 ?         ->     : effect
10F array.len          :            : arrayref        -> i32 : trapping
110 array.fill         : type       : ? i32 ? i32     ->     : effect
111 array.copy         : type type  : ? i32 ? i32 i32 ->     : effect
112 array.init_data    : type data  : ? i32 i32 i32   ->     : effect
113 array.init_elem    : type elem  : ? i32 i32 i32   ->     : effect
        """,
    ),
    # Casts and conversions (0xFB 0x14 to 0x1E); the second ref.test and ref.cast have a nullable target.
    (
        "gc",
        """
114 ref.test           : heap : ref    -> i32       : pure
115 ref.test           : heap : ref    -> i32       : pure
116 ref.cast           : heap : ref    -> ?         : trapping
117 ref.cast           : heap : ref    -> ?         : trapping
118 br_on_cast         : cast : *      -> *         : control : branch_on
119 br_on_cast_fail    : cast : *      -> *         : control : branch_on
11A any.convert_extern :      : ref    -> ?         : pure
11B extern.convert_any :      : ref    -> ?         : pure
11C ref.i31            :      : i32    -> (ref_i31) : pure
11D i31.get_s          :      : i31ref -> i32       : trapping
11E i31.get_u          :      : i31ref -> i32       : trapping
        """,
    ),
]
