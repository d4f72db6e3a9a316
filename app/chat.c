#include "app/chat.h"

#include "app/chat_internal.h"
#include "app/pull_command.h"
#include "app/record_json.h"
#include "app/vocabulary.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void chat_open(struct chat *chat, struct engine *engine, const struct options *options) {
    *chat = (struct chat){.engine = engine, .settings = options->settings, .fold = options->fold_system};
    if (options->chosen_model) {
        chat->model_path = xstrdup(options->chosen_model);
        chat->template_path = xstrdup(options->chosen_model);
        chat->how = options_engine(options, NULL);
        chat->models_dir = options->models_dir;
        chat->offline = pull_is_offline(options);
        chat->incognito = options->incognito;
    }
    buf_append(&chat->variables, options->template_variables.data, options->template_variables.len);
    if (options->system) chat_set_system(chat, options->system, strlen(options->system), NULL);
}

void chat_close(struct chat *chat) {
    if (chat->engine) chat->engine->ops->close(chat->engine);
    if (chat->coming) chat->coming->ops->close(chat->coming);
    free(chat->model_path);
    free(chat->template_path);
    free(chat->coming_path);
    free(chat->former_path);
    conversation_clear(&chat->conversation);
    buf_free(&chat->system);
    buf_free(&chat->variables);
    buf_free(&chat->refused);
    buf_free(&chat->earlier);
    buf_free(&chat->waiting);
    buf_free(&chat->returned);
    buf_free(&chat->notice);
    free(chat->prompt.tokens);
    chat->engine = NULL;
}

bool chat_busy(const struct chat *chat) {
    return chat->request != 0;
}

/* ---- changes to the tree ---- */

void chat_change_begin(struct chat *chat) {
    conversation_mark(&chat->conversation);
    chat->last_said = chat->conversation.last_id;
    chat->edited = NULL;
}

static void tell_leaf(struct chat *chat) {
    struct said *leaf = conversation_leaf(&chat->conversation);
    if (chat->told_leaf == leaf) return;
    chat->told_leaf = leaf;
    KEEP(chat, leaf_changed, chat, leaf);
}

void chat_change_done(struct chat *chat) {
    const struct said_stack *all = &chat->conversation.all;
    size_t first = all->n;
    while (first > 0 && all->at[first - 1]->id > chat->last_said) first--;
    if (first < all->n && !chat->told_conversation) {
        chat->told_conversation = true;
        KEEP(chat, conversation_begun, chat);
    }
    for (; first < all->n; first++) KEEP(chat, said_added, chat, all->at[first]);
    if (chat->told_conversation) tell_leaf(chat);
}

void chat_change_give_up(struct chat *chat) {
    conversation_unmark(&chat->conversation);
    conversation_forget(&chat->conversation, chat->last_said);
}

/* ---- asking ---- */

int chat_check_not_busy(const struct chat *chat, struct err *err) {
    return chat_busy(chat) ? err_set(err, STATUS_BUSY, "still answering; Esc stops it") : STATUS_OK;
}

int chat_check_idle(const struct chat *chat, struct err *err) {
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    if (chat->state == CHAT_LOADING) return err_set(err, STATUS_BUSY, "the model is still loading");
    if (chat->state == CHAT_FAILED)
        return err_set(err, STATUS_FAILED, "there is no model any more: %s", chat->error.text);
    return STATUS_OK;
}

