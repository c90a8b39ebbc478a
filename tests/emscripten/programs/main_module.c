// The main module of two that are linked dynamically; both sleep, and each is on the other's stack.
#include <emscripten.h>
#include <stdio.h>

int side_work(int value, int (*callback)(int));

__attribute__((noinline)) static int callback(int value) {
  emscripten_sleep(1);
  printf("callback %d\n", value);
  return value * 10;
}

int main(void) {
  int sum = 0;
  for (int round = 1; round < 4; round++) {
    sum += side_work(round, callback);
    printf("main %d\n", sum);
  }
  return 0;
}
