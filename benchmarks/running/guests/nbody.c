// Planets that attract each other: floating point numbers, many of them live at once.
#include "guest.h"
#include <math.h>

enum { BODIES = 5 };

typedef struct { double x, y, z, vx, vy, vz, mass; } Body;

static Body bodies[BODIES];

static void place(void) {
    for (int i = 0; i < BODIES; i++) {
        double far = 1.0 + 4.0 * i;
        bodies[i] = (Body){far, far * 0.3 - 1.0, 0.1 * i, 0.02 * i, 0.6 / (far + 1.0), -0.01 * i, i ? 0.01 / far : 39.0};
    }
}

static void advance(double step) {
    for (int i = 0; i < BODIES; i++) {
        Body *a = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            Body *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double square = dx * dx + dy * dy + dz * dz;
            double pull = step / (square * sqrt(square));
            a->vx -= dx * b->mass * pull;
            a->vy -= dy * b->mass * pull;
            a->vz -= dz * b->mass * pull;
            b->vx += dx * a->mass * pull;
            b->vy += dy * a->mass * pull;
            b->vz += dz * a->mass * pull;
            PAUSE_POINT();
        }
    }
    for (int i = 0; i < BODIES; i++) {
        Body *a = &bodies[i];
        a->x += step * a->vx;
        a->y += step * a->vy;
        a->z += step * a->vz;
    }
}

USUAL_SIZE(250000)

EXPORT(run) uint32_t run(int n) {
    place();
    for (int i = 0; i < n; i++) {
        if (i % 4096 == 0) PAUSE_SOON();
        advance(0.001);
    }
    uint32_t sum = 0;
    for (int i = 0; i < BODIES; i++) sum = mix(sum, (uint32_t)(int32_t)((bodies[i].x + bodies[i].vy) * 1e4));
    return sum;
}
