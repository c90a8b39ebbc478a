// Three fibers, each with an asyncify stack that is barely large enough, hand a token round; two of them recurse.
#include <emscripten/fiber.h>
#include <stdio.h>

#ifndef STACK
#define STACK 256
#endif
#define FIBERS 3

static emscripten_fiber_t main_fiber, fibers[FIBERS];
static char c_stacks[FIBERS][8192] __attribute__((aligned(16)));
static char asyncify_stacks[FIBERS][STACK] __attribute__((aligned(16)));
static char main_asyncify_stack[1024] __attribute__((aligned(16)));
static int token;

__attribute__((noinline)) static int step(int self, int depth) {
  volatile int local = self * 100 + depth;
  if (depth > 0) return step(self, depth - 1) + 1;
  int from = token;
  token = token * 31 + local;
  printf("fiber %d got %d\n", self, from);
  emscripten_fiber_t *next = self + 1 < FIBERS ? &fibers[self + 1] : &main_fiber;
  emscripten_fiber_swap(&fibers[self], next);
  return local;
}

static void body(void *argument) {
  int self = (int)(long)argument;
  int sum = 0;
  for (int round = 0;; round++) {
    sum += step(self, self);
    printf("fiber %d, round %d: %d\n", self, round, sum);
  }
}

int main(void) {
  emscripten_fiber_init_from_current_context(&main_fiber, main_asyncify_stack, sizeof main_asyncify_stack);
  for (long i = 0; i < FIBERS; i++)
    emscripten_fiber_init(&fibers[i], body, (void *)i, c_stacks[i], sizeof c_stacks[i], asyncify_stacks[i], STACK);
  for (int round = 0; round < 4; round++) {
    emscripten_fiber_swap(&main_fiber, &fibers[0]);
    printf("main got %d\n", token);
  }
  return 0;
}
