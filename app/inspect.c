#include "app/inspect.h"

#include "app/record_json.h"
#include "base/mem.h"
#include "base/text.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCORE_BEFORE = 4, SCORE_AFTER = 12 }; /* how far around the cursor tokens are scored at once */

void inspect_open(struct inspect *inspect, struct chat *chat) {
    inspect->chat = chat;
    inspect->staged = SIZE_MAX;
}

void inspect_close(struct inspect *inspect) {
    free(inspect->tokens);
    free(inspect->shown);
    free(inspect->coming);
    free(inspect->sent);
    buf_free(&inspect->next);
    arena_free(&inspect->arena);
}

/* ---- what is known ---- */

const struct inspect_token *inspect_token(const struct inspect *inspect) {
    return inspect->cursor < inspect->n ? &inspect->tokens[inspect->cursor] : NULL;
}

static bool is_known(const struct kept_token *record) {
    return record->rank || record->n_top;
}

/* Known since it was said. */
static bool was_told(const struct inspect_token *token) {
    return token->kept && is_known(&token->said->tokens[token->index]);
}

struct said *inspect_compared(const struct inspect *inspect) {
    return inspect->on && inspect->compare ? conversation_find(&inspect->chat->conversation, inspect->compare)
                                           : NULL;
}

const struct kept_token *inspect_record(const struct inspect_token *token) {
    if (was_told(token)) return &token->said->tokens[token->index];
    return is_known(&token->record) ? &token->record : NULL;
}

const struct ui_token *inspect_shown(const struct inspect *inspect, const struct said *said, size_t *from,
                                     size_t *n) {
    size_t begin = *from;
    while (begin < inspect->n && inspect->tokens[begin].said != said) begin++;
    if (begin == inspect->n) return NULL; /* dropped ones are in no list */
    size_t end = begin;
    while (end < inspect->n && inspect->tokens[end].said == said) end++;
    *from = end;
    *n = end - begin;
    return inspect->tokens[begin].kept ? NULL : inspect->shown + begin;
}

/* The row of the token itself. */
static void select_chosen(struct inspect *inspect) {
    const struct inspect_token *token = inspect_token(inspect);
    const struct kept_token *record = token ? inspect_record(token) : NULL;
    inspect->selected = 0;
    for (uint32_t i = 0; record && i < record->n_top; i++)
        if (kept_token_candidate(record, i).id == token->id) inspect->selected = i;
}

/* What is seen of a token, from what is known. */
static void show(struct inspect *inspect, size_t i) {
    const struct inspect_token *token = &inspect->tokens[i];
    const struct kept_token *record = inspect_record(token);
    inspect->shown[i] = (struct ui_token){.end = (uint32_t)token->end, .prob = -1};
    if (!record || !record->rank || was_told(token)) return;
    inspect->shown[i].prob = expf(record->logit - record->log_sum_exp);
    inspect->shown[i].entropy = record->entropy;
    inspect->shown[i].rank = record->rank;
    inspect->shown[i].ms = record->ms;
    inspect->shown[i].picked = record->picked;
    if (token->kept) token->said->shown[token->index] = inspect->shown[i];
}

static void show_all(struct inspect *inspect) {
    grow_array(&inspect->shown, &inspect->cap_shown, inspect->n + 1, sizeof *inspect->shown);
    for (size_t i = 0; i < inspect->n; i++) show(inspect, i);
}

/* ---- following the path ---- */

static uint64_t mix(uint64_t stamp, uint64_t fact) {
    return (stamp ^ fact) * 0x9E3779B97F4A7C15u + (stamp >> 29);
}

/* Another number whenever the prompt or what was said may be another. */
static uint64_t path_stamp(const struct chat *chat) {
    const struct conversation *conversation = &chat->conversation;
    uint64_t stamp = mix(chat->fold, conversation->vocabulary);
    for (size_t i = 0; i < chat->variables.len; i++)
        stamp = mix(stamp, (unsigned char)chat->variables.data[i]);
    for (size_t i = 0; i < conversation->n; i++) {
        const struct said *said = conversation->messages[i];
        const uint64_t facts[] = {said->id, said->version, said->text.len, said->n_tokens, said->dropped};
        for (size_t k = 0; k < sizeof facts / sizeof *facts; k++) stamp = mix(stamp, facts[k]);
    }
    return stamp ? stamp : 1;
}

