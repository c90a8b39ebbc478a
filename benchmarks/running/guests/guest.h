// What the C programs of the benchmarks share. Each exports `run`, which does n units of its work and returns a number
// that depends on all of it, and has a PAUSE_POINT in its innermost place: a look at a flag, as an interruptible program
// has it, and a call of the import that may suspend when the flag is set. The outermost loop sets it now and then
// (PAUSE_SOON), so that the import is called some hundred times, and its own cost does not show.
#pragma once

#include <stdint.h>

__attribute__((import_module("env"), import_name("pause"))) void pause_here(void);

#define EXPORT(name) __attribute__((export_name(#name), used))
// The n with which the program runs for some 25 milliseconds.
#define USUAL_SIZE(n) \
    EXPORT(usual_size) int usual_size(void) { return n; }
#define NOINLINE __attribute__((noinline))

static volatile int pause_wanted;

#define PAUSE_SOON() (pause_wanted = 1)
#define PAUSE_POINT()                              \
    do {                                           \
        if (__builtin_expect(pause_wanted, 0)) {   \
            pause_wanted = 0;                      \
            pause_here();                          \
        }                                          \
    } while (0)

static inline uint32_t mix(uint32_t sum, uint32_t value) { return (sum ^ value) * 2654435761u + (sum >> 15); }
