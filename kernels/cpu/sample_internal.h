/* Shared by the files of sampling: the set of tokens that the chain has left.
 *
 * FULL: all ids are left, with the logits in `full` (the raw ones, or a copy that penalties changed) and the largest of
 * every SCAN_BLOCK of them in `best`. LIST: `n` entries, sorted by (logit descending, id ascending). A stage that cuts
 * takes FULL to LIST or shortens LIST; nothing goes back. state[id] tells which stage removed an id. */
#ifndef LOGITOP_KERNELS_CPU_SAMPLE_INTERNAL_H
#define LOGITOP_KERNELS_CPU_SAMPLE_INTERNAL_H

#include "kernels/cpu/sample.h"
#include "kernels/cpu/sample_scan.h"

#include <stdbool.h>

struct entry {
    float logit;
    int32_t id;
};

struct sample_scratch {
    uint32_t n_vocab, n_blocks;
    const struct scan_ops *scan;
    float *copy;       /* [n_vocab] logits that penalties or a temperature changed */
    float *best;       /* [n_blocks] of the raw logits */
    float *best_copy;  /* [n_blocks] of the copy */
    uint64_t *weights; /* [n_vocab] */
    uint64_t *keys, *keys_spare;         /* [n_vocab] for sorting */
    uint32_t *slots;                     /* [n_vocab] place in the list by id */
    uint32_t *counts;                    /* [n_vocab] zero between calls; of ids in `touched` */
    int32_t *touched;                    /* [n_vocab] */
    uint8_t *state;                      /* [n_vocab] enum stage */
    struct entry *entries, *top_entries; /* [n_vocab] */
    uint32_t *matches;                   /* [cap_matches] DRY: repeat length by position */
    uint32_t cap_matches;
};

struct chain {
    struct sample_scratch *s;
    const struct sample_request *request;
    const float *full;
    const float *best;
    bool listed; /* LIST */
    uint32_t n;  /* entries of the list */
    void (*after)(const struct chain *chain, enum stage stage, void *ctx); /* NULL, or told first of STAGE_NONE, then of every stage that is on */
    void *ctx;
};

/* ---- sample.c ---- */

struct choice {
    int32_t id;
    float max;
    uint64_t total; /* weights of what is left; 0: greedy, all of it is on id */
};

/* Run the stages and pick. The largest of every block of the raw logits must be in s->best. */
struct choice chain_run(struct chain *chain);
/* What is left at this point; its id means nothing. */
struct choice chain_left(const struct chain *chain);
/* Probability of an id as things stand; 0 where it was cut. Takes chain_places() first. */
float chain_prob(const struct chain *chain, const struct choice *choice, int32_t id);
void chain_places(const struct chain *chain);

/* ---- sample_select.c ---- */

/* Sort ascending by the whole word; with `by_id` the input is in order of its low halves already. */
void keys_sort(uint64_t *keys, uint64_t *spare, uint32_t n, bool by_id);
void entries_sort(struct sample_scratch *s, struct entry *entries, uint32_t n, bool by_id);
/* The k best of all logits, sorted; returns min(k, n_vocab). */
uint32_t select_best(struct sample_scratch *s, const float *logits, const float *best, uint32_t k, struct entry *out);
/* All with a logit of at least `least`, sorted. */
uint32_t select_above(struct sample_scratch *s, const float *logits, const float *best, float least, struct entry *out);
/* Sorted: at least those whose |d - mean| (d = max - logit) is smallest until their weights come to more than `need`. */
uint32_t select_near(struct sample_scratch *s, const float *logits, float max, float mean, uint64_t need, struct entry *out);

/* ---- sample_penalty.c ---- */
void chain_penalties(struct chain *chain);
void chain_dry(struct chain *chain);

#endif
