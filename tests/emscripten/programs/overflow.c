// Recursion that is deeper than the asyncify stack is large.
#include <emscripten.h>
#include <stdio.h>

__attribute__((noinline)) int descend(int depth) {
  volatile int local = depth;
  if (depth == 0) {
    emscripten_sleep(1);
    return 0;
  }
  return descend(depth - 1) + local;
}

int main(void) {
  printf("shallow %d\n", descend(3));
  printf("deep %d\n", descend(2000));
  return 0;
}
