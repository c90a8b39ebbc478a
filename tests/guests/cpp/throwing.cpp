// C++ exceptions whose handlers, and destructors on the way to them, call the host.
//
// zig's C++ library for WASI has no exceptions. So the part of its runtime that they need stands here: it is small, since
// all that is ever thrown are ints.

__asm__(".globl __cpp_exception\n.tagtype __cpp_exception i32\n__cpp_exception:\n");

extern "C" {
__attribute__((import_module("env"), import_name("ask"))) int ask(int);
__attribute__((import_module("env"), import_name("tell"))) void tell(int);
__attribute__((import_module("env"), import_name("fail"))) void fail(int);

struct LandingContext {
  __SIZE_TYPE__ index;
  const void *table;
  __SIZE_TYPE__ selector;
} __wasm_lpad_context;

int _ZTIi;  // what stands for the type int

static int thrown[64];
static int caught[64];
static int count, depth;

void *__cxa_allocate_exception(__SIZE_TYPE__) { return &thrown[count++ & 63]; }
void __cxa_throw(void *object, void *, void (*)(void *)) { __builtin_wasm_throw(0, object); }
void *__cxa_begin_catch(void *object) {
  caught[depth++] = static_cast<int *>(object) - thrown;
  return object;
}
void __cxa_end_catch() { depth--; }
void __cxa_rethrow() { __builtin_wasm_throw(0, &thrown[caught[depth - 1]]); }
int _Unwind_CallPersonality(void *) {
  __wasm_lpad_context.selector = 1;  // each function here has one type in its handlers
  return 0;
}
[[noreturn]] void _ZSt9terminatev() { __builtin_trap(); }
}

namespace {

struct Guard {
  int id;
  explicit Guard(int id) : id(id) { tell(id); }
  ~Guard() { tell(ask(id)); }
};

__attribute__((noinline)) int risky(int n) {
  Guard guard(10);
  if (n % 8 == 6) fail(n);
  if (n % 2) throw n;
  return ask(n);
}

__attribute__((noinline)) int guarded(int n) {
  Guard outer(20);
  try {
    Guard inner(21);
    return risky(n) + ask(n + 1);
  } catch (int value) {
    Guard handler(22);
    int asked = ask(value);
    if (n % 4 == 3) throw;
    return asked + risky(n + 1);
  }
}

__attribute__((noinline)) int cleaned(int n) {
  int sum = 0;
  for (int i = 0; i < 3; i++) {
    try {
      Guard guard(30 + i);
      sum += guarded(n + i);
    } catch (...) {
      tell(ask(40 + i));
      sum += 1000;
      if (i == 2) {
        try {
          Guard nested(50);
          throw n + 1;
        } catch (int value) {
          sum += ask(value);
        }
      }
    }
  }
  return sum;
}

}  // namespace

extern "C" {
__attribute__((export_name("run"))) int run(int n) { return cleaned(n); }

// Where the host fails, its exception passes through destructors.
__attribute__((export_name("pass"))) int pass(int n) {
  Guard guard(60);
  return risky(n);
}
}
