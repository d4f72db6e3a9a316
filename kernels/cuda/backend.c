/* The CUDA backend: one device, one model. */
#include "kernels/cuda/device.h"

#include "base/mem.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuda_failed(struct err *err, cudaError_t code, const char *what) {
    cudaGetLastError();
    int name = (int)strcspn(what, "("); /* of a call, its name alone */
    if (code == cudaErrorMemoryAllocation) return err_set(err, STATUS_MEMORY, "the GPU has no memory left for %.*s", name, what);
    return err_set(err, STATUS_DEVICE, "the GPU failed in %.*s: %s", name, what, cudaGetErrorString(code));
}

/* "CUDA driver version is insufficient for CUDA runtime version" would be the library's word for a machine without a driver, too. */
static int driver_too_old(struct err *err) {
    int driver = 0, needed = CUDART_VERSION;
    cudaDriverGetVersion(&driver);
    if (!driver) return err_set(err, STATUS_DEVICE, "no CUDA device: there is no NVIDIA driver");
    return err_set(err, STATUS_DEVICE, "no CUDA device: found a driver for CUDA %d.%d, expected %d.%d", driver / 1000, driver % 1000 / 10,
                   needed / 1000, needed % 1000 / 10);
}

static int cuda_probe(const struct backend_options *options, struct err *err) {
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess) {
        cudaGetLastError();
        if (code == cudaErrorInsufficientDriver) return driver_too_old(err);
        return err_set(err, STATUS_DEVICE, "no CUDA device: %s", cudaGetErrorString(code));
    }
    if (options->device < 0 || options->device >= count)
        return err_set(err, STATUS_DEVICE, "CUDA device %d: found %d device%s, numbered from 0", options->device, count, count == 1 ? "" : "s");
    return STATUS_OK;
}

/* The context of the device, and beside it the library of products. */
static void cuda_wake(const struct backend_options *options) {
    pthread_t library;
    const bool reads = thread_start(&library, blas_wake, NULL) == 0;
    if (cudaSetDevice(options->device) != cudaSuccess || cudaFree(NULL) != cudaSuccess) cudaGetLastError();
    if (reads) pthread_join(library, NULL);
}

/* ---- memory ---- */

static size_t aligned(size_t size) { return (size + 255) / 256 * 256; }

/* The work space of a step: a piece for each array, in the order of struct backend. With `base` NULL only the size counts. */
static size_t lay_out_work(struct backend *b, const struct model_view *m, size_t chunk, char *base) {
    size_t at = 0, q_dim = (size_t)m->n_heads * m->head_dim, kv_dim = (size_t)m->n_kv_heads * m->head_dim;
    size_t widest = m->n_ff > m->n_embd ? m->n_ff : m->n_embd;
    if (q_dim > widest) widest = q_dim;
    size_t wide = widest + 32, q_k_v = q_dim + 2 * kv_dim;
#define PIECE(field, bytes)                                                                                  \
    do {                                                                                                     \
        if (base) b->field = (void *)(base + at);                                                            \
        at += aligned(bytes);                                                                                \
    } while (0)
    PIECE(ids, chunk * sizeof(int32_t));
    PIECE(x, chunk * m->n_embd * sizeof(float));
    PIECE(normed, chunk * m->n_embd * sizeof(float));
    PIECE(q, chunk * q_dim * sizeof(float));
    PIECE(k, chunk * kv_dim * sizeof(float));
    PIECE(v, chunk * kv_dim * sizeof(float));
    PIECE(attn, chunk * q_dim * sizeof(float));
    /* Gate and up; also the sums of any other product of a fused step, and q and k before their rotation, in traces. */
    PIECE(gate, chunk * (q_k_v > 2 * wide ? q_k_v : 2 * wide) * sizeof(float));
    if (base) b->up = b->gate + chunk * wide;
    PIECE(h, chunk * wide * sizeof(float)); /* results of cuBLASLt in traces, the hidden vectors of small products */
    PIECE(row_scale, chunk * sizeof(float));
    PIECE(logits, m->n_rows * sizeof(float));
    PIECE(narrow, chunk * wide * 2);
#undef PIECE
    return at;
}

