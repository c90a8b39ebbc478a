// A WASI program that counts to its first argument, to standard output and to the file /data/count, and sleeps
// for as many microseconds as the second says between two numbers. Its exit code is the last number's last digit.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int end = count > 1 ? atoi(arguments[1]) : 10, pause = count > 2 ? atoi(arguments[2]) : 0;
    const char *path = count > 3 ? arguments[3] : "/data/count";
    FILE *file = fopen(path, "w");
    if (!file) return 99;
    for (int number = 1; number <= end; number++) {
        printf("%d\n", number);
        fflush(stdout);
        fprintf(file, "%d\n", number);
        fflush(file);
        if (pause) usleep(pause);
    }
    fclose(file);
    return end % 10;
}
