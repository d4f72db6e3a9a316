#include "base/mem.h"
#include "infer/runner.h"
#include "infer/tools.h"

#include <math.h>
#include <stdlib.h>

struct scoring {
    struct scores *scores;
    size_t at; /* the token the next result is about */
};

static int keep_score(void *ctx, const struct step_result *result, const float *logits) {
    struct scoring *scoring = ctx;
    (void)logits;
    if (scoring->at == scoring->scores->n) return 0; /* what follows the last token is nobody's question */
    struct scored_token *token = &scoring->scores->tokens[scoring->at++];
    token->logprob = (double)result->logit - (double)result->log_sum_exp;
    token->rank = result->rank;
    return 0;
}

/* The ids of the text, with BOS before them where the model wants one. */
static int read_text(const struct tokenizer *tokenizer, const char *text, size_t len, struct ids *ids,
                     struct err *err) {
    if (tokenizer_add_bos(tokenizer)) ids_add(ids, tokenizer_bos(tokenizer));
    struct segment segment = {text, len, false};
    return tokenizer_encode(tokenizer, &segment, 1, ADDED_ALL, ids, err);
}

static int score_ids(struct runner *runner, const struct ids *ids, struct scores *scores, struct err *err) {
    struct scoring scoring = {scores, 1};
    int32_t *targets = xmalloc(ids->n * sizeof *targets);
    for (size_t i = 0; i < ids->n; i++) targets[i] = i + 1 < ids->n ? ids->at[i + 1] : -1;
    struct step_request request = {.ids = ids->at,
                                   .n = (uint32_t)ids->n,
                                   .wanted = WANT_ALL,
                                   .targets = targets,
                                   .on_result = keep_score,
                                   .ctx = &scoring};
    int status = runner_step(runner, &request, err);
    free(targets);
    return status;
}

static void sum_up(struct scores *scores) {
    scores->nats = 0;
    for (size_t i = 1; i < scores->n; i++) scores->nats -= scores->tokens[i].logprob;
    scores->perplexity = scores->n > 1 ? exp(scores->nats / (double)(scores->n - 1)) : NAN;
}

int tool_score(const struct engine_options *engine, const char *text, size_t len, struct scores *out,
               struct err *err) {
    struct runner runner = {0};
    struct ids ids = {0};
    *out = (struct scores){0};
    int status = runner_open(&runner, engine, err);
    const struct tokenizer *tokenizer = status ? NULL : model_tokenizer(runner.model);
    if (!status) status = read_text(tokenizer, text, len, &ids, err);
    if (!status && ids.n) status = runner_begin(&runner, engine, ids.n, err);
    if (!status && ids.n) {
        out->n = ids.n;
        out->tokens = xcalloc(ids.n, sizeof *out->tokens);
        for (size_t i = 0; i < ids.n; i++) {
            struct span bytes = tokenizer_bytes(tokenizer, ids.at[i]);
            out->tokens[i] =
                (struct scored_token){.id = ids.at[i], .text = bytes.bytes, .len = bytes.len, .logprob = NAN};
        }
        status = score_ids(&runner, &ids, out, err);
    }
    ids_free(&ids);
    if (!status) {
        sum_up(out);
        out->hold = runner.model; /* the texts are its vocabulary's */
        runner.model = NULL;
    } else {
        free(out->tokens);
        *out = (struct scores){0};
    }
    runner_close(&runner);
    return status;
}

void scores_free(struct scores *scores) {
    free(scores->tokens);
    model_close(scores->hold);
    *scores = (struct scores){0};
}
