/* "did you mean": the nearest of some names to a word that is none of them. */
#ifndef LOGITOP_APP_SUGGEST_H
#define LOGITOP_APP_SUGGEST_H

#include <stddef.h>

/* Changes (insert, drop, replace, swap neighbours) that make one word of the other. Words over 63 bytes are
 * far from all. */
unsigned suggest_distance(const char *a, const char *b);

/* Keeps the nearest name seen. Start with {.word = ...}. */
struct suggest {
    const char *word;
    const char *best; /* NULL: nothing near */
    unsigned distance;
};
void suggest_try(struct suggest *suggest, const char *name);

#endif
