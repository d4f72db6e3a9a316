/* The header of one GGUF file, byte by byte. Every length is compared with what is left of the file before it
 * is used, and nothing is allocated for a record before the record was read. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "infer/gguf_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    HEADER_SIZE = 24,    /* magic, version, number of tensors, number of keys */
    VALUE_SIZE_MIN = 14, /* a key of one letter with a bool */
    TENSOR_SIZE_MIN = 33,
    FILL_MIN = 1 << 16,
    ALIGNMENT_MAX = 1 << 16,
};
static const uint64_t DIM_MAX = (uint64_t)1 << 40;

struct cursor {
    struct gguf *gguf;
    uint32_t index;
    struct gguf_file *file;
    uint64_t at; /* next byte of the file */
    struct faults *faults;
    struct err *err;
    bool misshapen; /* a fault was noted that makes the layout of the data meaningless */
};

#define FAULT(c, ...) err_set((c)->err, STATUS_MODEL, __VA_ARGS__)

static int note(struct cursor *c, int status) {
    return fault_note(c->faults, status, c->err);
}

static uint64_t left(const struct cursor *c) {
    return c->file->size - c->at;
}

/* Have the first `end` bytes of the file in memory. */
static int fill(struct cursor *c, uint64_t end) {
    struct gguf_file *file = c->file;
    if (end <= file->filled) return STATUS_OK;
    if (end > file->reserved)
        return FAULT(c, "%s: byte %" PRIu64 ": metadata longer than %zu bytes", file->shown, c->at,
                     file->reserved);
    size_t goal = file->filled * 2 < FILL_MIN ? FILL_MIN : file->filled * 2;
    if (goal < end) goal = end;
    if (goal > file->reserved) goal = file->reserved;
    while (file->filled < goal) {
        ssize_t got = pread(file->fd, file->header + file->filled, goal - file->filled, (off_t)file->filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return FAULT(c, "%s: byte %zu: cannot read: %s", file->shown, file->filled, strerror(errno));
        if (got == 0)
            return FAULT(c, "%s: byte %zu: the file ends; it had %" PRIu64 " bytes when it was opened",
                         file->shown, file->filled, file->size);
        file->filled += (size_t)got;
    }
    return STATUS_OK;
}

/* The next n bytes, which `what` names in messages; NULL after a failure. */
static const unsigned char *take(struct cursor *c, uint64_t n, const char *what) {
    if (n > left(c)) {
        FAULT(c, "%s: byte %" PRIu64 ": %s: the file has %" PRIu64 " bytes left, expected at least %" PRIu64,
              c->file->shown, c->at, what, left(c), n);
        return NULL;
    }
    if (fill(c, c->at + n)) return NULL;
    const unsigned char *bytes = c->file->header + c->at;
    c->at += n;
    return bytes;
}

static int take_u32(struct cursor *c, const char *what, uint32_t *out) {
    const unsigned char *bytes = take(c, 4, what);
    if (!bytes) return c->err->code;
    *out = load_u32(bytes);
    return STATUS_OK;
}

static int take_u64(struct cursor *c, const char *what, uint64_t *out) {
    const unsigned char *bytes = take(c, 8, what);
    if (!bytes) return c->err->code;
    *out = load_u64(bytes);
    return STATUS_OK;
}

/* A length and as many bytes. */
static int take_string(struct cursor *c, const char *what, struct span *out) {
    uint64_t begin = c->at, len = 0;
    int status = take_u64(c, what, &len);
    if (status) return status;
    if (len > left(c))
        return FAULT(c,
                     "%s: byte %" PRIu64 ": %s: found length %" PRIu64 ", expected at most the %" PRIu64
                     " bytes left",
                     c->file->shown, begin, what, len, left(c));
    const unsigned char *bytes = take(c, len, what);
    if (!bytes) return c->err->code;
    *out = (struct span){(const char *)bytes, len};
    return STATUS_OK;
}

/* Names are printed and compared: UTF-8 without control characters. */
static bool printable(struct span text) {
    for (size_t at = 0; at < text.len;) {
        uint32_t code;
        int len = utf8_decode(text.bytes + at, text.len - at, &code);
        if (len <= 0 || code < 0x20 || (code >= 0x7F && code < 0xA0)) return false;
        at += (size_t)len;
    }
    return true;
}

/* ---- header ---- */

static int parse_counts(struct cursor *c, uint64_t n_tensors, uint64_t n_values) {
    const char *shown = c->file->shown;
    if (n_tensors > left(c) / TENSOR_SIZE_MIN)
        return FAULT(c,
                     "%s: byte 8: found %" PRIu64 " tensors, expected at most %" PRIu64
                     " in a file of %" PRIu64 " bytes",
                     shown, n_tensors, left(c) / TENSOR_SIZE_MIN, c->file->size);
    if (n_values > left(c) / VALUE_SIZE_MIN)
        return FAULT(c,
                     "%s: byte 16: found %" PRIu64 " keys, expected at most %" PRIu64 " in a file of %" PRIu64
                     " bytes",
                     shown, n_values, left(c) / VALUE_SIZE_MIN, c->file->size);
    if (n_tensors > GGUF_RECORDS_MAX)
        return FAULT(c, "%s: byte 8: found %" PRIu64 " tensors, expected at most %d", shown, n_tensors,
                     GGUF_RECORDS_MAX);
    if (n_values > GGUF_RECORDS_MAX)
        return FAULT(c, "%s: byte 16: found %" PRIu64 " keys, expected at most %d", shown, n_values,
                     GGUF_RECORDS_MAX);
    return STATUS_OK;
}

static int parse_header(struct cursor *c, uint64_t *n_values) {
    struct gguf_file *file = c->file;
    if (file->size == 0) return FAULT(c, "%s: empty file, expected GGUF", file->shown);
    size_t n_magic = file->size < 4 ? (size_t)file->size : 4;
    const unsigned char *magic = take(c, n_magic, "magic");
    if (!magic) return c->err->code;
    if (memcmp(magic, "GGUF", n_magic) != 0) {
        char found[12] = "";
        for (size_t i = 0; i < n_magic; i++) snprintf(found + 2 * i, 3, "%02x", magic[i]);
        return FAULT(c, "%s: byte 0: found bytes %s, expected 47475546 (GGUF): not a GGUF file", file->shown,
                     found);
    }
    if (file->size < HEADER_SIZE)
        return FAULT(c, "%s: byte %" PRIu64 ": the file ends in its header, expected at least %d bytes",
                     file->shown, file->size, HEADER_SIZE);
    int status = take_u32(c, "version", &file->version);
    if (status) return status;
    if (file->version != 0 && (file->version & 0xFFFF) == 0)
        return FAULT(c, "%s: byte 4: big-endian file (version bytes %08x), expected little-endian",
                     file->shown, file->version);
    if (file->version != 2 && file->version != 3)
        return FAULT(c, "%s: byte 4: found version %" PRIu32 ", expected 2 or 3", file->shown, file->version);
    if ((status = take_u64(c, "number of tensors", &file->n_tensors)) ||
        (status = take_u64(c, "number of keys", n_values)))
        return status;
    return parse_counts(c, file->n_tensors, *n_values);
}

/* ---- values ---- */

static int check_bools(struct cursor *c, struct span key, const unsigned char *bytes, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (bytes[i] > 1)
            return note(c, FAULT(c, "%s: byte %" PRIu64 ": key %.*s: found bool %u, expected 0 or 1",
                                 c->file->shown, c->at - n + i, (int)key.len, key.bytes, bytes[i]));
    return STATUS_OK;
}

static int parse_strings(struct cursor *c, struct span key, uint64_t n) {
    if (n > left(c) / 8)
        return FAULT(c,
                     "%s: byte %" PRIu64 ": key %.*s: found %" PRIu64 " strings, expected at most %" PRIu64
                     " in the bytes left",
                     c->file->shown, c->at, (int)key.len, key.bytes, n, left(c) / 8);
    for (uint64_t i = 0; i < n; i++) {
        struct span text;
        uint64_t begin = c->at;
        int status = take_string(c, "a string", &text);
        if (status)
            return FAULT(c,
                         "%s: byte %" PRIu64 ": key %.*s: string %" PRIu64 " of %" PRIu64
                         " runs past the end of the file",
                         c->file->shown, begin, (int)key.len, key.bytes, i, n);
    }
    return STATUS_OK;
}

static int parse_elements(struct cursor *c, struct gguf_value *value, struct span key) {
    uint64_t begin = c->at;
    int status = STATUS_OK;
    if (value->type == GGUF_TYPE_STRING) {
        status = parse_strings(c, key, value->n);
        value->data = c->file->header + begin;
    } else {
        size_t size, each = gguf_type_size(value->type);
        if (!size_mul(value->n, each, &size) || size > left(c))
            return FAULT(c,
                         "%s: byte %" PRIu64 ": key %.*s: found %" PRIu64
                         " elements of %zu bytes, expected at most the %" PRIu64 " bytes left",
                         c->file->shown, begin, (int)key.len, key.bytes, value->n, each, left(c));
        value->data = take(c, size, "a value");
        if (!value->data) return c->err->code;
        if (value->type == GGUF_TYPE_BOOL) status = check_bools(c, key, value->data, value->n);
    }
    value->size = c->at - begin;
    return status;
}

static int parse_value_type(struct cursor *c, struct gguf_value *value, struct span key) {
    uint64_t begin = c->at;
    uint32_t type = 0;
    int status = take_u32(c, "type of a value", &type);
    if (status) return status;
    value->n = 1;
    value->is_array = type == GGUF_TYPE_ARRAY;
    if (value->is_array) {
        begin = c->at;
        if ((status = take_u32(c, "type of elements", &type)) ||
            (status = take_u64(c, "length of an array", &value->n)))
            return status;
        if (type == GGUF_TYPE_ARRAY)
            return FAULT(
                c, "%s: byte %" PRIu64 ": key %.*s: found an array of arrays, expected one of single values",
                c->file->shown, begin, (int)key.len, key.bytes);
    }
    if (type >= GGUF_TYPE_COUNT)
        return FAULT(c, "%s: byte %" PRIu64 ": key %.*s: found type %" PRIu32 ", expected 0 to %d",
                     c->file->shown, begin, (int)key.len, key.bytes, type, GGUF_TYPE_COUNT - 1);
    value->type = (enum gguf_type)type;
    return STATUS_OK;
}

static int parse_key(struct cursor *c, struct gguf_value *value) {
    value->offset = c->at;
    uint64_t len = 0;
    int status = take_u64(c, "length of a key", &len);
    if (status) return status;
    uint64_t most = left(c) < GGUF_KEY_MAX ? left(c) : GGUF_KEY_MAX;
    if (len == 0 || len > most)
        return FAULT(c, "%s: byte %" PRIu64 ": found a key of length %" PRIu64 ", expected 1 to %" PRIu64,
                     c->file->shown, value->offset, len, most);
    const char *bytes = (const char *)take(c, len, "a key");
    if (!bytes) return c->err->code;
    value->key = (struct span){bytes, len};
    if (!printable(value->key))
        return note(c, FAULT(c, "%s: byte %" PRIu64 ": key with control characters or invalid UTF-8",
                             c->file->shown, value->offset));
    return STATUS_OK;
}

static int parse_value(struct cursor *c, struct gguf_table *table) {
    struct gguf_value value = {0};
    int status = parse_key(c, &value);
    struct span key = {value.key.bytes, value.key.len < 100 ? value.key.len : 100}; /* for messages */
    if (status || (status = parse_value_type(c, &value, key)) || (status = parse_elements(c, &value, key)))
        return status;
    if (!strmap_add(&table->names, value.key.bytes, value.key.len, (uint32_t)table->n))
        return note(c, FAULT(c, "%s: byte %" PRIu64 ": key %.*s is there twice", c->file->shown, value.offset,
                             (int)key.len, key.bytes));
    grow_array(&table->values, &table->cap, table->n + 1, sizeof *table->values);
    table->values[table->n++] = value;
    return STATUS_OK;
}

static int parse_alignment(struct cursor *c, const struct gguf_table *table) {
    c->file->alignment = GGUF_ALIGNMENT_DEFAULT;
    const struct gguf_value *value = gguf_table_find(table, "general.alignment");
    if (!value) return STATUS_OK;
    if (value->is_array || value->type != GGUF_TYPE_U32) {
        c->misshapen = true;
        return note(c, FAULT(c, "%s: key general.alignment: found type %s%s, expected u32", c->file->shown,
                             gguf_type_name(value->type), value->is_array ? " array" : ""));
    }
    uint32_t alignment = load_u32(value->data);
    if (alignment == 0 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0) {
        c->misshapen = true;
        return note(c,
                    FAULT(c, "%s: key general.alignment: found %" PRIu32 ", expected a power of two up to %d",
                          c->file->shown, alignment, ALIGNMENT_MAX));
    }
    c->file->alignment = alignment;
    return STATUS_OK;
}

/* ---- tensors ---- */

static int parse_tensor_name(struct cursor *c, struct gguf_tensor *tensor) {
    uint64_t begin = c->at;
    struct span name;
    int status = take_string(c, "name of a tensor", &name);
    if (status) return status;
    size_t kept = name.len <= GGUF_NAME_MAX ? name.len : GGUF_NAME_MAX;
    tensor->name = arena_dup(&c->gguf->names, name.bytes, kept);
    if (name.len == 0 || name.len > GGUF_NAME_MAX)
        return note(c, FAULT(c, "%s: byte %" PRIu64 ": found a tensor name of %zu bytes, expected 1 to %d",
                             c->file->shown, begin, name.len, GGUF_NAME_MAX));
    if (!printable(name))
        return note(c, FAULT(c, "%s: byte %" PRIu64 ": tensor name with control characters or invalid UTF-8",
                             c->file->shown, begin));
    return STATUS_OK;
}

static int parse_dims(struct cursor *c, struct gguf_tensor *tensor) {
    uint64_t begin = c->at;
    int status = take_u32(c, "dimensions of a tensor", &tensor->n_dims);
    if (status) return status;
    if (tensor->n_dims == 0 || tensor->n_dims > GGUF_DIMS_MAX)
        return FAULT(c, "%s: byte %" PRIu64 ": tensor %s: found %" PRIu32 " dimensions, expected 1 to %d",
                     c->file->shown, begin, tensor->name, tensor->n_dims, GGUF_DIMS_MAX);
    for (int i = 0; i < GGUF_DIMS_MAX; i++) tensor->dims[i] = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        if ((status = take_u64(c, "dimensions of a tensor", &tensor->dims[i]))) return status;
    return STATUS_OK;
}

/* Elements and bytes, from shape and type; both are checked by themselves, and the bytes once more after
 * padding. */
static int measure_tensor(struct cursor *c, struct gguf_tensor *tensor) {
    const char *shown = c->file->shown, *name = tensor->name;
    uint64_t n = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        uint64_t dim = tensor->dims[i];
        if (dim == 0 || dim > DIM_MAX)
            return FAULT(c, "%s: tensor %s: dimension %" PRIu32 ": found %" PRId64 ", expected 1 to %" PRIu64,
                         shown, name, i, (int64_t)dim, DIM_MAX);
        if (!size_mul(n, dim, &n) || n > INT64_MAX)
            return FAULT(c, "%s: tensor %s: its dimensions multiply beyond 64 bits", shown, name);
    }
    const struct dtype_info *type = dtype_info(tensor->type);
    if (!type)
        return FAULT(c, "%s: tensor %s: found type %" PRIu32 ", which no version of the format uses", shown,
                     name, tensor->type);
    if (tensor->dims[0] % type->block != 0)
        return FAULT(
            c, "%s: tensor %s: found rows of %" PRIu64 " elements, expected a multiple of %" PRIu32 " for %s",
            shown, name, tensor->dims[0], type->block, type->name);
    size_t size, padded;
    if (!size_mul(n / type->block, type->block_size, &size) ||
        !size_add(size, c->file->alignment - 1, &padded))
        return FAULT(c, "%s: tensor %s: its size in bytes is beyond 64 bits", shown, name);
    tensor->n_elements = n;
    tensor->size = size;
    return STATUS_OK;
}

