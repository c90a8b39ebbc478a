// The allocator, strings and streams: memory that moves and grows between and during suspensions.
#include "guest.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list { struct list *next; size_t size; char text[]; };

static NOINLINE char *join(const struct list *list) {
    size_t size = 0, room = 8;
    char *joined = malloc(room);
    for (; list; list = list->next) {
        while (size + list->size + 2 > room) {
            room *= 2;
            tell((int)room);
            joined = realloc(joined, room);
        }
        memcpy(joined + size, list->text, list->size);
        size += list->size;
        joined[size] = ask((int)size) & 1 ? ',' : ';';
        size++;
    }
    joined[size] = 0;
    return joined;
}

int main(void) {
    struct list *list = 0;
    for (int i = 0; i < 60; i++) {
        size_t size = (size_t)(ask(i) & 31) + 1;
        struct list *entry = malloc(sizeof *entry + size);
        entry->next = list;
        entry->size = size;
        memset(entry->text, 'a' + i % 26, size);
        list = entry;
        if (i % 7 == 3) {
            struct list *gone = list->next;
            list->next = gone->next;
            free(gone);
        }
    }
    char *joined = join(list);
    puts(joined);
    printf("%zu\n", strlen(joined));
    free(joined);
    char *large[20];
    for (int i = 0; i < 20; i++) {
        large[i] = malloc(100000);
        memset(large[i], ask(i), 100000);
    }
    unsigned sum = 0;
    for (int i = 0; i < 20; i += 2) free(large[i]);
    for (int i = 1; i < 20; i += 2) {
        for (int j = 0; j < 100000; j += 997) sum = sum * 31 + (unsigned char)large[i][j];
        tell((int)sum);
    }
    fprintf(stderr, "sum %u\n", sum);
    for (int i = 0; i < 3; i++) printf("%s%c", "no newline", i == 2 ? '\n' : ' ');
    return 0;
}
