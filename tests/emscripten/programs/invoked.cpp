// A sleep below invoke_*, which Emscripten's JavaScript calls where an exception may come, below what a list may leave out.
#include <emscripten.h>
#include <cstdio>
#include <stdexcept>

extern "C" {

__attribute__((noinline, used)) int nap(int value) {
  emscripten_sleep(1);
  return value + 1;
}

__attribute__((noinline, used)) int catches(int value) {
  try {
    return nap(value);
  } catch (const std::exception &) {
    return -1;
  }
}

__attribute__((noinline, used)) int between(int value) {
  int result = catches(value);
  std::printf("slept\n");
  return result * 3;
}

}

int main() {
  std::printf("value %d\n", between(5));
  return 0;
}
