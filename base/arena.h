/* Many small objects with one lifetime, freed at once. With a limit it is also the memory budget of a piece of
 * untrusted work: arena_alloc() then returns NULL when the budget is spent or the machine has no more, and the caller
 * reports that. */
#ifndef LOGITOP_BASE_ARENA_H
#define LOGITOP_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used;  /* bytes handed out */
    size_t limit; /* bytes that may be handed out; 0: no limit, and arena_alloc() never returns NULL */
};

void *arena_alloc(struct arena *arena, size_t size);                      /* zeroed, aligned to 16 */
char *arena_dup(struct arena *arena, const void *bytes, size_t size);     /* copy plus NUL */
void arena_free(struct arena *arena);                                     /* keeps the limit, may be used again */

#endif
