#include "base/buf.h"
#include "base/mem.h"
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RANK_NONE = UINT32_MAX };
/* Up to this many symbols the lowest rank is looked for one by one; measured, the heap wins beyond. */
enum { SHORT_WORD = 32 };

static inline size_t pair_home(const struct merges *merges, uint64_t key) {
    __uint128_t p = (__uint128_t)(key ^ merges->seed) * 0x9E3779B97F4A7C15u;
    return (size_t)(((uint64_t)p ^ (uint64_t)(p >> 64)) >> merges->shift);
}

static inline uint64_t pair_key(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

void merges_init(struct merges *merges, size_t n_pairs) {
    unsigned bits = 4;
    while ((size_t)1 << bits < 2 * n_pairs) bits++;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    /* Its own seed, so that a file cannot choose pairs that all meet in one place. */
    uint64_t drawn[2] = {(uint64_t)now.tv_nsec, (uint64_t)(uintptr_t)merges};
    *merges = (struct merges){
        .n_slots = (size_t)1 << bits, .shift = 64 - bits, .seed = hash_bytes(drawn, sizeof drawn, 1)};
    merges->slots = xmalloc(merges->n_slots * sizeof *merges->slots);
    for (size_t i = 0; i < merges->n_slots; i++) merges->slots[i].key = PAIR_FREE;
}

bool merges_add(struct merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    uint64_t key = pair_key(left, right);
    size_t at = pair_home(merges, key);
    for (; merges->slots[at].key != PAIR_FREE; at = (at + 1) & (merges->n_slots - 1))
        if (merges->slots[at].key == key) return false;
    merges->slots[at] = (struct pair_slot){key, rank, id};
    merges->n_used++;
    return true;
}

void merges_free(struct merges *merges) {
    free(merges->slots);
}

static inline uint32_t pair_find(const struct merges *merges, int32_t left, int32_t right, int32_t *id) {
    uint64_t key = pair_key(left, right);
    for (size_t at = pair_home(merges, key);; at = (at + 1) & (merges->n_slots - 1)) {
        const struct pair_slot *slot = &merges->slots[at];
        if (slot->key == key) {
            *id = slot->id;
            return slot->rank;
        }
        if (slot->key == PAIR_FREE) return RANK_NONE;
    }
}

int32_t *merge_symbols(struct merge_space *space, size_t n) {
    if (n > space->cap) {
        size_t cap = n < 64 ? 64 : n + n / 2;
        merge_space_free(space);
        space->id = xmalloc(cap * sizeof *space->id);
        space->to = xmalloc(cap * sizeof *space->to);
        space->rank = xmalloc(cap * sizeof *space->rank);
        space->next = xmalloc(cap * sizeof *space->next);
        space->prev = xmalloc(cap * sizeof *space->prev);
        space->cap = cap;
    }
    return space->id;
}

void merge_space_free(struct merge_space *space) {
    free(space->id);
    free(space->to);
    free(space->rank);
    free(space->next);
    free(space->prev);
    free(space->heap);
    *space = (struct merge_space){0};
}

static size_t merge_short(const struct merges *merges, struct merge_space *s, size_t n) {
    for (size_t i = 0; i + 1 < n; i++) /* the table is larger than caches: let the misses overlap */
        __builtin_prefetch(&merges->slots[pair_home(merges, pair_key(s->id[i], s->id[i + 1]))]);
    for (size_t i = 0; i + 1 < n; i++) s->rank[i] = pair_find(merges, s->id[i], s->id[i + 1], &s->to[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (s->rank[i] < s->rank[best]) best = i;
        if (s->rank[best] == RANK_NONE) break;
        s->id[best] = s->to[best];
        n--;
        size_t after = n - best - 1;
        memmove(s->id + best + 1, s->id + best + 2, after * sizeof *s->id);
        memmove(s->to + best + 1, s->to + best + 2, after * sizeof *s->to);
        memmove(s->rank + best + 1, s->rank + best + 2, after * sizeof *s->rank);
        if (best > 0) s->rank[best - 1] = pair_find(merges, s->id[best - 1], s->id[best], &s->to[best - 1]);
        if (best + 1 < n) s->rank[best] = pair_find(merges, s->id[best], s->id[best + 1], &s->to[best]);
    }
    return n;
}

/* A heap of four children a node, lowest first: entries are compared by rank, then by position. */
static void heap_sink(uint64_t *heap, size_t n, size_t at) {
    uint64_t moving = heap[at];
    for (;;) {
        size_t child = 4 * at + 1;
        if (child >= n) break;
        size_t last = child + 4 < n ? child + 4 : n, best = child;
        for (size_t i = child + 1; i < last; i++)
            if (heap[i] < heap[best]) best = i;
        if (heap[best] >= moving) break;
        heap[at] = heap[best];
        at = best;
    }
    heap[at] = moving;
}

static void heap_push(struct merge_space *s, size_t *n, uint64_t entry) {
    grow_array(&s->heap, &s->heap_cap, *n + 1, sizeof *s->heap);
    size_t at = (*n)++;
    for (; at > 0 && s->heap[(at - 1) / 4] > entry; at = (at - 1) / 4) s->heap[at] = s->heap[(at - 1) / 4];
    s->heap[at] = entry;
}

/* Look up the pair that begins at `at` and queue it. Entries of pairs that are gone stay in the heap: they
 * are known by their rank, which is no longer that of their place. */
static void queue_pair(const struct merges *merges, struct merge_space *s, size_t *n_heap, uint32_t at) {
    s->rank[at] = pair_find(merges, s->id[at], s->id[s->next[at]], &s->to[at]);
    if (s->rank[at] != RANK_NONE) heap_push(s, n_heap, (uint64_t)s->rank[at] << 32 | at);
}

static size_t merge_long(const struct merges *merges, struct merge_space *s, size_t n) {
    size_t n_heap = 0;
    uint32_t end = (uint32_t)n; /* stands for "no next" */
    for (uint32_t i = 0; i < end; i++) {
        s->next[i] = i + 1;
        s->prev[i] = i - 1;
        s->rank[i] = RANK_NONE;
    }
    grow_array(&s->heap, &s->heap_cap, n, sizeof *s->heap);
    for (uint32_t i = 0; i + 1 < end; i++) {
        s->rank[i] = pair_find(merges, s->id[i], s->id[i + 1], &s->to[i]);
        if (s->rank[i] != RANK_NONE) s->heap[n_heap++] = (uint64_t)s->rank[i] << 32 | i;
    }
    for (size_t i = n_heap / 4 + 1; i-- > 0;)
        if (i < n_heap) heap_sink(s->heap, n_heap, i);
    while (n_heap > 0) {
        uint64_t entry = s->heap[0];
        s->heap[0] = s->heap[--n_heap];
        if (n_heap > 0) heap_sink(s->heap, n_heap, 0);
        uint32_t at = (uint32_t)entry, rank = (uint32_t)(entry >> 32);
        if (s->rank[at] != rank) continue;
        uint32_t gone = s->next[at];
        s->id[at] = s->to[at];
        s->id[gone] = -1;
        s->rank[gone] = s->rank[at] = RANK_NONE;
        s->next[at] = s->next[gone];
        if (s->next[at] < end) {
            s->prev[s->next[at]] = at;
            queue_pair(merges, s, &n_heap, at);
        }
        if (at > 0) queue_pair(merges, s, &n_heap, s->prev[at]);
    }
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (s->id[i] >= 0) s->id[left++] = s->id[i];
    return left;
}

size_t merge_run(const struct merges *merges, struct merge_space *space, size_t n) {
    if (n < 2) return n;
    return n <= SHORT_WORD ? merge_short(merges, space, n) : merge_long(merges, space, n);
}
