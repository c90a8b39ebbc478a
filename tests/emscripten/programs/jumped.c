// A sleep below the invoke_* that Emscripten calls what is between setjmp and longjmp through, and a longjmp past it.
#include <emscripten.h>
#include <setjmp.h>
#include <stdio.h>

static jmp_buf buffer;

__attribute__((noinline, used)) int nap(int value) {
  emscripten_sleep(1);
  return value + 1;
}

__attribute__((noinline, used)) int jump(int value) {
  if (value < 0) longjmp(buffer, -value);
  return nap(value);
}

__attribute__((noinline, used)) int catches(int value) {
  volatile int caught = setjmp(buffer);
  if (caught) return nap(caught * 100);
  return jump(value);
}

__attribute__((noinline, used)) int between(int value) {
  int result = catches(value);
  printf("slept\n");
  return result * 3;
}

int main(void) {
  printf("value %d\n", catches(7));
  printf("value %d\n", catches(-7));
  printf("value %d\n", between(5));
  return 0;
}
