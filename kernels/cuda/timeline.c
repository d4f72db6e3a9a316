/* A timeline on the device: ids on the host, keys and values of every layer in one allocation,
 * [layer][keys, values][n_kv_heads][n_ctx][head_dim], so that a head's positions lie together. */
#include "kernels/cuda/device.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

size_t cache_element(const struct backend *backend) { return backend->exact ? sizeof(float) : 2; }

/* Bytes of the keys (or the values) of one layer for n positions. */
static size_t side_size(const struct backend *b, uint32_t n) {
    return (size_t)b->model->n_kv_heads * n * b->model->head_dim * cache_element(b);
}

struct cache_layer timeline_layer(const struct timeline *t, uint32_t layer) {
    size_t side = side_size(t->backend, t->n_ctx);
    char *at = (char *)t->cache + 2 * side * layer;
    return (struct cache_layer){.k = at, .v = at + side, .n_ctx = t->n_ctx, .wide = t->backend->exact};
}

int cuda_timeline_new(struct backend *backend, uint32_t n_ctx, struct timeline **out, struct err *err) {
    size_t size = 2 * side_size(backend, n_ctx) * backend->model->n_layers, free_now = 0, total = 0;
    void *cache = NULL, *device_ids = NULL;
    CUDA_TRY(cudaSetDevice(backend->device));
    CUDA_TRY(cudaMemGetInfo(&free_now, &total));
    cudaError_t code = cudaMalloc(&cache, size);
    if (code == cudaSuccess) code = cudaMalloc(&device_ids, (n_ctx + 1) * sizeof(int32_t));
    if (code != cudaSuccess) {
        cudaFree(cache);
        if (code != cudaErrorMemoryAllocation) return cuda_failed(err, code, "making a KV cache");
        cudaGetLastError();
        return err_set(err, STATUS_MEMORY, "KV cache for %u positions needs %.1f GiB on the GPU, %.1f GiB are free", n_ctx,
                       (double)size / (1u << 30), (double)free_now / (1u << 30));
    }
    struct timeline *t = xcalloc(1, sizeof *t);
    t->backend = backend;
    t->n_ctx = n_ctx;
    t->cache = cache;
    t->ids = xcalloc(n_ctx + 1, sizeof *t->ids);
    t->device_ids = device_ids;
    int status = decode_prepare(t, err);
    if (status == STATUS_OK) *out = t;
    else cuda_timeline_free(t);
    return status;
}

void cuda_timeline_free(struct timeline *t) {
    if (!t) return;
    cudaSetDevice(t->backend->device); /* a thread that never did would bring up the first card for this */
    for (int i = 0; i < 2; i++)
        if (t->graphs[i]) cudaGraphExecDestroy(t->graphs[i]);
    cudaFree(t->device_ids);
    cudaFree(t->cache);
    free(t->ids);
    free(t);
}

uint32_t cuda_timeline_length(const struct timeline *t) { return t->length; }
const int32_t *cuda_timeline_ids(const struct timeline *t) { return t->ids; }
void cuda_timeline_truncate(struct timeline *t, uint32_t n) {
    if (n < t->length) t->length = n;
}

/* Every head of every layer, both sides: `rows` runs of n positions at a pitch of n_ctx positions. */
static size_t row_count(const struct backend *b) { return (size_t)b->model->n_layers * 2 * b->model->n_kv_heads; }
static size_t pitch(const struct timeline *t, uint32_t n) { return (size_t)n * t->backend->model->head_dim * cache_element(t->backend); }

int cuda_timeline_copy(struct timeline *to, const struct timeline *from, uint32_t n, struct err *err) {
    if (n > from->length || n > to->n_ctx || to->backend != from->backend)
        return err_set(err, STATUS_FAILED, "copying %u positions: the source has %u, the target room for %u", n, from->length, to->n_ctx);
    CUDA_TRY(cudaMemcpy2D(to->cache, pitch(to, to->n_ctx), from->cache, pitch(from, from->n_ctx), pitch(from, n),
                          row_count(from->backend), cudaMemcpyDeviceToDevice));
    memcpy(to->ids, from->ids, n * sizeof *to->ids);
    to->length = n;
    return STATUS_OK;
}

/* What a saved timeline begins with; anything else belongs to another model or version. */
struct saved {
    char magic[8];
    uint32_t n, n_layers, n_kv_heads, head_dim, element, n_vocab;
};

static struct saved saved_header(const struct timeline *t, uint32_t n) {
    const struct model_view *m = t->backend->model;
    struct saved s = {.n = n, .n_layers = m->n_layers, .n_kv_heads = m->n_kv_heads, .head_dim = m->head_dim,
                      .element = (uint32_t)cache_element(t->backend), .n_vocab = m->n_vocab};
    memcpy(s.magic, "lgtpkv1", 8);
    return s;
}

size_t cuda_timeline_size(const struct timeline *t, uint32_t n) {
    return sizeof(struct saved) + n * sizeof(int32_t) + row_count(t->backend) * pitch(t, n);
}

int cuda_timeline_save(const struct timeline *t, uint32_t n, void *to, struct err *err) {
    if (n > t->length) return err_set(err, STATUS_FAILED, "saving %u positions: there are %u", n, t->length);
    struct saved header = saved_header(t, n);
    char *at = to;
    memcpy(at, &header, sizeof header);
    memcpy(at + sizeof header, t->ids, n * sizeof *t->ids);
    CUDA_TRY(cudaMemcpy2D(at + sizeof header + n * sizeof *t->ids, pitch(t, n), t->cache, pitch(t, t->n_ctx), pitch(t, n),
                          row_count(t->backend), cudaMemcpyDeviceToHost));
    return STATUS_OK;
}

int cuda_timeline_load(struct timeline *t, const void *from, size_t size, struct err *err) {
    struct saved header;
    if (size < sizeof header) return err_set(err, STATUS_MODEL, "saved KV cache: found %zu bytes, expected at least %zu", size, sizeof header);
    memcpy(&header, from, sizeof header);
    struct saved expected = saved_header(t, header.n);
    if (memcmp(&header, &expected, sizeof header) || header.n > t->n_ctx || size != cuda_timeline_size(t, header.n))
        return err_set(err, STATUS_MODEL, "saved KV cache: made for another model, another version or a longer context");
    const char *at = (const char *)from + sizeof header;
    for (uint32_t i = 0; i < header.n; i++) {
        int32_t id;
        memcpy(&id, at + i * sizeof id, sizeof id);
        if (id < 0 || (uint32_t)id >= header.n_vocab)
            return err_set(err, STATUS_MODEL, "saved KV cache: found id %d at position %u, expected 0..%u", id, i, header.n_vocab - 1);
    }
    t->length = 0;
    CUDA_TRY(cudaMemcpy2D(t->cache, pitch(t, t->n_ctx), at + header.n * sizeof *t->ids, pitch(t, header.n), pitch(t, header.n),
                          row_count(t->backend), cudaMemcpyHostToDevice));
    memcpy(t->ids, at, header.n * sizeof *t->ids);
    t->length = header.n;
    return STATUS_OK;
}
