/* A chat as a file for others: to read, or to work on. What is to be written is copied at once; a thread
 * makes JSON of it and waits for the disk, while the chat goes on, may become another one or get another
 * model. */
#ifndef LOGITOP_APP_EXPORT_H
#define LOGITOP_APP_EXPORT_H

#include "app/chat.h"

enum export_format {
    EXPORT_MD,    /* the path shown, as Markdown */
    EXPORT_JSON,  /* the whole tree: one object
                     {"title","model","seed","leaf","messages":[{"id","parent",...}]} */
    EXPORT_JSONL, /* the path shown: a line a message, after it a line for each of its tokens, as --jsonl
                     writes them */
    EXPORT_FORMAT_COUNT
};

/* "md", "json", "jsonl". */
int export_format_find(const char *name, size_t len, enum export_format *format, struct err *err);
const char *export_format_name(enum export_format format);

/* "why-is-the-sky-blue.md", in the current folder and not there yet. Owned by the caller. */
char *export_file_name(const char *title, enum export_format format);

struct export;

/* A new file, for its owner only; one that is there is not touched. It has its name once all of it is
 * written. path NULL: by the chat's title. On failure *export is NULL. */
int export_begin(struct export **export, const struct chat *chat, enum export_format format, const char *path,
                 struct err *err);
const char *export_path(const struct export *export); /* as a person reads it: from the root, or from ~ */
/* Readable once it is written, or was given up; -1 for NULL. */
int export_wake_fd(const struct export *export);
int64_t export_began(const struct export *export); /* clock_ns() */
/* Waits until it is written, but not beyond a signal, which gives it up: then there will be no file. */
void export_wait(struct export *export);
/* Waits until it is written or given up, and frees. Then the file is there, or not a byte of it. NULL is
 * fine. */
int export_end(struct export *export, struct err *err);

#endif
