/* Typed getters of GGUF metadata. */
#include "base/mem.h"
#include "infer/gguf_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *word;
    size_t size;
} types[] = {
#define X(name, word, size) {word, size},
    GGUF_TYPE_MAP(X)
#undef X
};

const char *gguf_type_name(uint32_t type) {
    return type < GGUF_TYPE_COUNT ? types[type].word : "?";
}

size_t gguf_type_size(enum gguf_type type) {
    return types[type].size;
}

const struct gguf_value *gguf_table_find(const struct gguf_table *table, const char *key) {
    uint32_t at;
    return strmap_get(&table->names, key, strlen(key), &at) ? &table->values[at] : NULL;
}

static int wrong_type(const struct gguf_file *file, const char *key, const struct gguf_value *value,
                      const char *expected, struct err *err) {
    if (!value)
        return err_set(err, STATUS_MODEL, "%s: key %s is missing, expected %s", file->shown, key, expected);
    return err_set(err, STATUS_MODEL, "%s: key %s: found %s%s, expected %s", file->shown, key,
                   gguf_type_name(value->type), value->is_array ? " array" : "", expected);
}

/* *out: the value, or NULL where it may be missing and is. */
static int find(const struct gguf *g, const char *key, enum gguf_need need, enum gguf_type type, bool array,
                const struct gguf_value **out, struct err *err) {
    *out = gguf_table_find(&g->table, key);
    if (!*out && need == GGUF_OPTIONAL) return STATUS_OK;
    if (*out && (*out)->type == type && (*out)->is_array == array) return STATUS_OK;
    char expected[32];
    snprintf(expected, sizeof expected, "%s%s", types[type].word, array ? " array" : "");
    return wrong_type(&g->files[0], key, *out, expected, err);
}

static int get_scalar(const struct gguf *g, const char *key, enum gguf_need need, enum gguf_type type,
                      void *out, struct err *err) {
    const struct gguf_value *value;
    int status = find(g, key, need, type, false, &value, err);
    if (!status && value) memcpy(out, value->data, types[type].size);
    return status;
}

int gguf_u16(const struct gguf *g, const char *key, enum gguf_need need, uint16_t *out, struct err *err) {
    return get_scalar(g, key, need, GGUF_TYPE_U16, out, err);
}

int gguf_u32(const struct gguf *g, const char *key, enum gguf_need need, uint32_t *out, struct err *err) {
    return get_scalar(g, key, need, GGUF_TYPE_U32, out, err);
}

int gguf_i32(const struct gguf *g, const char *key, enum gguf_need need, int32_t *out, struct err *err) {
    return get_scalar(g, key, need, GGUF_TYPE_I32, out, err);
}

int gguf_f32(const struct gguf *g, const char *key, enum gguf_need need, float *out, struct err *err) {
    return get_scalar(g, key, need, GGUF_TYPE_F32, out, err);
}

int gguf_bool(const struct gguf *g, const char *key, enum gguf_need need, bool *out, struct err *err) {
    uint8_t byte = *out;
    int status = get_scalar(g, key, need, GGUF_TYPE_BOOL, &byte, err);
    *out = byte != 0;
    return status;
}

static struct span string_at(const unsigned char *data, uint64_t *at) {
    struct span text = {(const char *)data + *at + 8, load_u64(data + *at)};
    *at += 8 + text.len;
    return text;
}

int gguf_string(const struct gguf *g, const char *key, enum gguf_need need, struct span *out,
                struct err *err) {
    const struct gguf_value *value;
    int status = find(g, key, need, GGUF_TYPE_STRING, false, &value, err);
    uint64_t at = 0;
    if (!status && value) *out = string_at(value->data, &at);
    return status;
}

int gguf_table_u16(const struct gguf_file *file, const struct gguf_table *table, const char *key,
                   uint16_t *out, struct err *err) {
    const struct gguf_value *value = gguf_table_find(table, key);
    if (!value || value->type != GGUF_TYPE_U16 || value->is_array)
        return wrong_type(file, key, value, "u16", err);
    memcpy(out, value->data, sizeof *out);
    return STATUS_OK;
}

