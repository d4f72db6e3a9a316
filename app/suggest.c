#include "app/suggest.h"

#include <string.h>

enum { WORD_MAX = 63 };

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Optimal string alignment: three rows of the table are enough for swaps. */
unsigned suggest_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX) return WORD_MAX + 1;
    unsigned rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= m; j++) rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

/* Short words are near to everything: they must match better. */
void suggest_try(struct suggest *suggest, const char *name) {
    unsigned distance = suggest_distance(suggest->word, name);
    unsigned allowed = strlen(suggest->word) >= 6 ? 2 : 1;
    if (distance > allowed || (suggest->best && distance >= suggest->distance)) return;
    suggest->best = name;
    suggest->distance = distance;
}
