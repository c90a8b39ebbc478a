// Deep call chains: hundreds of frames of different functions, suspended at the bottom and on the way back.
#define ASYNCIFY_STACK (1 << 20)
#include "guest.h"
#include <stdio.h>

static NOINLINE int first(int depth, int64_t a);
static NOINLINE double second(int depth, double a, int b);
static NOINLINE int64_t third(int depth, const char *text, int c);

static NOINLINE int first(int depth, int64_t a) {
    if (depth == 0) return ask((int)a);
    int kept = depth * 3 + (int)(a >> 3);
    double below = second(depth - 1, (double)a * 0.5, depth);
    if (depth % 100 == 7) kept += ask(depth) & 1;
    return kept ^ (int)below;
}

static NOINLINE double second(int depth, double a, int b) {
    if (depth == 0) return mix(b, b, 0, a);
    char text[16];
    snprintf(text, sizeof text, "%d:%d", depth, b);
    double kept = a / (b + 1);
    int64_t below = third(depth - 1, text, b & 7);
    return kept + (double)(below & 0xFFFFF);
}

static NOINLINE int64_t third(int depth, const char *text, int c) {
    if (depth == 0) return wide(c, text[0]);
    int sum = 0;
    for (int i = 0; i < 2; i++) {
        if (i == c % 2) sum += first(depth - 1, (int64_t)text[i] << 20);
        else sum += text[i];
    }
    return sum;
}

int main(void) {
    for (int depth = 0; depth < 1500; depth = depth * 2 + 1) printf("%d: %d\n", depth, first(depth, depth * 77));
    return 0;
}
