/* Conversations on disk: everything that was said, every token record, every branch, in one SQLite database.
 *
 * Nobody waits for the disk: what is to be kept is copied into a queue, and a writer thread commits the
 * queue, every 200 ms while an answer streams and at once when a message is complete. A disk that is busy,
 * full or gone therefore costs no frame of the screen. A transaction that fails is rolled back and its work
 * stays in the queue, to be tried again every second: store_look() tells, and nothing is lost as long as the
 * program runs.
 *
 * The journal is a WAL: a commit survives the end of the process in any way, and several programs may work on
 * one database. Ends of messages are also flushed to the device (synchronous=FULL), so that they survive the
 * loss of power.
 *
 * Messages go by numbers that the caller chooses (never 0, each used once in a process), conversations by
 * handles, until the database has given them ids. A database of another version is refused and stays as it
 * is. A damaged one is renamed, what can be read of it is carried over into a new one, and the `epoch` of
 * struct store_look grows: handles of before are void, and the caller begins its conversation again with all
 * it has in memory.
 *
 * One thread calls all of this, the same one, and never waits; only the writer behind it is another. Finding
 * and reading take the time they take: where that is too long, one other thread may do it. Texts are bytes of
 * any kind. */
#ifndef LOGITOP_STORE_STORE_H
#define LOGITOP_STORE_STORE_H

#include "base/arena.h"
#include "base/err.h"
#include "store/tokens.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* ---- what is kept ---- */

enum store_role { STORE_SYSTEM, STORE_USER, STORE_MODEL, STORE_NOTE, STORE_ROLE_COUNT };

struct store_message {
    uint64_t number; /* the caller's; of a loaded one: its place, 1.. */
    uint64_t parent; /* number of the message before it; 0: the first */
    enum store_role role;
    int64_t born; /* seconds since the epoch */
    bool dropped; /* no longer sent */
    const char *text;
    size_t len;
    const char *note;    /* a line below; NULL: of an answer that never ended */
    const char *model;   /* that said it; NULL: none */
    uint64_t vocabulary; /* fingerprint of the vocabulary that the ids of its tokens belong to; 0: unknown */
    const struct store_token *tokens;
    size_t n_tokens;
};

struct store_facts { /* of a conversation */
    const char *title;
    bool named;           /* by a person */
    const char *model;    /* the newest that answered in it */
    const char *settings; /* JSON of the caller's */
    int64_t began;        /* seconds since the epoch */
};

/* ---- opening ---- */

/* Starts the writer, which opens or makes the database; what is put into the queue meanwhile waits for that.
 * STATUS_FAILED: there can be no thread. On failure *store is NULL. */
int store_open(struct store **store, const char *path, struct err *err);

/* Waits until the database is open. STATUS_UNSUPPORTED: a version that this program does not know, or another
 * program's database, untouched; STATUS_FAILED: folder or file cannot be written or read. Then nothing will
 * be kept, now or later, which store_look() tells too. */
int store_wait(struct store *store, struct err *err);

/* Commits what waits, once more where that failed before, and frees. STATUS_FAILED with a line if something
 * could not be written after all. NULL is fine. */
int store_close(struct store *store, struct err *err);

struct store_look {
    uint64_t epoch;     /* grows when all handles became void */
    size_t waiting;     /* pieces of work that are not committed yet */
    struct err error;   /* why the newest try failed; code 0: it did not */
    struct err notice;  /* what became of a damaged database, once; code 0: nothing */
    struct err refused; /* why the database could not be opened; code 0: it could, or nobody knows yet */
};
void store_look(struct store *store, struct store_look *out);
int store_wake_fd(struct store *store); /* readable when store_look() has news; store_look() clears it */

/* ---- keeping: nothing here fails or waits ---- */

typedef uint32_t store_handle; /* a conversation; 0: none */

store_handle store_begin(struct store *store, const struct store_facts *facts);
void store_change(struct store *store, store_handle conversation, const struct store_facts *facts);
void store_add(struct store *store, store_handle conversation, const struct store_message *message);
/* More of a message that was added: bytes and token records, of which `first` are there already. */
void store_append(struct store *store, uint64_t message, const char *text, size_t len, size_t first,
                  const struct store_token *tokens, size_t n_tokens);
/* The message is complete for now: committed soon and found by searching. Its note, `dropped` and vocabulary
 * are what they are in `message`; nothing else of that counts. */
void store_end(struct store *store, const struct store_message *message);
void store_remove(struct store *store, uint64_t message); /* one that nothing follows */
void store_leaf(struct store *store, store_handle conversation,
                uint64_t message); /* the path shown ends here */
/* What stands in the box, not sent yet; without a conversation (0) it is the next new one's after this
 * program. */
void store_draft(struct store *store, store_handle conversation, const char *text, size_t len);
void store_delete(struct store *store, int64_t id);

/* 0 until it is committed; of one that is resumed, its own at once. */
int64_t store_id(struct store *store, store_handle conversation);

/* ---- finding and reading: from a connection of its own, what is committed; by one thread at a time ---- */

/* From any thread: what is being read, and what would be until `stop` is false again, ends with
 * STATUS_STOPPED.
 */
void store_stop_reading(struct store *store, bool stop);

struct store_row {
    int64_t id;
    const char *title, *model;
    int64_t changed;     /* seconds since the epoch */
    uint32_t n_messages; /* without notes */
    const char *found;   /* the place where the words were found, one line; NULL: nowhere but in the title */
};

/* The newest `limit` conversations in which all words of `query` occur in one message or the title, in any
 * letter case, parts of words too; NULL or empty: any. Where no word has
 * three letters, of the newest 20,000 messages only. Rows and texts are in the arena. */
int store_list(struct store *store, const char *query, uint32_t limit, struct arena *arena,
               struct store_row **rows, size_t *n, struct err *err);

struct store_conversation {
    int64_t id;
    struct store_facts facts;
    uint64_t leaf;                  /* number; 0: before the first message */
    struct store_message *messages; /* [n]; numbers 1..n, each after its parent; a message whose records are
                                       not whole has none */
    const int64_t *rows;            /* [n], the store's own */
    size_t n;
    const char *draft; /* NULL: none */
    struct arena arena;
};

enum { STORE_NEWEST = 0 }; /* in place of an id: the conversation that changed last */

/* STATUS_USAGE: there is none with this id. The caller frees with store_conversation_free(), in any case. */
int store_load(struct store *store, int64_t id, struct store_conversation *out, struct err *err);
void store_conversation_free(struct store_conversation *conversation);
/* Go on with it: `numbers` [n] are those by which its messages go from now on. */
store_handle store_resume(struct store *store, const struct store_conversation *conversation,
                          const uint64_t *numbers);

/* A draft without a conversation that a program left which is gone, and the id it goes by; NULL: none. Owned
 * by the caller, who has it forgotten once it is in good hands. */
char *store_read_draft(struct store *store, int64_t *id);
void store_forget_draft(struct store *store, int64_t id); /* this is keeping: it does not wait */

#endif
