"""Rows of the instruction table: constants, comparisons, arithmetic and conversions of numbers.

The format of a row is explained in `caesura.wasm.instructions`. All of these depend on their operands only; those
that may trap (integer division and remainder, truncation that does not saturate) say so in the last column.
"""

from __future__ import annotations

from typing import Final

# (proposal, rows)
GROUPS: Final[list[tuple[str, str]]] = [
    # Constants.
    (
        "mvp",
        """
041 i32.const : i32 :  -> i32 : pure
042 i64.const : i64 :  -> i64 : pure
043 f32.const : f32 :  -> f32 : pure
044 f64.const : f64 :  -> f64 : pure
        """,
    ),
    # Comparisons.
    (
        "mvp",
        """
045 i32.eqz  :  : i32     -> i32 : pure
046 i32.eq   :  : i32 i32 -> i32 : pure
047 i32.ne   :  : i32 i32 -> i32 : pure
048 i32.lt_s :  : i32 i32 -> i32 : pure
049 i32.lt_u :  : i32 i32 -> i32 : pure
04A i32.gt_s :  : i32 i32 -> i32 : pure
04B i32.gt_u :  : i32 i32 -> i32 : pure
04C i32.le_s :  : i32 i32 -> i32 : pure
04D i32.le_u :  : i32 i32 -> i32 : pure
04E i32.ge_s :  : i32 i32 -> i32 : pure
04F i32.ge_u :  : i32 i32 -> i32 : pure
050 i64.eqz  :  : i64     -> i32 : pure
051 i64.eq   :  : i64 i64 -> i32 : pure
052 i64.ne   :  : i64 i64 -> i32 : pure
053 i64.lt_s :  : i64 i64 -> i32 : pure
054 i64.lt_u :  : i64 i64 -> i32 : pure
055 i64.gt_s :  : i64 i64 -> i32 : pure
056 i64.gt_u :  : i64 i64 -> i32 : pure
057 i64.le_s :  : i64 i64 -> i32 : pure
058 i64.le_u :  : i64 i64 -> i32 : pure
059 i64.ge_s :  : i64 i64 -> i32 : pure
05A i64.ge_u :  : i64 i64 -> i32 : pure
05B f32.eq   :  : f32 f32 -> i32 : pure
05C f32.ne   :  : f32 f32 -> i32 : pure
05D f32.lt   :  : f32 f32 -> i32 : pure
05E f32.gt   :  : f32 f32 -> i32 : pure
05F f32.le   :  : f32 f32 -> i32 : pure
060 f32.ge   :  : f32 f32 -> i32 : pure
061 f64.eq   :  : f64 f64 -> i32 : pure
062 f64.ne   :  : f64 f64 -> i32 : pure
063 f64.lt   :  : f64 f64 -> i32 : pure
064 f64.gt   :  : f64 f64 -> i32 : pure
065 f64.le   :  : f64 f64 -> i32 : pure
066 f64.ge   :  : f64 f64 -> i32 : pure
        """,
    ),
    # Arithmetic.
    (
        "mvp",
        """
067 i32.clz      :  : i32     -> i32 : pure
068 i32.ctz      :  : i32     -> i32 : pure
069 i32.popcnt   :  : i32     -> i32 : pure
06A i32.add      :  : i32 i32 -> i32 : pure
06B i32.sub      :  : i32 i32 -> i32 : pure
06C i32.mul      :  : i32 i32 -> i32 : pure
06D i32.div_s    :  : i32 i32 -> i32 : trapping
06E i32.div_u    :  : i32 i32 -> i32 : trapping
06F i32.rem_s    :  : i32 i32 -> i32 : trapping
070 i32.rem_u    :  : i32 i32 -> i32 : trapping
071 i32.and      :  : i32 i32 -> i32 : pure
072 i32.or       :  : i32 i32 -> i32 : pure
073 i32.xor      :  : i32 i32 -> i32 : pure
074 i32.shl      :  : i32 i32 -> i32 : pure
075 i32.shr_s    :  : i32 i32 -> i32 : pure
076 i32.shr_u    :  : i32 i32 -> i32 : pure
077 i32.rotl     :  : i32 i32 -> i32 : pure
078 i32.rotr     :  : i32 i32 -> i32 : pure
079 i64.clz      :  : i64     -> i64 : pure
07A i64.ctz      :  : i64     -> i64 : pure
07B i64.popcnt   :  : i64     -> i64 : pure
07C i64.add      :  : i64 i64 -> i64 : pure
07D i64.sub      :  : i64 i64 -> i64 : pure
07E i64.mul      :  : i64 i64 -> i64 : pure
07F i64.div_s    :  : i64 i64 -> i64 : trapping
080 i64.div_u    :  : i64 i64 -> i64 : trapping
081 i64.rem_s    :  : i64 i64 -> i64 : trapping
082 i64.rem_u    :  : i64 i64 -> i64 : trapping
083 i64.and      :  : i64 i64 -> i64 : pure
084 i64.or       :  : i64 i64 -> i64 : pure
085 i64.xor      :  : i64 i64 -> i64 : pure
086 i64.shl      :  : i64 i64 -> i64 : pure
087 i64.shr_s    :  : i64 i64 -> i64 : pure
088 i64.shr_u    :  : i64 i64 -> i64 : pure
089 i64.rotl     :  : i64 i64 -> i64 : pure
08A i64.rotr     :  : i64 i64 -> i64 : pure
08B f32.abs      :  : f32     -> f32 : pure
08C f32.neg      :  : f32     -> f32 : pure
08D f32.ceil     :  : f32     -> f32 : pure
08E f32.floor    :  : f32     -> f32 : pure
08F f32.trunc    :  : f32     -> f32 : pure
090 f32.nearest  :  : f32     -> f32 : pure
091 f32.sqrt     :  : f32     -> f32 : pure
092 f32.add      :  : f32 f32 -> f32 : pure
093 f32.sub      :  : f32 f32 -> f32 : pure
094 f32.mul      :  : f32 f32 -> f32 : pure
095 f32.div      :  : f32 f32 -> f32 : pure
096 f32.min      :  : f32 f32 -> f32 : pure
097 f32.max      :  : f32 f32 -> f32 : pure
098 f32.copysign :  : f32 f32 -> f32 : pure
099 f64.abs      :  : f64     -> f64 : pure
09A f64.neg      :  : f64     -> f64 : pure
09B f64.ceil     :  : f64     -> f64 : pure
09C f64.floor    :  : f64     -> f64 : pure
09D f64.trunc    :  : f64     -> f64 : pure
09E f64.nearest  :  : f64     -> f64 : pure
09F f64.sqrt     :  : f64     -> f64 : pure
0A0 f64.add      :  : f64 f64 -> f64 : pure
0A1 f64.sub      :  : f64 f64 -> f64 : pure
0A2 f64.mul      :  : f64 f64 -> f64 : pure
0A3 f64.div      :  : f64 f64 -> f64 : pure
0A4 f64.min      :  : f64 f64 -> f64 : pure
0A5 f64.max      :  : f64 f64 -> f64 : pure
0A6 f64.copysign :  : f64 f64 -> f64 : pure
        """,
    ),
    # Conversions.
    (
        "mvp",
        """
0A7 i32.wrap_i64        :  : i64 -> i32 : pure
0A8 i32.trunc_f32_s     :  : f32 -> i32 : trapping
0A9 i32.trunc_f32_u     :  : f32 -> i32 : trapping
0AA i32.trunc_f64_s     :  : f64 -> i32 : trapping
0AB i32.trunc_f64_u     :  : f64 -> i32 : trapping
0AC i64.extend_i32_s    :  : i32 -> i64 : pure
0AD i64.extend_i32_u    :  : i32 -> i64 : pure
0AE i64.trunc_f32_s     :  : f32 -> i64 : trapping
0AF i64.trunc_f32_u     :  : f32 -> i64 : trapping
0B0 i64.trunc_f64_s     :  : f64 -> i64 : trapping
0B1 i64.trunc_f64_u     :  : f64 -> i64 : trapping
0B2 f32.convert_i32_s   :  : i32 -> f32 : pure
0B3 f32.convert_i32_u   :  : i32 -> f32 : pure
0B4 f32.convert_i64_s   :  : i64 -> f32 : pure
0B5 f32.convert_i64_u   :  : i64 -> f32 : pure
0B6 f32.demote_f64      :  : f64 -> f32 : pure
0B7 f64.convert_i32_s   :  : i32 -> f64 : pure
0B8 f64.convert_i32_u   :  : i32 -> f64 : pure
0B9 f64.convert_i64_s   :  : i64 -> f64 : pure
0BA f64.convert_i64_u   :  : i64 -> f64 : pure
0BB f64.promote_f32     :  : f32 -> f64 : pure
0BC i32.reinterpret_f32 :  : f32 -> i32 : pure
0BD i64.reinterpret_f64 :  : f64 -> i64 : pure
0BE f32.reinterpret_i32 :  : i32 -> f32 : pure
0BF f64.reinterpret_i64 :  : i64 -> f64 : pure
        """,
    ),
    # Sign extension.
    (
        "sign-ext",
        """
0C0 i32.extend8_s  :  : i32 -> i32 : pure
0C1 i32.extend16_s :  : i32 -> i32 : pure
0C2 i64.extend8_s  :  : i64 -> i64 : pure
0C3 i64.extend16_s :  : i64 -> i64 : pure
0C4 i64.extend32_s :  : i64 -> i64 : pure
        """,
    ),
    # Saturating truncation (0xFC 0x00 to 0x07).
    (
        "nontrapping-fptoint",
        """
200 i32.trunc_sat_f32_s :  : f32 -> i32 : pure
201 i32.trunc_sat_f32_u :  : f32 -> i32 : pure
202 i32.trunc_sat_f64_s :  : f64 -> i32 : pure
203 i32.trunc_sat_f64_u :  : f64 -> i32 : pure
204 i64.trunc_sat_f32_s :  : f32 -> i64 : pure
205 i64.trunc_sat_f32_u :  : f32 -> i64 : pure
206 i64.trunc_sat_f64_s :  : f64 -> i64 : pure
207 i64.trunc_sat_f64_u :  : f64 -> i64 : pure
        """,
    ),
    # Wide arithmetic (0xFC 0x13 to 0x16).
    (
        "wide-arithmetic",
        """
213 i64.add128     :  : i64 i64 i64 i64 -> i64 i64 : pure
214 i64.sub128     :  : i64 i64 i64 i64 -> i64 i64 : pure
215 i64.mul_wide_s :  : i64 i64         -> i64 i64 : pure
216 i64.mul_wide_u :  : i64 i64         -> i64 i64 : pure
        """,
    ),
]
