/* The decode loop. One step is a chain of fused kernels that take the id and the position from device memory, captured once as a graph:
 *     embed | per layer: norm + q, k, v | head norm, rotation, cache, attention | output + residual | norm + gate, up, silu |
 *     down + residual | norm + logits
 * With --exact, or for shapes the fused kernels do not take, a step runs forward() for one position instead. */
#include "kernels/cuda/device.h"

#include "base/mem.h"
#include "kernels/cpu/sample.h"

#include <stdlib.h>

struct decode_state { /* on the device */
    int32_t id;
    uint32_t position;
};

struct decode_buffers { /* of a backend */
    struct decode_state *state;
    struct decode_state *next; /* pinned: what the host feeds */
    float *partial;
    uint32_t *arrived;
    uint32_t splits;
};

struct decode {
    struct timeline *timeline;
    struct decode_request request;
    cudaGraphExec_t graph; /* NULL: forward() */
    int32_t id;            /* fed next */
    uint32_t given;
    uint32_t fed;          /* timeline length while the run goes on */
};

/* ---- memory that does not depend on the context ---- */

static struct rope_args shape_of(const struct model_view *m) {
    return (struct rope_args){.n_heads = m->n_heads, .n_kv_heads = m->n_kv_heads, .head_dim = m->head_dim};
}

/* Splits for the longest context: the kernel uses fewer where it is short. */
enum { MANY = 1 << 20, MULTIPROCESSORS_MAX = 256 };

size_t decode_memory(const struct model_view *m) {
    struct rope_args shape = shape_of(m);
    return decode_attention_partial(shape, decode_attention_splits(shape, MANY, MULTIPROCESSORS_MAX)) +
           decode_attention_blocks(shape) * sizeof(uint32_t) + sizeof(struct decode_state);
}

int decode_memory_new(struct backend *b, struct err *err) {
    struct decode_buffers *d = b->decode = xcalloc(1, sizeof *d);
    struct rope_args shape = shape_of(b->model);
    d->splits = decode_attention_splits(shape, MANY, (uint32_t)b->properties.multiProcessorCount);
    b->scratch = sample_scratch_new(b->model->n_vocab);
    if (!b->scratch) return err_set(err, STATUS_UNSUPPORTED, "vocabulary: found %u ids, expected at most 262144", b->model->n_vocab);
    CUDA_TRY(cudaMalloc((void **)&d->state, sizeof *d->state));
    CUDA_TRY(cudaHostAlloc((void **)&d->next, sizeof *d->next, cudaHostAllocDefault));
    CUDA_TRY(cudaMalloc((void **)&d->partial, decode_attention_partial(shape, d->splits)));
    CUDA_TRY(cudaMalloc((void **)&d->arrived, decode_attention_blocks(shape) * sizeof(uint32_t)));
    CUDA_TRY(cudaMemset(d->arrived, 0, decode_attention_blocks(shape) * sizeof(uint32_t)));
    return STATUS_OK;
}

void decode_memory_free(struct backend *b) {
    struct decode_buffers *d = b->decode;
    sample_scratch_free(b->scratch);
    if (!d) return;
    cudaFree(d->state);
    cudaFreeHost(d->next);
    cudaFree(d->partial);
    cudaFree(d->arrived);
    free(d);
}

/* ---- one step as fused kernels ---- */

static struct decode_product_args product_of(const float *x, const float *norm, float eps, struct device_matrix w, float *y) {
    return (struct decode_product_args){.w = {w}, .y = {y}, .n = 1, .x = x, .norm = norm, .eps = eps};
}

static struct decode_product_args qkv_of(const struct backend *b, const struct device_layer *l) {
    return (struct decode_product_args){.w = {l->q, l->k, l->v}, .bias = {l->q_bias, l->k_bias, l->v_bias}, .y = {b->q, b->k, b->v},
                                        .n = 3, .x = b->x, .norm = l->attn_norm, .eps = b->model->norm_eps};
}

static struct decode_product_args gate_of(const struct backend *b, const struct device_layer *l) {
    return (struct decode_product_args){.w = {l->gate, l->up}, .y = {b->gate, b->up}, .n = 2, .gate = 1, .x = b->x,
                                        .norm = l->ffn_norm, .eps = b->model->norm_eps};
}

static int launch_all(struct backend *b, struct decode_product_args a, struct err *err) {
    uint32_t multiprocessors = (uint32_t)b->properties.multiProcessorCount;
    if (decode_product_fits(&a)) {
        CUDA_TRY(launch_decode_product(b->stream, a, multiprocessors));
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < a.n; i++) { /* types that do not mix: one by one */
        struct decode_product_args one = product_of(a.x, a.norm, a.eps, a.w[i], a.y[i]);
        one.bias[0] = a.bias[i];
        CUDA_TRY(launch_decode_product(b->stream, one, multiprocessors));
    }
    if (a.gate) CUDA_TRY(launch_silu_mul(b->stream, a.y[0], a.y[1], a.w[0].rows, a.y[0]));
    return STATUS_OK;
}

