// A byte code interpreter: one big loop around one big switch, the shape of SQLite's and QuickJS's hearts.
#include "guest.h"
#include <stdio.h>

enum op {
    PUSH, POP, DUP, SWAP, OVER, ROT, ADD, SUB, MUL, DIV, MOD, AND, OR, XOR, SHL, SHR, NEG, NOT, LT, GT, EQ, JUMP, JZ, JNZ,
    CALL, RET, LOAD, STORE, ASK, TELL, MIX, WIDE, NARROW, PICK, DROP2, INC, DEC, PRINT, TWICE, HALT
};

static int memory[16];

static NOINLINE int execute(const signed char *code, int pc, int depth) {
    int stack[32], top = 0, steps = 0;
    for (;;) {
        steps++;
        switch ((enum op)code[pc++]) {
        case PUSH: stack[top++] = code[pc++]; break;
        case POP: top--; break;
        case DUP: stack[top] = stack[top - 1]; top++; break;
        case SWAP: { int a = stack[top - 1]; stack[top - 1] = stack[top - 2]; stack[top - 2] = a; break; }
        case OVER: stack[top] = stack[top - 2]; top++; break;
        case ROT: { int a = stack[top - 3]; stack[top - 3] = stack[top - 2]; stack[top - 2] = stack[top - 1]; stack[top - 1] = a; break; }
        case ADD: top--; stack[top - 1] += stack[top]; break;
        case SUB: top--; stack[top - 1] -= stack[top]; break;
        case MUL: top--; stack[top - 1] *= stack[top]; break;
        case DIV: top--; if (!stack[top]) { tell(-1); return -1; } stack[top - 1] /= stack[top]; break;
        case MOD: top--; if (!stack[top]) { tell(-2); return -2; } stack[top - 1] %= stack[top]; break;
        case AND: top--; stack[top - 1] &= stack[top]; break;
        case OR: top--; stack[top - 1] |= stack[top]; break;
        case XOR: top--; stack[top - 1] ^= stack[top]; break;
        case SHL: top--; stack[top - 1] = (int)((unsigned)stack[top - 1] << (stack[top] & 31)); break;
        case SHR: top--; stack[top - 1] >>= stack[top] & 31; break;
        case NEG: stack[top - 1] = -stack[top - 1]; break;
        case NOT: stack[top - 1] = !stack[top - 1]; break;
        case LT: top--; stack[top - 1] = stack[top - 1] < stack[top]; break;
        case GT: top--; stack[top - 1] = stack[top - 1] > stack[top]; break;
        case EQ: top--; stack[top - 1] = stack[top - 1] == stack[top]; break;
        case JUMP: pc += code[pc] + 1; break;
        case JZ: { int by = code[pc++]; if (!stack[--top]) pc += by; break; }
        case JNZ: { int by = code[pc++]; if (stack[--top]) pc += by; break; }
        case CALL: { int to = code[pc++]; stack[top++] = execute(code, to, depth + 1); break; }
        case RET: tell(steps); return top ? stack[top - 1] : 0;
        case LOAD: stack[top++] = memory[code[pc++] & 15]; break;
        case STORE: memory[code[pc++] & 15] = stack[--top]; break;
        case ASK: stack[top - 1] = ask(stack[top - 1]) & 0xFFFF; break;
        case TELL: tell(stack[--top]); break;
        case MIX: top--; stack[top - 1] = (int)mix(stack[top], stack[top - 1], (float)depth, 0.5); break;
        case WIDE: top--; stack[top - 1] = (int)wide((int64_t)stack[top] << 32, stack[top - 1]); break;
        case NARROW: stack[top - 1] = (int)narrow((float)stack[top - 1]); break;
        case PICK: { int n = code[pc++]; stack[top] = stack[top - 1 - n]; top++; break; }
        case DROP2: top -= 2; break;
        case INC: stack[top - 1]++; break;
        case DEC: stack[top - 1]--; break;
        case PRINT: printf("%d\n", stack[--top]); break;
        case TWICE: { int before = top; for (int i = 0; i < 2; i++) { tell(before + i); stack[top - 1] += ask(i); } break; }
        case HALT: printf("halted after %d steps, depth %d\n", steps, depth); return stack[0];
        }
    }
}

static NOINLINE int sparse(int key) {
    switch (key) {
    case -1000: return ask(1);
    case -7: tell(2); return 2;
    case 0: return ask(3) + ask(4);
    case 9: tell(5); /* falls through */
    case 10: return ask(6) * 2;
    case 100000: { int sum = 0; for (int i = 0; i < 3; i++) sum += ask(i); return sum; }
    case 0x7FFFFFFF: return (int)narrow(1.5f);
    default: return key ^ ask(key);
    }
}

int main(void) {
    static const signed char code[] = {
        /*  0 */ PUSH, 12, STORE, 0,
        /*  4 */ LOAD, 0, ASK, PUSH, 37, MOD, DUP, TELL, LOAD, 1, ADD, STORE, 1,
        /* 17 */ LOAD, 0, CALL, 44, ADD, PRINT,
        /* 23 */ LOAD, 0, DEC, DUP, STORE, 0, JNZ, 4 - 31,
        /* 31 */ LOAD, 1, TWICE, PUSH, 3, WIDE, PUSH, 5, MIX, PRINT, PUSH, 1, HALT,
        /* 44 */ LOAD, 2, INC, DUP, STORE, 2, PUSH, 6, MOD, JZ, 4, LOAD, 2, NARROW, RET,
        /* 59 */ PUSH, 7, ASK, DUP, OVER, SWAP, ROT, XOR, SUB, TELL, PUSH, 9, NEG, NOT, RET,
    };
    printf("result %d\n", execute(code, 0, 0));
    static const int keys[] = {-1000, -7, 0, 9, 10, 11, 100000, 0x7FFFFFFF, -3};
    for (int i = 0; i < 9; i++) printf("%d: %d\n", keys[i], sparse(keys[i]));
    return 0;
}
