// Exceptions of several types past destructors, caught, thrown again, and replaced by others; `wait` may suspend.
// `run` says how it ended, `say` is told what happened on the way.

#include "runtime.h"

extern "C" {
int wait(int) __attribute__((import_module("env"), import_name("wait")));
void say(int) __attribute__((import_module("env"), import_name("say")));
int run(int) __attribute__((export_name("run")));
}

namespace {

struct Guard {
  int number;
  ~Guard() { say(100 + number); }
};

struct Error {
  int code;
  ~Error() { say(200 + code); }
};

#ifdef DESTRUCTORS_WAIT
struct Waiting {
  int number;
  ~Waiting() { say(400 + wait(number)); }
};
#else
using Waiting = Guard;
#endif

void work(int n) {
  Guard guard{n};
  int got = wait(n);
  if (got == 3) throw Error{got};
  if (got == 4) throw 7;
  if (got == 5) throw 2.5;
  if (got >= 6) {
    Waiting first{n + 20};
    work(n - 3);
  }
}

int guarded(int n) {
  Waiting outer{n + 10};
  try {
    work(n);
    say(1);
  } catch (int number) {
    say(number);
    if (n > 6) throw Error{number};
    throw;
  } catch (double) {
    try {
      work(3);
    } catch (const Error& error) {
      say(300 + error.code);
    }
    throw;
  }
  return 0;
}

}  // namespace

int run(int n) {
  try {
    return guarded(n);
  } catch (const Error& error) {
    return 1000 + error.code;
  } catch (int number) {
    return 2000 + number;
  } catch (...) {
    return 3000;
  }
}