static int enqueue_step(struct timeline *t, struct err *err) {
    struct backend *b = t->backend;
    const struct model_view *m = b->model;
    struct decode_buffers *d = b->decode;
    CUDA_TRY(launch_decode_embed(b->stream, b->token_embd, &d->state->id, b->x));
    for (uint32_t i = 0; i < m->n_layers; i++) {
        const struct device_layer *l = &b->layers[i];
        int status = launch_all(b, qkv_of(b, l), err);
        if (status != STATUS_OK) return status;
        struct decode_attention_args attention = {.rope = b->rope, .cache = timeline_layer(t, i), .q = b->q, .k = b->k, .v = b->v,
                                                  .position = &d->state->position, .out = b->attn, .partial = d->partial,
                                                  .arrived = d->arrived, .splits = d->splits};
        attention.rope.q_norm = l->q_norm;
        attention.rope.k_norm = l->k_norm;
        CUDA_TRY(launch_decode_attention(b->stream, attention));
        struct decode_product_args o = product_of(b->attn, NULL, 0, l->o, b->x), down = product_of(b->gate, NULL, 0, l->down, b->x);
        o.add = down.add = 1;
        status = launch_all(b, o, err);
        if (status == STATUS_OK) status = launch_all(b, gate_of(b, l), err);
        if (status == STATUS_OK) status = launch_all(b, down, err);
        if (status != STATUS_OK) return status;
    }
    struct device_matrix head = b->output;
    head.rows = m->n_vocab; /* rows beyond are padding */
    return launch_all(b, product_of(b->x, b->output_norm, m->norm_eps, head, b->logits), err);
}

static int capture(struct timeline *t, cudaGraphExec_t *out, struct err *err) {
    cudaStream_t stream = t->backend->stream;
    cudaGraph_t graph = NULL;
    CUDA_TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    int status = enqueue_step(t, err);
    cudaError_t code = cudaStreamEndCapture(stream, &graph);
    if (status == STATUS_OK && code != cudaSuccess) status = cuda_failed(err, code, "capturing the decode step");
    if (status == STATUS_OK) {
        code = cudaGraphInstantiate(out, graph, 0);
        if (code != cudaSuccess) status = cuda_failed(err, code, "making the decode graph");
    }
    if (graph) cudaGraphDestroy(graph);
    return status;
}

/* ---- the run ---- */

int cuda_decode_begin(struct timeline *t, const struct decode_request *request, struct decode **out, struct err *err) {
    struct backend *b = t->backend;
    CUDA_TRY(cudaSetDevice(b->device));
    if (!b->exact && b->model->head_dim % 8 == 0 && !t->graph) {
        int status = capture(t, &t->graph, err);
        if (status != STATUS_OK) return status;
    }
    struct decode *d = xcalloc(1, sizeof *d);
    d->timeline = t;
    d->request = *request;
    d->id = request->id;
    d->graph = t->graph;
    *out = d;
    return STATUS_OK;
}

/* Logits of what follows d->id into host_logits. */
static int run_step(struct decode *d, struct err *err) {
    struct timeline *t = d->timeline;
    struct backend *b = t->backend;
    struct decode_buffers *buffers = b->decode;
    if (d->graph) {
        *buffers->next = (struct decode_state){d->id, t->length};
        CUDA_TRY(cudaMemcpyAsync(buffers->state, buffers->next, sizeof *buffers->next, cudaMemcpyHostToDevice, b->stream));
        CUDA_TRY(cudaGraphLaunch(d->graph, b->stream));
    } else {
        CUDA_TRY(cudaMemcpyAsync(b->ids, &d->id, sizeof d->id, cudaMemcpyHostToDevice, b->stream));
        struct forward_request f = {.first = t->length, .n = 1, .stop = d->request.stop};
        int status = forward(t, &f, err);
        if (status == STATUS_OK) status = forward_logits(b, 0, err);
        if (status != STATUS_OK) return status;
    }
    CUDA_TRY(cudaMemcpyAsync(b->host_logits, b->logits, b->model->n_vocab * sizeof(float), cudaMemcpyDeviceToHost, b->stream));
    CUDA_TRY(cudaStreamSynchronize(b->stream));
    t->ids[t->length++] = d->id;
    return STATUS_OK;
}

int cuda_decode_next(struct decode *d, struct step_result *out, struct err *err) {
    struct timeline *t = d->timeline;
    if (d->given == d->request.limit || (d->request.stop && atomic_load(d->request.stop))) return err_set(err, STATUS_STOPPED, "stopped");
    if (t->length == t->n_ctx) return err_set(err, STATUS_CONTEXT_FULL, "the context of %u tokens is full", t->n_ctx);
    int status = run_step(d, err);
    if (status != STATUS_OK) return status;
    struct sample_request ask = {.logits = t->backend->host_logits, .sampling = &d->request.sampling, .target = -1, .history = t->ids,
                                 .n_history = t->length, .position = t->length - 1, .top_k = d->request.top_k};
    status = sample_position(t->backend->scratch, &ask, out, err);
    if (status != STATUS_OK) return status;
    d->id = out->id;
    d->given++;
    return STATUS_OK;
}

void cuda_decode_end(struct decode *d, uint32_t keep) {
    if (!d) return;
    cuda_timeline_truncate(d->timeline, keep);
    free(d);
}
