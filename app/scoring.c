#include "app/scoring.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

static void on_event(void *ctx, const struct engine_event *event) {
    struct scoring *score = ctx;
    if (event->request != score->request) return; /* of a text before, which was closed */
    if (event->type == ENGINE_TOKEN) {
        const struct step_result *result = &event->token.result;
        struct ui_token token = {.end = event->token.text_end, .prob = -1};
        if (event->token.result.id < 0 || event->token.message < 0) return; /* what comes next; BOS */
        if (result->rank) {
            double logprob = (double)result->logit - (double)result->log_sum_exp;
            token.prob = (float)exp(logprob);
            token.entropy = result->entropy;
            token.rank = result->rank;
            score->view.nats -= logprob;
            score->n_scored++;
        }
        grow_array(&score->tokens, &score->cap, score->n + 1, sizeof *score->tokens);
        score->tokens[score->n++] = token;
    }
    if (event->type != ENGINE_DONE) return;
    score->view.computing = false;
    if (event->error.code)
        score->failed = event->error;
    else if (event->done.reason == ENGINE_STOPPED)
        err_set(&score->failed, STATUS_STOPPED, "stopped: an answer was asked for");
    if (score->n_scored) score->view.perplexity = exp(score->view.nats / (double)score->n_scored);
}

int scoring_begin(struct scoring *score, struct chat *chat, const char *text, size_t len, struct err *err) {
    if (!len) return err_set(err, STATUS_USAGE, "/score: found no text, expected one after it: /score TEXT");
    if (score->open && score->view.computing)
        return err_set(err, STATUS_BUSY, "another text is being scored");
    if (chat_busy(chat)) return err_set(err, STATUS_BUSY, "still answering; Esc stops it");
    struct engine_request request = {.kind = REQUEST_SCORE, .to = UINT32_MAX, .raw = text, .raw_len = len};
    int status = chat_look(chat, &request, on_event, score, err);
    if (status < 0) return status;
    buf_clear(&score->text);
    buf_append(&score->text, text, len);
    score->chat = chat;
    score->request = request.id;
    score->open = true;
    score->n = score->n_scored = 0;
    score->failed.code = STATUS_OK;
    score->view = (struct ui_score){.computing = true};
    score->id++;
    return STATUS_OK;
}

void scoring_close(struct scoring *score) {
    score->open = false;
    if (score->view.computing) chat_look_stop(score->chat, score->request);
}

void scoring_free(struct scoring *score) {
    buf_free(&score->text);
    free(score->tokens);
}

const struct ui_score *scoring_view(struct scoring *score) {
    if (!score->open) return NULL;
    score->view.message = (struct ui_message){.id = score->id,
                                              .role = UI_ROLE_YOU,
                                              .text = score->text.data,
                                              .len = score->text.len,
                                              .tokens = score->tokens,
                                              .n_tokens = score->n,
                                              .note = score->failed.code ? score->failed.text : NULL};
    return &score->view;
}
