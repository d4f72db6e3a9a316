#include "kernels/cpu/sample.h"

#include "base/mem.h"
#include "kernels/cpu/sample_internal.h"
#include "kernels/sampling_math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIXED_ONE ((double)(1ull << 44))

struct sample_scratch *sample_scratch_new(uint32_t n_vocab) {
    if (n_vocab == 0 || n_vocab > 1u << 18) return NULL;
    struct sample_scratch *s = xcalloc(1, sizeof *s);
    s->n_vocab = n_vocab;
    s->n_blocks = (n_vocab + SCAN_BLOCK - 1) / SCAN_BLOCK;
    s->scan = scan_best();
    s->copy = xmalloc(n_vocab * sizeof *s->copy);
    s->best = xmalloc(s->n_blocks * sizeof *s->best);
    s->best_copy = xmalloc(s->n_blocks * sizeof *s->best_copy);
    s->weights = xmalloc(n_vocab * sizeof *s->weights);
    s->keys = xmalloc(n_vocab * sizeof *s->keys);
    s->keys_spare = xmalloc(n_vocab * sizeof *s->keys_spare);
    s->slots = xmalloc(n_vocab * sizeof *s->slots);
    s->counts = xcalloc(n_vocab, sizeof *s->counts);
    s->touched = xmalloc(n_vocab * sizeof *s->touched);
    s->state = xmalloc(n_vocab);
    s->entries = xmalloc((n_vocab + 1ul) * sizeof *s->entries);
    s->top_entries = xmalloc((n_vocab + 1ul) * sizeof *s->top_entries);
    return s;
}

void sample_scratch_free(struct sample_scratch *s) {
    if (!s) return;
    free(s->copy);
    free(s->best);
    free(s->best_copy);
    free(s->weights);
    free(s->keys);
    free(s->keys_spare);
    free(s->slots);
    free(s->counts);
    free(s->touched);
    free(s->state);
    free(s->entries);
    free(s->top_entries);
    free(s->matches);
    free(s);
}

/* ---- the set ---- */

static float largest(const float *best, uint32_t n) {
    float max = best[0];
    for (uint32_t i = 1; i < n; i++) max = best[i] > max ? best[i] : max;
    return max;
}

static float chain_max(const struct chain *chain) {
    return chain->listed ? chain->s->entries[0].logit : largest(chain->best, chain->s->n_blocks);
}

static struct scan_sums chain_sums(const struct chain *chain, float max) {
    struct sample_scratch *s = chain->s;
    if (!chain->listed) return s->scan->sums(chain->full, s->n_vocab, max);
    struct scan_sums sums = {0, 0};
    for (uint32_t i = 0; i < chain->n; i++) {
        sums.weights += sampling_weight(s->entries[i].logit, max);
        sums.distances += sampling_distance(s->entries[i].logit, max);
    }
    return sums;
}

/* FULL becomes the list of n entries that s->entries holds; the others were cut by this stage. */
static void chain_list(struct chain *chain, uint32_t n, enum stage stage) {
    struct sample_scratch *s = chain->s;
    memset(s->state, stage, s->n_vocab);
    for (uint32_t i = 0; i < n; i++) s->state[s->entries[i].id] = STAGE_NONE;
    chain->listed = true;
    chain->n = n;
}

/* Keep the first n entries. */
static void chain_keep(struct chain *chain, uint32_t n, enum stage stage) {
    struct sample_scratch *s = chain->s;
    for (uint32_t i = n; i < chain->n; i++) s->state[s->entries[i].id] = (uint8_t)stage;
    if (n < chain->n) chain->n = n;
}

/* ---- stages that cut ---- */

static void stage_top_k(struct chain *chain) {
    struct sample_scratch *s = chain->s;
    uint32_t k = chain->request->sampling->top_k;
    if (k >= (chain->listed ? chain->n : s->n_vocab)) return;
    if (!chain->listed)
        chain_list(chain, select_best(s, chain->full, chain->best, k, s->entries), STAGE_TOP_K);
    else
        chain_keep(chain, k, STAGE_TOP_K);
}

