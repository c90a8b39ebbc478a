// `main` ends by an exception of JavaScript, below a function that may sleep, and its main loop sleeps.
#include <emscripten.h>
#include <cstdio>
#include <cstdlib>

extern "C" {

__attribute__((noinline, used)) void nap() { emscripten_sleep(1); }

__attribute__((noinline, used)) void tick() {
  static int rounds;
  nap();
  std::printf("slept %d\n", ++rounds);
  if (rounds == 2) emscripten_cancel_main_loop();
}

__attribute__((noinline, used)) void begin(int sleeps) {
  if (sleeps) nap();
  emscripten_set_main_loop(tick, 1000, 1);
}

__attribute__((noinline, used)) void left_out(int sleeps) {
  begin(sleeps);
  std::printf("never\n");
}

}

int main(int argc, char **) {
  left_out(argc > 5);
  return 0;
}
