// Calls from JavaScript that suspend (async ccall), EM_ASYNC_JS, and a scan of registers while suspended.
#include <emscripten.h>
#include <emscripten/stack.h>
#include <stdio.h>
#include <string.h>

EM_ASYNC_JS(int, later, (int value), {
  await new Promise(function(resolve) { setTimeout(resolve, 5); });
  return value * 2;
});

EM_ASYNC_JS(double, halve_later, (double value), {
  await null;
  return value / 2;
});

EMSCRIPTEN_KEEPALIVE int add_later(int first, int second) {
  int sum = later(first);
  emscripten_sleep(1);
  return sum + later(second);
}

EMSCRIPTEN_KEEPALIVE int text_later(const char *text) {
  int length = 0;
  for (const char *at = text; *at; at++) {
    length += later(1);
  }
  return length * 10 + (int)strlen(text);
}

static int found;

static void scan(void *begin, void *end) {
  for (int *at = begin; at < (int *)end; at++) {
    if (*at == 0x12345678) found = 1;
  }
}

__attribute__((noinline)) static int hold(int secret) {
  emscripten_scan_registers(scan);
  return secret;
}

EM_JS(void, call_from_javascript, (), {
  setTimeout(function() {
    Module.ccall('add_later', 'number', ['number', 'number'], [20, 1], {async: true}).then(function(sum) {
      out('sum ' + sum);
      return Module.ccall('text_later', 'number', ['string'], ['caesura'], {async: true});
    }).then(function(result) {
      out('text ' + result);
    });
  }, 1);
});

int main(void) {
  printf("halved %g\n", halve_later(5));
  volatile int secret = 0x12340000;
  int held = hold(secret + 0x5678);
  printf("hold %x, found %d\n", held, found);
  call_from_javascript();
  return 0;
}
