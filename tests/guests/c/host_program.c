// A WASI program that does what its arguments say: each is a letter and a number.

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void sleep_until(long milliseconds) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += milliseconds * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

static void wait_for_input(int milliseconds) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    int ready = poll(&input, 1, milliseconds);
    printf("poll %d\n", ready);
}

static void copy_lines(void) {
    char line[64];
    while (fgets(line, sizeof line, stdin)) printf("line %s", line);
}

static void show_file(const char *path) {
    char line[64] = "nothing";
    FILE *file = fopen(path, "r");
    if (file) {
        fgets(line, sizeof line, file);
        fclose(file);
    }
    printf("file %s\n", line);
}

int main(int count, char **arguments) {
    volatile int spin = 0;
    for (int place = 1; place < count; place++) {
        const char *text = arguments[place];
        int number = atoi(text + 1);
        switch (text[0]) {
        case 's': usleep(number * 1000); printf("slept %d\n", number); break;
        case 'a': sleep_until(number); printf("slept until %d\n", number); break;
        case 'y': for (int turn = 0; turn < number; turn++) sched_yield(); puts("yielded"); break;
        case 'p': wait_for_input(number); break;
        case 'c': copy_lines(); break;
        case 'f': show_file(text + 1); break;
        case 'e': printf("env %s\n", getenv(text + 1) ? getenv(text + 1) : "unset"); break;
        case 'l': puts("spinning"); fflush(stdout); for (;;) spin++; break;
        case 't': __builtin_trap(); break;
        case 'x': return number;
        default: fprintf(stderr, "what is %s?\n", text); break;
        }
        fflush(stdout);
    }
    return 0;
}
