// Recursion of every shape: plain, doubly recursive, mutual, with an array on the shadow stack, over a tree on the heap.
#include "guest.h"
#include <stdio.h>
#include <stdlib.h>

static NOINLINE int ackermann(int m, int n) {
    if (m == 0) return n + 1 + (ask(n) & 1) * 0;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

static NOINLINE int fibonacci(int n) {
    if (n < 2) return ask(n) & 3;
    int left = fibonacci(n - 1);
    return left * 3 + fibonacci(n - 2) * 5 + (ask(left) & 7);
}

static NOINLINE int is_odd(int n);
static NOINLINE int is_even(int n) {
    if (n == 0) return ask(0) ? 1 : 2;
    int rest = is_odd(n - 1);
    return rest + (ask(n) & 1);
}
static NOINLINE int is_odd(int n) {
    if (n == 0) return 0;
    return is_even(n - 1) ^ (ask(-n) & 2);
}

static NOINLINE void permute(int *items, int count, int fixed) {
    if (fixed == count) {
        int number = 0;
        for (int i = 0; i < count; i++) number = number * 10 + items[i];
        tell(number);
        return;
    }
    int copy[5];
    for (int i = 0; i < count; i++) copy[i] = items[i];
    for (int i = fixed; i < count; i++) {
        int swapped = copy[fixed];
        copy[fixed] = copy[i];
        copy[i] = swapped;
        permute(copy, count, fixed + 1);
    }
}

struct tree {
    struct tree *left, *right;
    int key;
};

static NOINLINE struct tree *insert(struct tree *tree, int key) {
    if (!tree) {
        tree = malloc(sizeof *tree);
        tree->left = tree->right = 0;
        tree->key = key;
        tell(key);
    } else if (key < tree->key) {
        tree->left = insert(tree->left, key);
    } else {
        tree->right = insert(tree->right, key);
    }
    return tree;
}

static NOINLINE int walk(struct tree *tree, int depth) {
    if (!tree) return 0;
    int sum = walk(tree->left, depth + 1);
    printf("%*s%d\n", depth, "", tree->key);
    sum += ask(tree->key) & 15;
    sum += walk(tree->right, depth + 1);
    free(tree);
    return sum;
}

int main(void) {
    printf("ackermann %d\n", ackermann(2, 3));
    printf("fibonacci %d\n", fibonacci(8));
    printf("even %d\n", is_even(21));
    int items[] = {1, 2, 3, 4};
    permute(items, 4, 0);
    struct tree *tree = 0;
    for (int i = 0; i < 25; i++) tree = insert(tree, ask(i) & 255);
    printf("tree %d\n", walk(tree, 0));
    return 0;
}
