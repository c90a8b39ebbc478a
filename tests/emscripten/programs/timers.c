// An infinite loop that waits for a JavaScript timer by sleeping: the program that introduced Asyncify.
#include <emscripten.h>
#include <stdio.h>

EM_JS(void, start_timer, (), {
  Module.timer = false;
  setTimeout(function() { Module.timer = true; }, 50);
});

EM_JS(int, check_timer, (), { return Module.timer ? 1 : 0; });

int main(void) {
  start_timer();
  int passes = 0;
  while (1) {
    if (check_timer()) {
      printf("timer happened, %s\n", passes > 1 ? "after some passes" : "too early");
      return 0;
    }
    passes++;
    emscripten_sleep(5);
  }
}
