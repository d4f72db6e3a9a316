/* GGUF files (versions 2 and 3, ggml's docs/gguf.md): metadata by typed getters, tensors by name, weights
 * mapped read-only.
 *
 * A file is hostile until proven otherwise: every size is checked against the file before it is believed, and
 * whatever is wrong is one line that names the file, the byte or key or tensor, what was found and what was
 * expected. Metadata is read into memory of our own, so what was checked cannot change afterwards; only
 * weights stay in the file.
 *
 * Immutable after gguf_open() and gguf_map(): any thread may read. Spans and pointers live until
 * gguf_close(). */
#ifndef LOGITOP_INFER_GGUF_H
#define LOGITOP_INFER_GGUF_H

#include "base/err.h"
#include "infer/fault.h"
#include "kernels/dtype.h"
#include "tokenizer/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name in messages, id in the file (0, 1, ...), bytes of one */
#define GGUF_TYPE_MAP(X)                                                                                     \
    X(U8, "u8", 1)                                                                                           \
    X(I8, "i8", 1)                                                                                           \
    X(U16, "u16", 2)                                                                                         \
    X(I16, "i16", 2)                                                                                         \
    X(U32, "u32", 4)                                                                                         \
    X(I32, "i32", 4)                                                                                         \
    X(F32, "f32", 4)                                                                                         \
    X(BOOL, "bool", 1)                                                                                       \
    X(STRING, "string", 0)                                                                                   \
    X(ARRAY, "array", 0)                                                                                     \
    X(U64, "u64", 8)                                                                                         \
    X(I64, "i64", 8)                                                                                         \
    X(F64, "f64", 8)

enum gguf_type {
#define X(name, word, size) GGUF_TYPE_##name,
    GGUF_TYPE_MAP(X)
#undef X
        GGUF_TYPE_COUNT
};
const char *gguf_type_name(uint32_t type); /* "?" for unknown ids */

enum {
    GGUF_ALIGNMENT_DEFAULT = 32,
    GGUF_NAME_MAX = 63,         /* bytes of a tensor's name */
    GGUF_KEY_MAX = 65535,       /* bytes of a key */
    GGUF_RECORDS_MAX = 1 << 20, /* keys, and tensors of one file */
    GGUF_STRINGS_MAX = 1 << 22, /* of an array that gguf_strings() copies */
    GGUF_DIMS_MAX = 4,
};

struct gguf_value {
    struct span key;
    enum gguf_type type; /* of the value, or of the elements of an array; never ARRAY */
    bool is_array;
    uint64_t n; /* elements; 1 if no array */
    const unsigned char
        *data;       /* as in the file: little-endian, not aligned; strings are a u64 length and bytes */
    uint64_t size;   /* bytes at data */
    uint64_t offset; /* of the record in its file */
};

struct gguf_tensor {
    const char *name; /* printable UTF-8, NUL-terminated */
    uint32_t type;    /* an id dtype_info() knows, unless faults were collected */
    uint32_t n_dims;
    uint64_t dims[GGUF_DIMS_MAX]; /* fastest first, as in the file; 1 beyond n_dims */
    uint64_t n_elements, size;    /* size in bytes; 0 if the type or shape is at fault */
    uint32_t file;                /* which file of a split one */
    uint64_t offset;              /* of the data in that file */
    const void *data;             /* NULL before gguf_map() */
};

enum gguf_part {
    GGUF_METADATA, /* keys and values of this one file; tensors need not be there */
    GGUF_WHOLE,    /* and all tensors of all files of a split model */
};

struct gguf;

/* Faults: NULL refuses the file at its first. Otherwise they are collected, and the file opens with what
 * could be read of it (STATUS_OK even then) unless it is no regular readable file. A file of a split model
 * opens the whole, whichever it is. */
int gguf_open(const char *path, enum gguf_part part, struct faults *faults, struct gguf **out,
              struct err *err);
void gguf_close(struct gguf *gguf); /* NULL is fine */

/* Map the weights of all files and fill in `data` of the tensors. If a file shrinks afterwards, what is gone
 * reads as zeros (instead of SIGBUS ending the program) and gguf_check() tells. */
int gguf_map(struct gguf *gguf, struct err *err);
int gguf_check(const struct gguf *gguf,
               struct err *err); /* the files are as large as they were. Cheap; any thread */

const char *
gguf_path(const struct gguf *gguf); /* as messages name it: the first file, a long path cut at its front */
uint32_t gguf_version(const struct gguf *gguf);
uint32_t gguf_alignment(const struct gguf *gguf);
uint32_t gguf_n_files(const struct gguf *gguf);
uint64_t gguf_size(const struct gguf *gguf);         /* bytes of all files */
int gguf_fd(const struct gguf *gguf, uint32_t file); /* open for pread until gguf_close() */

size_t gguf_n_values(const struct gguf *gguf);
const struct gguf_value *gguf_value_at(const struct gguf *gguf, size_t i);
const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key); /* NULL: none */

size_t gguf_n_tensors(const struct gguf *gguf);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t i);
const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, const char *name); /* NULL: none */

/* Read size bytes of a tensor's data from byte `at`, by pread: nothing is mapped. Any thread. */
int gguf_read(const struct gguf *gguf, const struct gguf_tensor *tensor, uint64_t at, void *to, size_t size,
              struct err *err);

/* ---- typed getters: STATUS_MODEL if the key is missing though needed, or has another type; never abort ----
 */
enum gguf_need { GGUF_OPTIONAL /* missing: STATUS_OK and *out untouched */, GGUF_NEEDED };

int gguf_u16(const struct gguf *g, const char *key, enum gguf_need need, uint16_t *out, struct err *err);
int gguf_u32(const struct gguf *g, const char *key, enum gguf_need need, uint32_t *out, struct err *err);
int gguf_i32(const struct gguf *g, const char *key, enum gguf_need need, int32_t *out, struct err *err);
int gguf_f32(const struct gguf *g, const char *key, enum gguf_need need, float *out, struct err *err);
int gguf_bool(const struct gguf *g, const char *key, enum gguf_need need, bool *out, struct err *err);
int gguf_string(const struct gguf *g, const char *key, enum gguf_need need, struct span *out,
                struct err *err);
/* Arrays: a copy of *n elements for the caller to free(). *out is NULL if the key is missing. The bytes of
 * strings are the file's. i32s also takes u32 elements below 2^31. */
int gguf_i32s(const struct gguf *g, const char *key, enum gguf_need need, int32_t **out, size_t *n,
              struct err *err);
int gguf_f32s(const struct gguf *g, const char *key, enum gguf_need need, float **out, size_t *n,
              struct err *err);
int gguf_strings(const struct gguf *g, const char *key, enum gguf_need need, struct span **out, size_t *n,
                 struct err *err);

/* One element of a value as text is shown: numbers as in C, strings as they are. *at is the byte in
 * value->data to start at and is moved on to the next element. */
struct gguf_item {
    struct span string; /* GGUF_TYPE_STRING */
    double number;      /* f32, f64 */
    int64_t integer;    /* signed types, and bool as 0 or 1 */
    uint64_t natural;   /* unsigned types */
};
struct gguf_item gguf_item(const struct gguf_value *value, uint64_t *at);

#endif
