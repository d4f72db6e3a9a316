/* Ways from the cursor of inspect mode. */
#include "app/inspect_internal.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* The tokens of the cursor's message as a message of its own, where it has no records: what a person wrote
 * for the model, or another model said. NULL: it has them. Free with said_drop(). */
static struct said *message_tokens(const struct inspect *inspect, const struct inspect_token *token) {
    if (token->kept) return NULL;
    struct said *copy = said_alone(SAID_BY_MODEL, inspect->chat->conversation.vocabulary);
    const struct inspect_span *span = inspect_span_of(inspect, token->said->id);
    for (size_t i = span->begin; i < span->end; i++) {
        const struct inspect_token *from = &inspect->tokens[i];
        struct kept_token record = from->record ? *from->record : (struct kept_token){0};
        record.id = from->id;
        said_append_kept(copy, &record, token->said->text.data + from->begin, from->end - from->begin);
    }
    return copy;
}

static int written_by_template(struct err *err) {
    return err_set(err, STATUS_USAGE, "the template wrote this: only what was said can go another way");
}

/* Another way from the cursor: what stands before it, then these ids. `past`: the token itself stays too. */
static int fork_here(struct inspect *inspect, bool past, struct chat_fork fork, struct err *err) {
    const struct inspect_token *token = inspect_token(inspect);
    if (!token || !token->said) return written_by_template(err);
    struct said *said = token->said, *copy = message_tokens(inspect, token);
    size_t index = token->index;
    fork.from = copy;
    fork.keep = index + past;
    int status = chat_fork(inspect->chat, said, &fork, err);
    said_drop(copy);
    if (status < 0) return status;
    inspect_update(inspect);
    inspect_go_to(inspect, conversation_leaf(&inspect->chat->conversation), index + past);
    return STATUS_OK;
}

/* A message of a person: its text with this in the token's place, to be edited in the box. */
static int edit_from(struct inspect *inspect, const struct inspect_token *token, const char *text, size_t len,
                     struct buf *box, struct err *err) {
    struct said *said = token->said;
    const char *rest = said->text.data + token->end;
    size_t n_rest = said->text.len - token->end;
    if (!utf8_valid(text, len) || !utf8_valid(said->text.data, token->begin) || !utf8_valid(rest, n_rest))
        return err_set(err, STATUS_USAGE,
                       "this token is a part of a character: it cannot be typed into the box");
    if (said->by != SAID_BY_SYSTEM) {
        int status = chat_edit_begin(inspect->chat, said, err);
        if (status < 0) return status;
    } else {
        buf_puts(box, "/system ");
    }
    buf_append(box, said->text.data, token->begin);
    buf_append(box, text, len);
    buf_append(box, rest, n_rest);
    return STATUS_OK;
}

int inspect_take(struct inspect *inspect, struct buf *box, struct err *err) {
    const struct inspect_token *token = inspect_token(inspect);
    const struct kept_token *record = token ? inspect_record(token) : NULL;
    if (!record || inspect->selected >= record->n_top)
        return err_set(err, STATUS_USAGE, "nothing is known yet of what else could stand here");
    int32_t id = kept_token_candidate(record, (uint32_t)inspect->selected).id;
    if (id == token->id)
        return err_set(err, STATUS_USAGE, "this is the token that stands here; Down selects another");
    if (!token->said || token->said->by == SAID_BY_MODEL)
        return fork_here(inspect, false, (struct chat_fork){.ids = &id, .n_ids = 1}, err);
    size_t len;
    const char *text = inspect->chat->engine->ops->token_text(inspect->chat->engine, id, &len);
    return edit_from(inspect, token, text, len, box, err);
}

