// A reactor whose functions wait in host functions, keep data on the C stack meanwhile, and recurse.

#include <stdint.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name), noinline))

IMPORT(wait) int host_wait(int value);
IMPORT(fill) int host_fill(char *target, int size);
IMPORT(note) void host_note(int value);
IMPORT(again) int host_again(int value);

// Both ends of a recursion keep an array on the C stack across the suspension.
EXPORT(descend) int descend(int depth, int seed) {
    volatile int data[16];
    for (int place = 0; place < 16; place++) data[place] = seed * 31 + depth * 16 + place;
    int below = depth > 0 ? descend(depth - 1, seed) : host_wait(seed);
    for (int place = 0; place < 16; place++) {
        if (data[place] != seed * 31 + depth * 16 + place) return -1000000;
    }
    return below + data[depth & 15];
}

// The host writes into an array on the C stack while the call is suspended.
EXPORT(sum_filled) int sum_filled(int size) {
    char buffer[256];
    memset(buffer, 0, sizeof buffer);
    int filled = host_fill(buffer, size);
    int sum = 0;
    for (int place = 0; place < filled; place++) sum += buffer[place];
    return sum;
}

EXPORT(add) int add(int first, int second) {
    volatile int local[8] = {first, second};
    return local[0] + local[1];
}

EXPORT(nested) int nested(int value) { return host_again(value) + 1; }

EXPORT(divide) int divide(int first, int second) {
    volatile int data[4] = {first, second};
    host_note(data[0]);
    return data[0] / data[1];
}

EXPORT(wait_then_divide) int wait_then_divide(int first) {
    volatile int data[4] = {first};
    return data[0] / host_wait(first);
}

EXPORT(note_then_wait) int note_then_wait(int value) {
    host_note(value);
    return host_wait(value);
}

EXPORT(overflow_stack) int overflow_stack(int size) {
    volatile char *data = __builtin_alloca(size);
    for (int place = 0; place < size; place++) data[place] = 1;
    return host_wait(data[0]) + data[size - 1];
}
