/* What the files of infer/gguf*.c share; nobody else includes it. */
#ifndef LOGITOP_INFER_GGUF_INTERNAL_H
#define LOGITOP_INFER_GGUF_INTERNAL_H

#include "base/arena.h"
#include "base/strmap.h"
#include "infer/gguf.h"

#include <string.h>

struct gguf_file {
    char *path;
    const char *shown; /* the path for messages: its end if it is long */
    int fd;
    uint64_t size;
    unsigned char
        *header; /* our copy of the file's beginning: address space for all of it, `filled` bytes are there */
    size_t reserved, filled;
    uint32_t version, alignment;
    uint64_t n_tensors;  /* as the header says */
    uint64_t data_begin; /* 0 until the header was read to its end */
};

struct gguf_table { /* metadata of one file */
    struct gguf_value *values;
    size_t n, cap;
    struct strmap names;
};

struct gguf {
    struct gguf_file *files;
    uint32_t n_files;
    struct gguf_table table; /* of the first file */
    struct gguf_tensor *tensors;
    size_t n_tensors, cap_tensors;
    struct strmap tensor_names;
    struct arena names;
    unsigned char *map; /* all files, each at a page's border */
    size_t map_size;
    int guard; /* of gguf_guard.h; -1: not mapped */
};

/* Read the header of file number `index`: its values into `table`, and for GGUF_WHOLE its tensors into
 * `gguf`. */
int gguf_parse(struct gguf *gguf, uint32_t index, enum gguf_part part, struct gguf_table *table,
               struct faults *faults, struct err *err);

/* Getters on a table that is not the first file's. */
int gguf_table_u16(const struct gguf_file *file, const struct gguf_table *table, const char *key,
                   uint16_t *out, struct err *err);
const struct gguf_value *gguf_table_find(const struct gguf_table *table, const char *key);

static inline uint32_t load_u32(const unsigned char *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint64_t load_u64(const unsigned char *from) {
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

size_t gguf_type_size(enum gguf_type type); /* bytes of one; 0 for strings */

#endif
