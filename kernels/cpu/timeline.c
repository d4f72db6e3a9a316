/* The ids and the KV cache of one sequence. */
#include "kernels/cpu/cpu.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A saved timeline: this, the ids, then for each layer and head the used part of its key and value planes. It can be
 * loaded into a backend with the same model and the same precision only. */
struct saved {
    char magic[8];
    uint64_t fingerprint, size;
    uint32_t n, element_size;
};
static const char saved_magic[8] = "ltop-kv1";

static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }
static size_t element_size(bool exact) { return exact ? sizeof(float) : sizeof(uint16_t); }

uint32_t value_stride(const struct model_view *model) { return (uint32_t)round_up(model->head_dim, VALUE_UNIT); }

uint64_t kv_bytes(const struct model_view *model, bool exact, uint32_t n_ctx) {
    uint64_t positions = ((uint64_t)n_ctx + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    uint64_t row = (uint64_t)(model->head_dim + value_stride(model)) * element_size(exact);
    return positions * row * model->n_layers * model->n_kv_heads; /* below 2^32 * 2^11 * 2^24 at worst */
}

int cpu_timeline_new(struct backend *backend, uint32_t n_ctx, struct timeline **out, struct err *err) {
    const struct model_view *model = backend->model;
    if (!n_ctx) return err_set(err, STATUS_USAGE, "a context of 0 tokens");
    struct timeline *timeline = xcalloc(1, sizeof *timeline);
    size_t positions = round_up(n_ctx, ATTENTION_TILE), element = element_size(backend->exact);
    *timeline = (struct timeline){.backend = backend, .n_ctx = n_ctx, .value_stride = value_stride(model)};
    timeline->key_plane = positions * model->head_dim * element;
    timeline->value_plane = positions * timeline->value_stride * element;
    timeline->cache_size = kv_bytes(model, backend->exact, n_ctx);
    uint64_t available = memory_available();
    if (timeline->cache_size > available) {
        free(timeline);
        return err_set(err, STATUS_MEMORY, "the KV cache of %u tokens needs %.1f MiB, %.1f MiB are free", n_ctx,
                       (double)kv_bytes(model, backend->exact, n_ctx) / 1048576, (double)available / 1048576);
    }
    timeline->ids = malloc(n_ctx * sizeof *timeline->ids);
    /* pages come as the sequence grows */
    timeline->cache = mmap(NULL, timeline->cache_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (timeline->cache == MAP_FAILED) timeline->cache = NULL;
    int status = STATUS_OK;
    if (!timeline->cache || !timeline->ids)
        status = err_set(err, STATUS_MEMORY, "no memory for the KV cache of %u tokens: %.1f MiB", n_ctx,
                         (double)timeline->cache_size / 1048576);
    if (!status) status = work_reserve(backend, CHUNK, n_ctx, err);
    if (status) {
        cpu_timeline_free(timeline);
        return status;
    }
    *out = timeline;
    return STATUS_OK;
}

void cpu_timeline_free(struct timeline *timeline) {
    if (!timeline) return;
    if (timeline->cache) munmap(timeline->cache, timeline->cache_size);
    free(timeline->ids);
    free(timeline);
}

uint32_t cpu_timeline_length(const struct timeline *timeline) { return timeline->length; }

const int32_t *cpu_timeline_ids(const struct timeline *timeline) { return timeline->ids; }

void cpu_timeline_truncate(struct timeline *timeline, uint32_t n) {
    if (n < timeline->length) timeline->length = n;
}

void *key_plane(const struct timeline *timeline, uint32_t layer, uint32_t head) {
    size_t plane = (size_t)layer * timeline->backend->model->n_kv_heads + head;
    return timeline->cache + plane * (timeline->key_plane + timeline->value_plane);
}

void *value_plane(const struct timeline *timeline, uint32_t layer, uint32_t head) {
    return (char *)key_plane(timeline, layer, head) + timeline->key_plane;
}

void timeline_put(struct timeline *timeline, uint32_t layer, uint32_t position, const float *k, const float *v) {
    const struct model_view *model = timeline->backend->model;
    uint32_t dim = model->head_dim;
    size_t key_at = (size_t)(position / KEY_BLOCK) * KEY_BLOCK * dim + position % KEY_BLOCK;
    size_t value_at = (size_t)position * timeline->value_stride;
    for (uint32_t head = 0; head < model->n_kv_heads; head++, k += dim, v += dim) {
        if (timeline->backend->exact) {
            float *keys = (float *)key_plane(timeline, layer, head) + key_at;
            for (uint32_t d = 0; d < dim; d++) keys[(size_t)d * KEY_BLOCK] = k[d];
            memcpy((float *)value_plane(timeline, layer, head) + value_at, v, dim * sizeof *v);
        } else {
            uint16_t halves[HEAD_DIM_MAX], *keys = (uint16_t *)key_plane(timeline, layer, head) + key_at;
            timeline->backend->ops->to_half(k, halves, dim);
            for (uint32_t d = 0; d < dim; d++) keys[(size_t)d * KEY_BLOCK] = halves[d];
            timeline->backend->ops->to_half(v, (uint16_t *)value_plane(timeline, layer, head) + value_at, dim);
        }
    }
}

/* ---- whole prefixes ---- */

/* Bytes of the first n positions in a key plane (whole blocks) and in a value plane. */
static size_t keys_used(const struct timeline *timeline, uint32_t n) {
    return round_up(n, KEY_BLOCK) * timeline->backend->model->head_dim * element_size(timeline->backend->exact);
}

static size_t values_used(const struct timeline *timeline, uint32_t n) {
    return (size_t)n * timeline->value_stride * element_size(timeline->backend->exact);
}

int cpu_timeline_copy(struct timeline *to, const struct timeline *from, uint32_t n, struct err *err) {
    if (to->backend != from->backend) return err_set(err, STATUS_USAGE, "a timeline of another backend cannot be copied");
    if (n > from->length) return err_set(err, STATUS_USAGE, "%u positions to copy, the timeline has %u", n, from->length);
    if (n > to->n_ctx)
        return err_set(err, STATUS_CONTEXT_FULL, "%u positions to copy do not fit a context of %u", n, to->n_ctx);
    const struct model_view *model = to->backend->model;
    for (uint32_t layer = 0; layer < model->n_layers; layer++)
        for (uint32_t head = 0; head < model->n_kv_heads; head++) {
            memmove(key_plane(to, layer, head), key_plane(from, layer, head), keys_used(from, n));
            memmove(value_plane(to, layer, head), value_plane(from, layer, head), values_used(from, n));
        }
    memmove(to->ids, from->ids, n * sizeof *to->ids);
    to->length = n;
    return STATUS_OK;
}

size_t cpu_timeline_size(const struct timeline *timeline, uint32_t n) {
    const struct model_view *model = timeline->backend->model;
    size_t planes = (size_t)model->n_layers * model->n_kv_heads;
    return sizeof(struct saved) + n * sizeof *timeline->ids + planes * (keys_used(timeline, n) + values_used(timeline, n));
}

int cpu_timeline_save(const struct timeline *timeline, uint32_t n, void *to, struct err *err) {
    if (n > timeline->length)
        return err_set(err, STATUS_USAGE, "%u positions to save, the timeline has %u", n, timeline->length);
    const struct model_view *model = timeline->backend->model;
    struct saved saved = {.fingerprint = timeline->backend->fingerprint, .size = cpu_timeline_size(timeline, n), .n = n,
                          .element_size = (uint32_t)element_size(timeline->backend->exact)};
    memcpy(saved.magic, saved_magic, sizeof saved.magic);
    char *out = to;
    memcpy(out, &saved, sizeof saved);
    out += sizeof saved;
    memcpy(out, timeline->ids, n * sizeof *timeline->ids);
    out += n * sizeof *timeline->ids;
    size_t keys = keys_used(timeline, n), values = values_used(timeline, n);
    for (uint32_t layer = 0; layer < model->n_layers; layer++)
        for (uint32_t head = 0; head < model->n_kv_heads; head++, out += keys + values) {
            memcpy(out, key_plane(timeline, layer, head), keys);
            memcpy(out + keys, value_plane(timeline, layer, head), values);
        }
    return STATUS_OK;
}

static int check_saved(const struct timeline *timeline, const struct saved *saved, size_t size, struct err *err) {
    if (size < sizeof *saved || memcmp(saved->magic, saved_magic, sizeof saved->magic) != 0)
        return err_set(err, STATUS_FAILED, "saved timeline: found %zu bytes without the right beginning", size);
    if (saved->fingerprint != timeline->backend->fingerprint)
        return err_set(err, STATUS_FAILED, "saved timeline: it belongs to another model");
    if (saved->element_size != element_size(timeline->backend->exact))
        return err_set(err, STATUS_FAILED, "saved timeline: found %u-byte elements, expected %zu", saved->element_size,
                       element_size(timeline->backend->exact));
    if (saved->n > timeline->n_ctx)
        return err_set(err, STATUS_CONTEXT_FULL, "saved timeline: found %u positions, the context is %u", saved->n,
                       timeline->n_ctx);
    if (saved->size != size || size != cpu_timeline_size(timeline, saved->n))
        return err_set(err, STATUS_FAILED, "saved timeline: found %zu bytes, expected %zu", size,
                       cpu_timeline_size(timeline, saved->n));
    return STATUS_OK;
}

int cpu_timeline_load(struct timeline *timeline, const void *from, size_t size, struct err *err) {
    const struct model_view *model = timeline->backend->model;
    struct saved saved = {.n = 0};
    memcpy(&saved, from, size < sizeof saved ? size : sizeof saved);
    int status = check_saved(timeline, &saved, size, err);
    if (status) return status;
    const char *in = (const char *)from + sizeof saved;
    for (uint32_t i = 0; i < saved.n; i++) {
        int32_t id;
        memcpy(&id, in + i * sizeof id, sizeof id);
        if (id < 0 || (uint32_t)id >= model->n_vocab)
            return err_set(err, STATUS_FAILED, "saved timeline: found id %d, expected one below %u", id, model->n_vocab);
    }
    memcpy(timeline->ids, in, saved.n * sizeof *timeline->ids);
    in += saved.n * sizeof *timeline->ids;
    size_t keys = keys_used(timeline, saved.n), values = values_used(timeline, saved.n);
    for (uint32_t layer = 0; layer < model->n_layers; layer++)
        for (uint32_t head = 0; head < model->n_kv_heads; head++, in += keys + values) {
            memcpy(key_plane(timeline, layer, head), in, keys);
            memcpy(value_plane(timeline, layer, head), in + keys, values);
        }
    timeline->length = saved.n;
    return STATUS_OK;
}
