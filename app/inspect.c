#include "app/inspect_internal.h"

#include "base/mem.h"
#include "base/text.h"

#include <ctype.h>
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
    free(inspect->spans);
    free(inspect->former);
    free(inspect->list);
    buf_free(&inspect->next);
    arena_free(&inspect->arena);
}

/* ---- the cursor ---- */

const struct inspect_token *inspect_token(const struct inspect *inspect) {
    return inspect->cursor < inspect->n ? &inspect->tokens[inspect->cursor] : NULL;
}

struct said *inspect_compared(const struct inspect *inspect) {
    return inspect->on && inspect->compare ? conversation_find(&inspect->chat->conversation, inspect->compare)
                                           : NULL;
}

/* The row of the token itself. */
static void select_chosen(struct inspect *inspect) {
    const struct inspect_token *token = inspect_token(inspect);
    const struct kept_token *record = token ? inspect_record(token) : NULL;
    inspect->selected = 0;
    for (uint32_t i = 0; record && i < record->n_top; i++)
        if (kept_token_candidate(record, i).id == token->id) inspect->selected = i;
}

static struct inspect_place place_of(const struct inspect *inspect, size_t cursor) {
    const struct inspect_token *at = cursor < inspect->n ? &inspect->tokens[cursor] : NULL;
    bool said = at && at->said;
    return (struct inspect_place){said ? at->said->id : 0, said ? at->index : 0, cursor};
}

static bool same_place(const struct inspect_place *a, const struct inspect_place *b) {
    return a->said == b->said && (a->said ? a->index == b->index : a->cursor == b->cursor);
}

static void put_cursor(struct inspect *inspect, size_t cursor) {
    struct inspect_place place = place_of(inspect, cursor);
    bool stays = same_place(&place, &inspect->place);
    inspect->cursor = cursor;
    inspect->place = place;
    if (!stays) select_chosen(inspect);
}

