// A library rather than a program: exports with parameters and results of every type, called again while suspended and
// from inside an import.
#include "guest.h"

IMPORT(call_back) int32_t call_back(int32_t which, int32_t depth);

int32_t calls;

EXPORT(add) int32_t add(int32_t a, int32_t b) {
    calls++;
    int32_t sum = a + ask(b);
    return sum - (ask(a) & 1);
}

EXPORT(blend) double blend(int32_t a, int64_t b, float c, double d) {
    calls++;
    double first = mix(a, b, c, d);
    return first - mix(a + 1, b - 1, c * 2, first);
}

EXPORT(shift) int64_t shift(int64_t a, int32_t by) {
    calls++;
    return wide(a, by) << (ask(by) & 3);
}

EXPORT(half) float half(float a) {
    calls++;
    return narrow(a) / 2;
}

EXPORT(nest) int32_t nest(int32_t depth) {
    calls++;
    int32_t sum = ask(depth);
    if (depth > 0) sum += call_back(depth % 3, depth - 1);
    tell(sum);
    return sum * 3 + ask(sum);
}

EXPORT(silent) int32_t silent(int32_t a) {
    calls++;
    return a * a;
}

EXPORT(count) int32_t count(void) { return calls; }