int inspect_typed(struct inspect *inspect, const char *text, size_t len, struct buf *box, struct err *err) {
    const struct inspect_token *token = inspect_token(inspect);
    if (!token) /* while a model is loaded there are none, and no tokenizer */
        return err_set(err, STATUS_USAGE, "no token is known here yet");
    if (!token->said) return written_by_template(err);
    if (token->said->by != SAID_BY_MODEL) return edit_from(inspect, token, text, len, box, err);
    struct engine *engine = inspect->chat->engine;
    size_t n = engine->ops->encode(engine, text, len, false, NULL, 0);
    int32_t *ids = xmalloc((n + 1) * sizeof *ids);
    n = engine->ops->encode(engine, text, len, false, ids, n);
    int status = fork_here(inspect, false, (struct chat_fork){.ids = ids, .n_ids = n}, err);
    free(ids);
    return status;
}

int inspect_reroll(struct inspect *inspect, struct err *err) {
    return fork_here(inspect, false, (struct chat_fork){.reroll = true}, err);
}

/* At the end of the path it just goes on, elsewhere on a branch that is cut behind the cursor. */
static int go_on(struct inspect *inspect, uint32_t limit, struct err *err) {
    const struct inspect_token *token = inspect_token(inspect);
    bool newest = inspect->cursor + 1 >= inspect->n;
    if (token && token->kept && newest && token->said == conversation_leaf(&inspect->chat->conversation) &&
        !token->said->tokens[token->index].end) {
        int status = chat_go_on(inspect->chat, token->said, limit, err);
        if (status == STATUS_OK) inspect->follow = true;
        return status;
    }
    int status = fork_here(inspect, true, (struct chat_fork){.limit = limit}, err);
    if (status == STATUS_OK) inspect->follow = true;
    return status;
}

int inspect_step(struct inspect *inspect, struct err *err) {
    return go_on(inspect, 1, err);
}

int inspect_go_on(struct inspect *inspect, struct err *err) {
    return go_on(inspect, 0, err);
}

/* ---- the message under the cursor ---- */

static struct said *said_here(const struct inspect *inspect, struct err *err) {
    const struct inspect_token *token = inspect_token(inspect);
    if (!token || !token->said)
        err_set(err, STATUS_USAGE, "the template wrote this: it is part of no message");
    return token ? token->said : NULL;
}

int inspect_edit(struct inspect *inspect, struct buf *box, struct err *err) {
    struct said *said = said_here(inspect, err);
    if (!said) return STATUS_USAGE;
    if (said->by == SAID_BY_SYSTEM) {
        buf_puts(box, "/system ");
    } else {
        int status = chat_edit_begin(inspect->chat, said, err);
        if (status < 0) return status;
    }
    buf_append(box, said->text.data, said->text.len);
    return STATUS_OK;
}

int inspect_sibling(struct inspect *inspect, bool on, struct err *err) {
    struct said *said = said_here(inspect, err);
    if (!said) return STATUS_USAGE;
    size_t n, i = said_index(said, &n), index = inspect_token(inspect)->index;
    if (n < 2) return err_set(err, STATUS_USAGE, "this message has no sibling: there is one way here");
    struct said *sibling = said->parent->children[(i + (on ? 1 : n - 1)) % n];
    int status = chat_switch(inspect->chat, sibling, err);
    if (status < 0) return status;
    inspect_update(inspect);
    inspect_go_to(inspect, sibling, index);
    return STATUS_OK;
}

int inspect_compare(struct inspect *inspect, struct err *err) {
    const struct inspect_token *token = inspect_token(inspect);
    struct said *said = token && token->said ? token->said : conversation_leaf(&inspect->chat->conversation);
    size_t n;
    for (said_index(said, &n); n < 2 && said->parent; said_index(said, &n)) said = said->parent;
    if (n < 2)
        return err_set(err, STATUS_USAGE, "there is one way only up to here; a token taken makes another");
    size_t own = said_index(said, &n);
    const struct said *other = inspect_compared(inspect);
    size_t next = other && other->parent == said->parent ? said_index(other, &n) + 1 : 0;
    if (next == own) next++;
    inspect->compare = next < n ? said->parent->children[next]->id : 0;
    return STATUS_OK;
}
