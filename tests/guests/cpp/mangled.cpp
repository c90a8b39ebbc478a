// Functions whose names are mangled: overloads, a template, and a class whose constructor there is twice.
extern "C" __attribute__((import_module("env"), import_name("sleep"))) void env_sleep(int);

namespace io {
struct Base {
  int value;
  Base(int v);
};
struct Reader : virtual Base {
  Reader(int v);
  int read(int n);
  int read(const char *s);
};
__attribute__((noinline)) Base::Base(int v) : value(v) { env_sleep(v); }
__attribute__((noinline)) Reader::Reader(int v) : Base(v) { env_sleep(1); }
__attribute__((noinline)) int Reader::read(int n) {
  env_sleep(n);
  return n + value;
}
__attribute__((noinline)) int Reader::read(const char *s) {
  env_sleep(*s);
  return *s;
}
template <class T> __attribute__((noinline)) T twice(T x) {
  env_sleep(3);
  return x * 2;
}
}  // namespace io

struct Sub : io::Reader {
  Sub(int v) : io::Base(v), io::Reader(v) {}
};

extern "C" __attribute__((export_name("run"))) int run(int n) {
  io::Reader reader(n);
  Sub sub(n);
  return reader.read(n) + sub.read("ab") + io::twice<long>(n) + io::twice<int>(n);
}