static int parse_tensor(struct cursor *c) {
    struct gguf *gguf = c->gguf;
    struct gguf_tensor tensor = {.file = c->index};
    int status;
    if ((status = parse_tensor_name(c, &tensor)) || (status = parse_dims(c, &tensor)) ||
        (status = take_u32(c, "type of a tensor", &tensor.type)) ||
        (status = take_u64(c, "offset of a tensor", &tensor.offset)))
        return status;
    if ((status = measure_tensor(c, &tensor))) {
        c->misshapen = true;
        if ((status = note(c, status))) return status;
    }
    if (tensor.offset % c->file->alignment != 0 &&
        (status = note(c, FAULT(c, "%s: tensor %s: found offset %" PRIu64 ", expected a multiple of %" PRIu32,
                                c->file->shown, tensor.name, tensor.offset, c->file->alignment))))
        return status;
    if (!strmap_add(&gguf->tensor_names, tensor.name, strlen(tensor.name), (uint32_t)gguf->n_tensors)) {
        c->misshapen = true;
        return note(c, FAULT(c, "%s: tensor %s is there twice", c->file->shown, tensor.name));
    }
    grow_array(&gguf->tensors, &gguf->cap_tensors, gguf->n_tensors + 1, sizeof *gguf->tensors);
    gguf->tensors[gguf->n_tensors++] = tensor;
    return STATUS_OK;
}

