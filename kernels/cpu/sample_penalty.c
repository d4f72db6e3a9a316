/* The stages that look back: repeat, frequency and presence penalties, and DRY ("don't repeat yourself"). */
#include "kernels/cpu/sample_internal.h"

#include "base/buf.h"
#include "kernels/sampling_math.h"

#include <string.h>

/* New logit of an id that the stage touches; count is what s->counts holds. */
typedef float (*penalty_fn)(const struct sampling *sampling, float logit, uint32_t count);

/* Change the logits of the touched ids, wherever the set is. Clears the counts. */
static void chain_change(struct chain *chain, uint32_t n_touched, penalty_fn fn) {
    struct sample_scratch *s = chain->s;
    const struct sampling *sampling = chain->request->sampling;
    if (chain->listed) {
        for (uint32_t i = 0; i < chain->n; i++) {
            uint32_t count = s->counts[s->entries[i].id];
            if (count) s->entries[i].logit = fn(sampling, s->entries[i].logit, count);
        }
        entries_sort(s, s->entries, chain->n, false);
    } else if (n_touched) {
        if (chain->full != s->copy) {
            memcpy(s->copy, chain->full, s->n_vocab * sizeof *s->copy);
            memcpy(s->best_copy, chain->best, s->n_blocks * sizeof *s->best_copy);
            chain->full = s->copy;
            chain->best = s->best_copy;
        }
        for (uint32_t i = 0; i < n_touched; i++) {
            int32_t id = s->touched[i];
            s->copy[id] = fn(sampling, s->copy[id], s->counts[id]);
        }
        for (uint32_t i = 0; i < n_touched; i++) {
            uint32_t block = (uint32_t)s->touched[i] / SCAN_BLOCK, begin = block * SCAN_BLOCK;
            uint32_t left = s->n_vocab - begin;
            s->scan->blocks(s->copy + begin, left < SCAN_BLOCK ? left : SCAN_BLOCK, &s->best_copy[block]);
        }
    }
    for (uint32_t i = 0; i < n_touched; i++) s->counts[s->touched[i]] = 0;
}

static float penalty_of(const struct sampling *p, float logit, uint32_t count) {
    return sampling_penalise(logit, count, p->repeat_penalty, p->frequency_penalty, p->presence_penalty);
}

void chain_penalties(struct chain *chain) {
    const struct sample_request *request = chain->request;
    const struct sampling *p = request->sampling;
    struct sample_scratch *s = chain->s;
    uint32_t n = request->n_history < p->penalty_last_n ? request->n_history : p->penalty_last_n,
             n_touched = 0;
    for (uint32_t i = request->n_history - n; i < request->n_history; i++) {
        int32_t id = request->history[i];
        if (id < 0 || (uint32_t)id >= s->n_vocab) continue;
        if (s->counts[id]++ == 0) s->touched[n_touched++] = id;
    }
    chain_change(chain, n_touched, penalty_of);
}

static bool is_breaker(const struct sampling *p, int32_t id) {
    for (int i = 0; i < DRY_BREAKERS_MAX && p->dry_breakers[i] >= 0; i++)
        if (p->dry_breakers[i] == id) return true;
    return false;
}

/* z[k] = how many tokens before the k-th newest equal, backwards, the newest ones (Gusfield's Z-algorithm on the reversed
 * history), z[0] unused. */
static void repeat_lengths(const int32_t *newest, uint32_t n, uint32_t *z) {
    uint32_t left = 0, right = 0; /* z-box [left, right) */
    for (uint32_t k = 1; k < n; k++) {
        uint32_t length = 0;
        if (k < right) length = z[k - left] < right - k ? z[k - left] : right - k;
        while (k + length < n && newest[-(int64_t)length] == newest[-(int64_t)(k + length)]) length++;
        z[k] = length;
        if (k + length > right) {
            left = k;
            right = k + length;
        }
    }
}

static float dry_of(const struct sampling *p, float logit, uint32_t length_and_one) {
    return sampling_dry(logit, length_and_one - 1, p->dry_allowed_length, p->dry_multiplier, p->dry_base);
}

void chain_dry(struct chain *chain) {
    const struct sample_request *request = chain->request;
    const struct sampling *p = request->sampling;
    struct sample_scratch *s = chain->s;
    uint32_t n = request->n_history;
    if (p->dry_last_n && p->dry_last_n < n) n = p->dry_last_n;
    if (n <= p->dry_allowed_length) return;
    const int32_t *newest = request->history + request->n_history - 1;
    uint32_t limit = n; /* a repetition does not reach over a breaker */
    for (uint32_t i = 0; i < n && limit == n; i++)
        if (is_breaker(p, newest[-(int64_t)i])) limit = i;
    if (limit < p->dry_allowed_length) return;
    size_t cap = s->cap_matches;
    grow_array(&s->matches, &cap, n, sizeof *s->matches);
    s->cap_matches = (uint32_t)cap;
    repeat_lengths(newest, n, s->matches);
    uint32_t n_touched = 0;
    for (uint32_t k = 1; k < n; k++) { /* the token after the k-th newest would go on with the repetition */
        uint32_t length = s->matches[k] < limit ? s->matches[k] : limit;
        int32_t id = newest[-(int64_t)(k - 1)];
        if (length < p->dry_allowed_length || id < 0 || (uint32_t)id >= s->n_vocab || is_breaker(p, id))
            continue;
        if (s->counts[id] == 0) s->touched[n_touched++] = id;
        if (s->counts[id] < length + 1) s->counts[id] = length + 1;
    }
    chain_change(chain, n_touched, dry_of);
}
