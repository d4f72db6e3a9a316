/* The steps of the model over a chunk of positions, one kernel a step: traces, steps of one position, all of --exact. The names and the order are
 * those of kernels/cpu/forward.c. Fast prefill runs the same steps fused (batch.c), and so does fast decoding (decode.c). */
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

/* w16: the matrix in 16 bits or NULL, one of `turns` whose rows lie in turns. */
static int product_in_turns(struct backend *b, struct operand *in, const struct device_matrix *w, void *w16, uint32_t turns,
                            const float *bias, bool add, float *y, struct err *err) {
    if (!b->blas || in->n < BLAS_MIN) {
        CUDA_TRY(launch_product_exact(b->stream, *w, in->x, bias, add, in->n, y));
        return STATUS_OK;
    }
    const uint32_t stride = w->blocks * 32;
    if (!in->narrow) {
        CUDA_TRY(launch_rows_to_16bit(b->stream, in->x, in->cols, stride, in->n, b->narrow, b->row_scale));
        in->narrow = true;
    }
    const struct half_product one = {.w = w, .w16 = w16, .pitch = (size_t)turns * stride, .rows = w->rows};
    TRY(half_multiply(b, &(struct half_products){.product = {one}, .n = 1, .rows = w->rows}, in->n, b->h, err));
    CUDA_TRY(launch_add_rows(b->stream, b->h, b->row_scale, bias, w->rows, in->n, add, y));
    return STATUS_OK;
}

static int product(struct backend *b, struct operand *in, const struct device_matrix *w, void *w16, const float *bias, bool add,
                   float *y, struct err *err) {
    return product_in_turns(b, in, w, w16, 1, bias, add, y, err);
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
    const struct attention_args args = {.rope = rope,
                                        .cache = cache,
                                        .q = b->q,
                                        .first = r->first,
                                        .n = n,
                                        .out = b->attn,
                                        .weights = weights};
    cudaError_t code = launch_attention(b->stream, &args);
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
    struct operand normed = {b->normed, m->n_embd, n, false}, h = {b->gate, m->n_ff, n, false};
    const uint32_t turns = gate_up_in_turns(l) ? 2 : 1;
    TRY(product_in_turns(b, &normed, &l->gate, l->gate16, turns, NULL, false, b->gate, err));
    TRY(product_in_turns(b, &normed, &l->up, l->up16, turns, NULL, false, b->up, err));
    CUDA_TRY(launch_silu_mul(b->stream, b->gate, b->up, (size_t)n * m->n_ff, b->gate));
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
    if (batch_takes(b, r)) return batch_forward(t, r, err);
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