/* The largest matrix of a layer in 16 bits: where there is no room for copies of all. */
static size_t scratch16_size(const struct model_view *m) {
    size_t widest = 0;
    for (uint32_t i = 0; i < m->n_layers; i++) {
        const struct layer_view *l = &m->layers[i];
        const struct weight *w[] = {l->attn_q, l->attn_k, l->attn_v, l->attn_output, l->ffn_gate, l->ffn_up, l->ffn_down};
        for (size_t j = 0; j < sizeof w / sizeof *w; j++) {
            size_t size = (size_t)w[j]->rows * ((w[j]->cols + 31) / 32 * 32) * 2;
            if (size > widest) widest = size;
        }
    }
    return widest;
}

static uint64_t cuda_memory_free(const struct backend_options *o) {
    size_t free_bytes = 0, total = 0;
    if (cuda_probe(o, NULL) != STATUS_OK || cudaSetDevice(o->device) != cudaSuccess) return 0;
    return cudaMemGetInfo(&free_bytes, &total) == cudaSuccess ? free_bytes : 0;
}

struct need { /* bytes */
    size_t planes, copies, whole, work, scratch16, kv_position, free, total;
    uint32_t chunk;
    struct device_shape card;
};

/* Positions of a prefill step: longer ones use the matrix units better, where there is memory to spare. */
enum { CHUNK = 512, CHUNK_LARGE = 2048 };
#define LARGE_DEVICE ((size_t)32 << 30)

/* Bytes: what graphs, kernels and streams take as they are made and loaded; and what is left alone, for the driver's own needs and those of the screen. */
enum { DRIVER = 14 << 20, SPARE = 64 << 20 };

static int measure_card(int device, struct device_shape *card, struct err *err) {
    int multiprocessors = 0, shared = 0, clock = 0, memory_clock = 0, memory_bits = 0; /* clocks in kHz */
    CUDA_TRY(cudaDeviceGetAttribute(&card->capability, cudaDevAttrComputeCapabilityMajor, device));
    CUDA_TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    CUDA_TRY(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    card->multiprocessors = (uint32_t)multiprocessors;
    card->shared = (size_t)shared;
    CUDA_TRY(cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, device));
    CUDA_TRY(cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, device));
    CUDA_TRY(cudaDeviceGetAttribute(&memory_bits, cudaDevAttrGlobalMemoryBusWidth, device));
    const double a_cycle = 2.0 * memory_clock * memory_bits / 8 / clock; /* bytes; both edges of the memory's clock count */
    card->memory_cycles = a_cycle > 0 ? multiprocessors / a_cycle : 0;
    return STATUS_OK;
}

static int measure(const struct model_view *m, const struct backend_options *o, struct need *n, struct err *err) {
    int status = weights_check(m, err);
    if (status == STATUS_OK) status = cuda_probe(o, err);
    if (status == STATUS_OK) status = weights_size(m, o->exact, &n->planes, &n->copies, err);
    if (status == STATUS_OK) status = measure_card(o->device, &n->card, err);
    if (status != STATUS_OK) return status;
    CUDA_TRY(cudaSetDevice(o->device));
    CUDA_TRY(cudaMemGetInfo(&n->free, &n->total));
    n->chunk = n->total > LARGE_DEVICE ? CHUNK_LARGE : CHUNK;
    n->work = lay_out_work(NULL, m, n->chunk, NULL) + decode_memory(m);
    n->whole = o->exact ? 0 : decode_whole_memory(m, &n->card);
    n->scratch16 = n->copies ? scratch16_size(m) : 0; /* instead of them */
    n->kv_position = (size_t)m->n_layers * 2 * m->n_kv_heads * m->head_dim * (o->exact ? sizeof(float) : 2) + sizeof(int32_t); /* and its id */
    if (!o->exact) n->work += BLAS_WORKSPACE;
    n->work += DRIVER;
    return STATUS_OK;
}

/* At its height, with a context or while loading; without what only makes it faster: 16-bit copies, whole steps. */
static size_t needed(const struct need *n, uint32_t n_ctx) {
    size_t kv = n->kv_position * n_ctx, staging = weights_staging();
    return n->planes + n->work + n->scratch16 + (kv > staging ? kv : staging);
}

static bool copies_fit(const struct need *n, uint32_t n_ctx) { return needed(n, n_ctx) + n->copies + SPARE <= n->free; }
static bool whole_steps_fit(const struct need *n, uint32_t n_ctx) {
    return needed(n, n_ctx) + (copies_fit(n, n_ctx) ? n->copies : 0) + n->whole + SPARE <= n->free;
}

