// Copies a file line by line, with a remark that it asks its host for, while both files are open.
// It is plain C that knows nothing of being saved: what it has read ahead and not written yet is in its memory.
#include <stdio.h>

__attribute__((import_module("env"), import_name("remark")))
int remark(int line, char *text, int size);

int main(void) {
  FILE *in = fopen("/notes/in.txt", "r");
  FILE *out = fopen("/notes/out.txt", "w");
  if (!in || !out) return 1;
  char line[256], text[256];
  long total = 0;
  for (int number = 1; fgets(line, sizeof line, in); number++) {
    int length = remark(number, text, sizeof text - 1);
    text[length] = 0;
    total += fprintf(out, "%d (%s) %s", number, text, line);
    if (number % 2 == 0) fflush(out);
  }
  fprintf(out, "%ld bytes, the last from %ld on\n", total, ftell(out));
  return fclose(in) || fclose(out);
}
