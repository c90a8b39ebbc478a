// setjmp before a sleep, longjmp behind it, and the other way round.
#include <emscripten.h>
#include <setjmp.h>
#include <stdio.h>

static jmp_buf target;

__attribute__((noinline)) static void descend(int depth) {
  if (depth > 0) {
    descend(depth - 1);
    printf("not reached\n");
  }
  emscripten_sleep(1);
  longjmp(target, 7);
}

__attribute__((noinline)) static int visit(int depth) {
  volatile int marker = depth * 3;
  int code = setjmp(target);
  if (code == 0) {
    emscripten_sleep(1);
    printf("set, marker %d\n", marker);
    descend(depth);
  }
  emscripten_sleep(1);
  printf("back with %d, marker %d\n", code, marker);
  return code + marker;
}

int main(void) {
  int sum = 0;
  for (int depth = 0; depth < 3; depth++) sum += visit(depth);
  printf("sum %d\n", sum);
  return 0;
}
