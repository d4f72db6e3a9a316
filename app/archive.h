/* The keeper that puts a chat into the store (store/store.h) as it goes, and takes kept chats out of it
 * again. Where nothing can be kept the chat goes on without, and the status line says so. UI thread only. */
#ifndef LOGITOP_APP_ARCHIVE_H
#define LOGITOP_APP_ARCHIVE_H

#include "app/chat.h"
#include "store/store.h"

struct archive {
    struct chat_keeper keeper;
    struct chat *chat;
    struct store *store; /* NULL: nothing is kept */
    bool incognito;      /* because nobody wants it to be */
    struct err off;      /* or because that is not possible; code 0: it is, or nobody knows yet */
    struct err failing;  /* why the newest part is not on the disk yet; code 0: it is */
    struct err notice;   /* to be told once; code 0: nothing */
    uint64_t epoch;
    store_handle conversation; /* 0: it has not begun */
    struct buf title;          /* of it; empty: nothing was asked yet */
    bool named;                /* by a person */
    struct buf draft;          /* that the store knows of, */
    store_handle draft_of;     /* under this conversation */
};

/* Makes the archive the keeper of the chat, which chat_open() was called for. Never fails, and does not wait
 * for the disk: archive_pump() finds out whether anything can be kept, and `off` tells. */
void archive_open(struct archive *archive, struct chat *chat, const struct options *options);
void archive_wait(struct archive *archive); /* until that is known */
/* Of a chat that was not closed yet. STATUS_FAILED with one line if something could not be kept. */
int archive_close(struct archive *archive, struct err *err);

int archive_wake_fd(const struct archive *archive); /* readable when archive_pump() has something to do; -1 */
bool archive_pump(struct archive *archive);         /* true: something that is shown changed */

struct archive *archive_of(const struct chat *chat); /* NULL: it has none */
/* The store, for finding and reading. NULL and err: nothing is kept, and why. */
struct store *archive_store(const struct chat *chat, struct err *err);

/* "incognito", "not kept", "not saved"; NULL: all is well. Static. */
const char *archive_mark(const struct archive *archive);
const char *archive_title(const struct archive *archive); /* of the chat shown; NULL: it has none yet */
int64_t archive_id(const struct archive *archive); /* of the chat shown; 0: it is not in the database yet */
/* A name for the chat, chosen by a person. */
int archive_name(struct archive *archive, const char *title, struct err *err);
/* What stands in the box now. Cheap if that is what it was before. */
void archive_draft(struct archive *archive, const char *text, size_t len);

/* ---- taking out (app/archive_load.c) ---- */

struct kept_chat {                  /* zero-initialise */
    struct store_conversation kept; /* without the records of its tokens: they are in the */
    struct conversation conversation;
};

/* Reads a kept chat, or the newest one (STORE_NEWEST). This may be called by any thread that may read of the
 * store; it is what takes long. STATUS_USAGE: there is no such chat. kept_chat_free() in any case. */
int kept_chat_load(struct store *store, int64_t id, struct kept_chat *out, struct err *err);
void kept_chat_free(struct kept_chat *chat);

/* Go on with it, in place of the chat that is shown: what it held is taken. Its settings come with it, but
 * for those that `given` names (options of the command line; NULL: none). `line` gets a word on what was
 * opened, `draft` what stood in the box. The prompt is computed anew with the next question. STATUS_BUSY. */
int archive_take(struct archive *archive, struct kept_chat *chat, const struct options *given,
                 struct buf *line, struct buf *draft, struct err *err);

/* Both, where it may take its time. */
int archive_resume(struct archive *archive, int64_t id, const struct options *given, struct buf *line,
                   struct buf *draft, struct err *err);

enum archive_wish { ARCHIVE_NEW, ARCHIVE_LIST /* of which one is chosen */, ARCHIVE_CHAT /* *id */ };

/* What the options ask for. STATUS_UNSUPPORTED: nothing is kept, and why. */
int archive_wanted(const struct archive *archive, const struct options *options, enum archive_wish *wish,
                   int64_t *id, struct err *err);

/* What is kept of a chat beside its messages: settings, system text, template variables, as JSON. Owned by
 * the caller. */
char *archive_settings(const struct chat *chat);

#endif
