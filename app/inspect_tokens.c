/* The tokens of inspect mode: from a prompt, each in its message, or from the records of the answers. */
#include "app/inspect_internal.h"

#include "base/mem.h"
#include "base/strmap.h"

#include <math.h>
#include <stdlib.h>

/* ---- what is known of one ---- */

static bool is_known(const struct kept_token *record) {
    return record->rank || record->n_top;
}

bool inspect_was_told(const struct inspect_token *token) {
    return token->kept && is_known(&token->said->tokens[token->index]);
}

const struct kept_token *inspect_record(const struct inspect_token *token) {
    return inspect_was_told(token) ? &token->said->tokens[token->index] : token->record;
}

/* What is seen of a token, from what is known. */
static void show(struct inspect *inspect, size_t i) {
    const struct inspect_token *token = &inspect->tokens[i];
    const struct kept_token *record = inspect_record(token);
    inspect->shown[i] = (struct ui_token){.end = (uint32_t)token->end, .prob = -1};
    if (!record || !record->rank || inspect_was_told(token)) return;
    inspect->shown[i].prob = expf(record->logit - record->log_sum_exp);
    inspect->shown[i].entropy = record->entropy;
    inspect->shown[i].rank = record->rank;
    inspect->shown[i].ms = record->ms;
    inspect->shown[i].picked = record->picked;
    if (token->kept) token->said->shown[token->index] = inspect->shown[i];
}

static struct kept_token *record_copy(struct arena *arena, const struct kept_token *from) {
    struct kept_token *record = arena_alloc(arena, sizeof *record);
    *record = *from;
    kept_candidate *top = from->n_top ? arena_alloc(arena, from->n_top * sizeof *top) : NULL;
    for (uint32_t i = 0; i < from->n_top; i++) top[i] = from->top[i];
    record->top = top;
    return record;
}

void inspect_keep_record(struct inspect *inspect, size_t i, const struct token_record *token) {
    const struct step_result *result = &token->result;
    kept_candidate top[CANDIDATES_MAX + 1];
    uint32_t n_top = result->n_top <= CANDIDATES_MAX + 1 ? result->n_top : CANDIDATES_MAX + 1;
    for (uint32_t k = 0; k < n_top; k++) top[k] = kept_candidate_pack(&result->top[k], result->log_sum_exp);
    struct kept_token record = {.id = result->id,
                                .position = result->position,
                                .rank = result->rank,
                                .n_top = n_top,
                                .logit = result->logit,
                                .prob = result->prob,
                                .log_sum_exp = result->log_sum_exp,
                                .entropy = result->entropy,
                                .end = token->end,
                                .picked = inspect->tokens[i].kept,
                                .top = top};
    inspect->tokens[i].record = record_copy(&inspect->arena, &record);
    show(inspect, i);
}

/* ---- which path they are of ---- */

uint64_t inspect_path_stamp(const struct chat *chat) {
    const struct conversation *conversation = &chat->conversation;
    const struct said *leaf = conversation->n ? conversation->messages[conversation->n - 1] : NULL;
    bool grows = leaf && leaf->open;
    const uint64_t facts[] = {conversation->changes,
                              conversation->vocabulary,
                              chat->n_engines,
                              chat->fold,
                              chat->request,
                              chat->request && chat->prompt.whole,
                              leaf ? leaf->id : 0,
                              leaf ? leaf->vocabulary : 0,
                              leaf && !grows ? leaf->text.len : 0,
                              leaf && !grows ? leaf->n_tokens : 0};
    uint64_t stamp = hash_bytes(chat->variables.data, chat->variables.len, 0);
    stamp = hash_bytes(facts, sizeof facts, stamp);
    return stamp ? stamp : 1;
}

static bool has_kept(const struct inspect *inspect, const struct said *said) {
    return said->n_tokens && conversation_knows_ids(&inspect->chat->conversation, said);
}

/* ---- making the list ---- */

/* Another token, in the message's span or in none. */
static struct inspect_token *add(struct inspect *inspect, struct said *said) {
    size_t i = inspect->n++;
    grow_array(&inspect->tokens, &inspect->cap, i + 1, sizeof *inspect->tokens);
    inspect->tokens[i] = (struct inspect_token){.said = said};
    if (!said) return &inspect->tokens[i];
    struct inspect_span *span = inspect->n_spans ? &inspect->spans[inspect->n_spans - 1] : NULL;
    if (!span || span->said != said || span->end != i) {
        grow_array(&inspect->spans, &inspect->cap_spans, inspect->n_spans + 1, sizeof *inspect->spans);
        span = &inspect->spans[inspect->n_spans++];
        *span = (struct inspect_span){said, said->id, said->version, i, i};
    }
    span->end = i + 1;
    return &inspect->tokens[i];
}