/* ---- where the data lies ---- */

static int by_offset(const void *a, const void *b) {
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a,
                             *y = *(const struct gguf_tensor *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static uint64_t pad(uint64_t size, uint32_t alignment) {
    return (size + alignment - 1) & ~(uint64_t)(alignment - 1);
}

/* Each tensor lies within the file. Their offsets are still relative to the data. */
static int check_bounds(struct cursor *c, size_t first) {
    const struct gguf_file *file = c->file;
    uint64_t room = file->size > file->data_begin ? file->size - file->data_begin : 0;
    for (size_t i = first; i < c->gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &c->gguf->tensors[i];
        if (tensor->offset <= room && tensor->size <= room - tensor->offset) continue;
        int status = note(c, FAULT(c,
                                   "%s: tensor %s: found %" PRIu64 " bytes at offset %" PRIu64
                                   ", expected them within the %" PRIu64 " bytes of data",
                                   file->shown, tensor->name, tensor->size, tensor->offset, room));
        if (status) return status;
    }
    return STATUS_OK;
}

/* In the order of their data they follow each other without gap or overlap, from the first byte to the file's
 * end. */
static int check_packing(struct cursor *c, struct gguf_tensor **order, size_t n) {
    const struct gguf_file *file = c->file;
    uint64_t expected = 0, room = file->size > file->data_begin ? file->size - file->data_begin : 0;
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *tensor = order[i];
        if (tensor->offset != expected) {
            int status =
                note(c, FAULT(c, "%s: tensor %s: found offset %" PRIu64 ", %s after %s, expected %" PRIu64,
                              file->shown, tensor->name, tensor->offset,
                              tensor->offset < expected ? "an overlap" : "a gap",
                              i ? order[i - 1]->name : "the header", expected));
            if (status) return status;
        }
        size_t end, padded;
        if (!size_add(tensor->offset, tensor->size, &end) || !size_add(end, file->alignment - 1, &padded))
            return FAULT(c, "%s: tensor %s: offset %" PRIu64 " and size %" PRIu64 " add up beyond 64 bits",
                         file->shown, tensor->name, tensor->offset, tensor->size);
        expected = pad(end, file->alignment);
    }
    if (room > expected)
        return note(c, FAULT(c,
                             "%s: byte %" PRIu64 ": found %" PRIu64
                             " bytes after the last tensor, expected the file to end",
                             file->shown, file->data_begin + expected, room - expected));
    return STATUS_OK;
}

static int check_layout(struct cursor *c, size_t first) {
    struct gguf *gguf = c->gguf;
    size_t n = gguf->n_tensors - first;
    int status = check_bounds(c, first);
    if (status) return status;
    struct gguf_tensor **order = xmalloc((n + 1) * sizeof(struct gguf_tensor *));
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        order[i] = &gguf->tensors[first + i];
        if (i && order[i]->offset < order[i - 1]->offset) sorted = false;
    }
    if (!sorted) qsort(order, n, sizeof *order, by_offset);
    status = check_packing(c, order, n);
    free(order);
    return status;
}

static int parse_tensors(struct cursor *c) {
    struct gguf *gguf = c->gguf;
    size_t first = gguf->n_tensors;
    int status;
    for (uint64_t i = 0; i < c->file->n_tensors; i++)
        if ((status = parse_tensor(c))) return status;
    c->file->data_begin = pad(c->at, c->file->alignment);
    if (!c->misshapen && (status = check_layout(c, first))) return status;
    for (size_t i = first; i < gguf->n_tensors; i++) /* wraps only where a fault was noted already */
        gguf->tensors[i].offset += c->file->data_begin;
    return STATUS_OK;
}

int gguf_parse(struct gguf *gguf, uint32_t index, enum gguf_part part, struct gguf_table *table,
               struct faults *faults, struct err *err) {
    struct cursor c = {
        .gguf = gguf, .index = index, .file = &gguf->files[index], .faults = faults, .err = err};
    uint64_t n_values = 0;
    int status = parse_header(&c, &n_values);
    for (uint64_t i = 0; i < n_values && !status; i++) status = parse_value(&c, table);
    if (!status) status = parse_alignment(&c, table);
    if (!status && part == GGUF_WHOLE) status = parse_tensors(&c);
    return status;
}
