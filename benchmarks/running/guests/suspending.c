// Recursion to a depth, and at the bottom calls of the import that suspends. `small` has hardly anything to save in a
// frame; `large` has seven values of all four types that are used after the call.
#include "guest.h"

__attribute__((import_module("env"), import_name("ask"))) int32_t ask(int32_t value);

enum { STACK = 1 << 20 };

static _Alignas(16) char stack[STACK];

EXPORT(stack_address) uint32_t stack_address(void) { return (uint32_t)(uintptr_t)stack; }
EXPORT(stack_size) uint32_t stack_size(void) { return STACK; }

static NOINLINE int32_t bottom(int times) {
    int32_t sum = 0;
    for (int i = 0; i < times; i++) sum = (int32_t)mix((uint32_t)sum, (uint32_t)ask(i));
    return sum;
}

static NOINLINE int32_t small_frames(int depth, int times) {
    if (depth <= 1) return bottom(times);
    return (int32_t)mix((uint32_t)small_frames(depth - 1, times), (uint32_t)depth);
}

static NOINLINE double large_frames(int depth, int times, int64_t wide, double real, float single) {
    if (depth <= 1) return bottom(times) + (double)wide + real + single;
    int32_t first = depth * 7 ^ times, second = (int32_t)(wide >> 3) + depth;
    int64_t next = wide * 31 + depth, other = wide ^ first;
    double part = real * 0.5 + depth, share = real - depth;
    float low = single * 0.25f + (float)depth;
    double below = large_frames(depth - 1, times, next & 0xffff, part, low);
    return below * 0.5 + first * part + second * share + (double)(next & 255) + (double)(other & 255) * low;
}

EXPORT(small) int32_t small(int depth, int times) { return small_frames(depth, times); }
EXPORT(large) int32_t large(int depth, int times) {
    return (int32_t)mix((uint32_t)(int64_t)large_frames(depth, times, 12345, 1.5, 2.5f), 1);
}
