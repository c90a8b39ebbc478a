// A trap three functions deep, behind a suspension: compiled with -g, backtraces of the original name these lines.
__attribute__((import_module("env"), import_name("wait"))) int wait_for(int n);

__attribute__((noinline)) static int lower(int n) {
  int answer = wait_for(n);
  if (answer > 3) __builtin_trap();
  return answer;
}

__attribute__((noinline)) static int middle(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) sum += lower(i);
  return sum;
}

__attribute__((export_name("run"))) int run(int n) { return middle(n) + 1; }
