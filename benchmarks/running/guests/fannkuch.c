// Permutations, reversed again and again: nested loops over small arrays.
#include "guest.h"

enum { SIZE = 8 };

static uint32_t fannkuch(void) {
    int order[SIZE], work[SIZE], count[SIZE];
    int most = 0, sum = 0, sign = 1, rest = SIZE;
    for (int i = 0; i < SIZE; i++) order[i] = i;
    for (;;) {
        for (; rest != 1; rest--) count[rest - 1] = rest;
        for (int i = 0; i < SIZE; i++) work[i] = order[i];
        int flips = 0;
        for (int first = work[0]; first != 0; first = work[0]) {
            for (int low = 0, high = first; low < high; low++, high--) {
                int kept = work[low];
                work[low] = work[high];
                work[high] = kept;
                PAUSE_POINT();
            }
            flips++;
        }
        if (flips > most) most = flips;
        sum += sign * flips;
        sign = -sign;
        for (;; rest++) {
            if (rest == SIZE) return mix((uint32_t)sum, (uint32_t)most);
            int kept = order[0];
            for (int i = 0; i < rest; i++) order[i] = order[i + 1];
            order[rest] = kept;
            if (--count[rest] > 0) break;
        }
    }
}

USUAL_SIZE(6)

EXPORT(run) uint32_t run(int n) {
    uint32_t sum = 0;
    for (int i = 0; i < n; i++) {
        PAUSE_SOON();
        sum = mix(sum, fannkuch());
    }
    return sum;
}
