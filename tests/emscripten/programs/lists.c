// One way to a sleep goes through a table; lists say which functions take part.
#include <emscripten.h>
#include <stdio.h>

typedef int (*operation)(int);

__attribute__((noinline)) int nap(int value) {
  emscripten_sleep(1);
  return value + 1;
}

__attribute__((noinline)) int quick(int value) { return value * 2; }

operation operations[] = {quick, nap};

__attribute__((noinline)) int dispatch(int which, int value) { return operations[which](value); }

__attribute__((noinline)) int never_sleeps(int value) { return dispatch(0, value); }

int main(void) {
  int value = 1;
  for (int round = 0; round < 3; round++) {
    value = never_sleeps(value);
    value = dispatch(1, value);
    printf("value %d\n", value);
  }
  return 0;
}
