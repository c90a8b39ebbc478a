// A byte code interpreter whose instructions are functions that leave by tail calls of each other, through a table, and
// state machines that are rings of functions. Compiled with -mtail-call.
#include "guest.h"
#include <stdio.h>

#define TAIL __attribute__((musttail)) return

struct machine {
    int memory[8];
    int depth, steps;
};
typedef int instruction(struct machine *machine, const signed char *code, int *top);
static instruction *const instructions[];
#define NEXT TAIL instructions[(unsigned char)*code](machine, code + 1, top)
#define INSTRUCTION(name) static int name(struct machine *machine, const signed char *code, int *top)

INSTRUCTION(push) { *top++ = *code++; NEXT; }
INSTRUCTION(add) { top--; top[-1] += *top; NEXT; }
INSTRUCTION(multiply) { top--; top[-1] *= *top; machine->steps++; NEXT; }
INSTRUCTION(less) { top--; top[-1] = top[-1] < *top; NEXT; }
INSTRUCTION(load) { *top++ = machine->memory[*code++ & 7]; NEXT; }
INSTRUCTION(store) { machine->memory[*code++ & 7] = *--top; machine->steps++; NEXT; }
INSTRUCTION(jump_if) { int by = *code++; if (*--top) code += by; NEXT; }
INSTRUCTION(ask_host) { top[-1] = ask(top[-1]) & 0xFFF; NEXT; }
INSTRUCTION(tell_host) { tell(*--top); NEXT; }
INSTRUCTION(print) { printf("%d at %d\n", *--top, machine->depth); NEXT; }
INSTRUCTION(halt) { printf("%d steps\n", machine->steps); return top[-1]; }
INSTRUCTION(answer) { machine->depth--; return top[-1] + ask(machine->depth); }
INSTRUCTION(call) {
    int to = *code++;
    int stack[16];
    machine->depth++;
    stack[0] = top[-1];
    top[-1] = instructions[(unsigned char)code[to]](machine, code + to + 1, stack + 1);
    NEXT;
}
INSTRUCTION(last) { TAIL ((instruction *)answer)(machine, code, top); }

enum { PUSH, ADD, MULTIPLY, LESS, LOAD, STORE, JUMP_IF, ASK, TELL, PRINT, HALT, ANSWER, CALL, LAST };
static instruction *const instructions[] = {
    push, add, multiply, less, load, store, jump_if, ask_host, tell_host, print, halt, answer, call, last,
};

// A scanner of states, each a function with parameters of its own kind.
static double in_word(const char *text, int words, double sum);
static double between(const char *text, int words) {
    if (!*text) return words;
    if (*text == ' ') TAIL between(text + 1, words);
    return in_word(text, words + 1, 0.5);
}
NOINLINE static double after_word(const char *text, int words, double sum) {
    tell(words);
    if (sum > 1000) return -sum;
    return sum + between(text, words);
}
static double in_word(const char *text, int words, double sum) {
    if (!*text || *text == ' ') TAIL after_word(text, words, sum);
    TAIL in_word(text + 1, words, mix(words, *text, 0.5f, sum));
}

// What leaves by a tail call of an import.
NOINLINE static int asking(int value) { TAIL ask(value + 1); }

// Far longer than any stack.
static int odd(int times, int sum);
static int even(int times, int sum) {
    if (!times) return sum;
    TAIL odd(times - 1, sum * 3 + 1);
}
static int odd(int times, int sum) {
    if (!(times & 0xFFFF)) sum ^= ask(times);
    if (!times) return ~sum;
    TAIL even(times - 1, sum ^ times);
}

int main(void) {
    static const signed char code[] = {
        /*  0 */ PUSH, 3, STORE, 0,
        /*  4 */ LOAD, 0, CALL, 9, PRINT, LOAD, 0, TELL, LOAD, 1, HALT, 0, 0,
        /* 16 */ ASK, STORE, 1, LOAD, 1, CALL, 3, LOAD, 1, LAST,
        /* 25 */ PUSH, 2, MULTIPLY, ASK, TELL, PUSH, 7, ANSWER,
    };
    struct machine machine = {{0}, 0, 0};
    int stack[16];
    printf("result %d\n", instructions[PUSH](&machine, code + 1, stack));
    printf("%.3f\n", between("to be  or not", 0));
    printf("%d %d\n", asking(4), asking(5) + asking(6));
    printf("%d\n", even(500001, 1));
    return 0;
}
