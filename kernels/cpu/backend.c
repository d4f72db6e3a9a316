/* The CPU behind kernels/backend.h: what can be run, what it takes, loading. */
#include "kernels/cpu/cpu.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/strmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VOCABULARY_MAX = 1 << 18,  /* sampling's weights add up to 64 bits (kernels/sampling_math.h) */
    PACK_BYTES = 1 << 20,      /* of a matrix, at a time */
    READ_BYTES = 1 << 20,
    READ_NS = 200 * 1000 * 1000,
};

/* ---- every weight and its place ---- */

/* One weight of the model, the shape it must have, and where it goes: a matrix, or a vector of F32. */
struct slot {
    const struct weight *weight;
    struct matrix *matrix;
    const float **vector;
    uint64_t rows, cols;
};

enum { SLOTS_A_LAYER = 14, SLOTS_MORE = 3 };

static void list_layer(const struct model_view *model, const struct layer_view *view, struct layer *layer, struct slot *slots) {
    uint64_t embd = model->n_embd, ff = model->n_ff, dim = model->head_dim;
    uint64_t q = model->n_heads * dim, kv = model->n_kv_heads * dim;
    struct slot list[SLOTS_A_LAYER] = {
        {view->attn_norm, NULL, &layer->attn_norm, 0, embd},
        {view->attn_q, &layer->attn_q, NULL, q, embd},
        {view->attn_k, &layer->attn_k, NULL, kv, embd},
        {view->attn_v, &layer->attn_v, NULL, kv, embd},
        {view->attn_q_bias, NULL, &layer->attn_q_bias, 0, q},
        {view->attn_k_bias, NULL, &layer->attn_k_bias, 0, kv},
        {view->attn_v_bias, NULL, &layer->attn_v_bias, 0, kv},
        {view->attn_q_norm, NULL, &layer->attn_q_norm, 0, dim},
        {view->attn_k_norm, NULL, &layer->attn_k_norm, 0, dim},
        {view->attn_output, &layer->attn_output, NULL, embd, q},
        {view->ffn_norm, NULL, &layer->ffn_norm, 0, embd},
        {view->ffn_gate, &layer->ffn_gate, NULL, ff, embd},
        {view->ffn_up, &layer->ffn_up, NULL, ff, embd},
        {view->ffn_down, &layer->ffn_down, NULL, embd, ff},
    };
    memcpy(slots, list, sizeof list);
}

/* All weights in the order in which a step reads them; *n of them. A tied output is the embedding: it has no slot. */
static struct slot *list_weights(struct backend *backend, size_t *n) {
    const struct model_view *model = backend->model;
    struct slot *slots = xcalloc((size_t)model->n_layers * SLOTS_A_LAYER + SLOTS_MORE, sizeof *slots);
    size_t count = 0;
    for (uint32_t i = 0; i < model->n_layers; i++, count += SLOTS_A_LAYER)
        list_layer(model, &model->layers[i], &backend->layers[i], slots + count);
    slots[count++] = (struct slot){model->output_norm, NULL, &backend->output_norm, 0, model->n_embd};
    slots[count++] = (struct slot){model->token_embd, &backend->token_embd, NULL, model->n_rows, model->n_embd};
    if (model->output != model->token_embd)
        slots[count++] = (struct slot){model->output, &backend->separate_output, NULL, model->n_rows, model->n_embd};
    *n = 0;
    for (size_t i = 0; i < count; i++)
        if (slots[i].weight) slots[(*n)++] = slots[i];
    return slots;
}

static int check_model(const struct model_view *model, struct err *err) {
    if (!model->head_dim || model->head_dim % 2 || model->head_dim > HEAD_DIM_MAX)
        return err_set(err, STATUS_UNSUPPORTED, "heads of %u elements: expected an even number up to %d", model->head_dim,
                       HEAD_DIM_MAX);
    if (!model->n_kv_heads || model->n_heads % model->n_kv_heads)
        return err_set(err, STATUS_UNSUPPORTED, "%u query heads on %u key heads: expected a multiple", model->n_heads,
                       model->n_kv_heads);
    if (model->rope_dim % 2 || model->rope_dim > model->head_dim)
        return err_set(err, STATUS_UNSUPPORTED, "%u rotated elements a head: expected an even number up to %u", model->rope_dim,
                       model->head_dim);
    if (!model->n_vocab || model->n_vocab > VOCABULARY_MAX || model->n_vocab > model->n_rows)
        return err_set(err, STATUS_UNSUPPORTED, "a vocabulary of %u and %u output rows: expected at most %d, and no fewer rows",
                       model->n_vocab, model->n_rows, VOCABULARY_MAX);
    return STATUS_OK;
}

