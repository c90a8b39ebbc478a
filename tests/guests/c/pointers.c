// Calls through pointers: tables of functions of several types, comparators and callbacks of the C library, objects.
#include "guest.h"
#include <stdio.h>
#include <stdlib.h>

typedef int (*unary)(int);
typedef int64_t (*scale)(int64_t, double);

static int twice(int value) { return value * 2; }
static int asked(int value) { return ask(value) + value; }
static int told(int value) { tell(value); return -value; }
static int composed(int value);
static const unary table[] = {twice, asked, told, composed};
static int composed(int value) { return table[value & 1](value + 1) ^ table[2](value); }

static int64_t up(int64_t value, double by) { return wide(value, (int64_t)by) + (int64_t)(by * 3.0); }
static int64_t down(int64_t value, double by) { return value / (1 + (ask((int)by) & 7)); }
static const scale scales[] = {up, down};

static int comparisons;
static int compare(const void *a, const void *b) {
    comparisons++;
    int left = *(const int *)a, right = *(const int *)b;
    tell(left * 100 + right);
    return left < right ? -1 : left > right;
}

struct shape {
    double (*area)(const struct shape *);
    const char *name;
    double width, height;
};
static double rectangle(const struct shape *shape) { return shape->width * shape->height + (ask(1) & 1); }
static double ellipse(const struct shape *shape) { return mix(3, 7, (float)shape->width, shape->height); }

static NOINLINE int fold(unary function, int times, int value) {
    for (int i = 0; i < times; i++) value = function(value) + i;
    return value;
}

int main(void) {
    int sum = 0;
    for (int i = 0; i < 40; i++) sum = sum * 7 + table[i & 3](i);
    printf("table %d\n", sum);
    int64_t scaled = 1000000007;
    for (int i = 0; i < 10; i++) scaled = scales[ask(i) & 1](scaled, i * 1.5);
    printf("scales %lld\n", (long long)scaled);
    int numbers[24];
    for (int i = 0; i < 24; i++) numbers[i] = ask(i) & 63;
    qsort(numbers, 24, sizeof *numbers, compare);
    for (int i = 0; i < 24; i++) printf("%d ", numbers[i]);
    int key = numbers[10];
    int *found = bsearch(&key, numbers, 24, sizeof *numbers, compare);
    printf("\nfound %d after %d comparisons\n", found ? *found : -1, comparisons);
    struct shape shapes[] = {{rectangle, "rectangle", 3, 4}, {ellipse, "ellipse", 2.5, 1.25}};
    for (int i = 0; i < 2; i++) printf("%s %.6f\n", shapes[i].name, shapes[i].area(&shapes[i]));
    printf("fold %d\n", fold(asked, 12, 5) + fold(composed, 12, 5));
    return 0;
}
