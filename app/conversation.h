/* What was said, as a tree: every message is a node below the one it answers or follows. The root holds the
 * system text; the active path goes from it to the leaf, and only that is sent. Editing, answering again and
 * taking another token make new nodes beside old ones: nothing that was said is lost. Owned by the UI thread.
 */
#ifndef LOGITOP_APP_CONVERSATION_H
#define LOGITOP_APP_CONVERSATION_H

#include "app/kept.h"
#include "app/thinking.h"
#include "base/arena.h"
#include "base/buf.h"
#include "infer/engine.h"
#include "ui/ui.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum said_by { SAID_BY_SYSTEM, SAID_BY_USER, SAID_BY_MODEL, SAID_BY_PROGRAM /* a note: shown, never sent */ };

/* A message: its bytes, and for the model's own the ids they were sampled as and what was known of every
 * token. */
struct said {
    uint64_t id;            /* never 0, never used again as long as the program runs */
    uint64_t kept;          /* the keeper's own number; 0: it has none */
    struct said *parent;    /* NULL: the root */
    struct said **children; /* [n_children] in order of birth */
    size_t n_children, cap_children;
    struct said *recent; /* the child that was last on the active path; NULL: the path ended here */
    int64_t born;        /* seconds since the epoch */
    enum said_by by;
    bool open;        /* an answer that is still growing */
    bool dropped;     /* no longer sent: it made room in the context */
    uint32_t version; /* changes when the text changes otherwise than by appending */
    struct buf text;
    struct thinking thinking; /* of the model's; said_thinking() looks at what came since */
    struct buf note;          /* a dimmed line below */
    uint64_t vocabulary; /* fingerprint of the one that the ids belong to; 0: of none, or of more than one */
    int32_t *ids;        /* [n_ids] of the text: no end tokens */
    size_t n_ids, cap_ids;
    struct kept_token *tokens; /* [n_tokens], end tokens too */
    struct ui_token *shown;    /* [n_tokens], the same for the screen */
    size_t n_tokens, cap_tokens, cap_shown;
    struct arena arena; /* holds the candidates */
};

struct said_stack {
    struct said **at; /* [n] */
    size_t n, cap;
};

struct conversation {
    struct said **messages; /* [n] the active path: the root only if it has a text */
    size_t n, cap;
    struct said *root;            /* NULL until something is said */
    struct said_stack all;        /* every node, in order of birth; owned */
    struct said_stack past, next; /* leaves that undo and redo go to, the nearest last */
    uint64_t last_id;
    uint64_t changes; /* another number once the path, or what is sent of it, is another; what is appended to
                         the leaf does not count */
    uint64_t vocabulary; /* of the model that speaks now (app/vocabulary.h); 0: there is none yet */
};

void conversation_clear(struct conversation *conversation); /* frees everything; ids go on */
/* All of `other`, which has a root and is empty then, in place of what there was. Its nodes get ids of their
 * own. */
void conversation_take(struct conversation *conversation, struct conversation *other);

/* ---- the tree ---- */

struct said *conversation_root(struct conversation *conversation); /* made if there is none */
struct said *conversation_find(const struct conversation *conversation,
                               uint64_t id); /* NULL: there is none */

/* A new node below `parent`; the path stays where it is. The text is copied. */
struct said *conversation_put(struct conversation *conversation, struct said *parent, enum said_by by,
                              const char *text, size_t len);
/* A new node below the leaf, which becomes the leaf. */
struct said *conversation_add(struct conversation *conversation, enum said_by by, const char *text,
                              size_t len);

/* Of the node among the children of its parent, from 0; *n: how many they are. The root is alone. */
size_t said_index(const struct said *said, size_t *n);
/* The leaf that was last active below this node; itself if it is one. */
struct said *said_deepest(struct said *said);
/* Is it part of what the model is sent, where it is on the path? */
bool said_is_sent(const struct said *said);
/* Is `above` the node or one of those it stands below? */
bool said_is_below(const struct said *said, const struct said *above);

/* ---- the active path ---- */

/* Where the path ends; the root if nothing else was said. */
struct said *conversation_leaf(struct conversation *conversation);
/* From now on the path ends at this node. */
void conversation_go(struct conversation *conversation, struct said *leaf);
struct said *
conversation_last(const struct conversation *conversation); /* that is sent; NULL if there is none */

/* Before the path changes: note where it ends, so that undo comes back. What was undone can no longer be
 * redone. */
void conversation_mark(struct conversation *conversation);
void conversation_unmark(
    struct conversation *conversation); /* the change did not take place: go back there */
/* Nor did it where the path ends where it did before: undo has nothing to do there. */
void conversation_unmark_same(struct conversation *conversation);
/* Back to where the path ended before the last change, and forth again. False if there is nothing to go to.
 */
bool conversation_undo(struct conversation *conversation);
bool conversation_redo(struct conversation *conversation);

/* Free the nodes made after the one with this id, of which nothing was kept; the path must not hold them. */
void conversation_forget(struct conversation *conversation, uint64_t last_id);

/* Change the system text, or take it away (len 0). */
void conversation_system(struct conversation *conversation, const char *text, size_t len);

/* ---- tokens ---- */

/* A token that was said, appended to the message with everything known of it. */
void said_append(struct said *said, struct engine *engine, const struct token_record *record);
/* The same from what was kept; `text` is [len] the token's bytes, none for an end token. All is copied. */
void said_append_kept(struct said *said, const struct kept_token *token, const char *text, size_t len);
/* The first n tokens of another message with their bytes. */
void said_copy_tokens(struct said *to, const struct said *from, size_t n);
/* A message that stands in no tree, for tokens of this vocabulary; freed by said_drop(), which takes NULL
 * too. */
struct said *said_alone(enum said_by by, uint64_t vocabulary);
void said_drop(struct said *said);
/* Where the model thought in it, up to date. */
const struct thinking *said_thinking(struct said *said);
/* Where the text of token i begins. */
size_t said_token_begin(const struct said *said, size_t i);

/* ---- as a whole ---- */

/* Do the ids of its tokens and candidates mean anything to the model that speaks now? */
bool conversation_knows_ids(const struct conversation *conversation, const struct said *said);

/* The messages that are sent, with ids where they mean something, for engine_request. Owned by the caller,
 * the texts and ids stay where they are.
 */
struct message *conversation_messages(const struct conversation *conversation, size_t *n);

/* Drop the oldest question of the path with its answer; the system message and the newest question stay.
 * False if nothing can go. */
bool conversation_drop_oldest(struct conversation *conversation);
/* Send it again. False: it is sent. */
bool conversation_undrop(struct conversation *conversation, struct said *said);

void conversation_print(const struct conversation *conversation,
                        struct buf *out); /* the path as text, for people */

#endif
