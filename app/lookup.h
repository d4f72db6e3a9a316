/* Kept chats are listed, searched and opened in a thread of its own, so that no key waits for them: what is
 * asked for is answered later. A new question takes the place of the one of its kind that is not answered
 * yet. UI thread only. */
#ifndef LOGITOP_APP_LOOKUP_H
#define LOGITOP_APP_LOOKUP_H

#include "app/archive.h"

enum lookup_kind {
    LOOKUP_LIST,  /* chats in which words occur */
    LOOKUP_CHAT,  /* a chat, to go on with */
    LOOKUP_DRAFT, /* what was left in the box of a chat that had not begun */
    LOOKUP_KIND_COUNT
};

struct lookup_answer {
    enum lookup_kind kind;
    struct err err;         /* code 0: it is here */
    struct arena arena;     /* of the rows */
    struct store_row *rows; /* [n_rows] */
    size_t n_rows;
    struct kept_chat chat;
    char *draft; /* NULL: there is none */
    int64_t draft_id;
};

struct lookup;

/* The store is borrowed: nobody else reads of it meanwhile. NULL: there can be no thread. */
struct lookup *lookup_open(struct store *store, struct err *err);
void lookup_close(struct lookup *lookup); /* what is being read is stopped; NULL is fine */

void lookup_list(struct lookup *lookup, const char *words);
void lookup_chat(struct lookup *lookup, int64_t id); /* or STORE_NEWEST */
void lookup_draft(struct lookup *lookup);
void lookup_forget(struct lookup *lookup, enum lookup_kind kind); /* nobody wants the answer any more */

int lookup_wake_fd(const struct lookup *lookup); /* readable when there is an answer; -1 for NULL */
/* The next answer, the caller's to free; NULL: none is there. NULL in, NULL out. */
struct lookup_answer *lookup_take(struct lookup *lookup);
void lookup_answer_free(struct lookup_answer *answer); /* NULL is fine */

#endif
