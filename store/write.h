/* Inside store/: work for the database, and the connection that does it. The writer thread's alone, but for
 * making and freeing jobs. */
#ifndef LOGITOP_STORE_WRITE_H
#define LOGITOP_STORE_WRITE_H

#include "base/buf.h"
#include "store/db.h"
#include "store/store.h"

#include <sys/stat.h>

enum job_kind {
    JOB_BEGIN,
    JOB_CHANGE,
    JOB_ADD,
    JOB_APPEND,
    JOB_END,
    JOB_REMOVE,
    JOB_LEAF,
    JOB_DRAFT,
    JOB_DELETE,
    JOB_RESUME,
    JOB_TIDY,   /* what a program that is gone left */
    JOB_CLEAN,  /* a part of what is left to do after deleting */
    JOB_REPAIR, /* a reader met damage */
};

struct job { /* what a kind does not need is 0 */
    struct job *next;
    enum job_kind kind;
    uint64_t epoch; /* in which its handles are valid */
    store_handle conversation;
    uint64_t message, parent; /* numbers */
    int64_t id;               /* JOB_DELETE, JOB_RESUME: of the conversation; JOB_DRAFT: in its stead */
    int64_t time;             /* born, began; otherwise when it was asked for */
    enum store_role role;
    bool flag; /* named, dropped; JOB_CLEAN: it is not left to the next program */
    uint64_t vocabulary;
    size_t first;
    struct buf text; /* said, title, draft */
    struct buf note, model, settings;
    bool has_note;
    struct buf records;
    uint64_t *numbers; /* JOB_RESUME: [n] */
    int64_t *rows;     /* and where these messages are */
    size_t n;
};

void job_free(struct job *job);

/* rows[at] = row; new places in between are 0. */
void note_row(int64_t **rows, size_t *cap, uint64_t at, int64_t row);

enum { STATEMENTS_MAX = 24 };

struct writer {
    char *path;
    sqlite3 *db; /* NULL: to be opened again */
    sqlite3_stmt *statements[STATEMENTS_MAX];
    struct stat file;       /* what is open */
    int64_t *conversations; /* ids, by handle */
    int64_t *rows;          /* of messages, by number */
    size_t cap_conversations, cap_rows;
    bool cleaning;     /* after the newest transaction: there may be more to clean */
    struct err notice; /* of a damaged database; code 0: none */
};

enum outcome {
    OUTCOME_DONE,
    OUTCOME_RETRY, /* nothing was written; err tells why */
    OUTCOME_VOID,  /* nothing was written and never will be: handles are void; notice may tell */
};

/* Opens or replaces what is damaged. */
int writer_open(struct writer *writer, struct err *err);
void writer_free(struct writer *writer);

/* One transaction. */
enum outcome writer_run(struct writer *writer, const struct job *jobs, struct err *err);

#endif
