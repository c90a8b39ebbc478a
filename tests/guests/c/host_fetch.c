// A library that fetches pages from a server, one after the other, and adds up their sizes.

#include <stdio.h>
#include <string.h>

__attribute__((import_module("env"), import_name("fetch")))
int fetch(const char *url, int length, char *buffer, int size);

__attribute__((export_name("total_size"))) int total_size(int port, int pages) {
    int total = 0;
    for (int page = 0; page < pages; page++) {
        char url[64];
        char content[512];
        snprintf(url, sizeof url, "http://127.0.0.1:%d/page/%d", port, page);
        int size = fetch(url, (int)strlen(url), content, sizeof content);
        for (int place = 0; place < size; place++) {
            if (content[place] != 'a' + page % 26) return -1;
        }
        total += size;
    }
    return total;
}