static void add_kept(struct inspect *inspect, struct said *said, size_t index) {
    grow_array(&inspect->tokens, &inspect->cap, inspect->n + 1, sizeof *inspect->tokens);
    inspect->tokens[inspect->n++] = (struct inspect_token){.said = said,
                                                           .index = index,
                                                           .begin = said_token_begin(said, index),
                                                           .end = said->shown[index].end,
                                                           .id = said->tokens[index].id,
                                                           .kept = true};
}

static bool has_kept(const struct inspect *inspect, const struct said *said) {
    return said->n_tokens && conversation_knows_ids(&inspect->chat->conversation, said);
}

/* Where the cursor is, to be found again among other tokens. */
struct bookmark {
    struct said *said; /* NULL: in the template */
    size_t index, cursor;
};

static struct bookmark bookmark(const struct inspect *inspect) {
    const struct inspect_token *at = inspect_token(inspect);
    return (struct bookmark){at ? at->said : NULL, at ? at->index : 0, inspect->cursor};
}

/* The same token, or the nearest before it that is still there. */
static void find_again(struct inspect *inspect, const struct bookmark *was) {
    inspect->cursor = was->cursor < inspect->n ? was->cursor : inspect->n ? inspect->n - 1 : 0;
    for (size_t i = 0; was->said && i < inspect->n; i++)
        if (inspect->tokens[i].said == was->said && inspect->tokens[i].index <= was->index)
            inspect->cursor = i;
    const struct inspect_token *at = inspect_token(inspect);
    const struct kept_token *record = at ? inspect_record(at) : NULL;
    bool same = at && at->said == was->said && at->index == was->index;
    if (!same || !record || inspect->selected >= record->n_top) select_chosen(inspect);
}

/* Only what the answers tell of themselves. */
static void take_kept(struct inspect *inspect) {
    const struct conversation *conversation = &inspect->chat->conversation;
    inspect->n = 0;
    for (size_t i = 0; i < conversation->n; i++) {
        struct said *said = conversation->messages[i];
        for (size_t k = 0; has_kept(inspect, said) && said_is_sent(said) && k < said->n_tokens; k++)
            add_kept(inspect, said, k);
    }
    inspect->listed = false;
}

static void path_changed(struct inspect *inspect, uint64_t stamp) {
    struct bookmark was = bookmark(inspect);
    take_kept(inspect);
    show_all(inspect);
    find_again(inspect, &was);
    inspect->stamp = stamp;
    inspect->staged = SIZE_MAX;
}

/* ---- the list of all tokens ---- */

/* Do these listed tokens of a message say what its own records do? */
static bool same_ids(const struct said *said, const struct inspect_token *tokens, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < said->n_tokens; i++) {
        if (said->tokens[i].end) continue;
        if (k == n || tokens[k++].id != said->tokens[i].id) return false;
    }
    return k == n;
}

/* Tie the listed tokens [from, to) of a message to its records, where it has them. */
static void tie(struct inspect *inspect, struct said *said, size_t from, size_t to) {
    struct inspect_token *tokens = inspect->coming;
    bool kept = has_kept(inspect, said) && same_ids(said, tokens + from, to - from);
    size_t index = 0;
    for (size_t i = from; i < to; i++) {
        while (kept && said->tokens[index].end) index++;
        tokens[i].begin = i > from ? tokens[i - 1].end : 0;
        tokens[i].kept = kept;
        tokens[i].index = index++;
    }
    /* the end token is the template's when it is read again, and still the answer's own */
    const struct kept_token *last = kept ? &said->tokens[said->n_tokens - 1] : NULL;
    if (!last || !last->end) return;
    if (to == inspect->n_coming) {
        grow_array(&inspect->coming, &inspect->cap_coming, to + 1, sizeof *inspect->coming);
        inspect->coming[inspect->n_coming++] = (struct inspect_token){.id = last->id};
    }
    struct inspect_token *end = &inspect->coming[to];
    if (end->said || end->id != last->id) return;
    end->said = said;
    end->begin = end->end = said->text.len;
    end->index = said->n_tokens - 1;
    end->kept = true;
}