static int cuda_estimate(const struct model_view *m, const struct backend_options *o, struct memory_estimate *out, struct err *err) {
    struct need n = {0};
    int status = measure(m, o, &n, err);
    if (status != STATUS_OK) return status;
    *out = (struct memory_estimate){.weights = n.planes, .kv = (uint64_t)n.kv_position * o->n_ctx, .total = needed(&n, o->n_ctx),
                                    .available = n.free};
    out->work = out->total - out->weights - out->kv;
    out->copies = copies_fit(&n, o->n_ctx) && n.copies > n.scratch16 ? n.copies - n.scratch16 : 0;
    if (whole_steps_fit(&n, o->n_ctx)) out->copies += n.whole;
    uint64_t ctx = needed(&n, 0) + SPARE <= n.free ? (n.free - SPARE - needed(&n, 0) + weights_staging()) / n.kv_position : 0;
    out->largest_ctx = ctx > UINT32_MAX ? UINT32_MAX : (uint32_t)ctx;
    return STATUS_OK;
}

/* ---- open and close ---- */

static void cuda_close(struct backend *b) {
    if (!b) return;
    cudaSetDevice(b->device);
    warm_end(b);
    if (b->stream) cudaStreamSynchronize(b->stream);
    decode_memory_free(b);
    blas_close(b->blas);
    cudaFree(b->weights);
    cudaFree(b->work);
    cudaFree(b->scratch16);
    cudaFreeHost(b->host_logits);
    if (b->stream) cudaStreamDestroy(b->stream);
    cudaGetLastError();
    free(b->layers);
    free(b);
}

static bool runs_under_mps(int device) {
    int mps = 0;
#if CUDART_VERSION >= 12030
    if (cudaDeviceGetAttribute(&mps, cudaDevAttrMpsEnabled, device) != cudaSuccess) cudaGetLastError(); /* an old driver does not know it */
#else
    (void)device;
#endif
    return mps;
}

static int prepare(struct backend *b, const struct backend_options *o, struct need *n, bool *copies, struct err *err) {
    const struct model_view *m = b->model;
    int status = measure(m, o, n, err);
    if (status != STATUS_OK) return status;
    uint32_t n_ctx = o->n_ctx ? o->n_ctx : 1;
    if (needed(n, n_ctx) > n->free)
        return err_set(err, STATUS_MEMORY, "the model needs %.1f GiB of GPU memory with a context of %u, %.1f GiB are free%s",
                       (double)needed(n, n_ctx) / (1u << 30), n_ctx, (double)n->free / (1u << 30),
                       needed(n, 1) + SPARE <= n->free ? "; a smaller context would fit (-c)" : "");
    CUDA_TRY(cudaGetDeviceProperties(&b->properties, b->device));
    b->crowded = runs_under_mps(b->device);
    CUDA_TRY(cudaStreamCreateWithFlags(&b->stream, cudaStreamNonBlocking));
    if (!b->exact) b->blas = blas_open();
    *copies = b->blas && copies_fit(n, n_ctx);
    if (!whole_steps_fit(n, n_ctx)) n->whole = 0;
    b->chunk = n->chunk;
    b->warming.most = o->n_ctx && o->n_ctx < n->chunk ? o->n_ctx : n->chunk;
    b->weights_size = n->planes + (*copies ? n->copies : 0);
    CUDA_TRY(cudaMalloc(&b->weights, b->weights_size));
    CUDA_TRY(cudaMalloc(&b->work, lay_out_work(b, m, b->chunk, NULL)));
    lay_out_work(b, m, b->chunk, b->work);
    if (b->blas && !*copies && n->scratch16) CUDA_TRY(cudaMalloc(&b->scratch16, n->scratch16));
    CUDA_TRY(cudaHostAlloc((void **)&b->host_logits, m->n_rows * sizeof(float), cudaHostAllocDefault));
    return decode_memory_new(b, err);
}

