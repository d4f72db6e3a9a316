/* A file that is being fetched: the bytes so far, which chunks of it are there, and the hash as far as there
 * is no gap. */
#ifndef LOGITOP_MODELS_PARTIAL_H
#define LOGITOP_MODELS_PARTIAL_H

#include "base/err.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stdint.h>

struct partial {
    int fd;
    char *path, *notes; /* of the bytes, of what is done */
    uint64_t size, chunk;
    size_t n_chunks;
    uint64_t *done; /* [n_chunks] bytes from each chunk's beginning */
    uint64_t total; /* their sum */
    struct sha256 sha;
    uint64_t hashed; /* from the file's beginning */
    bool changed;    /* since the last partial_note() */
};

/* Open or go on with it. Nobody else works on it meanwhile (STATUS_BUSY), and there is room on the disk
 * (STATUS_FAILED). */
int partial_open(struct partial *partial, const char *target, uint64_t size, struct err *err);
void partial_close(struct partial *partial); /* notes what is done; the files stay */

int partial_write(struct partial *partial, uint64_t at, const void *bytes, size_t n, struct err *err);
int partial_note(struct partial *partial, struct err *err);
int partial_restart(struct partial *partial, struct err *err); /* forget all bytes */

/* Hash on, at most `most` bytes; false when there is nothing more to hash now. */
bool partial_hash(struct partial *partial, uint64_t most);
/* All is there and hashed: to its place if the digest is right. Otherwise the bytes are thrown away:
 * STATUS_FAILED. */
int partial_finish(struct partial *partial, const char *target, const char *digest, struct err *err);

static inline uint64_t partial_chunk_size(const struct partial *p, size_t i) {
    uint64_t begin = i * p->chunk;
    return p->size - begin < p->chunk ? p->size - begin : p->chunk;
}

#endif
