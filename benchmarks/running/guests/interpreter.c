// A byte code machine whose instructions are functions in a table: every instruction is an indirect call.
#include "guest.h"

typedef struct { const uint8_t *code; int place, top, running; int32_t stack[64], memory[256]; } Machine;

typedef void (*Instruction)(Machine *);

static int32_t pop(Machine *m) { return m->stack[--m->top & 63]; }
static void push(Machine *m, int32_t value) { m->stack[m->top++ & 63] = value; }
static uint8_t fetch(Machine *m) { return m->code[m->place++]; }

static void constant(Machine *m) { push(m, fetch(m)); }
static void load(Machine *m) { push(m, m->memory[fetch(m)]); }
static void store(Machine *m) { m->memory[fetch(m)] = pop(m); }
static void load_at(Machine *m) { push(m, m->memory[pop(m) & 255]); }
static void store_at(Machine *m) { int at = pop(m); m->memory[at & 255] = pop(m); }
static void add(Machine *m) { int32_t b = pop(m); push(m, (int32_t)((uint32_t)pop(m) + (uint32_t)b)); }
static void multiply(Machine *m) { int32_t b = pop(m); push(m, (int32_t)((uint32_t)pop(m) * (uint32_t)b)); }
static void exclusive_or(Machine *m) { int32_t b = pop(m); push(m, pop(m) ^ b); }
static void less(Machine *m) { int32_t b = pop(m); push(m, pop(m) < b); }
static void duplicate(Machine *m) { int32_t a = pop(m); push(m, a); push(m, a); }
static void jump_if(Machine *m) {
    PAUSE_POINT();
    uint8_t to = fetch(m);
    if (pop(m)) m->place = to;
}
static void halt(Machine *m) { m->running = 0; }

enum { CONSTANT, LOAD, STORE, LOAD_AT, STORE_AT, ADD, MULTIPLY, XOR, LESS, DUPLICATE, JUMP_IF, HALT };

static Instruction instructions[] = {
    constant, load, store, load_at, store_at, add, multiply, exclusive_or, less, duplicate, jump_if, halt,
};

// for (i = 0; i < 250; i++) memory[i + 3 & 255] ^= (sum = sum * 31 + memory[i]) + i
static const uint8_t program[] = {
    CONSTANT, 0, STORE, 1,
    LOAD, 2, CONSTANT, 31, MULTIPLY, LOAD, 1, LOAD_AT, ADD, DUPLICATE, STORE, 2,
    LOAD, 1, ADD, LOAD, 1, CONSTANT, 3, ADD, LOAD_AT, XOR,
    LOAD, 1, CONSTANT, 3, ADD, STORE_AT,
    LOAD, 1, CONSTANT, 1, ADD, DUPLICATE, STORE, 1,
    CONSTANT, 250, LESS, JUMP_IF, 4,
    HALT,
};

static NOINLINE void execute(Machine *m) {
    m->place = m->top = 0;
    m->running = 1;
    while (m->running) instructions[fetch(m)](m);
}

USUAL_SIZE(190)

EXPORT(run) uint32_t run(int n) {
    static Machine machine;
    machine = (Machine){.code = program};
    for (int i = 0; i < n; i++) {
        if (i % 8 == 0) PAUSE_SOON();
        execute(&machine);
    }
    uint32_t sum = 0;
    for (int i = 0; i < 256; i++) sum = mix(sum, (uint32_t)machine.memory[i]);
    return sum;
}
