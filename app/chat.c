#include "app/chat.h"

#include "app/record_json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void chat_open(struct chat *chat, struct engine *engine, const struct options *options) {
    *chat = (struct chat){.engine = engine, .settings = options->settings, .fold = options->fold_system};
    buf_append(&chat->variables, options->template_variables.data, options->template_variables.len);
    if (options->system) chat_set_system(chat, options->system, strlen(options->system), NULL);
}

void chat_close(struct chat *chat) {
    if (chat->engine) chat->engine->ops->close(chat->engine);
    conversation_clear(&chat->conversation);
    buf_free(&chat->system);
    buf_free(&chat->variables);
    buf_free(&chat->refused);
    buf_free(&chat->earlier);
    buf_free(&chat->waiting);
    buf_free(&chat->returned);
    chat->engine = NULL;
}

bool chat_busy(const struct chat *chat) {
    return chat->request != 0;
}

/* ---- asking ---- */

static int check_idle(const struct chat *chat, struct err *err) {
    if (chat_busy(chat)) return err_set(err, STATUS_BUSY, "still answering; Esc stops it");
    if (chat->state == CHAT_LOADING) return err_set(err, STATUS_BUSY, "the model is still loading");
    if (chat->state == CHAT_FAILED)
        return err_set(err, STATUS_FAILED, "there is no model any more: %s", chat->error.text);
    return STATUS_OK;
}

static int submit(struct chat *chat, struct said *answer, bool continuing, struct err *err) {
    if (!chat->began) chat->began = time(NULL);
    struct engine_request request = {.id = chat->last_request + 1,
                                     .continue_last = continuing,
                                     .fold_system = chat->fold,
                                     .template_variables = chat->variables.len ? chat->variables.data : NULL,
                                     .began = chat->began,
                                     .sampling = chat->settings.sampling,
                                     .top_k = chat->settings.top,
                                     .n_predict = chat->settings.n_predict};
    struct message *messages = conversation_messages(&chat->conversation, &request.n_messages);
    if (!continuing) request.n_messages--; /* the empty answer that was just added */
    request.messages = messages;
    int status = chat->engine->ops->submit(chat->engine, &request, err);
    free(messages);
    if (status < 0) return status;
    chat->request = chat->last_request = request.id;
    chat->answer = answer;
    chat->continuing = continuing;
    answer->open = true;
    buf_clear(&answer->note);
    chat->state = CHAT_PREFILL;
    chat->progress_done = chat->progress_total = 0;
    chat->n_said = 0;
    chat->said_ms = 0;
    chat->error.code = STATUS_OK;
    chat->wants_fold = false;
    buf_clear(&chat->refused);
    return STATUS_OK;
}

/* Answer the last message. */
static int ask(struct chat *chat, struct err *err) {
    struct said *answer = conversation_add(&chat->conversation, SAID_BY_MODEL, "", 0);
    int status = submit(chat, answer, false, err);
    if (status < 0) conversation_remove_last(&chat->conversation);
    return status;
}

int chat_send(struct chat *chat, const char *text, size_t len, struct err *err) {
    if (chat->state == CHAT_LOADING) {
        if (chat->waiting.len)
            return err_set(err, STATUS_BUSY, "the model is still loading; one question waits already");
        buf_append(&chat->waiting, text, len);
        return STATUS_OK;
    }
    int status = check_idle(chat, err);
    if (status < 0) return status;
    conversation_add(&chat->conversation, SAID_BY_USER, text, len);
    status = ask(chat, err);
    if (status < 0) conversation_remove_last(&chat->conversation);
    return status;
}

int chat_continue(struct chat *chat, struct err *err) {
    int status = check_idle(chat, err);
    if (status < 0) return status;
    struct said *last = conversation_last(&chat->conversation);
    if (!last || last->by == SAID_BY_SYSTEM)
        return err_set(err, STATUS_USAGE, "there is nothing to go on with yet");
    if (last->by == SAID_BY_USER) return ask(chat, err);
    if (!last->text.len) return chat_regenerate(chat, err); /* an answer without a word is no beginning */
    return submit(chat, last, true, err);
}

int chat_regenerate(struct chat *chat, struct err *err) {
    int status = check_idle(chat, err);
    if (status < 0) return status;
    struct said *last = conversation_last(&chat->conversation);
    if (!last || last->by == SAID_BY_SYSTEM)
        return err_set(err, STATUS_USAGE, "there is nothing to answer again yet");
    if (last->by == SAID_BY_MODEL) {
        while (conversation_last(&chat->conversation) == last) conversation_remove_last(&chat->conversation);
        chat->settings.sampling.attempt++;
    }
    return ask(chat, err);
}

int chat_fold(struct chat *chat, const char *text, size_t len, struct err *err) {
    int status = check_idle(chat, err);
    if (status < 0) return status;
    chat->fold = true;
    if (len) return chat_send(chat, text, len, err);
    if (!chat->wants_fold) return STATUS_OK;
    if (!chat->refused.len) return chat_continue(chat, err);
    struct buf question = chat->refused; /* a new request clears it */
    chat->refused = (struct buf){0};
    status = chat_send(chat, question.data, question.len, err);
    buf_free(&question);
    return status;
}