static void tie_all(struct inspect *inspect) {
    for (size_t i = 0, run = 0; i < inspect->n_coming;) {
        struct said *said = inspect->coming[i].said;
        size_t end = i + 1;
        if (!said) {
            inspect->coming[i++].index = run++;
            continue;
        }
        while (end < inspect->n_coming && inspect->coming[end].said == said) end++;
        tie(inspect, said, i, end);
        while (end < inspect->n_coming && inspect->coming[end].said == said) end++; /* with its end token */
        i = end;
        run = 0;
    }
}

/* Candidates do not depend on what comes after: those of the common beginning are still right. */
static void keep_records(struct inspect *inspect) {
    struct arena arena = {0};
    for (size_t i = 0; i < inspect->n_coming && inspect->listed && i < inspect->n; i++) {
        const struct kept_token *record = &inspect->tokens[i].record;
        if (inspect->tokens[i].id != inspect->coming[i].id) break;
        if (!record->n_top) continue;
        inspect->coming[i].record = *record;
        inspect->coming[i].record.top = (const kept_candidate *)(const void *)arena_dup(
            &arena, record->top, record->n_top * sizeof *record->top);
    }
    arena_free(&inspect->arena);
    inspect->arena = arena;
}

static void take_list(struct inspect *inspect) {
    struct bookmark was = bookmark(inspect);
    tie_all(inspect);
    keep_records(inspect);
    struct inspect_token *tokens = inspect->tokens;
    size_t cap = inspect->cap;
    inspect->tokens = inspect->coming;
    inspect->cap = inspect->cap_coming;
    inspect->n = inspect->n_coming;
    inspect->coming = tokens;
    inspect->cap_coming = cap;
    inspect->listed = true;
    inspect->staged = SIZE_MAX;
    show_all(inspect);
    find_again(inspect, &was);
}

static void note_failure(struct inspect *inspect, const struct engine_event *event) {
    inspect->failed = event->error;
    inspect->failed_stamp = inspect->asked;
    inspect->has_failed = true;
}

/* Is the path still what was asked about? It may have changed since the last update, its messages be gone. */
static bool is_current(const struct inspect *inspect) {
    return inspect->asked == inspect->stamp && inspect->stamp == path_stamp(inspect->chat);
}

static void on_list(void *ctx, const struct engine_event *event) {
    struct inspect *inspect = ctx;
    const struct token_record *token = &event->token;
    if (event->type == ENGINE_TOKEN) {
        bool known = token->message >= 0 && (size_t)token->message < inspect->n_sent;
        grow_array(&inspect->coming, &inspect->cap_coming, inspect->n_coming + 1, sizeof *inspect->coming);
        inspect->coming[inspect->n_coming++] =
            (struct inspect_token){.said = known ? inspect->sent[token->message] : NULL,
                                   .end = token->text_end,
                                   .id = token->result.id};
    }
    if (event->type != ENGINE_DONE) return;
    inspect->asking = false;
    if (event->done.reason == ENGINE_ERROR) {
        note_failure(inspect, event);
    } else if (event->done.reason == ENGINE_END && is_current(inspect)) {
        take_list(inspect);
    }
}

static void ask_list(struct inspect *inspect) {
    const struct conversation *conversation = &inspect->chat->conversation;
    struct engine_request request = {.kind = REQUEST_LIST};
    inspect->sent = xrealloc(inspect->sent, (conversation->n + 1) * sizeof *inspect->sent);
    inspect->n_sent = inspect->n_coming = 0;
    for (size_t i = 0; i < conversation->n; i++)
        if (said_is_sent(conversation->messages[i]))
            inspect->sent[inspect->n_sent++] = conversation->messages[i];
    inspect->asked = inspect->stamp;
    inspect->asking = chat_look(inspect->chat, &request, on_list, inspect, NULL) == STATUS_OK;
}

