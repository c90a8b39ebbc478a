// A program that gives its standard streams away: it reads a file as standard input, writes another as standard output,
// and says on standard error what it saw.

#include <stdio.h>
#include <unistd.h>

int main(int count, char **arguments) {
    char line[64];
    fprintf(stderr, "terminals %d %d\n", isatty(0), isatty(1));
    if (count < 3) return 0;
    puts("before");
    fflush(stdout);
    if (!freopen(arguments[1], "r", stdin)) return 1;
    while (fgets(line, sizeof line, stdin)) fprintf(stderr, "read %s", line);
    if (!freopen(arguments[2], "w", stdout)) return 2;
    puts("after");
    fclose(stdout);
    fclose(stdin);
    FILE *again = fopen(arguments[1], "r");
    if (!again || !fgets(line, sizeof line, again)) return 3;
    fprintf(stderr, "again %s", line);
    return 0;
}
