// Products of a matrix that is computed on the fly with vectors: a division in the innermost of two loops.
#include "guest.h"
#include <math.h>

enum { SIZE = 100 };

static inline double element(int i, int j) {
    PAUSE_POINT();
    return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1);
}

static NOINLINE void times(const double *in, double *out) {
    for (int i = 0; i < SIZE; i++) {
        double sum = 0;
        for (int j = 0; j < SIZE; j++) sum += element(i, j) * in[j];
        out[i] = sum;
    }
}

static NOINLINE void transposed_times(const double *in, double *out) {
    for (int i = 0; i < SIZE; i++) {
        double sum = 0;
        for (int j = 0; j < SIZE; j++) sum += element(j, i) * in[j];
        out[i] = sum;
    }
}

USUAL_SIZE(90)

EXPORT(run) uint32_t run(int n) {
    double u[SIZE], v[SIZE], between[SIZE];
    for (int i = 0; i < SIZE; i++) u[i] = v[i] = 1;
    for (int i = 0; i < n; i++) {
        PAUSE_SOON();
        times(u, between);
        transposed_times(between, v);
        times(v, between);
        transposed_times(between, u);
    }
    double uv = 0, vv = 0;
    for (int i = 0; i < SIZE; i++) {
        uv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    return (uint32_t)(sqrt(uv / vv) * 1e9);
}
