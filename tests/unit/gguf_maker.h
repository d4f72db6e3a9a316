/* A GGUF file taken apart so that tests can break it: load a good one, change anything, write it again. */
#ifndef LOGITOP_TESTS_UNIT_GGUF_MAKER_H
#define LOGITOP_TESTS_UNIT_GGUF_MAKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "infer/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct made_key {
    struct buf name, value; /* the value as in the file: u32 type and bytes */
    uint64_t name_len;      /* as written; the name's own unless a test lies */
};

struct made_tensor {
    struct buf name, data;
    uint32_t n_dims, type;
    uint64_t dims[8];
    uint64_t offset; /* as written; UINT64_MAX: where the data really is */
};

struct maker {
    char magic[4];
    uint32_t version, alignment;
    uint64_t claimed_keys, claimed_tensors; /* as written; UINT64_MAX: the truth */
    struct made_key *keys;
    size_t n_keys, cap_keys;
    struct made_tensor *tensors;
    size_t n_tensors, cap_tensors;
    size_t cut;    /* bytes left away at the end */
    size_t keep;   /* if not 0: bytes kept from the beginning */
    uint64_t tail; /* zeros after the end */
};

static inline void maker_begin(struct maker *m) {
    *m = (struct maker){.magic = "GGUF",
                        .version = 3,
                        .alignment = 32,
                        .claimed_keys = UINT64_MAX,
                        .claimed_tensors = UINT64_MAX};
}

static inline struct made_key *maker_key(struct maker *m, const char *name) {
    for (size_t i = 0; i < m->n_keys; i++)
        if (strcmp(m->keys[i].name.data, name) == 0) return &m->keys[i];
    return NULL;
}

static inline struct made_key *maker_add_key(struct maker *m, const char *name) {
    grow_array(&m->keys, &m->cap_keys, m->n_keys + 1, sizeof *m->keys);
    struct made_key *key = &m->keys[m->n_keys++];
    *key = (struct made_key){.name_len = strlen(name)};
    buf_puts(&key->name, name);
    return key;
}

/* Set or replace a key: any type, any bytes. */
static inline void maker_set(struct maker *m, const char *name, uint32_t type, const void *bytes,
                             size_t size) {
    struct made_key *key = maker_key(m, name);
    if (!key) key = maker_add_key(m, name);
    buf_clear(&key->value);
    buf_append(&key->value, &type, sizeof type);
    buf_append(&key->value, bytes, size);
}

static inline void maker_u32(struct maker *m, const char *name, uint32_t value) {
    maker_set(m, name, 4, &value, 4);
}
static inline void maker_f32(struct maker *m, const char *name, float value) {
    maker_set(m, name, 6, &value, 4);
}
static inline void maker_u64(struct maker *m, const char *name, uint64_t value) {
    maker_set(m, name, 10, &value, 8);
}

static inline void maker_string(struct maker *m, const char *name, const char *text) {
    struct buf value = {0};
    uint64_t len = strlen(text);
    buf_append(&value, &len, 8);
    buf_puts(&value, text);
    maker_set(m, name, 8, value.data, value.len);
    buf_free(&value);
}

/* An array: element type, the length that is claimed, and bytes. */
static inline void maker_array(struct maker *m, const char *name, uint32_t type, uint64_t n,
                               const void *bytes, size_t size) {
    struct buf value = {0};
    buf_append(&value, &type, 4);
    buf_append(&value, &n, 8);
    buf_append(&value, bytes, size);
    maker_set(m, name, 9, value.data, value.len);
    buf_free(&value);
}

static inline void maker_remove_key(struct maker *m, const char *name) {
    struct made_key *key = maker_key(m, name);
    assert_non_null(key);
    buf_free(&key->name);
    buf_free(&key->value);
    size_t at = (size_t)(key - m->keys);
    memmove(key, key + 1, (--m->n_keys - at) * sizeof *key);
}