/* Token k of an answer's own records. */
static void add_kept(struct inspect *inspect, struct said *said, size_t k) {
    struct inspect_token *token = add(inspect, said);
    token->index = k;
    token->begin = said_token_begin(said, k);
    token->end = said->shown[k].end;
    token->id = said->tokens[k].id;
    token->kept = true;
}

/* The same behind tokens of its message that are not tied to its records. */
static void add_loose(struct inspect *inspect, struct said *said, size_t k) {
    const struct inspect_token before = inspect->tokens[inspect->n - 1];
    struct inspect_token *token = add(inspect, said);
    token->index = before.index + 1;
    token->begin = before.end;
    token->end = said->shown[k].end;
    token->id = said->tokens[k].id;
}

/* Do these tokens of a prompt say what the message's own records do? */
static bool same_ids(const struct said *said, size_t n_said, const struct prompt_token *tokens, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < n_said; i++) {
        if (said->tokens[i].end) continue;
        if (k == n || tokens[k++].id != said->tokens[i].id) return false;
    }
    return k == n;
}

/* A run [n] of the prompt that lies in this message, of whose records the first n_said are in the prompt.
 * Returns how many tokens it took: the end token is the template's when it is read again, and still the
 * answer's own. */
static size_t add_run(struct inspect *inspect, struct said *said, size_t n_said,
                      const struct prompt_token *tokens, size_t n, size_t n_left) {
    const struct inspect_span *before = inspect_span_of(inspect, said->id); /* of templates that split it */
    const struct inspect_token *last = before ? &inspect->tokens[before->end - 1] : NULL;
    size_t k = last ? last->index + 1 : 0, begin = last ? last->end : 0;
    bool kept = !last && n_said && has_kept(inspect, said) && same_ids(said, n_said, tokens, n);
    for (size_t i = 0; i < n; i++, k++) {
        while (kept && said->tokens[k].end) k++;
        struct inspect_token *token = add(inspect, said);
        token->index = k;
        token->begin = begin;
        token->end = begin = tokens[i].text_end > begin ? tokens[i].text_end : begin;
        token->id = tokens[i].id;
        token->kept = kept;
    }
    bool ended = kept && said->tokens[n_said - 1].end;
    if (!ended || n == n_left || tokens[n].message >= 0 || tokens[n].id != said->tokens[n_said - 1].id)
        return n;
    add_kept(inspect, said, n_said - 1);
    return n + 1;
}

/* Candidates do not depend on what comes after: those of the common beginning are still right. */
static void keep_records(struct inspect *inspect) {
    struct arena arena = {0};
    bool same_engine = inspect->engine == inspect->chat->n_engines;
    for (size_t i = 0; same_engine && i < inspect->n && i < inspect->n_former; i++) {
        if (inspect->tokens[i].id != inspect->former[i].id) break;
        const struct kept_token *record = inspect->former[i].record;
        if (record) inspect->tokens[i].record = record_copy(&arena, record);
    }
    arena_free(&inspect->arena);
    inspect->arena = arena;
    inspect->engine = inspect->chat->n_engines;
    inspect->n_former = 0;
}

void inspect_tokens_clear(struct inspect *inspect) {
    if (inspect->whole) {
        struct inspect_token *former = inspect->former;
        size_t cap = inspect->cap_former;
        inspect->former = inspect->tokens;
        inspect->n_former = inspect->n;
        inspect->cap_former = inspect->cap;
        inspect->tokens = former;
        inspect->cap = cap;
    }
    inspect->n = inspect->n_spans = inspect->n_grown = 0;
    inspect->grows = NULL;
    inspect->staged = SIZE_MAX;
    inspect->listed = inspect->whole = false;
}

static void finish(struct inspect *inspect) {
    inspect->grows = conversation_last(&inspect->chat->conversation);
    inspect->n_grown = inspect->grows ? inspect->grows->n_tokens : 0;
    grow_array(&inspect->shown, &inspect->cap_shown, inspect->n + 1, sizeof *inspect->shown);
    for (size_t i = 0; i < inspect->n; i++) show(inspect, i);
}

bool inspect_tokens_stay(struct inspect *inspect) {
    const struct conversation *conversation = &inspect->chat->conversation;
    if (!inspect->whole || inspect->engine != inspect->chat->n_engines) return false;
    for (size_t i = 0, at = 0; i < inspect->n_spans; i++) {
        const struct inspect_span *span = &inspect->spans[i];
        while (at < conversation->n && conversation->messages[at] != span->said) at++;
        if (at == conversation->n || conversation->messages[at]->id != span->id ||
            conversation->messages[at]->version != span->version)
            return false;
    }
    inspect->staged = SIZE_MAX;
    inspect->listed = false;
    inspect->grows = conversation_last(conversation);
    inspect->n_grown = inspect->grows ? inspect->grows->n_tokens : 0;
    return true;
}

