/* A chat as a file for others: to read, or to work on. */
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

/* "why-is-the-sky-blue.md", in the current folder and not there yet. Owned by the caller. */
char *export_file_name(const char *title, enum export_format format);

/* A new file, for its owner only; one that is there is not touched. `title` may be NULL. */
int export_chat(const struct chat *chat, const char *title, enum export_format format, const char *path,
                struct err *err);

#endif