int chat_submit(struct chat *chat, struct said *answer, bool continuing, uint32_t limit, struct err *err) {
    if (!chat->began) chat->began = time(NULL);
    struct engine_request request = {.id = chat->last_request + 1,
                                     .continue_last = continuing,
                                     .fold_system = chat->fold,
                                     .template_variables = chat->variables.len ? chat->variables.data : NULL,
                                     .began = chat->began,
                                     .sampling = chat->settings.sampling,
                                     .top_k = chat->settings.top,
                                     .n_predict = limit ? limit : chat->settings.n_predict};
    struct message *messages = conversation_messages(&chat->conversation, &request.n_messages);
    if (!continuing) request.n_messages--; /* the empty answer that was just added */
    request.messages = messages;
    int status = chat->engine->ops->submit(chat->engine, &request, err);
    free(messages);
    if (status < 0) return status;
    chat->request = chat->last_request = request.id;
    chat->answer = answer;
    chat->drawn = request.sampling;
    chat->drawn_id = answer->id;
    chat->told_tokens = answer->n_tokens;
    chat->prompt.n = 0;
    chat->prompt.whole = false;
    chat->prompt.changes = chat->conversation.changes;
    chat->prompt.n_before = answer->n_tokens;
    chat->continuing = continuing;
    answer->open = true;
    /* From now on its ids are of two vocabularies, or do not make all of the text: they are not used again.
     */
    if (!conversation_knows_ids(&chat->conversation, answer) || (answer->text.len && !answer->n_tokens))
        answer->vocabulary = 0;
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

int chat_ask(struct chat *chat, struct err *err) {
    struct said *answer = conversation_add(&chat->conversation, SAID_BY_MODEL, "", 0);
    int status = chat_submit(chat, answer, false, 0, err);
    if (status < 0)
        chat_change_give_up(chat);
    else
        chat_change_done(chat);
    return status;
}

int chat_queue(struct chat *chat, const char *text, size_t len, struct err *err) {
    if (chat->waiting.len) return err_set(err, STATUS_BUSY, "one question waits already; Esc takes it back");
    buf_append(&chat->waiting, text, len);
    chat->n_waited++;
    return STATUS_OK;
}

/* Behind what the front end had no room for yet. */
static void give_back(struct chat *chat, const struct buf *text) {
    if (chat->returned.len) buf_putc(&chat->returned, '\n');
    buf_append(&chat->returned, text->data, text->len);
}

bool chat_unqueue(struct chat *chat) {
    if (!chat->waiting.len) return false;
    give_back(chat, &chat->waiting);
    buf_clear(&chat->waiting);
    return true;
}

int chat_send(struct chat *chat, const char *text, size_t len, struct err *err) {
    if (chat->state == CHAT_LOADING) return chat_queue(chat, text, len, err);
    if (chat->editing) return chat_edit(chat, chat->editing, text, len, err);
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    chat_change_begin(chat);
    conversation_add(&chat->conversation, SAID_BY_USER, text, len);
    return chat_ask(chat, err);
}

int chat_continue(struct chat *chat, struct err *err) {
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    struct said *last = conversation_last(&chat->conversation);
    if (!last || last->by == SAID_BY_SYSTEM)
        return err_set(err, STATUS_USAGE, "there is nothing to go on with yet");
    if (last->by == SAID_BY_MODEL && last->text.len) return chat_submit(chat, last, true, 0, err);
    if (last->by == SAID_BY_MODEL) return chat_regenerate(chat, err); /* without a word it is no beginning */
    chat_change_begin(chat);
    return chat_ask(chat, err);
}

int chat_regenerate(struct chat *chat, struct err *err) {
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    struct said *last = conversation_last(&chat->conversation);
    if (!last || last->by == SAID_BY_SYSTEM)
        return err_set(err, STATUS_USAGE, "there is nothing to answer again yet");
    chat_change_begin(chat);
    if (last->by == SAID_BY_MODEL) {
        conversation_go(&chat->conversation, last->parent);
        chat->settings.sampling.attempt++;
        KEEP(chat, settings_changed, chat);
    }
    return chat_ask(chat, err);
}

int chat_fold(struct chat *chat, const char *text, size_t len, struct err *err) {
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    chat->fold = true;
    KEEP(chat, settings_changed, chat);
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
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    conversation_print(&chat->conversation, &chat->earlier);
    conversation_clear(&chat->conversation);
    chat->settings.sampling.attempt = 0;
    chat->began = 0;
    chat->told_conversation = false;
    chat->told_leaf = chat->computed = chat->editing = NULL;
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
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    buf_clear(&chat->system);
    buf_append(&chat->system, text, len);
    conversation_system(&chat->conversation, text, len);
    KEEP(chat, settings_changed, chat);
    return STATUS_OK;
}

int chat_set_variable(struct chat *chat, const char *name, const char *value, struct err *err) {
    static const struct field field = {FIELD_PAIRS, offsetof(struct chat, variables), 0, 0};
    struct buf pair = {0};
    buf_printf(&pair, "%s=%s", name, value);
    int status = field_set(&field, chat, "template", pair.data, err);
    buf_free(&pair);
    if (status == STATUS_OK) chat->thought_end = NULL; /* enable_thinking and its kin */
    if (status == STATUS_OK) KEEP(chat, settings_changed, chat);
    return status;
}

int chat_set(struct chat *chat, const char *name, const char *value, struct err *err) {
    int status = setting_set(&chat->settings, name, value, err);
    if (status == STATUS_OK) KEEP(chat, settings_changed, chat);
    return status;
}

/* Ids where the model said it, else what the tokenizer makes of the text. */
static size_t said_count(const struct chat *chat, const struct said *said) {
    if (said->n_ids && conversation_knows_ids(&chat->conversation, said)) return said->n_ids;
    return chat->engine->ops->count_tokens(chat->engine, said->text.data, said->text.len);
}

size_t chat_uncached(const struct chat *chat) {
    const struct conversation *conversation = &chat->conversation;
    size_t tokens = 0;
    if (!chat->info) return 0;
    for (size_t i = conversation->n; i > 0; i--) {
        const struct said *said = conversation->messages[i - 1];
        if (said_is_below(chat->computed, said)) break;
        if (said_is_sent(said)) tokens += said_count(chat, said);
    }
    return tokens;
}

uint32_t chat_context_used(const struct chat *chat) {
    const struct conversation *conversation = &chat->conversation;
    size_t n = conversation->n;
    bool told = chat->computed && n && conversation->messages[n - 1] == chat->computed;
    if (chat->state == CHAT_ANSWERING || told) return chat->stats.context_used;
    for (size_t i = conversation->n; i > 0; i--) {
        const struct said *said = conversation->messages[i - 1];
        if (!said_is_sent(said) || !conversation_knows_ids(conversation, said)) continue;
        for (size_t k = said->n_tokens; k > 0; k--) /* where a person put one, its place may not be known */
            if (said->tokens[k - 1].position)
                return said->tokens[k - 1].position + 1 + (uint32_t)(said->n_tokens - k);
    }
    return 0;
}

static size_t sent_tokens(const struct chat *chat) {
    size_t tokens = 0;
    for (size_t i = 0; i < chat->conversation.n; i++) {
        const struct said *said = chat->conversation.messages[i];
        if (said_is_sent(said)) tokens += said_count(chat, said);
    }
    return tokens;
}

int chat_drop(struct chat *chat, unsigned *n_dropped, struct err *err) {
    struct conversation *conversation = &chat->conversation;
    int status = chat_check_idle(chat, err);
    if (status < 0) return status;
    *n_dropped = 0;
    while (*n_dropped == 0 || sent_tokens(chat) > chat->info->context_size / 2) {
        if (!conversation_drop_oldest(conversation)) break;
        ++*n_dropped;
    }
    for (size_t i = 0; i < conversation->n; i++)
        if (conversation->messages[i]->dropped) KEEP(chat, said_closed, chat, conversation->messages[i]);
    if (*n_dropped) return STATUS_OK;
    if (chat->error.code != STATUS_CONTEXT_FULL && sent_tokens(chat) < chat->info->context_size)
        return err_set(err, STATUS_USAGE,
                       "there is nothing to drop: the newest question and its answer are always sent");
    return err_set(err, STATUS_CONTEXT_FULL,
                   "nothing can be dropped: the newest question alone is too long; /new starts over");
}

int chat_undrop(struct chat *chat, unsigned *n_turns, struct err *err) {
    struct conversation *conversation = &chat->conversation;
    int status = chat_check_not_busy(chat, err);
    if (status < 0) return status;
    *n_turns = 0;
    for (size_t i = 0; i < conversation->n; i++) {
        struct said *said = conversation->messages[i];
        if (!conversation_undrop(conversation, said)) continue;
        KEEP(chat, said_closed, chat, said);
        *n_turns += said->by == SAID_BY_USER;
    }
    return *n_turns ? STATUS_OK : err_set(err, STATUS_USAGE, "all of this chat is sent: nothing was dropped");
}

/* ---- events ---- */

void said_write_note(struct said *answer, size_t n_tokens, const struct engine_event *event) {
    const struct engine_stats *stats = &event->done.stats;
    static const char *const marks[] = {[ENGINE_END] = "",
                                        [ENGINE_LIMIT] = "[limit, /continue]  ",
                                        [ENGINE_STOPPED] = "[stopped, /continue]  ",
                                        [ENGINE_CONTEXT_FULL] = "[context full]  ",
                                        [ENGINE_ERROR] = "[failed]  "};
    buf_clear(&answer->note);
    buf_printf(&answer->note, "%s%zu token%s", marks[event->done.reason], n_tokens, n_tokens == 1 ? "" : "s");
    if (stats_decode_tps(stats) > 0) buf_printf(&answer->note, "  %.1f tok/s", stats_decode_tps(stats));
    if (n_tokens && !stats->tokens && event->done.reason == ENGINE_END) /* it was to go on with it */
        buf_puts(&answer->note, "  nothing to add");
    if (stats->prompt_tokens)
        buf_printf(&answer->note, "  prompt %u (%u cached)", stats->prompt_tokens, stats->cached_tokens);
}

/* Where it is seen in narrow windows too: in front. */
static void mark_moved(struct said *answer) {
    struct buf rest = answer->note;
    answer->note = (struct buf){0};
    buf_printf(&answer->note, "[the device failed]  %s", rest.data);
    buf_free(&rest);
}

static void forget(struct chat *chat, uint64_t last_id) {
    const struct said_stack *all = &chat->conversation.all;
    while (all->n && all->at[all->n - 1]->id > last_id) {
        struct said *said = all->at[all->n - 1];
        KEEP(chat, said_removed, chat, said);
        conversation_forget(&chat->conversation, said->id - 1);
    }
    tell_leaf(chat);
}

/* Not a word was said: a question that was just asked goes back to where it can be changed, and the path to
 * where it was. Where the context is full the question stays, so that dropping old turns is all it takes to
 * go on; so does an older one that the template refused. */
static void take_back(struct chat *chat) {
    struct conversation *conversation = &chat->conversation;
    struct said *question = chat->answer->parent;
    bool asked_now = question->id > chat->last_said;
    if (chat->reason == ENGINE_CONTEXT_FULL || (chat->wants_fold && !asked_now)) {
        conversation_go(conversation, question);
        conversation_unmark_same(conversation);
        forget(chat, chat->answer->id - 1);
        return;
    }
    if (asked_now) {
        give_back(chat, &question->text);
        if (chat->wants_fold) buf_append(&chat->refused, question->text.data, question->text.len);
        chat->editing = chat->edited;
    }
    conversation_unmark(conversation);
    forget(chat, chat->last_said);
}

static void tell_tokens(struct chat *chat) {
    struct said *answer = chat->answer;
    if (!answer || answer->n_tokens == chat->told_tokens) return;
    KEEP(chat, tokens_appended, chat, answer, chat->told_tokens);
    chat->told_tokens = answer->n_tokens;
}

static void send_waiting(struct chat *chat) {
    if (!chat->waiting.len) return;
    struct buf text = chat->waiting;
    chat->waiting = (struct buf){0};
    if (chat_send(chat, text.data, text.len, &chat->error) < 0) give_back(chat, &text);
    buf_free(&text);
}

/* After an answer: it was stopped to end its thinking, or a question waits for its turn. An answer that did
 * not come to its end leaves the question to the person. */
static void what_next(struct chat *chat) {
    bool answer_now = chat->answer_now && chat->reason == ENGINE_STOPPED && chat->state == CHAT_IDLE;
    chat->answer_now = false;
    if (answer_now && chat_answer_now(chat, &chat->error) == STATUS_OK) return;
    if (chat->reason == ENGINE_END || chat->reason == ENGINE_LIMIT)
        send_waiting(chat);
    else
        chat_unqueue(chat);
}

/* Some templates begin the thinking themselves. Where the prompt does not show it, it shows when an answer
 * ends a thought that it never began, and holds for the next ones, until one of them ends in the middle of
 * its thought. */
static void learn_thinking(struct chat *chat) {
    const struct thinking *thinking = said_thinking(chat->answer);
    if (thinking->prompted && !thinking->end) chat->thought_end = thinking->prompted;
    if (!thinking->prompted || !thinking->end || chat->reason != ENGINE_END) return;
    chat->thought_end = NULL;
    thinking_free(&chat->answer->thinking);
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
    learn_thinking(chat);
    said_write_note(chat->answer, chat->continuing ? chat->answer->n_ids : event->done.stats.tokens, event);
    if (chat->moved) mark_moved(chat->answer);
    chat->moved = chat->moving = false;
    tell_tokens(chat);
    bool wordless = !chat->continuing && chat->answer->n_tokens == 0;
    if (wordless && event->done.reason != ENGINE_END && event->done.reason != ENGINE_LIMIT)
        take_back(chat);
    else
        KEEP(chat, said_closed, chat, chat->answer);
    chat->computed = conversation_leaf(&chat->conversation);
    chat->answer = NULL;
    what_next(chat);
}

/* What the template wrote behind the last message, or before the beginning of the answer that goes on: does
 * it begin a thought? */
static void look_for_thought(struct chat *chat) {
    const struct prompt_token *tokens = chat->prompt.tokens;
    size_t end = chat->prompt.n, begin;
    if (chat->continuing)
        while (end > 0 && tokens[end - 1].message >= 0) end--;
    for (begin = end; begin > 0 && tokens[begin - 1].message < 0;) begin--;
    struct buf text = {0};
    for (size_t i = begin; i < end; i++) {
        size_t len;
        const char *bytes = chat->engine->ops->token_text(chat->engine, tokens[i].id, &len);
        buf_append(&text, bytes, len);
    }
    bool told = thinking_left_open(text.data, text.len, &chat->thought_end);
    buf_free(&text);
    struct said *answer =
        chat->answer; /* that has a beginning which ended no thought is in the middle of it */
    if (!told || !chat->thought_end || !answer->n_tokens || said_thinking(answer)->n) return;
    thinking_free(&answer->thinking);
    thinking_begin(&answer->thinking, chat->thought_end);
}

static void on_prompt(struct chat *chat, const struct engine_event *event) {
    struct chat_prompt *prompt = &chat->prompt;
    grow_array(&prompt->tokens, &prompt->cap, prompt->n + event->prompt.n, sizeof *prompt->tokens);
    memcpy(prompt->tokens + prompt->n, event->prompt.tokens, event->prompt.n * sizeof *prompt->tokens);
    prompt->n += event->prompt.n;
    prompt->whole = prompt->n == event->prompt.total;
    if (prompt->whole) look_for_thought(chat);
}

const struct chat_prompt *chat_prompt_of_path(const struct chat *chat) {
    const struct chat_prompt *prompt = &chat->prompt;
    return prompt->whole && prompt->changes == chat->conversation.changes ? prompt : NULL;
}

static void on_token(struct chat *chat, const struct token_record *record) {
    chat->state = CHAT_ANSWERING;
    if (chat->thought_end && !chat->answer->n_tokens)
        thinking_begin(&chat->answer->thinking, chat->thought_end);
    said_append(chat->answer, chat->engine, record);
    chat->window[chat->n_said % CHAT_SPEED_WINDOW] = record->ms;
    chat->n_said++;
    chat->said_ms += (double)record->ms;
    chat->stats.context_used = record->result.position + 1;
}

void chat_ready(struct chat *chat) {
    chat->info = chat->engine->ops->info(chat->engine);
    chat->moving = false;
    if (chat->request) return; /* on another device, in the middle of an answer */
    chat->conversation.vocabulary = vocabulary_fingerprint(chat->engine);
    chat->thought_end = NULL; /* another model, another template */
    chat->state = CHAT_IDLE;
    chat_model_ready(chat);
    send_waiting(chat);
}

/* ---- looking ---- */

int chat_look(struct chat *chat, struct engine_request *request, chat_look_fn *tell, void *ctx,
              struct err *err) {
    struct chat_look *look = chat->looks;
    while (look < chat->looks + CHAT_LOOKS && look->request) look++;
    if (look == chat->looks + CHAT_LOOKS)
        return err_set(err, STATUS_BUSY, "the engine is still looking elsewhere");
    const struct said *last = conversation_last(&chat->conversation);
    request->id = chat->last_request + 1;
    request->top_k = chat->settings.top;
    request->sampling = chat->settings.sampling;
    struct message *messages = NULL;
    if (!request->raw && !request->prompt_of) {
        messages = conversation_messages(&chat->conversation, &request->n_messages);
        request->messages = messages;
        request->continue_last = last && last->by == SAID_BY_MODEL;
        request->fold_system = chat->fold;
        request->template_variables = chat->variables.len ? chat->variables.data : NULL;
        request->began = chat->began;
    }
    int status = chat->engine->ops->submit(chat->engine, request, err);
    free(messages);
    request->messages = NULL;
    if (status < 0) return status;
    chat->last_request = request->id;
    *look = (struct chat_look){request->id, tell, ctx};
    return STATUS_OK;
}

void chat_look_stop(struct chat *chat, uint64_t request) {
    for (const struct chat_look *look = chat->looks; look < chat->looks + CHAT_LOOKS; look++)
        if (request && look->request == request) chat->engine->ops->stop(chat->engine, request);
}

bool chat_is_looking(const struct chat *chat) {
    for (const struct chat_look *look = chat->looks; look < chat->looks + CHAT_LOOKS; look++)
        if (look->request) return true;
    return false;
}

void chat_looks_end(struct chat *chat) {
    static struct engine_event event = {.type = ENGINE_DONE, .done.reason = ENGINE_STOPPED};
    err_set(&event.error, STATUS_STOPPED, "stopped: another model took the place of the one that was asked");
    for (struct chat_look *look = chat->looks; look < chat->looks + CHAT_LOOKS; look++) {
        if (!look->request) continue;
        event.request = look->request;
        look->request = 0;
        look->tell(look->ctx, &event);
    }
}

/* True if it was for one who looks. */
static bool tell_looker(struct chat *chat, const struct engine_event *event) {
    for (struct chat_look *look = chat->looks; look < chat->looks + CHAT_LOOKS; look++) {
        if (!event->request || look->request != event->request) continue;
        if (event->type == ENGINE_DONE) look->request = 0; /* before: another look may follow */
        look->tell(look->ctx, event);
        return true;
    }
    return false;
}

static void on_event(struct chat *chat, const struct engine_event *event) {
    if (event->type != ENGINE_LOADING && event->type != ENGINE_NOTICE && event->type != ENGINE_READY &&
        tell_looker(chat, event))
        return;
    bool mine = event->request == chat->request && chat->request;
    switch (event->type) {
    case ENGINE_LOADING:
        chat->progress_done = event->progress.done;
        chat->progress_total = event->progress.total;
        chat->moving = mine;
        break;
    case ENGINE_NOTICE:
        chat_tell(chat, "%s", event->error.text);
        chat->moved = mine;
        break;
    case ENGINE_READY: chat_ready(chat); break;
    case ENGINE_FAILED:
        if (chat_model_failed(chat, &event->error)) break;
        chat->state = CHAT_FAILED;
        chat->error = event->error;
        break;
    case ENGINE_PROMPT:
        if (mine) on_prompt(chat, event);
        break;
    case ENGINE_PREFILL:
        if (!mine) break;
        chat->progress_done = event->progress.done;
        chat->progress_total = event->progress.total;
        break;
    case ENGINE_TOKEN:
        if (mine) on_token(chat, &event->token);
        break;
    case ENGINE_STAGES: break;
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
    tell_tokens(chat);
    return chat_model_pump(chat) || any;
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

void chat_model_title(const struct chat *chat, struct buf *out) {
    const struct engine_info *info = chat->info;
    buf_puts(out, info->model_name);
    if (!strcasestr(info->model_name, info->quantisation)) buf_printf(out, " %s", info->quantisation);
}

void chat_print_stats(const struct chat *chat, struct buf *out) {
    if (chat->info) {
        buf_printf(out, "model       %s, %s, %s\n", chat->info->model_name, chat->info->architecture,
                   chat->info->quantisation);
        buf_printf(out, "device      %s\n", chat->info->device);
        buf_printf(out, "template    %s\n", chat->info->template_name);
        buf_printf(out, "context     %u of %u tokens (the model knows %u)\n", chat_context_used(chat),
                   chat->info->context_size, chat->info->context_trained);
        buf_printf(out, "vocabulary  %u tokens\n", chat->info->n_vocab);
        buf_printf(out, "memory      %.1f MiB used\n", (double)chat->info->memory_used / 1048576);
        buf_printf(out, "loaded in   %.2f s\n", chat->info->load_seconds);
    }
    if (chat->notice.len) buf_printf(out, "device note %s\n", chat->notice.data);
    buf_printf(out, "seed        %llu\n", (unsigned long long)chat->settings.sampling.seed);
    if (!chat->has_stats) return;
    const struct engine_stats *stats = &chat->stats;
    buf_puts(out, "\nlast answer\n");
    buf_printf(out, "reason      %s\n", reason_name(chat->reason));
    buf_printf(out, "prompt      %u tokens, %u of them cached", stats->prompt_tokens, stats->cached_tokens);
    if (stats_prefill_tps(stats) > 0) buf_printf(out, ", %.1f tok/s for the rest", stats_prefill_tps(stats));
    buf_putc(out, '\n');
    buf_printf(out, "answer      %u tokens, %.1f tok/s\n", stats->tokens, stats_decode_tps(stats));
    buf_printf(out, "first token after %.0f ms\n", stats->first_token_seconds * 1000);
}
