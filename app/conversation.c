#include "app/conversation.h"

#include "app/record_json.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void push(struct said_stack *stack, struct said *said) {
    grow_array(&stack->at, &stack->cap, stack->n + 1, sizeof *stack->at);
    stack->at[stack->n++] = said;
}

static void said_free(struct said *said) {
    free(said->children);
    buf_free(&said->text);
    buf_free(&said->note);
    thinking_free(&said->thinking);
    free(said->ids);
    free(said->tokens);
    free(said->shown);
    arena_free(&said->arena);
    free(said);
}

void conversation_clear(struct conversation *conversation) {
    for (size_t i = 0; i < conversation->all.n; i++) said_free(conversation->all.at[i]);
    free(conversation->all.at);
    free(conversation->past.at);
    free(conversation->next.at);
    free(conversation->messages);
    *conversation = (struct conversation){.last_id = conversation->last_id,
                                          .changes = conversation->changes + 1,
                                          .vocabulary = conversation->vocabulary};
}

void conversation_take(struct conversation *conversation, struct conversation *other) {
    uint64_t last = conversation->last_id, vocabulary = conversation->vocabulary;
    conversation_clear(conversation);
    uint64_t changes = conversation->changes;
    *conversation = *other;
    *other = (struct conversation){0};
    conversation->last_id += last;
    conversation->changes = changes;
    conversation->vocabulary = conversation->root->vocabulary = vocabulary;
    for (size_t i = 0; i < conversation->all.n; i++) conversation->all.at[i]->id += last;
}

/* ---- the tree ---- */

static struct said *node_new(struct conversation *conversation, struct said *parent, enum said_by by) {
    struct said *said = xcalloc(1, sizeof *said);
    said->id = ++conversation->last_id;
    said->born = time(NULL);
    said->by = by;
    said->vocabulary = conversation->vocabulary;
    said->parent = parent;
    push(&conversation->all, said);
    if (!parent) return said;
    grow_array(&parent->children, &parent->cap_children, parent->n_children + 1, sizeof *parent->children);
    parent->children[parent->n_children++] = said;
    return said;
}

struct said *conversation_root(struct conversation *conversation) {
    if (!conversation->root) conversation->root = node_new(conversation, NULL, SAID_BY_SYSTEM);
    return conversation->root;
}

