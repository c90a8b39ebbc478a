// 64-bit and floating point parameters, results and locals across suspensions; structures by value; special numbers.
#include "guest.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct vector { double x, y, z; };
struct pair { int64_t first; float second; };

static NOINLINE struct vector cross(struct vector a, struct vector b) {
    struct vector result = {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
    result.x += mix(1, (int64_t)a.x, (float)b.y, result.z);
    return result;
}

static NOINLINE struct pair advance(struct pair pair, int64_t by) {
    pair.first = wide(pair.first, by);
    pair.second = narrow(pair.second) * 1.5f;
    return pair;
}

static NOINLINE double many(int a, int64_t b, float c, double d, int e, int64_t f, float g, double h, int64_t i, double j) {
    double sum = a + (double)b + c + d;
    sum += mix(a, b, c, d);
    sum *= 1.0 + e * 0.001;
    sum += mix(e, f, g, h) * (double)(i & 3);
    int64_t big = wide(i, b) ^ f;
    return sum + j * 0.5 + (double)(big & 0xFFFF) + c * g;
}

static NOINLINE double polynomial(double x, int degree) {
    double value = 0, power = 1;
    for (int i = 0; i <= degree; i++) {
        double factor = mix(i, (int64_t)i * 1000003, (float)i * 0.25f, power);
        value += factor * power;
        power *= x;
    }
    return value;
}

static void bits(double value) {
    uint64_t raw;
    memcpy(&raw, &value, sizeof raw);
    printf("%016llx\n", (unsigned long long)raw);
}

int main(void) {
    struct vector v = {1, 2, 3}, w = {0.5, -4, 2};
    for (int i = 0; i < 5; i++) {
        v = cross(v, w);
        printf("%.9g %.9g %.9g\n", v.x, v.y, v.z);
        v.x = fmod(v.x, 10); v.y = fmod(v.y, 10); v.z = fmod(v.z, 10);
    }
    struct pair pair = {0x123456789ABCDEFLL, 0.1f};
    for (int i = 0; i < 5; i++) {
        pair = advance(pair, 0x100000001LL * i);
        printf("%lld %.9g\n", (long long)pair.first, pair.second);
    }
    printf("%.17g\n", many(1, 2LL << 33, 0.3f, 0.7, 5, -6, 1e20f, 1e-300, 0x7FFFFFFFFFFFFFFFLL, -0.0));
    printf("%.17g\n", polynomial(0.9, 20));
    bits(mix(0, 0, 0, NAN) + 1);
    bits(mix(0, INT64_MIN, -0.0f, -INFINITY));
    bits(narrow(-0.0f));
    bits(sqrt(mix(0, 0, 0, -1.0)));
    return 0;
}
