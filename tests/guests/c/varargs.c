// Variable arguments: lists on the shadow stack, of mixed types, passed on, read while the host is asked in between.
#include "guest.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static NOINLINE double total(const char *kinds, ...) {
    va_list list;
    va_start(list, kinds);
    double sum = 0;
    for (; *kinds; kinds++) {
        switch (*kinds) {
        case 'i': sum += ask(va_arg(list, int)) & 1023; break;
        case 'l': sum += (double)wide(va_arg(list, long long), 3); break;
        case 'd': sum += mix(1, 2, 3.5f, va_arg(list, double)); break;
        case 's': sum += (double)strlen(va_arg(list, const char *)) + ask(0); break;
        }
    }
    va_end(list);
    return sum;
}

static NOINLINE int say(const char *format, ...) {
    char line[128];
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int size = vsnprintf(line, sizeof line, format, list);
    tell(size);
    int second = vprintf(format, again);
    va_end(again);
    va_end(list);
    tell(line[0] + line[size - 1]);
    return size == second ? size : -1;
}

int main(void) {
    printf("%.3f\n", total("idlsid", 17, 2.25, 123456789012LL, "four", -5, 1e9));
    printf("%.3f\n", total(""));
    for (int i = 0; i < 6; i++) {
        int size = say("%d|%5.2f|%s|%lld|%c|%x\n", ask(i), i / 3.0, i & 1 ? "odd" : "even", (long long)i << 40, 'a' + i, i * 255);
        printf("%d\n", size);
    }
    return 0;
}
