#include "infer/gguf_write.h"

#include "base/buf.h"
#include "base/mem.h"
#include "infer/gguf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct gguf_writer {
    char *path,
        *temporary; /* it is written to the second and renamed at the end; the same for a device or a pipe */
    FILE *file;
    struct buf keys, tensors;
    uint64_t n_keys, n_tensors, data_size;
    uint64_t *sizes; /* [n_tensors] values of each */
    size_t cap_sizes;
    uint64_t at, left; /* the tensor being written, and its values to come */
    bool begun, in_place;
    int error; /* errno of the first failure */
};

static void put_u32(struct buf *buf, uint32_t value) {
    buf_append(buf, &value, sizeof value);
}

static void put_u64(struct buf *buf, uint64_t value) {
    buf_append(buf, &value, sizeof value);
}

static void put_string(struct buf *buf, const char *text) {
    put_u64(buf, strlen(text));
    buf_puts(buf, text);
}

static void put_key(struct gguf_writer *w, const char *key, enum gguf_type type) {
    put_string(&w->keys, key);
    put_u32(&w->keys, type);
    w->n_keys++;
}

int writer_begin(const char *path, struct gguf_writer **out, struct err *err) {
    struct gguf_writer *w = xcalloc(1, sizeof *w);
    struct buf temporary = {0};
    struct stat st;
    buf_puts(&temporary, path);
    w->in_place = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (!w->in_place) buf_printf(&temporary, ".%ld.part", (long)getpid());
    w->path = xstrdup(path);
    w->temporary = buf_take(&temporary);
    w->file = fopen(w->temporary, w->in_place ? "wbe" : "wbxe");
    if (!w->file) {
        int error = errno;
        writer_abandon(w);
        return err_set(err, STATUS_FAILED, "%s: cannot write: %s", path, strerror(error));
    }
    *out = w;
    return STATUS_OK;
}

void writer_string(struct gguf_writer *w, const char *key, const char *value) {
    put_key(w, key, GGUF_TYPE_STRING);
    put_string(&w->keys, value);
}

void writer_u32(struct gguf_writer *w, const char *key, uint32_t value) {
    put_key(w, key, GGUF_TYPE_U32);
    put_u32(&w->keys, value);
}

void writer_i32s(struct gguf_writer *w, const char *key, const int32_t *values, size_t n) {
    put_key(w, key, GGUF_TYPE_ARRAY);
    put_u32(&w->keys, GGUF_TYPE_I32);
    put_u64(&w->keys, n);
    buf_append(&w->keys, values, n * sizeof *values);
}

static uint64_t pad(uint64_t size) {
    return (size + GGUF_ALIGNMENT_DEFAULT - 1) / GGUF_ALIGNMENT_DEFAULT * GGUF_ALIGNMENT_DEFAULT;
}

void writer_tensor(struct gguf_writer *w, const char *name, const uint64_t *dims, uint32_t n_dims) {
    uint64_t n = 1;
    put_string(&w->tensors, name);
    put_u32(&w->tensors, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        put_u64(&w->tensors, dims[i]);
        n *= dims[i];
    }
    put_u32(&w->tensors, DTYPE_F32);
    put_u64(&w->tensors, w->data_size);
    w->data_size = pad(w->data_size + n * sizeof(float));
    grow_array(&w->sizes, &w->cap_sizes, w->n_tensors + 1, sizeof *w->sizes);
    w->sizes[w->n_tensors++] = n;
}

static void write_bytes(struct gguf_writer *w, const void *bytes, size_t size) {
    if (!w->error && size && fwrite(bytes, 1, size, w->file) != size) w->error = errno ? errno : EIO;
}

static void write_padding(struct gguf_writer *w, uint64_t size) {
    static const char zeros[GGUF_ALIGNMENT_DEFAULT];
    write_bytes(w, zeros, (size_t)(pad(size) - size));
}

static void write_header(struct gguf_writer *w) {
    struct buf head = {0};
    buf_puts(&head, "GGUF");
    put_u32(&head, 3);
    put_u64(&head, w->n_tensors);
    put_u64(&head, w->n_keys);
    write_bytes(w, head.data, head.len);
    write_bytes(w, w->keys.data, w->keys.len);
    write_bytes(w, w->tensors.data, w->tensors.len);
    write_padding(w, head.len + w->keys.len + w->tensors.len);
    buf_free(&head);
    w->begun = true;
    w->left = w->n_tensors ? w->sizes[0] : 0;
}

void writer_values(struct gguf_writer *w, const float *values, size_t n) {
    if (!w->begun) write_header(w);
    while (n && w->at < w->n_tensors) {
        size_t now = n < w->left ? n : (size_t)w->left;
        write_bytes(w, values, now * sizeof *values);
        values += now;
        n -= now;
        w->left -= now;
        if (w->left) continue;
        write_padding(w, w->sizes[w->at] * sizeof *values);
        if (++w->at < w->n_tensors) w->left = w->sizes[w->at];
    }
    if (n && !w->error) w->error = EINVAL; /* more than was declared */
}

static void writer_free(struct gguf_writer *w) {
    buf_free(&w->keys);
    buf_free(&w->tensors);
    free(w->sizes);
    free(w->path);
    free(w->temporary);
    free(w);
}

int writer_end(struct gguf_writer *w, struct err *err) {
    if (!w->begun) write_header(w);
    if (!w->error && w->at < w->n_tensors) w->error = EINVAL; /* less than was declared */
    if (fclose(w->file) != 0 && !w->error) w->error = errno;
    w->file = NULL;
    if (!w->error && !w->in_place && rename(w->temporary, w->path) != 0) w->error = errno;
    int status = w->error ? err_set(err, STATUS_FAILED, "%s: cannot write: %s", w->path, strerror(w->error))
                          : STATUS_OK;
    if (status && !w->in_place) unlink(w->temporary);
    writer_free(w);
    return status;
}

void writer_abandon(struct gguf_writer *w) {
    if (!w) return;
    if (w->file) {
        fclose(w->file);
        if (!w->in_place) unlink(w->temporary);
    }
    writer_free(w);
}