static void stage_top_p(struct chain *chain) {
    struct sample_scratch *s = chain->s;
    float p = chain->request->sampling->top_p, max = chain_max(chain);
    uint64_t need = sampling_share(chain_sums(chain, max).weights, p > 0 ? p : 0), sum = 0;
    if (!chain->listed) chain_list(chain, select_near(s, chain->full, max, 0, need, s->entries), STAGE_TOP_P);
    uint32_t n = 0;
    while (n < chain->n) {
        sum += sampling_weight(s->entries[n++].logit, max);
        if (sum >= need) break;
    }
    chain_keep(chain, n, STAGE_TOP_P);
}

static void stage_typical(struct chain *chain) {
    struct sample_scratch *s = chain->s;
    float p = chain->request->sampling->typical_p, max = chain_max(chain);
    struct scan_sums sums = chain_sums(chain, max);
    float mean = sampling_mean(sums.distances, sums.weights);
    uint64_t need = sampling_share(sums.weights, p > 0 ? p : 0), sum = 0;
    if (!chain->listed)
        chain_list(chain, select_near(s, chain->full, max, mean, need, s->entries), STAGE_TYPICAL);
    for (uint32_t i = 0; i < chain->n; i++) {
        float score = fabsf(max - s->entries[i].logit - mean);
        s->keys[i] = (uint64_t)sampling_key(score) << 32 | (uint32_t)s->entries[i].id;
        s->weights[s->entries[i].id] = sampling_weight(s->entries[i].logit, max);
    }
    keys_sort(s->keys, s->keys_spare, chain->n, false);
    bool enough = false;
    for (uint32_t i = 0; i < chain->n; i++) {
        uint32_t id = (uint32_t)s->keys[i];
        if (enough) s->state[id] = STAGE_TYPICAL;
        sum += s->weights[id];
        enough = enough || sum > need;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < chain->n; i++)
        if (s->state[s->entries[i].id] == STAGE_NONE) s->entries[n++] = s->entries[i];
    chain->n = n;
}

static void stage_min_p(struct chain *chain) {
    struct sample_scratch *s = chain->s;
    float p = chain->request->sampling->min_p, max = chain_max(chain);
    uint64_t need = sampling_fixed(p < 1 ? p : 1);
    if (need == 0) return;
    if (!chain->listed) {
        /* A coarse bound, surely below the true one: log is only good to a few bits more than a weight. */
        float least = max - (float)fmin(SAMPLING_FAR, -log(p < 1 ? p : 1) + 0.01);
        least = fminf(least, nextafterf(max, -INFINITY));
        chain_list(chain, select_above(s, chain->full, chain->best, least, s->entries), STAGE_MIN_P);
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < chain->n; i++) {
        if (sampling_weight(s->entries[i].logit, max) >= need)
            s->entries[n++] = s->entries[i];
        else
            s->state[s->entries[i].id] = STAGE_MIN_P;
    }
    chain->n = n;
}

static void stage_xtc(struct chain *chain) {
    struct sample_scratch *s = chain->s;
    const struct sampling *p = chain->request->sampling;
    if (p->xtc_threshold > 0.5f) return;
    uint32_t coin = sampling_draw(p->seed, chain->request->position, p->attempt, STAGE_XTC).word[0];
    if (!(coin / 4294967296.0 < (double)p->xtc_probability)) return;
    if (!chain->listed)
        chain_list(chain, select_best(s, chain->full, chain->best, s->n_vocab, s->entries), STAGE_XTC);
    float max = chain_max(chain);
    uint64_t need =
        sampling_share(chain_sums(chain, max).weights, p->xtc_threshold > 0 ? p->xtc_threshold : 0);
    uint32_t last = 0;
    while (last + 1 < chain->n && sampling_weight(s->entries[last + 1].logit, max) >= need) last++;
    for (uint32_t i = 0; i < last; i++) s->state[s->entries[i].id] = STAGE_XTC;
    memmove(s->entries, s->entries + last, (chain->n - last) * sizeof *s->entries);
    chain->n -= last;
}

static void stage_temperature(struct chain *chain) {
    struct sample_scratch *s = chain->s;
    float temperature = chain->request->sampling->temperature, max = chain_max(chain);
    if (chain->listed) {
        for (uint32_t i = 0; i < chain->n; i++)
            s->entries[i].logit = sampling_heat(s->entries[i].logit, max, temperature);
        return;
    }
    if (chain->full != s->copy) {
        memcpy(s->copy, chain->full, s->n_vocab * sizeof *s->copy);
        memcpy(s->best_copy, chain->best, s->n_blocks * sizeof *s->best_copy);
        chain->full = s->copy;
        chain->best = s->best_copy;
    }
    s->scan->heat(s->copy, s->n_vocab, max, temperature);
    s->scan->heat(s->best_copy, s->n_blocks, max, temperature);
}