/* Give a weight its place at *at, or refuse it. Before the backend has memory it only checks and counts. */
static int place(struct backend *backend, const struct slot *slot, uint64_t *at, uint64_t *vectors_at, struct err *err) {
    const struct weight *weight = slot->weight;
    const struct dtype_info *info = dtype_info((uint32_t)weight->type);
    if (weight->rows != slot->rows || weight->cols != slot->cols)
        return err_set(err, STATUS_UNSUPPORTED, "%s: found %llu x %llu, expected %llu x %llu", weight->name,
                       (unsigned long long)weight->rows, (unsigned long long)weight->cols, (unsigned long long)slot->rows,
                       (unsigned long long)slot->cols);
    if (!info || !info->computable || weight->cols % info->block)
        return err_set(err, STATUS_UNSUPPORTED, "%s: rows of %llu elements of type %s cannot be computed with", weight->name,
                       (unsigned long long)weight->cols, info ? info->name : "unknown");
    if (slot->vector) {
        if (backend->vectors) {
            float *to = backend->vectors + *vectors_at;
            if (!dtype_to_f32(weight->type, weight->data, to, weight->cols))
                return err_set(err, STATUS_UNSUPPORTED, "%s: type %s cannot be read", weight->name, info->name);
            *slot->vector = to;
        }
        *vectors_at += (weight->cols + 15) / 16 * 16;
        return STATUS_OK;
    }
    size_t size = matrix_size(weight);
    if (!size || size > (SIZE_MAX >> 1) - *at) return err_set(err, STATUS_MEMORY, "%s: too large", weight->name);
    void *memory = backend->weights ? backend->weights + *at : NULL;
    *at += size;
    return matrix_init(slot->matrix, weight, backend->exact, backend->isa, memory, err);
}

/* ---- before opening ---- */

static int cpu_probe(const struct backend_options *options, struct err *err) {
    enum isa isa;
    return isa_from_name(options->isa, &isa, err);
}

static uint64_t cpu_memory_free(const struct backend_options *options) {
    (void)options;
    return memory_available();
}

/* What a backend is before it has memory. */
static int describe(struct backend *backend, const struct model_view *model, const struct backend_options *options,
                    struct err *err) {
    *backend = (struct backend){.model = model, .exact = options->exact};
    backend->n_threads = options->n_threads ? options->n_threads : cores_available();
    if (backend->n_threads > POOL_THREADS_MAX) backend->n_threads = POOL_THREADS_MAX;
    int status = isa_from_name(options->isa, &backend->isa, err);
    if (!status) status = check_model(model, err);
    if (status) return status;
    backend->ops = options->exact ? &vector_ops_exact : vector_ops_for(backend->isa);
    backend->layers = xcalloc(model->n_layers, sizeof *backend->layers);
    backend->output = model->output == model->token_embd ? &backend->token_embd : &backend->separate_output;
    return STATUS_OK;
}

/* Place all weights; sizes go to backend->weights_size and vectors_size. */
static int place_all(struct backend *backend, const struct slot *slots, size_t n, struct err *err) {
    uint64_t at = 0, vectors_at = 0;
    for (size_t i = 0; i < n; i++) {
        int status = place(backend, &slots[i], &at, &vectors_at, err);
        if (status) return status;
    }
    backend->weights_size = at;
    backend->vectors_size = vectors_at * sizeof(float);
    return STATUS_OK;
}

/* In whole tiles of attention. The cache and the work both grow with it. */
static uint32_t largest_context(const struct backend *backend, bool exact, uint64_t weights, uint64_t available) {
    uint64_t fits = 0, fails = UINT32_MAX / ATTENTION_TILE + 1; /* tiles */
    while (fails - fits > 1) {
        uint64_t tiles = (fits + fails) / 2;
        uint32_t n_ctx = (uint32_t)(tiles * ATTENTION_TILE);
        uint64_t need = weights + kv_bytes(backend->model, exact, n_ctx) + work_bytes(backend, CHUNK, n_ctx);
        *(need <= available ? &fits : &fails) = tiles;
    }
    return (uint32_t)(fits * ATTENTION_TILE);
}

