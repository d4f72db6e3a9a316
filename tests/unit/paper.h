/* An engine that does exactly what the test says, and a chat over it. */
#ifndef LOGITOP_TESTS_PAPER_H
#define LOGITOP_TESTS_PAPER_H

#include "app/chat.h"
#include "app/slash.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct paper {
    struct engine engine;
    struct engine_event events[16];
    size_t n, next;
    uint64_t request, stopped; /* running; asked to stop */
    char sent[1024];           /* the last request: "system:be kind|user:hi|assistant:[1 2]...|+" */
    char variables[128];       /* its template's */
    int64_t began;
    bool fold;
    struct sampling sampling;
    struct engine_request asked; /* the last request; what it points to is gone */
    int refuse;                  /* submit() fails so */
    uint32_t position;           /* of the tokens; 0: 7 */
};

static const char longest[] = "0123456789012345678901234567890123456789012345678901234567890123456789";

static int paper_submit(struct engine *engine, const struct engine_request *request, struct err *err) {
    struct paper *paper = (struct paper *)engine;
    if (paper->refuse) return err_set(err, (enum status)paper->refuse, "refused");
    assert_int_equal(paper->request, 0);
    assert_int_not_equal(request->id, 0);
    paper->request = request->id;
    paper->asked = *request;
    paper->sampling = request->sampling;
    paper->began = request->began;
    paper->fold = request->fold_system;
    snprintf(paper->variables, sizeof paper->variables, "%s",
             request->template_variables ? request->template_variables : "");
    char *to = paper->sent, *end = to + sizeof paper->sent;
    for (size_t i = 0; i < request->n_messages; i++) {
        const struct message *m = &request->messages[i];
        to += snprintf(to, (size_t)(end - to), "%s%s:%.*s", i ? "|" : "", m->role, (int)m->len, m->text);
        for (size_t k = 0; k < m->n_ids; k++) to += snprintf(to, (size_t)(end - to), " %d", m->ids[k]);
    }
    if (request->continue_last) snprintf(to, (size_t)(end - to), "|+");
    return STATUS_OK;
}

static bool paper_next(struct engine *engine, struct engine_event *out) {
    struct paper *paper = (struct paper *)engine;
    if (paper->next == paper->n) return false;
    *out = paper->events[paper->next++];
    if (out->type == ENGINE_DONE) paper->request = 0;
    return true;
}

static void paper_stop(struct engine *engine, uint64_t request) {
    ((struct paper *)engine)->stopped = request;
}

static const struct engine_info *paper_info(struct engine *engine) {
    static const struct engine_info info = {
        .model_name = "Paper", .quantisation = "Q0", .context_size = 100, .n_vocab = 10};
    (void)engine;
    return &info;
}

static const char *paper_text(struct engine *engine, int32_t id, size_t *len) {
    static const char *const texts[] = {[50] = "\n", [51] = "<think>", [52] = "</think>", [53] = "bot:"};
    const char *text = id >= 50 && id < 54 ? texts[id] : longest;
    (void)engine;
    *len = strlen(text);
    return text;
}

static bool paper_is_end(struct engine *engine, int32_t id) {
    (void)engine;
    return id == 8;
}

static size_t paper_count(struct engine *engine, const char *text, size_t len) {
    (void)engine, (void)text;
    return len;
}

/* One id for the whole text: 100 and its length. */
static size_t paper_encode(struct engine *engine, const char *text, size_t len, bool control, int32_t *ids,
                           size_t cap) {
    (void)engine, (void)text, (void)control;
    if (cap) ids[0] = 100 + (int32_t)len;
    return 1;
}

static void paper_close(struct engine *engine) {
    (void)engine;
}

static const struct engine_ops paper_ops = {.submit = paper_submit,
                                            .next = paper_next,
                                            .stop = paper_stop,
                                            .info = paper_info,
                                            .token_text = paper_text,
                                            .token_is_end = paper_is_end,
                                            .count_tokens = paper_count,
                                            .encode = paper_encode,
                                            .close = paper_close};

static struct engine_event *push(struct paper *paper, enum engine_event_type type) {
    if (paper->next == paper->n) paper->next = paper->n = 0;
    assert_true(paper->n < 16);
    struct engine_event *event = &paper->events[paper->n++];
    memset(event, 0, sizeof *event);
    event->type = type;
    event->request = type == ENGINE_READY || type == ENGINE_FAILED ? 0 : paper->request;
    return event;
}

static void say(struct paper *paper, int32_t id, const char *text) {
    struct engine_event *event = push(paper, ENGINE_TOKEN);
    event->token.n_text = (uint32_t)strlen(text);
    if (event->token.n_text <= sizeof event->token.text) memcpy(event->token.text, text, event->token.n_text);
    event->token.ms = 10;
    event->token.result = (struct step_result){.id = id, .logit = -1, .rank = 2, .n_top = 2};
    event->token.result.position = paper->position ? paper->position : 7;
    event->token.result.top[0] = (struct candidate){.id = 1, .logit = -0.5f, .prob = 0.7f};
    event->token.result.top[1] = (struct candidate){.id = id, .logit = -1, .prob = 0.3f};
}

/* The prompt: ids below 50 are a person's, the others the template's. */
static inline void tell_prompt(struct paper *paper, const int32_t *ids, uint32_t n) {
    struct engine_event *event = push(paper, ENGINE_PROMPT);
    event->prompt.total = event->prompt.n = n;
    for (uint32_t i = 0; i < n; i++)
        event->prompt.tokens[i] = (struct prompt_token){.id = ids[i], .message = ids[i] < 50 ? 0 : -1};
}

static struct engine_event *end(struct paper *paper, enum engine_reason reason) {
    struct engine_event *event = push(paper, ENGINE_DONE);
    event->done.reason = reason;
    event->done.stats =
        (struct engine_stats){.prompt_tokens = 9, .cached_tokens = 4, .tokens = 2, .decode_seconds = 1};
    return event;
}

static void open_chat(struct chat *chat, struct paper *paper, const char *system) {
    struct options options = {.system = system};
    settings_defaults(&options.settings);
    *paper = (struct paper){.engine.ops = &paper_ops};
    chat_open(chat, &paper->engine, &options);
}

static void make_ready(struct chat *chat, struct paper *paper) {
    push(paper, ENGINE_READY);
    assert_true(chat_pump(chat));
    assert_int_equal(chat->state, chat->request ? CHAT_PREFILL : CHAT_IDLE);
}

static int send(struct chat *chat, const char *text, struct err *err) {
    return chat_send(chat, text, strlen(text), err);
}

/* A whole turn. */
static void exchange(struct chat *chat, struct paper *paper, const char *question, int32_t id,
                     const char *answer) {
    assert_int_equal(send(chat, question, NULL), STATUS_OK);
    say(paper, id, answer);
    end(paper, ENGINE_END);
    chat_pump(chat);
    assert_int_equal(chat->state, CHAT_IDLE);
}

static inline void run_ok(struct chat *chat, const char *command) {
    struct slash_result result;
    struct err err = {0};
    if (slash_run(chat, command, strlen(command), &result, &err) < 0) fail_msg("%s: %s", command, err.text);
    slash_result_free(&result);
}

#endif
