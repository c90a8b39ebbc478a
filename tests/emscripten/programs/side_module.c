// The side module: sleeps itself, and calls back into the main module, which sleeps too.
#include <emscripten.h>

static int calls;

__attribute__((noinline)) static int twice(int value, int (*callback)(int)) {
  int first = callback(value);
  emscripten_sleep(1);
  return first + callback(value + 1);
}

int side_work(int value, int (*callback)(int)) {
  emscripten_sleep(1);
  calls++;
  return twice(value, callback) * 100 + calls;
}
