// A plugin as its author would write it: plain C, one call after the other.

#include <stdio.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))

IMPORT(lookup) int lookup(const char *key, int length, char *value, int size);

static char answer[128];

EXPORT(greet) const char *greet(int user) {
    char key[32];
    char name[64];
    snprintf(key, sizeof key, "user:%d", user);
    int size = lookup(key, (int)strlen(key), name, sizeof name - 1);
    if (size < 0) return "nobody";
    name[size] = 0;
    snprintf(answer, sizeof answer, "Hello, %s!", name);
    return answer;
}