static inline struct made_tensor *maker_tensor(struct maker *m, const char *name) {
    for (size_t i = 0; i < m->n_tensors; i++)
        if (strcmp(m->tensors[i].name.data, name) == 0) return &m->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static inline struct made_tensor *maker_add_tensor(struct maker *m, const char *name, uint32_t type,
                                                   uint64_t cols, uint64_t rows, size_t size) {
    grow_array(&m->tensors, &m->cap_tensors, m->n_tensors + 1, sizeof *m->tensors);
    struct made_tensor *t = &m->tensors[m->n_tensors++];
    *t = (struct made_tensor){
        .type = type, .n_dims = rows ? 2 : 1, .dims = {cols, rows}, .offset = UINT64_MAX};
    buf_puts(&t->name, name);
    memset(buf_reserve(&t->data, size), 0, size);
    t->data.len = size;
    return t;
}

static inline void maker_remove_tensor(struct maker *m, const char *name) {
    struct made_tensor *t = maker_tensor(m, name);
    buf_free(&t->name);
    buf_free(&t->data);
    size_t at = (size_t)(t - m->tensors);
    memmove(t, t + 1, (--m->n_tensors - at) * sizeof *t);
}

static inline void maker_rename(struct made_tensor *t, const char *name) {
    buf_clear(&t->name);
    buf_puts(&t->name, name);
}

static inline void maker_load(struct maker *m, const char *path) {
    struct gguf *g;
    struct err err;
    if (gguf_open(path, GGUF_WHOLE, NULL, &g, &err)) fail_msg("%s", err.text);
    maker_begin(m);
    for (size_t i = 0; i < gguf_n_values(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i);
        char *name = xmemdup(v->key.bytes, v->key.len);
        if (v->is_array)
            maker_array(m, name, v->type, v->n, v->data, (size_t)v->size);
        else
            maker_set(m, name, v->type, v->data, (size_t)v->size);
        free(name);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *from = gguf_tensor_at(g, i);
        struct made_tensor *t = maker_add_tensor(m, from->name, from->type, from->dims[0],
                                                 from->n_dims > 1 ? from->dims[1] : 0, (size_t)from->size);
        if (gguf_read(g, from, 0, t->data.data, (size_t)from->size, &err)) fail_msg("%s", err.text);
    }
    gguf_close(g);
}

static inline void maker_put(struct buf *out, uint64_t value, size_t size) {
    buf_append(out, &value, size);
}

static inline void maker_pad(struct buf *out, size_t from, uint32_t alignment) {
    while ((out->len - from) % alignment) buf_putc(out, 0);
}

/* The file's bytes; data_begin (may be NULL): where the header ends. */
static inline void maker_bytes(const struct maker *m, struct buf *out, size_t *data_begin) {
    uint64_t offset = 0;
    buf_append(out, m->magic, 4);
    maker_put(out, m->version, 4);
    maker_put(out, m->claimed_tensors == UINT64_MAX ? m->n_tensors : m->claimed_tensors, 8);
    maker_put(out, m->claimed_keys == UINT64_MAX ? m->n_keys : m->claimed_keys, 8);
    for (size_t i = 0; i < m->n_keys; i++) {
        maker_put(out, m->keys[i].name_len, 8);
        buf_append(out, m->keys[i].name.data, m->keys[i].name.len);
        buf_append(out, m->keys[i].value.data, m->keys[i].value.len);
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct made_tensor *t = &m->tensors[i];
        maker_put(out, t->name.len, 8);
        buf_append(out, t->name.data, t->name.len);
        maker_put(out, t->n_dims, 4);
        for (uint32_t d = 0; d < t->n_dims && d < 8; d++) maker_put(out, t->dims[d], 8);
        maker_put(out, t->type, 4);
        maker_put(out, t->offset == UINT64_MAX ? offset : t->offset, 8);
        offset += (t->data.len + m->alignment - 1) / m->alignment * m->alignment;
    }
    maker_pad(out, 0, m->alignment);
    size_t begin = out->len;
    if (data_begin) *data_begin = begin;
    for (size_t i = 0; i < m->n_tensors; i++) {
        buf_append(out, m->tensors[i].data.data, m->tensors[i].data.len);
        maker_pad(out, begin, m->alignment);
    }
    out->len -= m->cut;
    if (m->keep && m->keep < out->len) out->len = m->keep;
}

static inline void maker_write(const struct maker *m, const char *path) {
    struct buf bytes = {0};
    maker_bytes(m, &bytes, NULL);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
    if (m->tail) assert_int_equal(truncate(path, (off_t)(bytes.len + m->tail)), 0);
    buf_free(&bytes);
}

static inline void maker_free(struct maker *m) {
    for (size_t i = 0; i < m->n_keys; i++) {
        buf_free(&m->keys[i].name);
        buf_free(&m->keys[i].value);
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        buf_free(&m->tensors[i].name);
        buf_free(&m->tensors[i].data);
    }
    free(m->keys);
    free(m->tensors);
    *m = (struct maker){0};
}

#endif