bool chat_stop(struct chat *chat) {
    if (!chat->request) return false;
    chat->engine->ops->stop(chat->engine, chat->request);
    return true;
}

int chat_new(struct chat *chat, struct err *err) {
    if (chat_busy(chat)) return err_set(err, STATUS_BUSY, "still answering; Esc stops it");
    conversation_print(&chat->conversation, &chat->earlier);
    conversation_clear(&chat->conversation);
    chat->settings.sampling.attempt = 0;
    chat->began = 0;
    chat->wants_fold = false;
    buf_clear(&chat->refused);
    chat->has_stats = false;
    chat->n_said = 0;
    chat->said_ms = 0;
    if (chat->state != CHAT_FAILED) chat->error.code = STATUS_OK;
    chat->stats = (struct engine_stats){0};
    if (chat->system.len) conversation_system(&chat->conversation, chat->system.data, chat->system.len);
    return STATUS_OK;
}

int chat_set_system(struct chat *chat, const char *text, size_t len, struct err *err) {
    if (chat_busy(chat)) return err_set(err, STATUS_BUSY, "still answering; Esc stops it");
    buf_clear(&chat->system);
    buf_append(&chat->system, text, len);
    conversation_system(&chat->conversation, text, len);
    return STATUS_OK;
}

int chat_set_variable(struct chat *chat, const char *name, const char *value, struct err *err) {
    static const struct field field = {FIELD_PAIRS, offsetof(struct chat, variables), 0, 0};
    struct buf pair = {0};
    buf_printf(&pair, "%s=%s", name, value);
    int status = field_set(&field, chat, "template", pair.data, err);
    buf_free(&pair);
    return status;
}

int chat_drop(struct chat *chat, unsigned *n_dropped, struct err *err) {
    int status = check_idle(chat, err);
    if (status < 0) return status;
    *n_dropped = 0;
    for (;;) {
        size_t tokens = 0, n;
        struct message *messages = conversation_messages(&chat->conversation, &n);
        for (size_t i = 0; i < n; i++)
            tokens += messages[i].n_ids
                          ? messages[i].n_ids
                          : chat->engine->ops->count_tokens(chat->engine, messages[i].text, messages[i].len);
        free(messages);
        if (*n_dropped && tokens <= chat->info->context_size / 2) return STATUS_OK;
        if (!conversation_drop_oldest(&chat->conversation)) break;
        ++*n_dropped;
    }
    if (*n_dropped) return STATUS_OK;
    return err_set(err, STATUS_CONTEXT_FULL,
                   "nothing can be dropped: the newest question alone is too long; /new starts over");
}

/* ---- events ---- */

static void write_note(struct chat *chat, const struct engine_event *event) {
    struct said *answer = chat->answer;
    const struct engine_stats *stats = &event->done.stats;
    static const char *const marks[] = {[ENGINE_END] = "",
                                        [ENGINE_LIMIT] = "[limit, /continue]  ",
                                        [ENGINE_STOPPED] = "[stopped, /continue]  ",
                                        [ENGINE_CONTEXT_FULL] = "[context full]  ",
                                        [ENGINE_ERROR] = "[failed]  "};
    buf_clear(&answer->note);
    buf_printf(&answer->note, "%s%u token%s", marks[event->done.reason], stats->tokens,
               stats->tokens == 1 ? "" : "s");
    if (stats_decode_tps(stats) > 0) buf_printf(&answer->note, "  %.1f tok/s", stats_decode_tps(stats));
    if (stats->prompt_tokens)
        buf_printf(&answer->note, "  prompt %u (%u cached)", stats->prompt_tokens, stats->cached_tokens);
}

/* Not a word was said: the question goes back to where it can be changed. Where the context is full it stays,
 * so that dropping old turns is all it takes to go on. */
static void take_back(struct chat *chat) {
    struct conversation *conversation = &chat->conversation;
    conversation_remove_last(conversation);
    if (chat->reason == ENGINE_CONTEXT_FULL) return;
    struct said *question = conversation_last(conversation);
    if (question && question->by == SAID_BY_USER && conversation->messages[conversation->n - 1] == question) {
        buf_clear(&chat->returned);
        buf_append(&chat->returned, question->text.data, question->text.len);
        if (chat->wants_fold) buf_append(&chat->refused, question->text.data, question->text.len);
        conversation_remove_last(conversation);
    }
}

