#include "base/arena.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

enum { BLOCK_SIZE = 64 * 1024 };

void *arena_alloc(struct arena *arena, size_t size) {
    size_t rounded;
    if (!size_add(size, 15, &rounded)) return NULL;
    rounded &= ~(size_t)15;
    if (arena->limit && (rounded > arena->limit || arena->used > arena->limit - rounded)) return NULL;
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < rounded) {
        size_t room = rounded > BLOCK_SIZE / 4 ? rounded : BLOCK_SIZE;
        block = arena->limit ? malloc(sizeof *block + room) : xmalloc(sizeof *block + room);
        if (!block) return NULL;
        block->used = 0;
        block->size = room;
        if (arena->blocks && room == rounded) { /* a big object must not hide the half-full block */
            block->next = arena->blocks->next;
            arena->blocks->next = block;
        } else {
            block->next = arena->blocks;
            arena->blocks = block;
        }
    }
    void *at = block->bytes + block->used;
    block->used += rounded;
    arena->used += rounded;
    return memset(at, 0, rounded);
}

char *arena_dup(struct arena *arena, const void *bytes, size_t size) {
    char *copy = arena_alloc(arena, size + 1);
    if (copy && size) memcpy(copy, bytes, size);
    return copy;
}

void arena_free(struct arena *arena) {
    struct arena_block *block = arena->blocks;
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->blocks = NULL;
    arena->used = 0;
}
