/* Inside store/: finding and reading, on a connection of the caller's thread that is opened when it is first
 * used and again when the file was replaced. *damaged: the file is broken. STATUS_STOPPED: *stop is true. */
#ifndef LOGITOP_STORE_READ_H
#define LOGITOP_STORE_READ_H

#include "store/store.h"

#include <stdatomic.h>

struct reader;

/* Conversations whose deletion is not committed yet: nobody is to see them again. */
struct doomed {
    int64_t *ids; /* [n] */
    size_t n, cap;
};
bool doomed_has(const struct doomed *doomed, int64_t id);

struct reader *reader_new(const char *path, const atomic_bool *stop); /* borrowed */
void reader_free(struct reader *reader);

int reader_list(struct reader *reader, const char *query, uint32_t limit, struct arena *arena,
                struct store_row **rows, size_t *n, bool *damaged, struct err *err);
int reader_load(struct reader *reader, int64_t id, const struct doomed *doomed,
                struct store_conversation *out, bool *damaged, struct err *err);
/* A draft without a conversation, of a program that is gone, and the id it goes by. Owned by the caller;
 * NULL: none. */
char *reader_draft(struct reader *reader, int64_t *id);

#endif
