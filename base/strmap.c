#include "base/strmap.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A multiply-fold over 8-byte words, as in wyhash: good enough for tables, not for signatures. */
static inline uint64_t fold(uint64_t a, uint64_t b) {
    __uint128_t p = (__uint128_t)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed) {
    const unsigned char *p = bytes;
    uint64_t h = seed ^ 0x9E3779B97F4A7C15u ^ len, word = 0;
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = fold(h ^ word, 0xA0761D6478BD642Fu);
    }
    word = 0;
    if (left) memcpy(&word, p, left);
    h = fold(h ^ word, 0xE7037ED1A0B428DBu);
    return h ^ (h >> 32);
}

static struct strmap_slot *find(const struct strmap *map, const char *key, size_t len) {
    size_t mask = map->n_slots - 1;
    for (size_t at = hash_bytes(key, len, map->seed) & mask;; at = (at + 1) & mask) {
        struct strmap_slot *slot = &map->slots[at];
        if (!slot->key || (slot->len == len && memcmp(slot->key, key, len) == 0)) return slot;
    }
}

void strmap_reserve(struct strmap *map, size_t n_keys) {
    size_t want = 16;
    while (want / 2 < n_keys) want *= 2;
    if (want <= map->n_slots) return;
    struct strmap old = *map;
    if (!map->seed) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        map->seed = fold((uint64_t)now.tv_nsec | 1, (uint64_t)(uintptr_t)map ^ (uint64_t)now.tv_sec) | 1;
    }
    map->slots = xcalloc(want, sizeof *map->slots);
    map->n_slots = want;
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i].key) *find(map, old.slots[i].key, old.slots[i].len) = old.slots[i];
    free(old.slots);
}

bool strmap_add(struct strmap *map, const char *key, size_t len, uint32_t value) {
    strmap_reserve(map, map->n_used + 1);
    struct strmap_slot *slot = find(map, key, len);
    if (slot->key) return false;
    *slot = (struct strmap_slot){key, (uint32_t)len, value};
    map->n_used++;
    return true;
}

bool strmap_get(const struct strmap *map, const char *key, size_t len, uint32_t *value) {
    if (!map->n_slots) return false;
    const struct strmap_slot *slot = find(map, key, len);
    if (!slot->key) return false;
    if (value) *value = slot->value;
    return true;
}

void strmap_prefetch(const struct strmap *map, const char *key, size_t len) {
    if (map->n_slots) __builtin_prefetch(&map->slots[hash_bytes(key, len, map->seed) & (map->n_slots - 1)]);
}

void strmap_free(struct strmap *map) {
    free(map->slots);
    *map = (struct strmap){0};
}