static int cpu_estimate(const struct model_view *model, const struct backend_options *options, struct memory_estimate *out,
                        struct err *err) {
    struct backend backend;
    int status = describe(&backend, model, options, err);
    if (status) return status;
    size_t n;
    struct slot *slots = list_weights(&backend, &n);
    status = place_all(&backend, slots, n, err);
    free(slots);
    if (!status) {
        uint32_t n_ctx = options->n_ctx ? options->n_ctx : 1;
        *out = (struct memory_estimate){
            .weights = backend.weights_size + backend.vectors_size,
            .kv = kv_bytes(model, options->exact, n_ctx),
            .work = work_bytes(&backend, CHUNK, n_ctx),
            .available = memory_available(),
        };
        out->total = out->weights + out->kv + out->work;
        out->largest_ctx = largest_context(&backend, options->exact, out->weights, out->available);
    }
    free(backend.layers);
    return status;
}

/* ---- opening ---- */

/* Tells models apart whose shapes are the same by the beginnings of their weights. */
static uint64_t fingerprint(const struct model_view *model, const struct slot *slots, size_t n) {
    uint32_t shape[] = {model->n_layers, model->n_embd, model->n_ff, model->n_heads, model->n_kv_heads, model->head_dim,
                        model->n_vocab, model->rope_dim, (uint32_t)model->rope_pairing};
    uint64_t hash = hash_bytes(shape, sizeof shape, 0);
    hash = hash_bytes(model->rope_freq, model->rope_dim / 2 * sizeof *model->rope_freq, hash);
    for (size_t i = 0; i < n; i++) {
        const struct weight *weight = slots[i].weight;
        hash = hash_bytes(weight->name, strlen(weight->name), hash + (uint64_t)weight->type);
        hash = hash_bytes(weight->data, weight->size < 256 ? weight->size : 256, hash);
    }
    return hash;
}

static void pack_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct matrix *m = ctx;
    uint64_t last = (uint64_t)end * MATRIX_ROWS;
    (void)thread;
    matrix_pack(m, (uint64_t)begin * MATRIX_ROWS, last < m->rows ? last : m->rows);
}

static int pack_all(struct backend *backend, const struct slot *slots, size_t n, progress_fn progress, void *ctx,
                    struct err *err) {
    uint64_t done = 0;
    for (size_t i = 0; i < n; i++) {
        const struct matrix *m = slots[i].matrix;
        if (!m) continue;
        if (progress && progress(ctx, done, backend->weights_size)) return err_set(err, STATUS_STOPPED, "loading was stopped");
        uint32_t groups = (uint32_t)((m->rows + MATRIX_ROWS - 1) / MATRIX_ROWS);
        pool_for(backend->pool, groups, (uint32_t)(PACK_BYTES / m->group_size) + 1, pack_items, (void *)m);
        done += matrix_size(slots[i].weight);
    }
    if (progress && progress(ctx, done, backend->weights_size)) return err_set(err, STATUS_STOPPED, "loading was stopped");
    return STATUS_OK;
}

static void cpu_close(struct backend *backend) {
    if (!backend) return;
    for (uint32_t i = 0; backend->scratch && i < backend->n_threads; i++) sample_scratch_free(backend->scratch[i]);
    free(backend->scratch);
    work_free(backend);
    if (backend->weights) weights_free(backend->weights, backend->weights_size);
    free(backend->vectors);
    free(backend->layers);
    pool_free(backend->pool);
    free(backend);
}

static int check_memory(const struct backend *backend, struct err *err) {
    uint64_t needed = backend->weights_size + backend->vectors_size + work_bytes(backend, CHUNK, 1);
    uint64_t available = memory_available();
    if (needed <= available) return STATUS_OK;
    return err_set(err, STATUS_MEMORY, "the weights and one step need %.1f MiB, %.1f MiB are free", (double)needed / 1048576,
                   (double)available / 1048576);
}

static int load(struct backend *backend, const struct slot *slots, size_t n, progress_fn progress, void *ctx, struct err *err) {
    int status = place_all(backend, slots, n, err); /* checks and counts */
    if (!status) status = check_memory(backend, err);
    if (!status) status = pool_new(backend->n_threads, &backend->pool, err);
    if (status) return status;
    backend->fingerprint = fingerprint(backend->model, slots, n);
    backend->weights = weights_alloc(backend->weights_size);
    backend->vectors = aligned_alloc(64, (backend->vectors_size + 63) / 64 * 64 + 64);
    if (!backend->weights || !backend->vectors)
        return err_set(err, STATUS_MEMORY, "no memory for the weights: %.1f MiB", (double)backend->weights_size / 1048576);
    status = place_all(backend, slots, n, err);
    if (!status) status = pack_all(backend, slots, n, progress, ctx, err);
    if (!status) status = work_reserve(backend, CHUNK, 1, err);
    if (status) return status;
    backend->scratch = xcalloc(backend->n_threads, sizeof *backend->scratch);
    for (uint32_t i = 0; i < backend->n_threads; i++) backend->scratch[i] = sample_scratch_new(backend->model->n_vocab);
    return STATUS_OK;
}

