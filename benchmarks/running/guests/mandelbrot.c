// A small picture of the Mandelbrot set: a tight loop of floating point arithmetic.
#include "guest.h"

enum { WIDTH = 64, HEIGHT = 48, LIMIT = 200 };

static int iterations(double ca, double cb) {
    double a = 0, b = 0;
    int i = 0;
    for (; i < LIMIT && a * a + b * b < 4; i++) {
        double next = a * a - b * b + ca;
        b = 2 * a * b + cb;
        a = next;
        PAUSE_POINT();
    }
    return i;
}

USUAL_SIZE(18)

EXPORT(run) uint32_t run(int n) {
    uint32_t sum = 0;
    for (int i = 0; i < n; i++) {
        PAUSE_SOON();
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                sum = mix(sum, (uint32_t)iterations(2.5 * x / WIDTH - 2 + i * 1e-4, 2.0 * y / HEIGHT - 1));
    }
    return sum;
}