/* ---- candidates and stages ---- */

static void keep_record(struct inspect *inspect, size_t at, const struct token_record *token) {
    const struct step_result *result = &token->result;
    kept_candidate *top = arena_alloc(&inspect->arena, (result->n_top + 1) * sizeof *top);
    for (uint32_t i = 0; i < result->n_top; i++)
        top[i] = kept_candidate_pack(&result->top[i], result->log_sum_exp);
    bool first = !is_known(&inspect->tokens[at].record);
    inspect->tokens[at].record = (struct kept_token){.id = result->id,
                                                     .position = result->position,
                                                     .rank = result->rank,
                                                     .n_top = result->n_top,
                                                     .logit = result->logit,
                                                     .prob = result->prob,
                                                     .log_sum_exp = result->log_sum_exp,
                                                     .entropy = result->entropy,
                                                     .end = token->end,
                                                     .picked = inspect->tokens[at].kept,
                                                     .top = top};
    show(inspect, at);
    if (first && at == inspect->cursor) select_chosen(inspect);
}

static void on_scored(void *ctx, const struct engine_event *event) {
    struct inspect *inspect = ctx;
    bool current = inspect->listed && is_current(inspect);
    const struct token_record *token = event->type == ENGINE_STAGES ? &event->stages.token : &event->token;
    bool about_token = event->type == ENGINE_TOKEN || event->type == ENGINE_STAGES;
    if (about_token && current && token->index < inspect->n && !was_told(&inspect->tokens[token->index]))
        keep_record(inspect, token->index, token);
    if (event->type == ENGINE_STAGES && current) {
        inspect->stages = event->stages.table;
        for (uint32_t i = 0; i < inspect->stages.n_candidates; i++)
            inspect->stage_ids[i] = token->result.top[i].id;
        inspect->staged = token->index;
    }
    if (event->type != ENGINE_DONE) return;
    inspect->asking = false;
    if (event->done.reason == ENGINE_ERROR || event->done.reason == ENGINE_CONTEXT_FULL)
        note_failure(inspect, event);
}

static void ask(struct inspect *inspect, enum request_kind kind, size_t from, size_t to) {
    struct engine_request request = {.kind = kind, .from = (uint32_t)from, .to = (uint32_t)to};
    inspect->asked = inspect->stamp;
    inspect->asking = chat_look(inspect->chat, &request, on_scored, inspect, NULL) == STATUS_OK;
}

/* One request at a time; what it brings leads to the next. */
static void ask_for_missing(struct inspect *inspect) {
    const struct chat *chat = inspect->chat;
    bool idle = chat->state == CHAT_IDLE && !chat_busy(chat) && conversation_last(&chat->conversation);
    if (inspect->asking || !idle || (inspect->failed.code && inspect->failed_stamp == inspect->stamp)) return;
    if (!inspect->listed) {
        ask_list(inspect);
        return;
    }
    size_t at = inspect->cursor;
    if (at == 0 || at >= inspect->n) return;
    if (!inspect_record(&inspect->tokens[at])) {
        size_t from = at > SCORE_BEFORE ? at - SCORE_BEFORE : 1, to = at + SCORE_AFTER;
        while (from < at && inspect_record(&inspect->tokens[from])) from++;
        ask(inspect, REQUEST_SCORE, from, to < inspect->n ? to : inspect->n);
        return;
    }
    const struct sampling *sampling = &chat->settings.sampling;
    if (inspect->staged == at && memcmp(&inspect->stage_sampling, sampling, sizeof *sampling) == 0) return;
    inspect->stage_sampling = *sampling;
    ask(inspect, REQUEST_STAGES, at, at + 1);
}

void inspect_update(struct inspect *inspect) {
    if (!inspect->on) return;
    uint64_t stamp = path_stamp(inspect->chat);
    if (stamp != inspect->stamp) path_changed(inspect, stamp);
    if (inspect->follow && inspect->cursor + 1 < inspect->n) {
        inspect->cursor = inspect->n - 1;
        select_chosen(inspect);
    }
    if (inspect->follow && !chat_busy(inspect->chat)) inspect->follow = false;
    ask_for_missing(inspect);
}