static int cuda_open(const struct model_view *model, const struct backend_options *options, progress_fn progress, void *ctx,
                     struct backend **out, struct err *err) {
    struct backend *b = xcalloc(1, sizeof *b);
    b->model = model;
    b->device = options->device;
    b->exact = options->exact;
    b->layers = xcalloc(model->n_layers, sizeof *b->layers);
    struct need need = {0};
    bool copies = false;
    int status = prepare(b, options, &need, &copies, err);
    if (status == STATUS_OK) status = weights_load(b, copies, progress, ctx, err);
    if (status == STATUS_OK) {
        b->rope_freq = (float *)((char *)b->weights + b->weights_used);
        cudaError_t code = cudaMemcpy(b->rope_freq, model->rope_freq, model->rope_dim / 2 * sizeof(float), cudaMemcpyHostToDevice);
        if (code != cudaSuccess) status = cuda_failed(err, code, "copying the rotary frequencies");
    }
    if (status != STATUS_OK) {
        cuda_close(b);
        return status;
    }
    b->rope = (struct rope_args){.n_heads = model->n_heads, .n_kv_heads = model->n_kv_heads, .head_dim = model->head_dim,
                                 .rope_dim = model->rope_dim, .neighbours = model->rope_pairing == ROPE_NEIGHBOURS,
                                 .magnitude = model->rope_magnitude, .eps = model->norm_eps, .freq = b->rope_freq};
    status = decode_whole_new(b, &need.card, need.whole, err);
    if (status != STATUS_OK) {
        cuda_close(b);
        return status;
    }
    *out = b;
    return STATUS_OK;
}

/* ---- facts ---- */

/* What one decode step reads: every matrix once; of an embedding table that is not the output matrix too, one row. */
static uint64_t bytes_per_token(const struct model_view *m) {
    uint64_t bytes = m->output->size * m->n_vocab / m->output->rows;
    for (uint32_t i = 0; i < m->n_layers; i++) {
        const struct layer_view *l = &m->layers[i];
        const struct weight *w[] = {l->attn_q, l->attn_k, l->attn_v, l->attn_output, l->ffn_gate, l->ffn_up, l->ffn_down};
        for (size_t j = 0; j < sizeof w / sizeof *w; j++) bytes += w[j]->size;
    }
    return bytes;
}

static void cuda_info(struct backend *b, struct backend_info *out) {
    size_t free_now = 0, total = 0;
    cudaSetDevice(b->device);
    cudaMemGetInfo(&free_now, &total);
    *out = (struct backend_info){.memory_used = total - free_now, .memory_total = total, .bytes_per_token = bytes_per_token(b->model)};
    out->kv_bytes_per_token = (uint64_t)b->model->n_layers * 2 * b->model->n_kv_heads * b->model->head_dim * cache_element(b);
    snprintf(out->device, sizeof out->device, "%.80s", b->properties.name);
}

static double cuda_read_bandwidth(struct backend *b) {
    enum { ROUNDS = 5 };
    cudaEvent_t start, end;
    double best = 0;
    if (cudaSetDevice(b->device) != cudaSuccess || cudaEventCreate(&start) != cudaSuccess) return 0;
    if (cudaEventCreate(&end) == cudaSuccess) {
        for (int i = 0; i < ROUNDS; i++) {
            float ms = 0;
            cudaEventRecord(start, b->stream);
            cudaError_t code = launch_read(b->stream, b->weights, b->weights_size / 16, b->logits, (uint32_t)b->properties.multiProcessorCount);
            cudaEventRecord(end, b->stream);
            if (code != cudaSuccess || cudaEventSynchronize(end) != cudaSuccess || cudaEventElapsedTime(&ms, start, end) != cudaSuccess) break;
            double rate = (double)b->weights_size / ((double)ms * 1e-3);
            if (i && rate > best) best = rate;
        }
        cudaEventDestroy(end);
    }
    cudaEventDestroy(start);
    return best;
}

const struct backend_ops backend_cuda = {
    .name = "cuda",
    .probe = cuda_probe,
    .memory_free = cuda_memory_free,
    .wake = cuda_wake,
    .estimate = cuda_estimate,
    .open = cuda_open,
    .close = cuda_close,
    .info = cuda_info,
    .read_bandwidth = cuda_read_bandwidth,
    .timeline_new = cuda_timeline_new,
    .timeline_free = cuda_timeline_free,
    .timeline_length = cuda_timeline_length,
    .timeline_ids = cuda_timeline_ids,
    .timeline_truncate = cuda_timeline_truncate,
    .timeline_copy = cuda_timeline_copy,
    .timeline_size = cuda_timeline_size,
    .timeline_save = cuda_timeline_save,
    .timeline_load = cuda_timeline_load,
    .step = cuda_step,
    .decode_begin = cuda_decode_begin,
    .decode_next = cuda_decode_next,
    .decode_end = cuda_decode_end,
};
