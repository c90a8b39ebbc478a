// Trees that are built, walked and freed: recursion, and the C library's allocator.
#include "guest.h"
#include <stdlib.h>

enum { DEPTH = 12 };

typedef struct Tree { struct Tree *left, *right; } Tree;

static NOINLINE Tree *grow(int depth) {
    Tree *tree = malloc(sizeof *tree);
    if (!tree) abort();
    PAUSE_POINT();
    tree->left = depth > 0 ? grow(depth - 1) : NULL;
    tree->right = depth > 0 ? grow(depth - 1) : NULL;
    return tree;
}

static NOINLINE uint32_t walk(const Tree *tree, uint32_t sum) {
    PAUSE_POINT();
    if (!tree->left) return mix(sum, 1);
    return mix(walk(tree->left, sum + 1) + walk(tree->right, sum), 2);
}

static NOINLINE void fell(Tree *tree) {
    if (tree->left) {
        fell(tree->left);
        fell(tree->right);
    }
    free(tree);
}

USUAL_SIZE(120)

EXPORT(run) uint32_t run(int n) {
    uint32_t sum = 0;
    Tree *kept = grow(DEPTH);
    for (int i = 0; i < n; i++) {
        PAUSE_SOON();
        Tree *tree = grow(DEPTH - i % 4);
        sum = walk(tree, sum);
        fell(tree);
    }
    sum = walk(kept, sum);
    fell(kept);
    return sum;
}
