// What every C guest of the tests shares: the host's functions, and a place for asyncify stacks that the allocator
// knows nothing of (the tests compare all memory but this place).
#pragma once

#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name), used))
#define NOINLINE __attribute__((noinline))

#ifndef ASYNCIFY_STACK
#define ASYNCIFY_STACK 65536
#endif

_Alignas(16) char asyncify_area[4][ASYNCIFY_STACK];
EXPORT(asyncify_area_address) uint32_t asyncify_area_address(void) { return (uint32_t)(uintptr_t)asyncify_area; }
EXPORT(asyncify_area_size) uint32_t asyncify_area_size(void) { return ASYNCIFY_STACK; }

// Returns a number that depends on its argument and on how often it was called.
IMPORT(ask) int32_t ask(int32_t value);
IMPORT(tell) void tell(int32_t value);
IMPORT(mix) double mix(int32_t a, int64_t b, float c, double d);
IMPORT(wide) int64_t wide(int64_t a, int64_t b);
IMPORT(narrow) float narrow(float a);
