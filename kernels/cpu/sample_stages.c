/* Looking at a chain stage by stage. */
#include "kernels/cpu/sample_internal.h"

struct watcher {
    const struct step_result *result;
    struct stage_table *table;
};

static void add_stage(const struct chain *chain, enum stage stage, const struct choice *choice,
                      struct watcher *watcher) {
    struct stage_table *table = watcher->table;
    float *probs = table->probs + table->n_stages * table->n_candidates;
    chain_places(chain);
    for (uint32_t i = 0; i < table->n_candidates; i++)
        probs[i] = chain_prob(chain, choice, watcher->result->top[i].id);
    table->stages[table->n_stages++] = (uint8_t)stage;
}

static void after_stage(const struct chain *chain, enum stage stage, void *ctx) {
    struct choice left = chain_left(chain);
    add_stage(chain, stage, &left, ctx);
}

int sampling_stages(const float *logits, uint32_t n_vocab, const struct sampling *sampling,
                    const int32_t *history, uint32_t n_history, int32_t target, uint32_t top_k,
                    struct step_result *result, struct stage_table *table, struct err *err) {
    struct sample_scratch *s = sample_scratch_new(n_vocab);
    if (!s)
        return err_set(err, STATUS_UNSUPPORTED, "a vocabulary of %u tokens, expected 1 to 262144", n_vocab);
    struct sample_request request = {.logits = logits,
                                     .target = target,
                                     .history = history,
                                     .n_history = n_history,
                                     .position = n_history - 1,
                                     .top_k = top_k};
    int status = sample_position(s, &request, result, err); /* raw: whose stages are looked at */
    if (status == STATUS_OK) {
        request.sampling = sampling;
        struct watcher watcher = {result, table};
        struct chain chain = {.s = s,
                              .request = &request,
                              .full = logits,
                              .best = s->best,
                              .after = after_stage,
                              .ctx = &watcher};
        table->n_stages = 0;
        table->n_candidates = result->n_top;
        struct choice choice = chain_run(&chain);
        if (choice.total == 0) add_stage(&chain, STAGE_TEMPERATURE, &choice, &watcher);
        const float *final = table->probs + (table->n_stages - 1) * table->n_candidates;
        for (uint32_t i = 0; i < result->n_top; i++) {
            result->top[i].prob = final[i];
            result->top[i].cut = s->state[result->top[i].id];
            if (result->top[i].id == target) result->prob = final[i];
        }
    }
    sample_scratch_free(s);
    return status;
}