/* ---- the choice ---- */

static struct choice pick_full(const struct chain *chain, float max, uint64_t total, uint64_t target) {
    struct sample_scratch *s = chain->s;
    s->scan->weights(chain->full, s->n_vocab, max, s->weights);
    uint32_t id = 0;
    for (uint64_t sum = s->weights[0]; sum <= target; sum += s->weights[id]) id++;
    return (struct choice){(int32_t)id, max, total};
}

static struct choice pick_listed(const struct chain *chain, float max, uint64_t total, uint64_t target) {
    struct sample_scratch *s = chain->s;
    for (uint32_t i = 0; i < chain->n; i++) {
        s->keys[i] = (uint64_t)(uint32_t)s->entries[i].id << 32 | i;
        s->weights[i] = sampling_weight(s->entries[i].logit, max);
    }
    keys_sort(s->keys, s->keys_spare, chain->n, true); /* places are in order already */
    uint32_t i = 0;
    for (uint64_t sum = s->weights[(uint32_t)s->keys[0]]; sum <= target;
         sum += s->weights[(uint32_t)s->keys[i]])
        i++;
    return (struct choice){(int32_t)(s->keys[i] >> 32), max, total};
}

static struct choice chain_pick(const struct chain *chain) {
    const struct sampling *p = chain->request->sampling;
    float max = chain_max(chain);
    uint64_t total = chain_sums(chain, max).weights;
    struct philox draw = sampling_draw(p->seed, chain->request->position, p->attempt, STAGE_NONE);
    uint64_t target = sampling_mulhi((uint64_t)draw.word[1] << 32 | draw.word[0], total);
    return chain->listed ? pick_listed(chain, max, total, target) : pick_full(chain, max, total, target);
}

static int32_t first_largest(const struct chain *chain) {
    const struct sample_scratch *s = chain->s;
    float max = largest(chain->best, s->n_blocks);
    uint32_t block = 0;
    while (chain->best[block] != max) block++;
    uint32_t id = block * SCAN_BLOCK;
    while (chain->full[id] != max) id++;
    return (int32_t)id;
}

static bool stage_is_on(const struct sampling *p, enum stage stage) {
    switch (stage) {
    case STAGE_PENALTIES:
        return (p->repeat_penalty != 1 || p->frequency_penalty != 0 || p->presence_penalty != 0) &&
               p->penalty_last_n > 0;
    case STAGE_DRY: return p->dry_multiplier != 0 && p->dry_base >= 1;
    default: break;
    }
    if (!(p->temperature > 0)) return false; /* greedy: nothing else changes which logit is the largest */
    switch (stage) {
    case STAGE_TOP_K: return p->top_k > 0;
    case STAGE_TYPICAL: return p->typical_p < 1;
    case STAGE_TOP_P: return p->top_p < 1;
    case STAGE_MIN_P: return p->min_p > 0;
    case STAGE_XTC: return p->xtc_probability > 0;
    case STAGE_TEMPERATURE: return p->temperature != 1;
    default: return false;
    }
}

static void run_stage(struct chain *chain, enum stage stage) {
    switch (stage) {
    case STAGE_PENALTIES: chain_penalties(chain); break;
    case STAGE_DRY: chain_dry(chain); break;
    case STAGE_TOP_K: stage_top_k(chain); break;
    case STAGE_TYPICAL: stage_typical(chain); break;
    case STAGE_TOP_P: stage_top_p(chain); break;
    case STAGE_MIN_P: stage_min_p(chain); break;
    case STAGE_XTC: stage_xtc(chain); break;
    case STAGE_TEMPERATURE: stage_temperature(chain); break;
    default: break;
    }
    if (chain->after) chain->after(chain, stage, chain->ctx);
}

struct choice chain_run(struct chain *chain) {
    const struct sampling *p = chain->request->sampling;
    memset(chain->s->state, STAGE_NONE, chain->s->n_vocab);
    if (chain->after) chain->after(chain, STAGE_NONE, chain->ctx);
    for (int i = 0; i < STAGE_COUNT && p->order[i] != STAGE_NONE; i++)
        if (stage_is_on(p, p->order[i])) run_stage(chain, p->order[i]);
    if (p->temperature > 0) return chain_pick(chain);
    struct choice choice = {first_largest(chain), 0, 0};
    memset(chain->s->state, STAGE_TEMPERATURE, chain->s->n_vocab);
    chain->s->state[choice.id] = STAGE_NONE;
    return choice;
}

