/* The steps of the model over a chunk of positions, one kernel a step: prefill, traces, and decoding with --exact. The names and the order
 * are those of kernels/cpu/forward.c. Fast steps of a few positions run the same steps fused (small_batch.c), and so does decoding (decode.c). */
#include "kernels/cuda/device.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- traces ---- */

static int trace(struct backend *b, const struct forward_request *r, const char *name, const uint64_t *shape, int n_dims,
                 const float *values, struct err *err) {
    if (!r->trace) return STATUS_OK;
    size_t count = 1;
    for (int i = 0; i < n_dims; i++) count *= shape[i];
    float *host = malloc(count * sizeof *host);
    if (!host) return err_set(err, STATUS_MEMORY, "no memory for the trace of %s (%zu values)", name, count);
    cudaError_t code = cudaMemcpyAsync(host, values, count * sizeof *host, cudaMemcpyDeviceToHost, b->stream);
    if (code == cudaSuccess) code = cudaStreamSynchronize(b->stream);
    if (code == cudaSuccess) r->trace(r->ctx, name, shape, n_dims, host);
    free(host);
    CUDA_TRY(code);
    return STATUS_OK;
}

static int trace_rows(struct backend *b, const struct forward_request *r, int layer, const char *what, uint32_t cols,
                      const float *values, struct err *err) {
    if (!r->trace) return STATUS_OK;
    char name[64];
    if (layer >= 0) snprintf(name, sizeof name, "blk.%d.%s", layer, what);
    else snprintf(name, sizeof name, "%s", what);
    uint64_t shape[2] = {r->n, cols};
    return trace(b, r, name, shape, 2, values, err);
}

/* ---- products ---- */

/* Several products of the same rows: they become 16-bit once. */
struct operand {
    const float *x;
    uint32_t cols, n;
    bool narrow; /* backend->narrow and row_scale hold it */
};

static bool uses_matrix_units(const struct backend *b, uint32_t n) { return b->blas && n >= BLAS_MIN; }

/* y = W x for what backend->narrow holds, but for the factor row_scale. */
static int product_rows(struct backend *b, const void *w16, size_t pitch, uint32_t rows, const struct device_matrix *w, uint32_t n, float *y,
                        struct err *err) {
    warm_end(b);
    int code = blas_product(b->blas, b->stream, b->half_type == DTYPE_BF16, w16, pitch, b->narrow, rows, w->blocks * 32, n, y);
    if (code) return err_set(err, STATUS_DEVICE, "cuBLASLt failed with code %d for a product of %u x %u with %u columns", code, rows, w->cols, n);
    return STATUS_OK;
}

static int product_16bit(struct backend *b, const struct device_matrix *w, void *w16, size_t pitch, uint32_t n, float *y, struct err *err) {
    if (!w16) { /* no room for copies: this matrix, now */
        pitch = w->blocks * 32;
        CUDA_TRY(launch_to_16bit(b->stream, *w, b->scratch16, pitch, b->half_type));
        w16 = b->scratch16;
    }
    return product_rows(b, w16, pitch, w->rows, w, n, y, err);
}

static int product(struct backend *b, struct operand *in, const struct device_matrix *w, void *w16, const float *bias, bool add,
                   float *y, struct err *err) {
    if (!uses_matrix_units(b, in->n)) {
        CUDA_TRY(launch_product_exact(b->stream, *w, in->x, bias, add, in->n, y));
        return STATUS_OK;
    }
    if (!in->narrow) {
        CUDA_TRY(launch_rows_to_16bit(b->stream, in->x, in->cols, w->blocks * 32, in->n, b->half_type, b->narrow, b->row_scale));
        in->narrow = true;
    }
    TRY(product_16bit(b, w, w16, w->blocks * 32, in->n, b->h, err));
    CUDA_TRY(launch_add_rows(b->stream, b->h, b->row_scale, bias, w->rows, in->n, add, y));
    return STATUS_OK;
}

bool gate_up_in_turns(const struct device_layer *l) { return l->gate16 && (char *)l->up16 == (char *)l->gate16 + (size_t)l->gate.blocks * 64; }

/* The hidden vector of the feed-forward part: silu(gate x) * (up x). On the matrix units it is only made in 16 bits. */
static int gated(struct backend *b, struct operand *in, const struct device_layer *l, struct operand *out, struct err *err) {
    *out = (struct operand){b->gate, l->gate.rows, in->n, uses_matrix_units(b, in->n)};
    if (!out->narrow) {
        TRY(product(b, in, &l->gate, l->gate16, NULL, false, b->gate, err));
        TRY(product(b, in, &l->up, l->up16, NULL, false, b->up, err));
        CUDA_TRY(launch_silu_mul(b->stream, b->gate, b->up, (size_t)in->n * l->gate.rows, b->gate));
        return STATUS_OK;
    }
    CUDA_TRY(launch_rows_to_16bit(b->stream, in->x, in->cols, l->gate.blocks * 32, in->n, b->half_type, b->narrow, b->row_scale));
    const size_t stride = l->gate.blocks * 32;
    const bool in_turns = gate_up_in_turns(l);
    if (in_turns) {
        TRY(product_rows(b, l->gate16, stride, 2 * l->gate.rows, &l->gate, in->n, b->gate, err));
    } else {
        TRY(product_16bit(b, &l->gate, l->gate16, stride, in->n, b->gate, err));
        TRY(product_16bit(b, &l->up, l->up16, stride, in->n, b->up, err));
    }
    CUDA_TRY(launch_silu_mul_16bit(b->stream, b->gate, in_turns ? NULL : b->up, l->gate.rows, l->down.blocks * 32, in->n, b->half_type, b->narrow,
                                   b->row_scale));
    return STATUS_OK;
}

/* ---- the layer ---- */