/* The token of a message with this index, or the nearest before it that is there; SIZE_MAX: none is. */
static size_t find_token(const struct inspect *inspect, uint64_t said, size_t index) {
    const struct inspect_span *span = inspect_span_of(inspect, said);
    if (!span) return SIZE_MAX;
    size_t low = span->begin, high = span->end;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (inspect->tokens[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Among other tokens the cursor is where it was put, or as near as there are tokens. */
static void find_again(struct inspect *inspect) {
    const struct inspect_place *was = &inspect->place;
    size_t found = was->said ? find_token(inspect, was->said, was->index) : SIZE_MAX;
    size_t last = inspect->n ? inspect->n - 1 : 0;
    inspect->cursor = found != SIZE_MAX ? found : was->cursor < inspect->n ? was->cursor : last;
    struct inspect_place now = place_of(inspect, inspect->cursor);
    const struct inspect_token *at = inspect_token(inspect);
    const struct kept_token *record = at ? inspect_record(at) : NULL;
    if (!same_place(&now, was) || !record || inspect->selected >= record->n_top) select_chosen(inspect);
}

/* ---- following the path ---- */

static void path_changed(struct inspect *inspect, uint64_t stamp) {
    const struct chat_prompt *prompt = chat_prompt_of_path(inspect->chat);
    if (prompt)
        inspect_tokens_whole(inspect, prompt->tokens, prompt->n, prompt->n_before);
    else if (!chat_busy(inspect->chat) || !inspect_tokens_stay(inspect))
        inspect_tokens_kept(inspect);
    inspect->stamp = stamp;
    find_again(inspect);
}

static void take_list(struct inspect *inspect) {
    const struct said *last = conversation_last(&inspect->chat->conversation);
    size_t n_before = last ? last->n_tokens : 0;
    if (n_before && last->tokens[n_before - 1].end)
        n_before--; /* no text: no part of a prompt that goes on */
    inspect_tokens_whole(inspect, inspect->list, inspect->n_list, n_before);
    inspect->listed = true;
    find_again(inspect);
    if (inspect->place.cursor == SIZE_MAX) inspect->place = place_of(inspect, inspect->cursor);
    if (inspect->point.said) inspect_point(inspect, inspect->point.said, inspect->point.offset);
}

/* Is what the engine tells about the path as it is? Its messages may be gone since it was asked. */
static bool is_current(const struct inspect *inspect) {
    return inspect->asked == inspect->stamp && inspect->stamp == inspect_path_stamp(inspect->chat);
}

static void note_failure(struct inspect *inspect, const struct engine_event *event) {
    inspect->asking = false;
    if (event->done.reason != ENGINE_ERROR && event->done.reason != ENGINE_CONTEXT_FULL) return;
    if (!is_current(inspect)) return;
    inspect->failed = event->error;
    inspect->has_failed = true;
}

static void on_list(void *ctx, const struct engine_event *event) {
    struct inspect *inspect = ctx;
    if (event->type == ENGINE_PROMPT) {
        size_t n = event->prompt.n;
        grow_array(&inspect->list, &inspect->cap_list, inspect->n_list + n, sizeof *inspect->list);
        memcpy(inspect->list + inspect->n_list, event->prompt.tokens, n * sizeof *inspect->list);
        inspect->n_list += n;
    }
    if (event->type != ENGINE_DONE) return;
    note_failure(inspect, event);
    if (event->done.reason == ENGINE_END && is_current(inspect)) take_list(inspect);
}

static void ask(struct inspect *inspect, struct engine_request *request, chat_look_fn *tell) {
    inspect->asked = inspect->stamp;
    inspect->asked_at = inspect->cursor;
    inspect->asked_from = request->from;
    inspect->asked_to = request->to;
    inspect->asked_list = request->kind == REQUEST_LIST;
    inspect->failed.code = STATUS_OK;
    inspect->n_list = 0;
    inspect->asking = chat_look(inspect->chat, request, tell, inspect, NULL) == STATUS_OK;
    inspect->request = request->id;
    if (inspect->asked_list) inspect->list_id = request->id;
}

/* ---- candidates and stages ---- */

static void on_scored(void *ctx, const struct engine_event *event) {
    struct inspect *inspect = ctx;
    bool current = inspect->listed && is_current(inspect);
    const struct token_record *token = event->type == ENGINE_STAGES ? &event->stages.token : &event->token;
    bool about_token = event->type == ENGINE_TOKEN || event->type == ENGINE_STAGES;
    if (about_token && current && token->index < inspect->n &&
        !inspect_was_told(&inspect->tokens[token->index])) {
        bool first = !inspect->tokens[token->index].record;
        inspect_keep_record(inspect, token->index, token);
        if (first && token->index == inspect->cursor) select_chosen(inspect);
    }
    if (event->type == ENGINE_STAGES && current) {
        inspect->stages = event->stages.table;
        for (uint32_t i = 0; i < inspect->stages.n_candidates; i++)
            inspect->stage_ids[i] = token->result.top[i].id;
        inspect->staged = token->index;
    }
    if (event->type == ENGINE_DONE) note_failure(inspect, event);
}

static void ask_about(struct inspect *inspect, enum request_kind kind, size_t from, size_t to) {
    struct engine_request request = {
        .kind = kind, .from = (uint32_t)from, .to = (uint32_t)to, .prompt_of = inspect->list_id};
    ask(inspect, &request, on_scored);
}

/* What failed would fail again: a list as long as the path is the same, the others at this token. */
static bool has_failed_here(const struct inspect *inspect) {
    return inspect->failed.code && inspect->asked == inspect->stamp &&
           (inspect->asked_list || inspect->asked_at == inspect->cursor);
}

/* The cursor went away from what is computed: it need not wait for it. */
static void stop_elsewhere(struct inspect *inspect) {
    bool here = inspect->cursor >= inspect->asked_from && inspect->cursor < inspect->asked_to;
    if (inspect->asking && !inspect->asked_list && !here) chat_look_stop(inspect->chat, inspect->request);
}

/* One request at a time, and none that would end another's; what it brings leads to the next. */
static void ask_for_missing(struct inspect *inspect) {
    struct chat *chat = inspect->chat;
    bool idle = chat->state == CHAT_IDLE && !chat_busy(chat) && !chat_is_looking(chat) &&
                conversation_last(&chat->conversation);
    if (!idle || has_failed_here(inspect)) return;
    if (!inspect->listed) {
        ask(inspect, &(struct engine_request){.kind = REQUEST_LIST}, on_list);
        return;
    }
    size_t at = inspect->cursor;
    if (at == 0 || at >= inspect->n) return;
    if (!inspect_record(&inspect->tokens[at])) {
        size_t from = at > SCORE_BEFORE ? at - SCORE_BEFORE : 1, to = at + SCORE_AFTER;
        while (from < at && inspect_record(&inspect->tokens[from])) from++;
        ask_about(inspect, REQUEST_SCORE, from, to < inspect->n ? to : inspect->n);
        return;
    }
    const struct sampling *sampling = &chat->settings.sampling;
    if (inspect->staged == at && memcmp(&inspect->stage_sampling, sampling, sizeof *sampling) == 0) return;
    inspect->stage_sampling = *sampling;
    ask_about(inspect, REQUEST_STAGES, at, at + 1);
}

void inspect_update(struct inspect *inspect) {
    if (!inspect->on) return;
    uint64_t stamp = inspect_path_stamp(inspect->chat);
    if (stamp != inspect->stamp)
        path_changed(inspect, stamp);
    else
        inspect_tokens_grow(inspect);
    if (!conversation_last(&inspect->chat->conversation)) { /* a new chat */
        inspect_leave(inspect);
        return;
    }
    if (inspect->follow && inspect->n) put_cursor(inspect, inspect->n - 1);
    if (inspect->follow && !chat_busy(inspect->chat)) inspect->follow = false;
    stop_elsewhere(inspect);
    ask_for_missing(inspect);
}

/* ---- moving ---- */

static void go(struct inspect *inspect, size_t cursor) {
    inspect->follow = false;
    inspect->point.said = 0;
    put_cursor(inspect, cursor);
    select_chosen(inspect);
}

int inspect_enter(struct inspect *inspect, struct err *err) {
    if (!conversation_last(&inspect->chat->conversation))
        return err_set(err, STATUS_USAGE, "there is no token to inspect yet: ask something first");
    inspect->on = true;
    inspect->compare = 0;
    inspect->failed.code = STATUS_OK;
    inspect->place = (struct inspect_place){.cursor = SIZE_MAX}; /* the end of what will be listed */
    inspect->point.said = 0;
    path_changed(inspect, inspect_path_stamp(inspect->chat));
    inspect->follow = chat_busy(inspect->chat);
    return STATUS_OK;
}

/* Nobody follows the path from here on: the tokens' messages may go at any time. */
void inspect_leave(struct inspect *inspect) {
    inspect->on = false;
    inspect->compare = inspect->stamp = 0;
    inspect->cursor = 0;
    if (inspect->asking) chat_look_stop(inspect->chat, inspect->request);
    inspect_tokens_clear(inspect);
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
    size_t next = inspect_span_after(inspect, inspect->cursor);
    if (on) return next < inspect->n_spans ? inspect->spans[next].begin : inspect->cursor;
    if (next > 0 && inspect->spans[next - 1].begin == inspect->cursor) next--;
    return next > 0 ? inspect->spans[next - 1].begin : 0;
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
    case UI_ACTION_CANDIDATE_UP:
        inspect->follow = false; /* they are this token's */
        inspect->selected -= inspect->selected > 0;
        break;
    case UI_ACTION_CANDIDATE_DOWN:
        inspect->follow = false;
        inspect->selected += record && inspect->selected + 1 < record->n_top;
        break;
    default: break;
    }
}

void inspect_select(struct inspect *inspect, uint64_t candidate) {
    const struct inspect_token *token = inspect_token(inspect);
    const struct kept_token *record = token ? inspect_record(token) : NULL;
    if (!record || candidate >= record->n_top) return;
    inspect->follow = false; /* they are this token's */
    inspect->selected = (size_t)candidate;
}

void inspect_go_to(struct inspect *inspect, const struct said *said, size_t index) {
    size_t i = find_token(inspect, said->id, index);
    if (i != SIZE_MAX) go(inspect, i);
}

void inspect_point(struct inspect *inspect, uint64_t said, size_t offset) {
    const struct inspect_span *span = inspect_span_of(inspect, said);
    inspect->point.said = span || inspect->listed ? 0 : said;
    inspect->point.offset = offset;
    if (!span || inspect->tokens[span->end - 1].end <= offset) return;
    size_t low = span->begin, high = span->end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (inspect->tokens[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    go(inspect, low);
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
static size_t told_place(const struct inspect_token *token) {
    size_t before = token->kept ? token->said->tokens[token->index].position : 0;
    return before ? before + 1 : 0;
}

/* Counted among all tokens, also while only those of the answers are there. */
static void view_place(const struct inspect *inspect, const struct inspect_token *token,
                       struct ui_inspect *view) {
    if (inspect->whole) return;
    size_t place = told_place(token), last = told_place(&inspect->tokens[inspect->n - 1]);
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
                                .waits = chat_busy(inspect->chat) && token && inspect->cursor && !record,
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
