// C++ exceptions in JavaScript form: sleeps inside try, catch, destructors and a function called through invoke_*.
#include <emscripten.h>
#include <cstdio>
#include <stdexcept>
#include <string>

struct Noisy {
  const char *name;
  explicit Noisy(const char *name) : name(name) {}
  ~Noisy() {
    emscripten_sleep(1);
    std::printf("end of %s\n", name);
  }
};

__attribute__((noinline)) int work(int value) {
  Noisy noisy("work");
  emscripten_sleep(1);
  if (value % 2) throw std::runtime_error("odd " + std::to_string(value));
  return value * 10;
}

__attribute__((noinline)) int guarded(int value) {
  try {
    int result = work(value);
    emscripten_sleep(1);
    return result;
  } catch (const std::runtime_error &error) {
    emscripten_sleep(1);
    std::printf("caught %s\n", error.what());
    if (value > 2) throw;
    return -value;
  }
}

int main() {
  int sum = 0;
  for (int value = 0; value < 4; value++) {
    try {
      Noisy noisy("loop");
      sum += guarded(value);
    } catch (...) {
      emscripten_sleep(1);
      std::printf("caught again\n");
      sum += 1000;
    }
    std::printf("sum %d\n", sum);
  }
  return 0;
}
