/* A map from byte strings to 32-bit numbers. Keys are borrowed: they must outlive the map. Insertion and lookup
 * are constant time for any keys an enemy can choose at file-making time only if the seed is not known to him,
 * so each map draws its own. */
#ifndef LOGITOP_BASE_STRMAP_H
#define LOGITOP_BASE_STRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strmap_slot {
    const char *key; /* NULL: free */
    uint32_t len, value;
};

struct strmap {
    struct strmap_slot *slots;
    size_t n_slots, n_used; /* n_slots is 0 or a power of two */
    uint64_t seed;
};

void strmap_reserve(struct strmap *map, size_t n_keys);
/* False, and nothing changed, if the key is there already. */
bool strmap_add(struct strmap *map, const char *key, size_t len, uint32_t value);
bool strmap_get(const struct strmap *map, const char *key, size_t len, uint32_t *value);
/* A hint that this key is asked for or added soon: a large map's every look misses the processor's caches, and these
 * misses then overlap. */
void strmap_prefetch(const struct strmap *map, const char *key, size_t len);
void strmap_free(struct strmap *map);

uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed);

#endif
