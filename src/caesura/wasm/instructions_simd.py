"""Rows of the instruction table: vectors of 128 bits, relaxed SIMD included (prefix 0xFD).

The format of a row is explained in `caesura.wasm.instructions`. The relaxed instructions count as pure: an engine
is free in how it computes them but must always do it the same way.
"""

from __future__ import annotations

from typing import Final

# (proposal, rows)
GROUPS: Final[list[tuple[str, str]]] = [
    # Loads, stores and constants (0xFD 0x00 to 0x0C, 0x54 to 0x5D).
    (
        "simd128",
        """
300 v128.load         : memarg      : addr      -> v128 : read_trapping
301 v128.load8x8_s    : memarg      : addr      -> v128 : read_trapping
302 v128.load8x8_u    : memarg      : addr      -> v128 : read_trapping
303 v128.load16x4_s   : memarg      : addr      -> v128 : read_trapping
304 v128.load16x4_u   : memarg      : addr      -> v128 : read_trapping
305 v128.load32x2_s   : memarg      : addr      -> v128 : read_trapping
306 v128.load32x2_u   : memarg      : addr      -> v128 : read_trapping
307 v128.load8_splat  : memarg      : addr      -> v128 : read_trapping
308 v128.load16_splat : memarg      : addr      -> v128 : read_trapping
309 v128.load32_splat : memarg      : addr      -> v128 : read_trapping
30A v128.load64_splat : memarg      : addr      -> v128 : read_trapping
30B v128.store        : memarg      : addr v128 ->      : effect
30C v128.const        : v128        :           -> v128 : pure
354 v128.load8_lane   : memarg lane : addr v128 -> v128 : read_trapping
355 v128.load16_lane  : memarg lane : addr v128 -> v128 : read_trapping
356 v128.load32_lane  : memarg lane : addr v128 -> v128 : read_trapping
357 v128.load64_lane  : memarg lane : addr v128 -> v128 : read_trapping
358 v128.store8_lane  : memarg lane : addr v128 ->      : effect
359 v128.store16_lane : memarg lane : addr v128 ->      : effect
35A v128.store32_lane : memarg lane : addr v128 ->      : effect
35B v128.store64_lane : memarg lane : addr v128 ->      : effect
35C v128.load32_zero  : memarg      : addr      -> v128 : read_trapping
35D v128.load64_zero  : memarg      : addr      -> v128 : read_trapping
        """,
    ),
    # Lanes.
    (
        "simd128",
        """
30D i8x16.shuffle        : lanes16 : v128 v128 -> v128 : pure
30E i8x16.swizzle        :         : v128 v128 -> v128 : pure
30F i8x16.splat          :         : i32       -> v128 : pure
310 i16x8.splat          :         : i32       -> v128 : pure
311 i32x4.splat          :         : i32       -> v128 : pure
312 i64x2.splat          :         : i64       -> v128 : pure
313 f32x4.splat          :         : f32       -> v128 : pure
314 f64x2.splat          :         : f64       -> v128 : pure
315 i8x16.extract_lane_s : lane    : v128      -> i32  : pure
316 i8x16.extract_lane_u : lane    : v128      -> i32  : pure
317 i8x16.replace_lane   : lane    : v128 i32  -> v128 : pure
318 i16x8.extract_lane_s : lane    : v128      -> i32  : pure
319 i16x8.extract_lane_u : lane    : v128      -> i32  : pure
31A i16x8.replace_lane   : lane    : v128 i32  -> v128 : pure
31B i32x4.extract_lane   : lane    : v128      -> i32  : pure
31C i32x4.replace_lane   : lane    : v128 i32  -> v128 : pure
31D i64x2.extract_lane   : lane    : v128      -> i64  : pure
31E i64x2.replace_lane   : lane    : v128 i64  -> v128 : pure
31F f32x4.extract_lane   : lane    : v128      -> f32  : pure
320 f32x4.replace_lane   : lane    : v128 f32  -> v128 : pure
321 f64x2.extract_lane   : lane    : v128      -> f64  : pure
322 f64x2.replace_lane   : lane    : v128 f64  -> v128 : pure
        """,
    ),
    # Comparisons.
    (
        "simd128",
        """
323 i8x16.eq   :  : v128 v128 -> v128 : pure
324 i8x16.ne   :  : v128 v128 -> v128 : pure
325 i8x16.lt_s :  : v128 v128 -> v128 : pure
326 i8x16.lt_u :  : v128 v128 -> v128 : pure
327 i8x16.gt_s :  : v128 v128 -> v128 : pure
328 i8x16.gt_u :  : v128 v128 -> v128 : pure
329 i8x16.le_s :  : v128 v128 -> v128 : pure
32A i8x16.le_u :  : v128 v128 -> v128 : pure
32B i8x16.ge_s :  : v128 v128 -> v128 : pure
32C i8x16.ge_u :  : v128 v128 -> v128 : pure
32D i16x8.eq   :  : v128 v128 -> v128 : pure
32E i16x8.ne   :  : v128 v128 -> v128 : pure
32F i16x8.lt_s :  : v128 v128 -> v128 : pure
330 i16x8.lt_u :  : v128 v128 -> v128 : pure
331 i16x8.gt_s :  : v128 v128 -> v128 : pure
332 i16x8.gt_u :  : v128 v128 -> v128 : pure
333 i16x8.le_s :  : v128 v128 -> v128 : pure
334 i16x8.le_u :  : v128 v128 -> v128 : pure
335 i16x8.ge_s :  : v128 v128 -> v128 : pure
336 i16x8.ge_u :  : v128 v128 -> v128 : pure
337 i32x4.eq   :  : v128 v128 -> v128 : pure
338 i32x4.ne   :  : v128 v128 -> v128 : pure
339 i32x4.lt_s :  : v128 v128 -> v128 : pure
33A i32x4.lt_u :  : v128 v128 -> v128 : pure
33B i32x4.gt_s :  : v128 v128 -> v128 : pure
33C i32x4.gt_u :  : v128 v128 -> v128 : pure
33D i32x4.le_s :  : v128 v128 -> v128 : pure
33E i32x4.le_u :  : v128 v128 -> v128 : pure
33F i32x4.ge_s :  : v128 v128 -> v128 : pure
340 i32x4.ge_u :  : v128 v128 -> v128 : pure
341 f32x4.eq   :  : v128 v128 -> v128 : pure
342 f32x4.ne   :  : v128 v128 -> v128 : pure
343 f32x4.lt   :  : v128 v128 -> v128 : pure
344 f32x4.gt   :  : v128 v128 -> v128 : pure
345 f32x4.le   :  : v128 v128 -> v128 : pure
346 f32x4.ge   :  : v128 v128 -> v128 : pure
347 f64x2.eq   :  : v128 v128 -> v128 : pure
348 f64x2.ne   :  : v128 v128 -> v128 : pure
349 f64x2.lt   :  : v128 v128 -> v128 : pure
34A f64x2.gt   :  : v128 v128 -> v128 : pure
34B f64x2.le   :  : v128 v128 -> v128 : pure
34C f64x2.ge   :  : v128 v128 -> v128 : pure
3D6 i64x2.eq   :  : v128 v128 -> v128 : pure
3D7 i64x2.ne   :  : v128 v128 -> v128 : pure
3D8 i64x2.lt_s :  : v128 v128 -> v128 : pure
3D9 i64x2.gt_s :  : v128 v128 -> v128 : pure
3DA i64x2.le_s :  : v128 v128 -> v128 : pure
3DB i64x2.ge_s :  : v128 v128 -> v128 : pure
        """,
    ),
    # Bits.
    (
        "simd128",
        """
34D v128.not       :  : v128           -> v128 : pure
34E v128.and       :  : v128 v128      -> v128 : pure
34F v128.andnot    :  : v128 v128      -> v128 : pure
350 v128.or        :  : v128 v128      -> v128 : pure
351 v128.xor       :  : v128 v128      -> v128 : pure
352 v128.bitselect :  : v128 v128 v128 -> v128 : pure
353 v128.any_true  :  : v128           -> i32  : pure
        """,
    ),
    # Integer arithmetic on i8x16.
    (
        "simd128",
        """
360 i8x16.abs            :  : v128      -> v128 : pure
361 i8x16.neg            :  : v128      -> v128 : pure
362 i8x16.popcnt         :  : v128      -> v128 : pure
363 i8x16.all_true       :  : v128      -> i32  : pure
364 i8x16.bitmask        :  : v128      -> i32  : pure
365 i8x16.narrow_i16x8_s :  : v128 v128 -> v128 : pure
366 i8x16.narrow_i16x8_u :  : v128 v128 -> v128 : pure
36B i8x16.shl            :  : v128 i32  -> v128 : pure
36C i8x16.shr_s          :  : v128 i32  -> v128 : pure
36D i8x16.shr_u          :  : v128 i32  -> v128 : pure
36E i8x16.add            :  : v128 v128 -> v128 : pure
36F i8x16.add_sat_s      :  : v128 v128 -> v128 : pure
370 i8x16.add_sat_u      :  : v128 v128 -> v128 : pure
371 i8x16.sub            :  : v128 v128 -> v128 : pure
372 i8x16.sub_sat_s      :  : v128 v128 -> v128 : pure
373 i8x16.sub_sat_u      :  : v128 v128 -> v128 : pure
376 i8x16.min_s          :  : v128 v128 -> v128 : pure
377 i8x16.min_u          :  : v128 v128 -> v128 : pure
378 i8x16.max_s          :  : v128 v128 -> v128 : pure
379 i8x16.max_u          :  : v128 v128 -> v128 : pure
37B i8x16.avgr_u         :  : v128 v128 -> v128 : pure
        """,
    ),
    # Integer arithmetic on i16x8.
    (
        "simd128",
        """
37C i16x8.extadd_pairwise_i8x16_s :  : v128      -> v128 : pure
37D i16x8.extadd_pairwise_i8x16_u :  : v128      -> v128 : pure
380 i16x8.abs                     :  : v128      -> v128 : pure
381 i16x8.neg                     :  : v128      -> v128 : pure
382 i16x8.q15mulr_sat_s           :  : v128 v128 -> v128 : pure
383 i16x8.all_true                :  : v128      -> i32  : pure
384 i16x8.bitmask                 :  : v128      -> i32  : pure
385 i16x8.narrow_i32x4_s          :  : v128 v128 -> v128 : pure
386 i16x8.narrow_i32x4_u          :  : v128 v128 -> v128 : pure
387 i16x8.extend_low_i8x16_s      :  : v128      -> v128 : pure
388 i16x8.extend_high_i8x16_s     :  : v128      -> v128 : pure
389 i16x8.extend_low_i8x16_u      :  : v128      -> v128 : pure
38A i16x8.extend_high_i8x16_u     :  : v128      -> v128 : pure
38B i16x8.shl                     :  : v128 i32  -> v128 : pure
38C i16x8.shr_s                   :  : v128 i32  -> v128 : pure
38D i16x8.shr_u                   :  : v128 i32  -> v128 : pure
38E i16x8.add                     :  : v128 v128 -> v128 : pure
38F i16x8.add_sat_s               :  : v128 v128 -> v128 : pure
390 i16x8.add_sat_u               :  : v128 v128 -> v128 : pure
391 i16x8.sub                     :  : v128 v128 -> v128 : pure
392 i16x8.sub_sat_s               :  : v128 v128 -> v128 : pure
393 i16x8.sub_sat_u               :  : v128 v128 -> v128 : pure
395 i16x8.mul                     :  : v128 v128 -> v128 : pure
396 i16x8.min_s                   :  : v128 v128 -> v128 : pure
397 i16x8.min_u                   :  : v128 v128 -> v128 : pure
398 i16x8.max_s                   :  : v128 v128 -> v128 : pure
399 i16x8.max_u                   :  : v128 v128 -> v128 : pure
39B i16x8.avgr_u                  :  : v128 v128 -> v128 : pure
39C i16x8.extmul_low_i8x16_s      :  : v128 v128 -> v128 : pure
39D i16x8.extmul_high_i8x16_s     :  : v128 v128 -> v128 : pure
39E i16x8.extmul_low_i8x16_u      :  : v128 v128 -> v128 : pure
39F i16x8.extmul_high_i8x16_u     :  : v128 v128 -> v128 : pure
        """,
    ),
    # Integer arithmetic on i32x4.
    (
        "simd128",
        """
37E i32x4.extadd_pairwise_i16x8_s :  : v128      -> v128 : pure
37F i32x4.extadd_pairwise_i16x8_u :  : v128      -> v128 : pure
3A0 i32x4.abs                     :  : v128      -> v128 : pure
3A1 i32x4.neg                     :  : v128      -> v128 : pure
3A3 i32x4.all_true                :  : v128      -> i32  : pure
3A4 i32x4.bitmask                 :  : v128      -> i32  : pure
3A7 i32x4.extend_low_i16x8_s      :  : v128      -> v128 : pure
3A8 i32x4.extend_high_i16x8_s     :  : v128      -> v128 : pure
3A9 i32x4.extend_low_i16x8_u      :  : v128      -> v128 : pure
3AA i32x4.extend_high_i16x8_u     :  : v128      -> v128 : pure
3AB i32x4.shl                     :  : v128 i32  -> v128 : pure
3AC i32x4.shr_s                   :  : v128 i32  -> v128 : pure
3AD i32x4.shr_u                   :  : v128 i32  -> v128 : pure
3AE i32x4.add                     :  : v128 v128 -> v128 : pure
3B1 i32x4.sub                     :  : v128 v128 -> v128 : pure
3B5 i32x4.mul                     :  : v128 v128 -> v128 : pure
3B6 i32x4.min_s                   :  : v128 v128 -> v128 : pure
3B7 i32x4.min_u                   :  : v128 v128 -> v128 : pure
3B8 i32x4.max_s                   :  : v128 v128 -> v128 : pure
3B9 i32x4.max_u                   :  : v128 v128 -> v128 : pure
3BA i32x4.dot_i16x8_s             :  : v128 v128 -> v128 : pure
3BC i32x4.extmul_low_i16x8_s      :  : v128 v128 -> v128 : pure
3BD i32x4.extmul_high_i16x8_s     :  : v128 v128 -> v128 : pure
3BE i32x4.extmul_low_i16x8_u      :  : v128 v128 -> v128 : pure
3BF i32x4.extmul_high_i16x8_u     :  : v128 v128 -> v128 : pure
        """,
    ),
    # Integer arithmetic on i64x2.
    (
        "simd128",
        """
3C0 i64x2.abs                 :  : v128      -> v128 : pure
3C1 i64x2.neg                 :  : v128      -> v128 : pure
3C3 i64x2.all_true            :  : v128      -> i32  : pure
3C4 i64x2.bitmask             :  : v128      -> i32  : pure
3C7 i64x2.extend_low_i32x4_s  :  : v128      -> v128 : pure
3C8 i64x2.extend_high_i32x4_s :  : v128      -> v128 : pure
3C9 i64x2.extend_low_i32x4_u  :  : v128      -> v128 : pure
3CA i64x2.extend_high_i32x4_u :  : v128      -> v128 : pure
3CB i64x2.shl                 :  : v128 i32  -> v128 : pure
3CC i64x2.shr_s               :  : v128 i32  -> v128 : pure
3CD i64x2.shr_u               :  : v128 i32  -> v128 : pure
3CE i64x2.add                 :  : v128 v128 -> v128 : pure
3D1 i64x2.sub                 :  : v128 v128 -> v128 : pure
3D5 i64x2.mul                 :  : v128 v128 -> v128 : pure
3DC i64x2.extmul_low_i32x4_s  :  : v128 v128 -> v128 : pure
3DD i64x2.extmul_high_i32x4_s :  : v128 v128 -> v128 : pure
3DE i64x2.extmul_low_i32x4_u  :  : v128 v128 -> v128 : pure
3DF i64x2.extmul_high_i32x4_u :  : v128 v128 -> v128 : pure
        """,
    ),
    # Floating-point arithmetic.
    (
        "simd128",
        """
367 f32x4.ceil    :  : v128      -> v128 : pure
368 f32x4.floor   :  : v128      -> v128 : pure
369 f32x4.trunc   :  : v128      -> v128 : pure
36A f32x4.nearest :  : v128      -> v128 : pure
3E0 f32x4.abs     :  : v128      -> v128 : pure
3E1 f32x4.neg     :  : v128      -> v128 : pure
3E3 f32x4.sqrt    :  : v128      -> v128 : pure
3E4 f32x4.add     :  : v128 v128 -> v128 : pure
3E5 f32x4.sub     :  : v128 v128 -> v128 : pure
3E6 f32x4.mul     :  : v128 v128 -> v128 : pure
3E7 f32x4.div     :  : v128 v128 -> v128 : pure
3E8 f32x4.min     :  : v128 v128 -> v128 : pure
3E9 f32x4.max     :  : v128 v128 -> v128 : pure
3EA f32x4.pmin    :  : v128 v128 -> v128 : pure
3EB f32x4.pmax    :  : v128 v128 -> v128 : pure
374 f64x2.ceil    :  : v128      -> v128 : pure
375 f64x2.floor   :  : v128      -> v128 : pure
37A f64x2.trunc   :  : v128      -> v128 : pure
394 f64x2.nearest :  : v128      -> v128 : pure
3EC f64x2.abs     :  : v128      -> v128 : pure
3ED f64x2.neg     :  : v128      -> v128 : pure
3EF f64x2.sqrt    :  : v128      -> v128 : pure
3F0 f64x2.add     :  : v128 v128 -> v128 : pure
3F1 f64x2.sub     :  : v128 v128 -> v128 : pure
3F2 f64x2.mul     :  : v128 v128 -> v128 : pure
3F3 f64x2.div     :  : v128 v128 -> v128 : pure
3F4 f64x2.min     :  : v128 v128 -> v128 : pure
3F5 f64x2.max     :  : v128 v128 -> v128 : pure
3F6 f64x2.pmin    :  : v128 v128 -> v128 : pure
3F7 f64x2.pmax    :  : v128 v128 -> v128 : pure
        """,
    ),
    # Conversions.
    (
        "simd128",
        """
35E f32x4.demote_f64x2_zero      :  : v128 -> v128 : pure
35F f64x2.promote_low_f32x4      :  : v128 -> v128 : pure
3F8 i32x4.trunc_sat_f32x4_s      :  : v128 -> v128 : pure
3F9 i32x4.trunc_sat_f32x4_u      :  : v128 -> v128 : pure
3FA f32x4.convert_i32x4_s        :  : v128 -> v128 : pure
3FB f32x4.convert_i32x4_u        :  : v128 -> v128 : pure
3FC i32x4.trunc_sat_f64x2_s_zero :  : v128 -> v128 : pure
3FD i32x4.trunc_sat_f64x2_u_zero :  : v128 -> v128 : pure
3FE f64x2.convert_low_i32x4_s    :  : v128 -> v128 : pure
3FF f64x2.convert_low_i32x4_u    :  : v128 -> v128 : pure
        """,
    ),
    # Relaxed SIMD (0xFD 0x100 to 0x113).
    (
        "relaxed-simd",
        """
400 i8x16.relaxed_swizzle               :  : v128 v128      -> v128 : pure
401 i32x4.relaxed_trunc_f32x4_s         :  : v128           -> v128 : pure
402 i32x4.relaxed_trunc_f32x4_u         :  : v128           -> v128 : pure
403 i32x4.relaxed_trunc_f64x2_s_zero    :  : v128           -> v128 : pure
404 i32x4.relaxed_trunc_f64x2_u_zero    :  : v128           -> v128 : pure
405 f32x4.relaxed_madd                  :  : v128 v128 v128 -> v128 : pure
406 f32x4.relaxed_nmadd                 :  : v128 v128 v128 -> v128 : pure
407 f64x2.relaxed_madd                  :  : v128 v128 v128 -> v128 : pure
408 f64x2.relaxed_nmadd                 :  : v128 v128 v128 -> v128 : pure
409 i8x16.relaxed_laneselect            :  : v128 v128 v128 -> v128 : pure
40A i16x8.relaxed_laneselect            :  : v128 v128 v128 -> v128 : pure
40B i32x4.relaxed_laneselect            :  : v128 v128 v128 -> v128 : pure
40C i64x2.relaxed_laneselect            :  : v128 v128 v128 -> v128 : pure
40D f32x4.relaxed_min                   :  : v128 v128      -> v128 : pure
40E f32x4.relaxed_max                   :  : v128 v128      -> v128 : pure
40F f64x2.relaxed_min                   :  : v128 v128      -> v128 : pure
410 f64x2.relaxed_max                   :  : v128 v128      -> v128 : pure
411 i16x8.relaxed_q15mulr_s             :  : v128 v128      -> v128 : pure
412 i16x8.relaxed_dot_i8x16_i7x16_s     :  : v128 v128      -> v128 : pure
413 i32x4.relaxed_dot_i8x16_i7x16_add_s :  : v128 v128 v128 -> v128 : pure
        """,
    ),
]