/* ---- moving ---- */

static void go(struct inspect *inspect, size_t cursor) {
    inspect->follow = false;
    inspect->cursor = cursor;
    select_chosen(inspect);
}

int inspect_enter(struct inspect *inspect, struct err *err) {
    if (!conversation_last(&inspect->chat->conversation))
        return err_set(err, STATUS_USAGE, "there is no token to inspect yet: ask something first");
    inspect->on = true;
    inspect->compare = 0;
    inspect->failed.code = STATUS_OK;
    path_changed(inspect, path_stamp(inspect->chat));
    go(inspect, inspect->n ? inspect->n - 1 : 0);
    inspect->follow = chat_busy(inspect->chat);
    return STATUS_OK;
}

/* Nobody follows the path from here on: the tokens' messages may go at any time. */
void inspect_leave(struct inspect *inspect) {
    inspect->on = inspect->listed = false;
    inspect->compare = inspect->stamp = 0;
    inspect->n = inspect->cursor = 0;
}

/* Does a word begin here? Marks of the template are words. */
static bool begins_word(const struct inspect *inspect, size_t i) {
    const struct inspect_token *token = &inspect->tokens[i];
    size_t len;
    const char *text = inspect->chat->engine->ops->token_text(inspect->chat->engine, token->id, &len);
    if (i == 0 || !token->said || inspect->tokens[i - 1].said != token->said) return true;
    return len && isspace((unsigned char)text[0]);
}

static size_t word_from(const struct inspect *inspect, bool on) {
    size_t i = inspect->cursor;
    while (on ? i + 1 < inspect->n : i > 0) {
        i = on ? i + 1 : i - 1;
        if (begins_word(inspect, i)) break;
    }
    return i;
}

/* The first token of the message after; back: of this one, or of the one before. */
static size_t message_from(const struct inspect *inspect, bool on) {
    size_t i = inspect->cursor;
    if (!on && i > 0) i--;
    while (on ? i + 1 < inspect->n : i > 0) {
        if (on) i++;
        const struct said *said = inspect->tokens[i].said;
        if (said && (i == 0 || inspect->tokens[i - 1].said != said)) return i;
        if (!on) i--;
    }
    return on ? inspect->cursor : 0;
}

void inspect_move(struct inspect *inspect, enum ui_action_type move) {
    const struct inspect_token *token = inspect_token(inspect);
    const struct kept_token *record = token ? inspect_record(token) : NULL;
    size_t at = inspect->cursor, last = inspect->n ? inspect->n - 1 : 0;
    switch (move) {
    case UI_ACTION_TOKEN_BACK: go(inspect, at ? at - 1 : 0); break;
    case UI_ACTION_TOKEN_ON: go(inspect, at < last ? at + 1 : last); break;
    case UI_ACTION_WORD_BACK: go(inspect, word_from(inspect, false)); break;
    case UI_ACTION_WORD_ON: go(inspect, word_from(inspect, true)); break;
    case UI_ACTION_MESSAGE_BACK: go(inspect, message_from(inspect, false)); break;
    case UI_ACTION_MESSAGE_ON: go(inspect, message_from(inspect, true)); break;
    case UI_ACTION_FIRST_TOKEN: go(inspect, 0); break;
    case UI_ACTION_LAST_TOKEN: go(inspect, last); break;
    case UI_ACTION_CANDIDATE_UP: inspect->selected -= inspect->selected > 0; break;
    case UI_ACTION_CANDIDATE_DOWN:
        inspect->selected += record && inspect->selected + 1 < record->n_top;
        break;
    default: break;
    }
}

void inspect_go_to(struct inspect *inspect, const struct said *said, size_t index) {
    for (size_t i = 0; i < inspect->n; i++)
        if (inspect->tokens[i].said == said && inspect->tokens[i].index <= index) go(inspect, i);
}

void inspect_point(struct inspect *inspect, uint64_t said, size_t offset) {
    for (size_t i = 0; i < inspect->n; i++) {
        const struct inspect_token *token = &inspect->tokens[i];
        if (token->said && token->said->id == said && offset < token->end) {
            go(inspect, i);
            return;
        }
    }
}