/* ---- what is told ---- */

struct choice chain_left(const struct chain *chain) {
    float max = chain_max(chain);
    return (struct choice){-1, max, chain_sums(chain, max).weights};
}

void chain_places(const struct chain *chain) {
    struct sample_scratch *s = chain->s;
    if (!chain->listed) return;
    for (uint32_t i = 0; i < chain->n; i++) s->slots[s->entries[i].id] = i;
}

float chain_prob(const struct chain *chain, const struct choice *choice, int32_t id) {
    const struct sample_scratch *s = chain->s;
    if (s->state[id] != STAGE_NONE) return 0;
    if (choice->total == 0) return 1;
    float logit = chain->listed ? s->entries[s->slots[id]].logit : chain->full[id];
    return (float)((double)sampling_weight(logit, choice->max) / (double)choice->total);
}

static void tell_raw(const struct sample_scratch *s, const struct sample_request *request, float max,
                     struct step_result *out) {
    struct scan_sums sums = s->scan->sums(request->logits, s->n_vocab, max);
    double log_total = log((double)sums.weights / FIXED_ONE);
    out->log_sum_exp = (float)(max + log_total);
    out->entropy = (float)(log_total + (double)sums.distances / (double)sums.weights);
}

static void tell_chosen(const struct sample_scratch *s, const struct sample_request *request,
                        struct step_result *out) {
    if (out->id < 0) return;
    uint32_t larger, equal, ties = 0, before;
    out->logit = request->logits[out->id];
    s->scan->count(request->logits, s->n_vocab, out->logit, &larger, &equal);
    if (equal > 1) s->scan->count(request->logits, (uint32_t)out->id, out->logit, &before, &ties);
    out->rank = larger + ties + 1;
}

/* Without sampling the probability is the raw one. */
static float raw_prob(const struct step_result *out, float logit) {
    return (float)exp((double)logit - (double)out->log_sum_exp);
}

static void tell_candidates(const struct chain *chain, const struct choice *choice, struct step_result *out) {
    struct sample_scratch *s = chain->s;
    const struct sample_request *request = chain->request;
    uint32_t k = request->top_k < CANDIDATES_MAX ? request->top_k : CANDIDATES_MAX;
    uint32_t n = select_best(s, request->logits, s->best, k, s->top_entries);
    bool chosen_listed = out->id < 0;
    for (uint32_t i = 0; i < n; i++) chosen_listed = chosen_listed || s->top_entries[i].id == out->id;
    if (!chosen_listed) s->top_entries[n++] = (struct entry){request->logits[out->id], out->id};
    if (choice) chain_places(chain);
    for (uint32_t i = 0; i < n; i++) {
        struct entry entry = s->top_entries[i];
        out->top[i] = (struct candidate){
            .id = entry.id,
            .logit = entry.logit,
            .prob = choice ? chain_prob(chain, choice, entry.id) : raw_prob(out, entry.logit),
            .cut = choice ? s->state[entry.id] : STAGE_NONE,
        };
        if (entry.id == out->id) out->prob = out->top[i].prob;
    }
    out->n_top = n;
    if (request->top_k == 0) out->n_top = 0;
}

int sample_position(struct sample_scratch *s, const struct sample_request *request, struct step_result *out,
                    struct err *err) {
    if (!s->scan->blocks(request->logits, s->n_vocab, s->best)) {
        uint32_t id = 0;
        while (isfinite(request->logits[id])) id++;
        return err_set(err, STATUS_FAILED, "position %u: the logit of token %u is %f, not a finite number",
                       request->position, id, (double)request->logits[id]);
    }
    float max = largest(s->best, s->n_blocks);
    struct chain chain = {.s = s, .request = request, .full = request->logits, .best = s->best};
    struct choice choice;
    out->position = request->position;
    out->id = request->sampling ? -1 : request->target;
    out->logit = out->prob = 0;
    out->rank = 0;
    tell_raw(s, request, max, out);
    if (request->sampling) {
        choice = chain_run(&chain);
        out->id = choice.id;
    }
    tell_chosen(s, request, out);
    tell_candidates(&chain, request->sampling ? &choice : NULL, out);
    return STATUS_OK;
}
