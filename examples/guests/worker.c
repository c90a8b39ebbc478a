// A program that knows nothing of events: it sleeps, asks a server for a number, and adds up what it gets.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((import_module("env"), import_name("fetch")))
int fetch(const char *url, int length, char *buffer, int size);

__attribute__((import_module("env"), import_name("report")))
void report(int done, int total);

static int fetch_number(const char *base, int key) {
    char url[128];
    char answer[64];
    snprintf(url, sizeof url, "%s/square/%d", base, key);
    int size = fetch(url, (int)strlen(url), answer, sizeof answer - 1);
    if (size < 0) exit(1);
    answer[size] = 0;
    return atoi(answer);
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    int rounds = atoi(arguments[2]);
    int pause = atoi(arguments[3]);
    long sum = 0;
    for (int round = 1; round <= rounds; round++) {
        usleep(pause * 1000);
        sum += fetch_number(arguments[1], round);
        report(round, rounds);
    }
    printf("%ld\n", sum);
    return 0;
}
