/* Finding the tokens that a stage keeps without sorting the vocabulary: block maxima or a histogram give a threshold, what
 * is above it is collected and sorted. */
#include "kernels/cpu/sample_internal.h"

#include "kernels/sampling_math.h"

#include <math.h>
#include <string.h>

enum { RADIX_BITS = 11, RADIX = 1 << RADIX_BITS, SMALL_SORT = 32, BUCKETS = 4096 };
#define BUCKETS_A_NAT 64.0f

static void insertion_sort(uint64_t *keys, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        uint32_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

void keys_sort(uint64_t *keys, uint64_t *spare, uint32_t n, bool by_id) {
    if (n <= SMALL_SORT) {
        insertion_sort(keys, n);
        return;
    }
    uint64_t *from = keys, *to = spare;
    for (uint32_t shift = by_id ? 32 : 0; shift < 64; shift += shift == 22 ? 10 : RADIX_BITS) {
        uint32_t at[RADIX] = {0}, sum = 0;
        uint32_t mask = shift == 22 ? (1u << 10) - 1
                                    : RADIX - 1; /* the low word in 11 + 11 + 10, the high one likewise */
        for (uint32_t i = 0; i < n; i++) at[(from[i] >> shift) & mask]++;
        for (uint32_t b = 0; b < RADIX; b++) {
            uint32_t count = at[b];
            at[b] = sum;
            sum += count;
        }
        for (uint32_t i = 0; i < n; i++) to[at[(from[i] >> shift) & mask]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) memcpy(keys, from, n * sizeof *keys);
}

void entries_sort(struct sample_scratch *s, struct entry *entries, uint32_t n, bool by_id) {
    for (uint32_t i = 0; i < n; i++)
        s->keys[i] = (uint64_t)~sampling_key(entries[i].logit) << 32 | (uint32_t)entries[i].id;
    keys_sort(s->keys, s->keys_spare, n, by_id);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = ~(uint32_t)(s->keys[i] >> 32);
        uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
        memcpy(&entries[i].logit, &bits, sizeof bits);
        entries[i].id = (int32_t)(uint32_t)s->keys[i];
    }
}

static uint32_t collect_above(const struct sample_scratch *s, const float *logits, const float *best,
                              float least, struct entry *out) {
    uint32_t n = 0;
    for (uint32_t b = 0; b < s->n_blocks; b++) {
        if (best[b] < least) continue;
        uint32_t begin = b * SCAN_BLOCK,
                 end = begin + SCAN_BLOCK < s->n_vocab ? begin + SCAN_BLOCK : s->n_vocab;
        for (uint32_t i = begin; i < end; i++) {
            out[n] = (struct entry){logits[i],
                                    (int32_t)i}; /* written first, counted then: no branch to guess wrong */
            n += logits[i] >= least;
            if (n == s->n_vocab) return n;
        }
    }
    return n;
}

uint32_t select_above(struct sample_scratch *s, const float *logits, const float *best, float least,
                      struct entry *out) {
    uint32_t n = collect_above(s, logits, best, least, out);
    entries_sort(s, out, n, true);
    return n;
}

/* The k-th largest of n values, 1 <= k <= n: Hoare's selection, on a copy in `work`. */
static float kth_largest(const float *values, uint32_t n, uint32_t k, float *work) {
    memcpy(work, values, n * sizeof *work);
    int64_t low = 0, high = (int64_t)n - 1, want = (int64_t)k - 1;
    while (low < high) {
        float pivot = work[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (work[i] > pivot) i++;
            while (work[j] < pivot) j--;
            if (i > j) break;
            float swap = work[i];
            work[i++] = work[j];
            work[j--] = swap;
        }
        if (want <= j)
            high = j;
        else if (want >= i)
            low = i;
        else
            break;
    }
    return work[want];
}

static uint32_t bucket_of(float distance) {
    float place = distance * BUCKETS_A_NAT;
    return place < BUCKETS - 1 ? (uint32_t)place : BUCKETS - 1;
}

/* Collect, in order of ids, what lies in the first buckets of |max - logit - mean| that hold more than `need`. */
static uint32_t collect_near(struct sample_scratch *s, const float *logits, float max, float mean, bool weigh,
                             uint64_t need, struct entry *out) {
    uint64_t held[BUCKETS] = {0}, sum = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++)
        held[bucket_of(fabsf(max - logits[i] - mean))] += weigh ? s->weights[i] : 1;
    uint32_t last = 0;
    for (; last < BUCKETS - 1; last++) {
        sum += held[last];
        if (sum > need) break;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        out[n] = (struct entry){logits[i], (int32_t)i};
        n += bucket_of(fabsf(max - logits[i] - mean)) <= last;
        if (n == s->n_vocab) break;
    }
    return n;
}

uint32_t select_best(struct sample_scratch *s, const float *logits, const float *best, uint32_t k,
                     struct entry *out) {
    if (k == 0) return 0;
    uint32_t n;
    if (k >= s->n_vocab) {
        n = collect_above(s, logits, best, -INFINITY, out);
    } else if (k <= s->n_blocks / 2) {
        /* k blocks have a maximum of at least this, so at least k logits do. */
        n = collect_above(s, logits, best, kth_largest(best, s->n_blocks, k, (float *)s->keys), out);
    } else {
        float max = best[0];
        for (uint32_t b = 1; b < s->n_blocks; b++) max = best[b] > max ? best[b] : max;
        n = collect_near(s, logits, max, 0, false, k - 1, out);
    }
    entries_sort(s, out, n, true);
    return n < k ? n : k;
}

uint32_t select_near(struct sample_scratch *s, const float *logits, float max, float mean, uint64_t need,
                     struct entry *out) {
    s->scan->weights(logits, s->n_vocab, max, s->weights);
    uint32_t n = collect_near(s, logits, max, mean, true, need, out);
    entries_sort(s, out, n, true);
    return n;
}