struct said *conversation_find(const struct conversation *conversation, uint64_t id) {
    size_t low = 0, high = conversation->all.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (conversation->all.at[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < conversation->all.n && conversation->all.at[low]->id == id;
    return found ? conversation->all.at[low] : NULL;
}

struct said *conversation_put(struct conversation *conversation, struct said *parent, enum said_by by,
                              const char *text, size_t len) {
    struct said *said = node_new(conversation, parent, by);
    buf_append(&said->text, text, len);
    return said;
}

size_t said_index(const struct said *said, size_t *n) {
    *n = said->parent ? said->parent->n_children : 1;
    if (*n == 1) return 0;
    size_t i = 0;
    while (said->parent->children[i] != said) i++;
    return i;
}

struct said *said_deepest(struct said *said) {
    while (said->recent) said = said->recent;
    return said;
}

bool said_is_below(const struct said *said, const struct said *above) {
    while (said && said != above) said = said->parent;
    return said != NULL;
}

/* ---- the active path ---- */

static void path_add(struct conversation *conversation, struct said *said) {
    grow_array(&conversation->messages, &conversation->cap, conversation->n + 1,
               sizeof *conversation->messages);
    conversation->messages[conversation->n++] = said;
    conversation->changes++;
}

struct said *conversation_leaf(struct conversation *conversation) {
    return conversation->n ? conversation->messages[conversation->n - 1] : conversation_root(conversation);
}

struct said *conversation_add(struct conversation *conversation, enum said_by by, const char *text,
                              size_t len) {
    struct said *leaf = conversation_leaf(conversation);
    struct said *said = conversation_put(conversation, leaf, by, text, len);
    leaf->recent = said;
    path_add(conversation, said);
    return said;
}

void conversation_go(struct conversation *conversation, struct said *leaf) {
    conversation->n = 0;
    conversation->changes++;
    leaf->recent = NULL;
    for (struct said *said = leaf; said; said = said->parent) {
        if (said->parent) said->parent->recent = said;
        if (said->parent || said->text.len) path_add(conversation, said);
    }
    for (size_t i = 0, n = conversation->n; i < n / 2; i++) { /* from the root on */
        struct said *swapped = conversation->messages[i];
        conversation->messages[i] = conversation->messages[n - 1 - i];
        conversation->messages[n - 1 - i] = swapped;
    }
}

void conversation_mark(struct conversation *conversation) {
    push(&conversation->past, conversation_leaf(conversation));
    conversation->next.n = 0;
}

void conversation_unmark(struct conversation *conversation) {
    conversation_go(conversation, conversation->past.at[--conversation->past.n]);
}

void conversation_unmark_same(struct conversation *conversation) {
    struct said_stack *past = &conversation->past;
    if (past->n && past->at[past->n - 1] == conversation_leaf(conversation)) past->n--;
}

static bool go_to(struct conversation *conversation, struct said_stack *from, struct said_stack *to) {
    if (!from->n) return false;
    push(to, conversation_leaf(conversation));
    conversation_go(conversation, from->at[--from->n]);
    return true;
}

bool conversation_undo(struct conversation *conversation) {
    return go_to(conversation, &conversation->past, &conversation->next);
}

bool conversation_redo(struct conversation *conversation) {
    return go_to(conversation, &conversation->next, &conversation->past);
}

/* They are the newest of all, and so of their parents' children. */
void conversation_forget(struct conversation *conversation, uint64_t last_id) {
    struct said_stack *all = &conversation->all;
    while (all->n && all->at[all->n - 1]->id > last_id && all->at[all->n - 1] != conversation->root) {
        struct said *said = all->at[--all->n];
        said->parent->n_children--;
        if (said->parent->recent == said) said->parent->recent = NULL;
        said_free(said);
    }
}

bool said_is_sent(const struct said *said) {
    return said->by != SAID_BY_PROGRAM && !said->dropped;
}

struct said *conversation_last(const struct conversation *conversation) {
    for (size_t i = conversation->n; i > 0; i--)
        if (said_is_sent(conversation->messages[i - 1])) return conversation->messages[i - 1];
    return NULL;
}

void conversation_system(struct conversation *conversation, const char *text, size_t len) {
    struct said *root = conversation_root(conversation), *leaf = conversation_leaf(conversation);
    buf_clear(&root->text);
    buf_append(&root->text, text, len);
    root->version++;
    conversation_go(conversation, leaf);
}

/* ---- tokens ---- */

const struct thinking *said_thinking(struct said *said) {
    if (said->by == SAID_BY_MODEL && said->text.len)
        thinking_follow(&said->thinking, said->text.data, said->text.len);
    return &said->thinking;
}

size_t said_token_begin(const struct said *said, size_t i) {
    return i ? said->shown[i - 1].end : 0;
}

void said_append_kept(struct said *said, const struct kept_token *token, const char *text, size_t len) {
    if (!token->end) {
        buf_append(&said->text, text, len);
        grow_array(&said->ids, &said->cap_ids, said->n_ids + 1, sizeof *said->ids);
        said->ids[said->n_ids++] = token->id;
    }
    grow_array(&said->tokens, &said->cap_tokens, said->n_tokens + 1, sizeof *said->tokens);
    grow_array(&said->shown, &said->cap_shown, said->n_tokens + 1, sizeof *said->shown);
    kept_candidate *top = token->n_top ? arena_alloc(&said->arena, token->n_top * sizeof *top) : NULL;
    for (uint32_t i = 0; i < token->n_top; i++) top[i] = token->top[i];
    said->tokens[said->n_tokens] = *token;
    said->tokens[said->n_tokens].top = top;
    bool known = token->rank > 0;
    said->shown[said->n_tokens++] =
        (struct ui_token){.end = (uint32_t)said->text.len,
                          .prob = known ? expf(token->logit - token->log_sum_exp) : -1,
                          .entropy = token->entropy,
                          .ms = token->ms,
                          .rank = token->rank,
                          .picked = token->picked};
}

void said_append(struct said *said, struct engine *engine, const struct token_record *record) {
    const struct step_result *result = &record->result;
    kept_candidate top[CANDIDATES_MAX + 1];
    uint32_t n_top = result->n_top <= CANDIDATES_MAX + 1 ? result->n_top : CANDIDATES_MAX + 1;
    for (uint32_t i = 0; i < n_top; i++) top[i] = kept_candidate_pack(&result->top[i], result->log_sum_exp);
    struct kept_token token = {.id = result->id,
                               .position = result->position,
                               .rank = result->rank,
                               .n_top = n_top,
                               .ms = record->ms,
                               .logit = result->logit,
                               .prob = result->prob,
                               .log_sum_exp = result->log_sum_exp,
                               .entropy = result->entropy,
                               .end = record->end,
                               .top = top};
    size_t len = 0;
    const char *text = record->end ? "" : record_text(engine, record, &len);
    said_append_kept(said, &token, text, len);
}

void said_copy_tokens(struct said *to, const struct said *from, size_t n) {
    to->vocabulary = from->vocabulary;
    for (size_t i = 0; i < n; i++) {
        size_t begin = said_token_begin(from, i);
        said_append_kept(to, &from->tokens[i], from->text.data + begin, from->shown[i].end - begin);
    }
}

struct said *said_alone(enum said_by by, uint64_t vocabulary) {
    struct said *said = xcalloc(1, sizeof *said);
    said->by = by;
    said->vocabulary = vocabulary;
    return said;
}

void said_drop(struct said *said) {
    if (said) said_free(said);
}

/* ---- as a whole ---- */

bool conversation_knows_ids(const struct conversation *conversation, const struct said *said) {
    return said->vocabulary && said->vocabulary == conversation->vocabulary;
}

struct message *conversation_messages(const struct conversation *conversation, size_t *n) {
    static const char *const roles[] = {
        [SAID_BY_SYSTEM] = "system", [SAID_BY_USER] = "user", [SAID_BY_MODEL] = "assistant"};
    struct message *messages = xcalloc(conversation->n + 1, sizeof *messages);
    *n = 0;
    for (size_t i = 0; i < conversation->n; i++) {
        const struct said *said = conversation->messages[i];
        if (!said_is_sent(said)) continue;
        bool ids = said->n_ids && conversation_knows_ids(conversation, said);
        messages[(*n)++] = (struct message){.role = roles[said->by],
                                            .text = said->text.data ? said->text.data : "",
                                            .len = said->text.len,
                                            .ids = ids ? said->ids : NULL,
                                            .n_ids = ids ? said->n_ids : 0};
    }
    return messages;
}

static const char not_sent[] = "[no longer sent]"; /* in front of the note that is there */

bool conversation_drop_oldest(struct conversation *conversation) {
    size_t first = 0, next;
    while (first < conversation->n && (!said_is_sent(conversation->messages[first]) ||
                                       conversation->messages[first]->by != SAID_BY_USER))
        first++;
    for (next = first + 1; next < conversation->n; next++)
        if (said_is_sent(conversation->messages[next]) && conversation->messages[next]->by == SAID_BY_USER)
            break;
    if (next >= conversation->n) return false;
    conversation->changes++;
    for (size_t i = first; i < next; i++) {
        struct said *said = conversation->messages[i];
        if (said->by == SAID_BY_PROGRAM) continue;
        struct buf note = {0};
        buf_printf(&note, said->note.len ? "%s  %s" : "%s", not_sent, said->note.data);
        buf_free(&said->note);
        said->note = note;
        said->dropped = true;
    }
    return true;
}

bool conversation_undrop(struct conversation *conversation, struct said *said) {
    if (!said->dropped) return false;
    struct buf *note = &said->note;
    size_t n = sizeof not_sent - 1;
    if (note->len >= n && memcmp(note->data, not_sent, n) == 0) {
        while (n < note->len && note->data[n] == ' ') n++;
        memmove(note->data, note->data + n, note->len - n + 1);
        note->len -= n;
    }
    said->dropped = false;
    conversation->changes++;
    return true;
}

void conversation_print(const struct conversation *conversation, struct buf *out) {
    static const char *const names[] = {[SAID_BY_SYSTEM] = "system",
                                        [SAID_BY_USER] = "you",
                                        [SAID_BY_MODEL] = "bot",
                                        [SAID_BY_PROGRAM] = "--"};
    for (size_t i = 0; i < conversation->n; i++) {
        const struct said *said = conversation->messages[i];
        buf_printf(out, "%s: ", names[said->by]);
        buf_append(out, said->text.data, said->text.len);
        if (!said->text.len || said->text.data[said->text.len - 1] != '\n') buf_putc(out, '\n');
        if (said->by == SAID_BY_MODEL && said->note.len) buf_printf(out, "     %s\n", said->note.data);
        buf_putc(out, '\n');
    }
}
