/* Any logits, settings and history through the sampler chain: what is not finite is refused; otherwise what
 * is told is in order, the chosen one could be chosen, and looking at the stages tells the same.
 *
 * Input: a byte for the vocabulary, one for k, one for how logits are made of bytes, the settings, then
 * history and logits by turns. */
#include "base/mem.h"
#include "infer/engine.h"
#include "kernels/cpu/sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY_MAX = 700, HISTORY_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reader {
    const uint8_t *at, *end;
};

static void take(struct reader *r, void *to, size_t size) {
    size_t left = (size_t)(r->end - r->at), n = size < left ? size : left;
    memset(to, 0, size);
    if (n) memcpy(to, r->at, n);
    r->at += n;
}

/* A setting as a person may set it: finite, within its range. */
static float setting(struct reader *r, float least, float most) {
    float value;
    take(r, &value, sizeof value);
    if (!isfinite(value) || value < least || value > most) {
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        value = least + (float)(bits % 1001) / 1000 * (fminf(most, 2) - least);
    }
    return value;
}

static void read_settings(struct reader *r, struct sampling *s) {
    uint8_t order[STAGE_COUNT], n = 0;
    sampling_defaults(s);
    s->temperature = setting(r, 0, 3e38f);
    take(r, &s->top_k, 1);
    s->top_p = setting(r, 0, 1);
    s->min_p = setting(r, 0, 1);
    s->typical_p = setting(r, 0, 1);
    s->xtc_probability = setting(r, 0, 1);
    s->xtc_threshold = setting(r, 0, 1);
    s->repeat_penalty = setting(r, 0.01f, 3e38f);
    s->presence_penalty = setting(r, -3e38f, 3e38f);
    s->frequency_penalty = setting(r, -3e38f, 3e38f);
    s->dry_multiplier = setting(r, 0, 3e38f);
    s->dry_base = setting(r, 0, 3e38f);
    take(r, &s->penalty_last_n, 1);
    take(r, &s->dry_allowed_length, 1);
    take(r, &s->dry_last_n, 1);
    take(r, &s->seed, sizeof s->seed);
    take(r, order, sizeof order);
    memset(s->order, STAGE_NONE, sizeof s->order);
    for (size_t i = 0; i < sizeof order; i++) {
        uint8_t stage = order[i] % STAGE_COUNT;
        if (stage != STAGE_NONE && !memchr(s->order, stage, n)) s->order[n++] = stage;
    }
}

static void require(bool holds) {
    if (!holds) abort();
}

/* Best first, ties by id; the chosen one last if it is not among them. */
static void check_result(const struct step_result *result, uint32_t k, uint32_t n_vocab) {
    double sum = 0;
    require(result->n_top <= (k < n_vocab ? k : n_vocab) + (k > 0));
    require(result->rank >= 1 && result->rank <= n_vocab && isfinite(result->log_sum_exp) &&
            result->entropy >= 0);
    for (uint32_t i = 0; i < result->n_top; i++) {
        const struct candidate *c = &result->top[i], *before = &result->top[i ? i - 1 : 0];
        require(c->id >= 0 && (uint32_t)c->id < n_vocab && c->prob >= 0 && c->prob <= 1);
        require((c->cut != STAGE_NONE) <= (c->prob == 0)); /* cut: no probability is left */
        if (i && i < k)
            require(before->logit > c->logit || (before->logit == c->logit && before->id < c->id));
        if (c->id == result->id) require(c->cut == STAGE_NONE && c->prob == result->prob);
        sum += (double)c->prob;
    }
    require(sum < 1.0001 && result->prob > 0);
}

static void check_stages(const struct sample_request *request, uint32_t n_vocab,
                         const struct step_result *chosen) {
    static struct step_result looked;
    static struct stage_table table;
    require(sampling_stages(request->logits, n_vocab, request->sampling, request->history, request->n_history,
                            chosen->id, request->top_k, &looked, &table, NULL) == STATUS_OK);
    require(looked.n_top == chosen->n_top && table.n_stages >= 1 && table.n_stages <= STAGE_COUNT);
    for (uint32_t i = 0; i < looked.n_top; i++)
        require(looked.top[i].id == chosen->top[i].id && looked.top[i].prob == chosen->top[i].prob &&
                looked.top[i].cut == chosen->top[i].cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, data + size};
    static struct step_result result;
    struct sampling sampling;
    uint8_t head[3];
    take(&r, head, sizeof head);
    uint32_t n_vocab = head[0] * 3u % VOCABULARY_MAX + 1, k = head[1], n_history = head[2] % HISTORY_MAX + 1;
    read_settings(&r, &sampling);
    float *logits = xmalloc(n_vocab * sizeof *logits);
    int32_t *history = xmalloc(n_history * sizeof *history);
    bool finite = true;
    for (uint32_t i = 0; i < n_history; i++) {
        uint16_t id;
        take(&r, &id, sizeof id);
        history[i] = id % n_vocab;
    }
    for (uint32_t i = 0; i < n_vocab; i++) {
        int8_t small;
        take(&r, &small, 1);
        if (head[2] & 0x80)
            take(&r, &logits[i], sizeof *logits);
        else
            logits[i] = (float)small / 8;
        finite = finite && isfinite(logits[i]);
    }
    struct sample_scratch *scratch = sample_scratch_new(n_vocab);
    struct sample_request request = {.logits = logits,
                                     .sampling = &sampling,
                                     .target = -1,
                                     .history = history,
                                     .n_history = n_history,
                                     .position = n_history - 1,
                                     .top_k = k};
    int status = sample_position(scratch, &request, &result, NULL);
    require(status == (finite ? STATUS_OK : STATUS_FAILED));
    if (finite) {
        check_result(&result, k, n_vocab);
        check_stages(&request, n_vocab, &result);
    }
    sample_scratch_free(scratch);
    free(logits);
    free(history);
    return 0;
}