static void on_done(struct chat *chat, const struct engine_event *event) {
    chat->request = 0;
    chat->reason = event->done.reason;
    chat->stats = event->done.stats;
    chat->has_stats = true;
    if (chat->state != CHAT_FAILED) chat->state = CHAT_IDLE;
    if (event->done.reason == ENGINE_ERROR) chat->error = event->error;
    chat->wants_fold = event->done.reason == ENGINE_ERROR && event->done.wants_fold;
    if (chat->wants_fold)
        err_set(&chat->error, STATUS_USAGE, "%s; /fold puts the system text into the first message",
                event->error.text);
    if (event->done.reason == ENGINE_CONTEXT_FULL)
        err_set(&chat->error, STATUS_CONTEXT_FULL,
                "%s; /new starts over, /drop forgets the oldest turns and goes on",
                *event->error.text ? event->error.text : "the context is full");
    chat->answer->open = false;
    write_note(chat, event);
    bool wordless = !chat->continuing && chat->answer->n_tokens == 0;
    if (wordless && event->done.reason != ENGINE_END && event->done.reason != ENGINE_LIMIT) take_back(chat);
    chat->answer = NULL;
}

static void on_token(struct chat *chat, const struct token_record *record) {
    chat->state = CHAT_ANSWERING;
    said_append(chat->answer, chat->engine, record);
    chat->window[chat->n_said % CHAT_SPEED_WINDOW] = record->ms;
    chat->n_said++;
    chat->said_ms += (double)record->ms;
    chat->stats.context_used = record->result.position + 1;
}

static void on_ready(struct chat *chat) {
    chat->state = CHAT_IDLE;
    chat->info = chat->engine->ops->info(chat->engine);
    if (!chat->waiting.len) return;
    struct buf text = chat->waiting;
    chat->waiting = (struct buf){0};
    if (chat_send(chat, text.data, text.len, &chat->error) < 0)
        buf_append(&chat->returned, text.data, text.len);
    buf_free(&text);
}

static void on_event(struct chat *chat, const struct engine_event *event) {
    bool mine = event->request == chat->request && chat->request;
    switch (event->type) {
    case ENGINE_LOADING:
        chat->progress_done = event->progress.done;
        chat->progress_total = event->progress.total;
        break;
    case ENGINE_READY: on_ready(chat); break;
    case ENGINE_FAILED:
        chat->state = CHAT_FAILED;
        chat->error = event->error;
        break;
    case ENGINE_PREFILL:
        if (!mine) break;
        chat->progress_done = event->progress.done;
        chat->progress_total = event->progress.total;
        break;
    case ENGINE_TOKEN:
        if (mine) on_token(chat, &event->token);
        break;
    case ENGINE_DONE:
        if (mine) on_done(chat, event);
        break;
    }
}

bool chat_pump(struct chat *chat) {
    static struct engine_event event; /* 4 KiB of candidates: not on the stack of a signal-driven loop */
    bool any = false;
    while (chat->engine->ops->next(chat->engine, &event)) {
        on_event(chat, &event);
        any = true;
    }
    return any;
}

/* ---- telling ---- */

double chat_tps_now(const struct chat *chat) {
    uint32_t n = chat->n_said < CHAT_SPEED_WINDOW ? chat->n_said : CHAT_SPEED_WINDOW;
    double ms = 0;
    for (uint32_t i = 0; i < n; i++) ms += (double)chat->window[i];
    return ms > 0 ? n * 1000.0 / ms : 0;
}

double chat_tps_mean(const struct chat *chat) {
    return chat->said_ms > 0 ? chat->n_said * 1000.0 / chat->said_ms : 0;
}

const struct said *chat_shown(const struct chat *chat) {
    for (size_t i = chat->conversation.n; i > 0; i--)
        if (chat->conversation.messages[i - 1]->n_tokens) return chat->conversation.messages[i - 1];
    return NULL;
}

void chat_print_stats(const struct chat *chat, struct buf *out) {
    if (chat->info) {
        buf_printf(out, "model       %s, %s, %s\n", chat->info->model_name, chat->info->architecture,
                   chat->info->quantisation);
        buf_printf(out, "device      %s\n", chat->info->device);
        buf_printf(out, "template    %s\n", chat->info->template_name);
        buf_printf(out, "context     %u of %u tokens (the model knows %u)\n", chat->stats.context_used,
                   chat->info->context_size, chat->info->context_trained);
        buf_printf(out, "vocabulary  %u tokens\n", chat->info->n_vocab);
        buf_printf(out, "memory      %.1f MiB used\n", (double)chat->info->memory_used / 1048576);
        buf_printf(out, "loaded in   %.2f s\n", chat->info->load_seconds);
    }
    buf_printf(out, "seed        %llu\n", (unsigned long long)chat->settings.sampling.seed);
    if (!chat->has_stats) return;
    const struct engine_stats *stats = &chat->stats;
    buf_puts(out, "\nlast answer\n");
    buf_printf(out, "reason      %s\n", reason_name(chat->reason));
    buf_printf(out, "prompt      %u tokens, %u of them cached, %.1f tok/s for the rest\n",
               stats->prompt_tokens, stats->cached_tokens, stats_prefill_tps(stats));
    buf_printf(out, "answer      %u tokens, %.1f tok/s\n", stats->tokens, stats_decode_tps(stats));
    buf_printf(out, "first token after %.0f ms\n", stats->first_token_seconds * 1000);
}
