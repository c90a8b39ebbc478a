// Suspends in an import that is not on the import list.
#include <emscripten.h>
#include <stdio.h>

EM_JS(int, sneaky, (), {
  return Asyncify.handleSleep(function(wakeUp) { setTimeout(function() { wakeUp(1); }, 1); });
});

int main(void) {
  printf("start\n");
  printf("got %d\n", sneaky());
  emscripten_sleep(1);
  return 0;
}
