/* What was said: messages with their bytes, and for the model's own the ids they were sampled as and what was
 * known of every token. Owned by the UI thread. */
#ifndef LOGITOP_APP_CONVERSATION_H
#define LOGITOP_APP_CONVERSATION_H

#include "base/arena.h"
#include "base/buf.h"
#include "infer/engine.h"
#include "ui/ui.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum said_by { SAID_BY_SYSTEM, SAID_BY_USER, SAID_BY_MODEL, SAID_BY_PROGRAM /* a note: shown, never sent */ };

/* A token record without its unused room. */
struct kept_token {
    int32_t id;
    uint32_t position, rank, n_top;
    float ms, logit, prob, log_sum_exp, entropy;
    bool end;              /* ended the answer: no bytes of its own */
    struct candidate *top; /* [n_top], in the message's arena */
};

struct said {
    uint64_t id; /* never 0, never used again */
    enum said_by by;
    bool open;    /* an answer that is still growing */
    bool dropped; /* no longer sent: it made room in the context */
    struct buf text;
    struct buf note; /* a dimmed line below */
    int32_t *ids;    /* [n_ids] of the text: no end tokens */
    size_t n_ids, cap_ids;
    struct kept_token *tokens; /* [n_tokens], end tokens too */
    struct ui_token *shown;    /* [n_tokens], the same for the screen */
    size_t n_tokens, cap_tokens, cap_shown;
    struct arena arena;
};

struct conversation {
    struct said **messages; /* [n] */
    size_t n, cap;
    uint64_t last_id;
};

struct said *conversation_add(struct conversation *conversation, enum said_by by, const char *text,
                              size_t len);
void conversation_remove_last(struct conversation *conversation);
void conversation_clear(struct conversation *conversation); /* frees everything; ids go on */
struct said *
conversation_last(const struct conversation *conversation); /* that is sent; NULL if there is none */

/* Put the system message first, change it, or take it away (len 0). */
void conversation_system(struct conversation *conversation, const char *text, size_t len);

/* A token that was said, appended to the message with everything known of it. */
void said_append(struct said *said, struct engine *engine, const struct token_record *record);

/* The messages that are sent, for engine_request. Owned by the caller, the texts and ids stay where they are.
 */
struct message *conversation_messages(const struct conversation *conversation, size_t *n);

/* Drop the oldest question with its answer; the system message and the newest question stay. False if nothing
 * can go. */
bool conversation_drop_oldest(struct conversation *conversation);

void conversation_print(const struct conversation *conversation, struct buf *out); /* as text, for people */

#endif