/* ---- for the ui ---- */

/* The stages of the token under the cursor, its candidates in the order of the record. */
static const struct ui_stages *view_stages(struct inspect *inspect, const struct kept_token *record) {
    const struct stage_table *table = &inspect->stages;
    if (!record || inspect->staged != inspect->cursor) return NULL;
    for (uint32_t s = 0; s + 1 < table->n_stages; s++) { /* the first is raw, which the candidates tell */
        inspect->stage_names[s] = stage_name(table->stages[s + 1]);
        for (uint32_t i = 0; i < record->n_top; i++) {
            int32_t id = kept_token_candidate(record, i).id;
            uint32_t k = 0;
            while (k < table->n_candidates && inspect->stage_ids[k] != id) k++;
            inspect->stage_probs[s * record->n_top + i] =
                k < table->n_candidates ? table->probs[(s + 1) * table->n_candidates + k] : 0;
        }
    }
    uint32_t n_stages = table->n_stages ? table->n_stages - 1 : 0;
    inspect->view_stages =
        (struct ui_stages){n_stages, record->n_top, inspect->stage_names, inspect->stage_probs};
    return &inspect->view_stages;
}

/* What Enter would do. */
static const char *view_next(struct inspect *inspect, const struct inspect_token *token,
                             const struct kept_token *record) {
    if (!record || inspect->selected >= record->n_top || !token->said) return NULL;
    struct candidate candidate = kept_token_candidate(record, (uint32_t)inspect->selected);
    if (candidate.id == token->id) return NULL;
    size_t len;
    const char *text = inspect->chat->engine->ops->token_text(inspect->chat->engine, candidate.id, &len);
    buf_clear(&inspect->next);
    buf_puts(&inspect->next, "take ");
    text_quote(&inspect->next, text, len, 24);
    buf_puts(&inspect->next, token->said->by != SAID_BY_MODEL ? ": into the box, to be edited"
                             : inspect->chat->engine->ops->token_is_end(inspect->chat->engine, candidate.id)
                                 ? ": a new branch, ended here"
                                 : ": a new branch");
    return inspect->next.data;
}

/* A token's place in the context; 0: it is not known. */
static size_t place_of(const struct inspect_token *token) {
    size_t before = token->kept ? token->said->tokens[token->index].position : 0;
    return before ? before + 1 : 0;
}

/* Counted among all tokens, also while only those of the answers are there. */
static void view_place(const struct inspect *inspect, const struct inspect_token *token,
                       struct ui_inspect *view) {
    if (inspect->listed) return;
    size_t place = place_of(token), last = place_of(&inspect->tokens[inspect->n - 1]);
    if (!place || last < place) return;
    view->index = place;
    view->n_tokens = last + 1;
}

const struct ui_inspect *inspect_view(struct inspect *inspect) {
    if (!inspect->on) return NULL;
    const struct inspect_token *token = inspect_token(inspect);
    const struct kept_token *record = token ? inspect_record(token) : NULL;
    struct ui_inspect *view = &inspect->view;
    *view = (struct ui_inspect){.index = inspect->cursor,
                                .n_tokens = inspect->n,
                                .selected = inspect->selected,
                                .stages = view_stages(inspect, record),
                                .computing = inspect->asking,
                                .id = -1};
    if (!token) return view;
    struct engine *engine = inspect->chat->engine;
    view->id = token->id;
    view->text = engine->ops->token_text(engine, token->id, &view->len);
    view->control = engine->ops->token_is_control(engine, token->id);
    view->token = token->index;
    view_place(inspect, token, view);
    view->next = view_next(inspect, token, record);
    if (token->said) {
        size_t n;
        view->message = token->said->id;
        view->sibling = (uint32_t)said_index(token->said, &n) + 1;
        view->n_siblings = (uint32_t)n;
        return view;
    }
    for (size_t i = inspect->cursor; i < inspect->n && !view->before; i++)
        if (inspect->tokens[i].said) view->before = inspect->tokens[i].said->id;
    return view;
}