static int attention(struct timeline *t, const struct forward_request *r, uint32_t i, struct err *err) {
    struct backend *b = t->backend;
    const struct model_view *m = b->model;
    const struct device_layer *l = &b->layers[i];
    uint32_t n = r->n, q_dim = m->n_heads * m->head_dim, kv_dim = m->n_kv_heads * m->head_dim;
    int layer = (int)i;

    /* norm, then q, k, v with their biases */
    CUDA_TRY(launch_norm(b->stream, b->x, l->attn_norm, m->norm_eps, m->n_embd, n, b->normed));
    TRY(trace_rows(b, r, layer, "attn.norm", m->n_embd, b->normed, err));
    struct operand normed = {b->normed, m->n_embd, n, false};
    TRY(product(b, &normed, &l->q, l->q16, l->q_bias, false, b->q, err));
    TRY(product(b, &normed, &l->k, l->k16, l->k_bias, false, b->k, err));
    TRY(product(b, &normed, &l->v, l->v16, l->v_bias, false, b->v, err));

    /* head norm, rotation, cache */
    struct rope_args rope = b->rope;
    rope.q_norm = l->q_norm;
    rope.k_norm = l->k_norm;
    struct cache_layer cache = timeline_layer(t, i);
    float *q_before = r->trace ? b->gate : NULL, *k_before = r->trace ? b->up : NULL; /* free until the feed-forward part */
    CUDA_TRY(launch_rope_append(b->stream, rope, cache, b->q, b->k, b->v, r->first, n, q_before, k_before));
    if (r->trace) {
        TRY(trace_rows(b, r, layer, "attn.q", q_dim, q_before, err));
        TRY(trace_rows(b, r, layer, "attn.k", kv_dim, k_before, err));
        TRY(trace_rows(b, r, layer, "attn.v", kv_dim, b->v, err));
        TRY(trace_rows(b, r, layer, "attn.q_rope", q_dim, b->q, err));
        TRY(trace_rows(b, r, layer, "attn.k_rope", kv_dim, b->k, err));
    }

    /* attention over the cache, output matrix, residual */
    float *weights = NULL;
    if (r->trace) CUDA_TRY(cudaMalloc((void **)&weights, (size_t)m->n_heads * n * (r->first + n) * sizeof(float)));
    int status = STATUS_OK;
    cudaError_t code = launch_attention(b->stream, rope, cache, b->q, r->first, n, b->attn, weights);
    if (code != cudaSuccess) {
        status = cuda_failed(err, code, "attention");
    } else if (r->trace) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.attn.weights", i);
        status = trace(b, r, name, (uint64_t[]){m->n_heads, n, r->first + n}, 3, weights, err);
    }
    cudaFree(weights);
    if (status != STATUS_OK) return status;
    struct operand attn = {b->attn, q_dim, n, false};
    if (r->trace) {
        TRY(product(b, &attn, &l->o, l->o16, NULL, false, b->normed, err));
        TRY(trace_rows(b, r, layer, "attn.out", m->n_embd, b->normed, err));
        CUDA_TRY(launch_add_rows(b->stream, b->normed, NULL, NULL, m->n_embd, n, true, b->x));
    } else {
        TRY(product(b, &attn, &l->o, l->o16, NULL, true, b->x, err));
    }
    return STATUS_OK;
}

static int feed_forward(struct timeline *t, const struct forward_request *r, uint32_t i, struct err *err) {
    struct backend *b = t->backend;
    const struct model_view *m = b->model;
    const struct device_layer *l = &b->layers[i];
    uint32_t n = r->n;

    /* norm, gate and up, silu, down, residual */
    CUDA_TRY(launch_norm(b->stream, b->x, l->ffn_norm, m->norm_eps, m->n_embd, n, b->normed));
    TRY(trace_rows(b, r, (int)i, "ffn.norm", m->n_embd, b->normed, err));
    struct operand normed = {b->normed, m->n_embd, n, false}, h;
    TRY(gated(b, &normed, l, &h, err));
    if (r->trace) {
        TRY(product(b, &h, &l->down, l->down16, NULL, false, b->normed, err));
        TRY(trace_rows(b, r, (int)i, "ffn.out", m->n_embd, b->normed, err));
        CUDA_TRY(launch_add_rows(b->stream, b->normed, NULL, NULL, m->n_embd, n, true, b->x));
    } else {
        TRY(product(b, &h, &l->down, l->down16, NULL, true, b->x, err));
    }
    return trace_rows(b, r, (int)i, "out", m->n_embd, b->x, err);
}

int forward(struct timeline *t, const struct forward_request *r, struct err *err) {
    struct backend *b = t->backend;
    const struct model_view *m = b->model;
    if (small_batch_takes(b, r)) return small_batch_forward(t, r, err);
    CUDA_TRY(launch_embed(b->stream, b->token_embd, b->ids, r->n, b->x));
    TRY(trace_rows(b, r, -1, "embd", m->n_embd, b->x, err));
    for (uint32_t i = 0; i < m->n_layers; i++) {
        if (r->stop && atomic_load(r->stop)) return err_set(err, STATUS_STOPPED, "stopped");
        TRY(attention(t, r, i, err));
        TRY(feed_forward(t, r, i, err));
    }
    CUDA_TRY(launch_norm(b->stream, b->x, b->output_norm, m->norm_eps, m->n_embd, r->n, b->normed));
    return trace_rows(b, r, -1, "norm", m->n_embd, b->normed, err);
}

int forward_logits(struct backend *b, uint32_t i, struct err *err) {
    const float *x = b->normed + (size_t)i * b->model->n_embd;
    CUDA_TRY(launch_product_exact(b->stream, b->output, x, NULL, false, 1, b->logits));
    return STATUS_OK;
}