void inspect_tokens_kept(struct inspect *inspect) {
    const struct conversation *conversation = &inspect->chat->conversation;
    inspect_tokens_clear(inspect);
    for (size_t i = 0; i < conversation->n; i++) {
        struct said *said = conversation->messages[i];
        for (size_t k = 0; has_kept(inspect, said) && said_is_sent(said) && k < said->n_tokens; k++)
            add_kept(inspect, said, k);
    }
    finish(inspect);
}

/* What the last message has from its token k on. Not tied to its records are those that this engine put
 * behind the words of another. */
static void add_growth(struct inspect *inspect, struct said *said, size_t k) {
    const struct chat_prompt *prompt = chat_prompt_of_path(inspect->chat);
    const struct inspect_span *span = inspect_span_of(inspect, said->id);
    bool kept = span ? inspect->tokens[span->begin].kept : k == 0 && has_kept(inspect, said);
    bool behind = span && span->end == inspect->n && prompt && k >= prompt->n_before;
    for (; k < said->n_tokens; k++) {
        if (kept)
            add_kept(inspect, said, k);
        else if (behind)
            add_loose(inspect, said, k);
    }
}

/* Walks over the messages that are sent. */
struct sent_walk {
    size_t i, n; /* messages[i] is the one behind n that are sent */
};

/* The message with this index in a request; NULL: there is none. */
static struct said *sent_message(const struct conversation *conversation, struct sent_walk *walk,
                                 size_t wanted) {
    if (wanted < walk->n) *walk = (struct sent_walk){0};
    for (; walk->i < conversation->n; walk->i++) {
        struct said *said = conversation->messages[walk->i];
        if (!said_is_sent(said)) continue;
        if (walk->n == wanted) return said;
        walk->n++;
    }
    return NULL;
}

void inspect_tokens_whole(struct inspect *inspect, const struct prompt_token *prompt, size_t n,
                          size_t n_before) {
    const struct conversation *conversation = &inspect->chat->conversation;
    struct said *last = conversation_last(conversation);
    struct sent_walk walk = {0};
    inspect_tokens_clear(inspect);
    for (size_t i = 0, end; i < n;) {
        int32_t message = prompt[i].message;
        for (end = i + 1; end < n && prompt[end].message == message;) end++;
        struct said *said = message < 0 ? NULL : sent_message(conversation, &walk, (size_t)message);
        if (said)
            i += add_run(inspect, said, said == last ? n_before : said->n_tokens, prompt + i, end - i, n - i);
        for (size_t k = 0; !said && i < end; i++, k++) {
            struct inspect_token *token = add(inspect, NULL);
            token->index = k;
            token->id = prompt[i].id;
        }
    }
    if (last) add_growth(inspect, last, n_before);
    inspect->whole = true;
    keep_records(inspect);
    finish(inspect);
}

void inspect_tokens_grow(struct inspect *inspect) {
    size_t n = inspect->n;
    if (!inspect->grows || inspect->n_grown == inspect->grows->n_tokens) return;
    add_growth(inspect, inspect->grows, inspect->n_grown);
    inspect->n_grown = inspect->grows->n_tokens;
    grow_array(&inspect->shown, &inspect->cap_shown, inspect->n + 1, sizeof *inspect->shown);
    for (; n < inspect->n; n++) show(inspect, n);
}

/* ---- messages among them ---- */

const struct inspect_span *inspect_span_of(const struct inspect *inspect, uint64_t said) {
    size_t i = inspect->n_spans;
    while (i > 0 && inspect->spans[i - 1].id > said) i--; /* ids ascend along a path */
    return i > 0 && inspect->spans[i - 1].id == said ? &inspect->spans[i - 1] : NULL;
}

size_t inspect_span_after(const struct inspect *inspect, size_t i) {
    size_t low = 0, high = inspect->n_spans;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (inspect->spans[middle].begin > i)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const struct ui_token *inspect_shown(const struct inspect *inspect, const struct said *said, size_t *from,
                                     size_t *n) {
    while (*from < inspect->n_spans && inspect->spans[*from].id < said->id) ++*from;
    const struct inspect_span *span = *from < inspect->n_spans ? &inspect->spans[*from] : NULL;
    if (!span || span->said != said) return NULL; /* dropped ones are in no prompt */
    *n = span->end - span->begin;
    return inspect->tokens[span->begin].kept ? NULL : inspect->shown + span->begin;
}