static int copy_array(const struct gguf_value *value, size_t each, void **out, size_t *n) {
    *n = (size_t)value->n;
    *out = xmalloc(*n * each + 1); /* the file holds as many bytes */
    if (*n) memcpy(*out, value->data, *n * each);
    return STATUS_OK;
}

int gguf_f32s(const struct gguf *g, const char *key, enum gguf_need need, float **out, size_t *n,
              struct err *err) {
    const struct gguf_value *value;
    *out = NULL;
    *n = 0;
    int status = find(g, key, need, GGUF_TYPE_F32, true, &value, err);
    if (status || !value) return status;
    return copy_array(value, sizeof **out, (void **)out, n);
}

int gguf_i32s(const struct gguf *g, const char *key, enum gguf_need need, int32_t **out, size_t *n,
              struct err *err) {
    const struct gguf_value *value = gguf_table_find(&g->table, key);
    *out = NULL;
    *n = 0;
    bool naturals = value && value->type == GGUF_TYPE_U32;
    int status = find(g, key, need, naturals ? GGUF_TYPE_U32 : GGUF_TYPE_I32, true, &value, err);
    if (status || !value) return status;
    copy_array(value, sizeof **out, (void **)out, n);
    for (size_t i = 0; naturals && i < *n; i++)
        if ((*out)[i] < 0) {
            status = err_set(err, STATUS_MODEL,
                             "%s: key %s: element %zu: found %" PRIu32 ", expected less than 2^31",
                             g->files[0].shown, key, i, (uint32_t)(*out)[i]);
            free(*out);
            *out = NULL;
            *n = 0;
            return status;
        }
    return STATUS_OK;
}

int gguf_strings(const struct gguf *g, const char *key, enum gguf_need need, struct span **out, size_t *n,
                 struct err *err) {
    const struct gguf_value *value;
    *out = NULL;
    *n = 0;
    int status = find(g, key, need, GGUF_TYPE_STRING, true, &value, err);
    if (status || !value) return status;
    if (value->n > GGUF_STRINGS_MAX) /* a place for each takes more than an empty one takes in the file */
        return err_set(err, STATUS_MODEL, "%s: key %s: found %" PRIu64 " strings, expected at most %d",
                       g->files[0].shown, key, value->n, GGUF_STRINGS_MAX);
    *n = (size_t)value->n;
    *out = xmalloc(*n * sizeof **out + 1);
    uint64_t at = 0;
    for (size_t i = 0; i < *n; i++) (*out)[i] = string_at(value->data, &at);
    return STATUS_OK;
}

struct gguf_item gguf_item(const struct gguf_value *value, uint64_t *at) {
    struct gguf_item item = {0};
    const unsigned char *from = value->data + *at;
    if (value->type == GGUF_TYPE_STRING) {
        item.string = string_at(value->data, at);
        return item;
    }
    *at += types[value->type].size;
    union {
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
    } as;
    memcpy(&as, from, types[value->type].size);
    switch (value->type) {
    case GGUF_TYPE_BOOL:
    case GGUF_TYPE_U8: item.natural = (uint8_t)as.i8, item.integer = (uint8_t)as.i8; break;
    case GGUF_TYPE_U16: item.natural = (uint16_t)as.i16; break;
    case GGUF_TYPE_U32: item.natural = (uint32_t)as.i32; break;
    case GGUF_TYPE_U64: item.natural = (uint64_t)as.i64; break;
    case GGUF_TYPE_I8: item.integer = as.i8; break;
    case GGUF_TYPE_I16: item.integer = as.i16; break;
    case GGUF_TYPE_I32: item.integer = as.i32; break;
    case GGUF_TYPE_I64: item.integer = as.i64; break;
    case GGUF_TYPE_F32: item.number = as.f32; break;
    case GGUF_TYPE_F64: item.number = as.f64; break;
    case GGUF_TYPE_STRING:
    case GGUF_TYPE_ARRAY:
    case GGUF_TYPE_COUNT: break;
    }
    return item;
}