static int cpu_open(const struct model_view *model, const struct backend_options *options, progress_fn progress, void *ctx,
                    struct backend **out, struct err *err) {
    struct backend *backend = xmalloc(sizeof *backend);
    int status = describe(backend, model, options, err);
    if (status) {
        free(backend);
        return status;
    }
    size_t n;
    struct slot *slots = list_weights(backend, &n);
    status = load(backend, slots, n, progress, ctx, err);
    free(slots);
    if (status) {
        cpu_close(backend);
        return status;
    }
    *out = backend;
    return STATUS_OK;
}

/* ---- open ---- */

static void cpu_name(char *out, size_t size) {
    snprintf(out, size, "CPU");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) return;
    char line[256], name[64];
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "model name : %63[^\n]", name) == 1) {
            snprintf(out, size, "%s", name);
            break;
        }
    fclose(file);
}

static void cpu_info(struct backend *backend, struct backend_info *out) {
    *out = (struct backend_info){.memory_used = memory_resident(), .memory_total = memory_total()};
    char name[64];
    cpu_name(name, sizeof name);
    snprintf(out->device, sizeof out->device, "%s, %u thread%s, %s", name, backend->n_threads, backend->n_threads == 1 ? "" : "s",
             isa_name(backend->isa));
    const struct model_view *model = backend->model;
    uint64_t all = backend->weights_size, embedding = matrix_size(model->token_embd);
    uint64_t padding = (model->n_rows - model->n_vocab) / MATRIX_ROWS * backend->output->group_size; /* never computed */
    out->bytes_per_token = all + backend->vectors_size - padding - (model->output == model->token_embd ? 0 : embedding);
    out->kv_bytes_per_token = kv_bytes(model, backend->exact, ATTENTION_TILE) / ATTENTION_TILE;
}

struct read_job {
    const struct backend *backend;
    atomic_ullong sum; /* so that the compiler cannot leave the loop out */
};

static void read_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    struct read_job *job = ctx;
    (void)thread;
    size_t from = (size_t)begin * READ_BYTES, to = (size_t)end * READ_BYTES;
    if (to > job->backend->weights_size) to = job->backend->weights_size;
    const uint64_t *words = (const uint64_t *)(const void *)(job->backend->weights + from);
    uint64_t sums[8] = {0};
    for (size_t i = 0; i + 8 <= (to - from) / sizeof *words; i += 8)
        for (int j = 0; j < 8; j++) sums[j] += words[i + (size_t)j];
    for (int j = 1; j < 8; j++) sums[0] += sums[j];
    atomic_fetch_add_explicit(&job->sum, sums[0], memory_order_relaxed);
}

static double cpu_read_bandwidth(struct backend *backend) {
    struct read_job job = {.backend = backend};
    uint32_t items = (uint32_t)((backend->weights_size + READ_BYTES - 1) / READ_BYTES);
    pool_for(backend->pool, items, 1, read_items, &job); /* wakes the threads */
    int64_t start = clock_ns(), spent;
    double bytes = 0;
    do {
        pool_for(backend->pool, items, 1, read_items, &job);
        bytes += (double)backend->weights_size;
        spent = clock_ns() - start;
    } while (spent < READ_NS);
    return bytes * 1e9 / (double)spent;
}

const struct backend_ops backend_cpu = {
    .name = "cpu",
    .probe = cpu_probe,
    .memory_free = cpu_memory_free,
    .estimate = cpu_estimate,
    .open = cpu_open,
    .close = cpu_close,
    .info = cpu_info,
    .read_bandwidth = cpu_read_bandwidth,
    .timeline_new = cpu_timeline_new,
    .timeline_free = cpu_timeline_free,
    .timeline_length = cpu_timeline_length,
    .timeline_ids = cpu_timeline_ids,
    .timeline_truncate = cpu_timeline_truncate,
    .timeline_copy = cpu_timeline_copy,
    .timeline_size = cpu_timeline_size,
    .timeline_save = cpu_timeline_save,
    .timeline_load = cpu_timeline_load,
    .step = cpu_step,
    .decode_begin = cpu_decode_begin,
    .decode_next = cpu_decode_next,
    .decode_end = cpu_decode_end,
};
