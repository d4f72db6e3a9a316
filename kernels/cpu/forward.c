/* The steps of a transformer, in the order and under the names of kernels/cuda/forward.c.
 *
 * All loops below run on the pool: threads share the rows of a matrix, or the positions. Nothing is summed across
 * threads, so their number changes no bit. With one position (decoding) what is small runs on the calling thread
 * alone: waking the others would take longer. */
#include "kernels/cpu/cpu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALONE = 8,                     /* up to so many positions, loops over positions stay on the calling thread */
    PART_MULTIPLIES = 500000000,   /* of a part of a product: some 10 ms, then a stop is looked for */
};

struct pass {
    struct timeline *timeline;
    const struct backend *backend;
    const struct model_view *model;
    const struct work *work;
    const int32_t *ids;
    uint32_t first, n, layer;
    struct activations shared; /* what the next products multiply with */
    const struct step_request *trace; /* NULL: none */
};

/* ---- loops over positions ---- */

static void for_positions(struct pass *pass, pool_fn fn, void *ctx) {
    if (pass->n <= ALONE)
        fn(ctx, 0, pass->n, 0);
    else
        pool_for(pass->backend->pool, pass->n, pool_grain(pass->backend->pool, pass->n, 1), fn, ctx);
}

static void embed(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct pass *pass = ctx;
    (void)thread;
    for (uint32_t i = begin; i < end; i++)
        matrix_row(&pass->backend->token_embd, (uint64_t)pass->ids[i], pass->work->x + (size_t)i * pass->model->n_embd);
}

static void make_angles(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct pass *pass = ctx;
    size_t pairs = pass->model->rope_dim / 2;
    (void)thread;
    for (uint32_t i = begin; i < end; i++)
        rope_angles(pass->model, pass->first + i, pass->work->cosines + i * pairs, pass->work->sines + i * pairs);
}

struct norm_job {
    const struct pass *pass;
    const float *from, *weight;
    float *to;
    uint32_t width, per_position; /* vectors of `width` elements, so many a position */
};

static void normalise_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct norm_job *job = ctx;
    (void)thread;
    for (size_t i = (size_t)begin * job->per_position; i < (size_t)end * job->per_position; i++)
        job->pass->backend->ops->rms_norm(job->from + i * job->width, job->weight, job->pass->model->norm_eps, job->width,
                                          job->to + i * job->width);
}

static void normalise(struct pass *pass, const float *from, const float *weight, uint32_t width, uint32_t per_position, float *to) {
    struct norm_job job = {pass, from, weight, to, width, per_position};
    for_positions(pass, normalise_items, &job);
}

static void rotate(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct pass *pass = ctx;
    const struct model_view *model = pass->model;
    size_t pairs = model->rope_dim / 2, dim = model->head_dim;
    (void)thread;
    for (uint32_t i = begin; i < end; i++) {
        const float *cosines = pass->work->cosines + i * pairs, *sines = pass->work->sines + i * pairs;
        float *q = pass->work->q + (size_t)i * model->n_heads * dim, *k = pass->work->k + (size_t)i * model->n_kv_heads * dim;
        const float *v = pass->work->v + (size_t)i * model->n_kv_heads * dim;
        for (uint32_t head = 0; head < model->n_heads; head++) rope_rotate(model, cosines, sines, q + head * dim, q + head * dim);
        for (uint32_t head = 0; head < model->n_kv_heads; head++) rope_rotate(model, cosines, sines, k + head * dim, k + head * dim);
        timeline_put(pass->timeline, pass->layer, pass->first + i, k, v);
    }
}

/* ---- matrix products ---- */

struct fill_job {
    const struct pass *pass;
    const float *x;
};

static void fill_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct fill_job *job = ctx;
    (void)thread;
    activations_fill(&job->pass->shared, job->pass->backend->isa, job->x, job->pass->shared.cols, begin, end);
}

/* Bring x [n][cols] into the forms that the coming products read. */
static void prepare(struct pass *pass, const float *x, uint32_t cols, int forms) {
    struct fill_job job = {pass, x};
    activations_init(&pass->shared, pass->n, cols, forms, pass->work->shared);
    uint32_t units = (uint32_t)activations_units(&pass->shared);
    if (pass->n <= ALONE)
        fill_items(&job, 0, units, 0);
    else
        pool_for(pass->backend->pool, units, pool_grain(pass->backend->pool, units, 1), fill_items, &job);
}

struct product {
    const struct matrix *m;
    float *y;          /* [n][rows] */
    const float *bias; /* [rows] or NULL: added */
    float *sum;        /* [n][rows] or NULL: y is added to it */
};

struct product_job {
    const struct pass *pass;
    const struct product *products;
    uint32_t n_products;
    bool gated; /* two products of one shape: the first becomes silu(first) * second */
};

static uint32_t row_groups(const struct matrix *m) { return (uint32_t)((m->rows + MATRIX_ROWS - 1) / MATRIX_ROWS); }

static void multiply_rows(const struct pass *pass, const struct product *product, uint64_t begin, uint64_t end) {
    size_t stride = product->m->rows;
    if (end > product->m->rows) end = product->m->rows;
    matmul_slice(product->m, &pass->shared, product->y, stride, begin, end);
    for (uint32_t i = 0; i < pass->n; i++) {
        float *y = product->y + i * stride;
        if (product->bias)
            for (uint64_t row = begin; row < end; row++) y[row] += product->bias[row];
        if (product->sum)
            for (uint64_t row = begin; row < end; row++) product->sum[i * stride + row] += y[row];
    }
}

static void multiply_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct product_job *job = ctx;
    (void)thread;
    uint32_t base = 0; /* the items of all products lie one after another */
    for (uint32_t i = 0; i < job->n_products; i++) {
        uint32_t groups = row_groups(job->products[i].m);
        uint32_t from = begin > base ? begin - base : 0, to = end < base + groups ? end - base : groups;
        if (end > base && from < to)
            multiply_rows(job->pass, &job->products[i], (uint64_t)from * MATRIX_ROWS, (uint64_t)to * MATRIX_ROWS);
        base += groups;
    }
}

static void gate_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct product_job *job = ctx;
    const struct product *gate = &job->products[0], *up = &job->products[1];
    (void)thread;
    uint64_t from = (uint64_t)begin * MATRIX_ROWS, to = (uint64_t)end * MATRIX_ROWS, rows = gate->m->rows;
    if (to > rows) to = rows;
    multiply_rows(job->pass, gate, from, to);
    multiply_rows(job->pass, up, from, to);
    for (uint32_t i = 0; i < job->pass->n; i++)
        job->pass->backend->ops->silu_mul(gate->y + i * rows + from, up->y + i * rows + from, to - from);
}

static void multiply(const struct pass *pass, const struct product *products, uint32_t n_products, bool gated) {
    struct product_job job = {pass, products, n_products, gated};
    uint32_t items = 0;
    for (uint32_t i = 0; i < (gated ? 1 : n_products); i++) items += row_groups(products[i].m);
    /* One position: memory is the limit, and each part begins with a wait for it, so a thread takes its whole share at once. */
    uint32_t threads = pool_threads(pass->backend->pool), share = (items + threads - 1) / threads;
    uint32_t grain = pass->n == 1 ? share : pool_grain(pass->backend->pool, items, 1);
    uint64_t most = PART_MULTIPLIES / ((uint64_t)MATRIX_ROWS * pass->shared.cols * pass->n) + 1;
    if (grain > most) grain = (uint32_t)most;
    pool_for(pass->backend->pool, items, grain, gated ? gate_items : multiply_items, &job);
}

/* ---- trace ---- */

__attribute__((format(printf, 4, 5))) static void trace(const struct pass *pass, uint32_t width, const float *values,
                                                        const char *fmt, ...) {
    if (!pass->trace) return;
    char name[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    uint64_t shape[2] = {pass->n, width};
    pass->trace->on_trace(pass->trace->ctx, name, shape, 2, values);
}

/* Attention with the weights of all heads on the side: [head][query][key]. */
static int trace_attention(const struct pass *pass, struct err *err) {
    uint64_t shape[3] = {pass->model->n_heads, pass->n, pass->first + pass->n};
    float *weights = calloc(shape[0] * shape[1], shape[2] * sizeof *weights);
    if (!weights)
        return err_set(err, STATUS_MEMORY, "no memory to trace the attention weights of %u tokens in %u heads", pass->n,
                       pass->model->n_heads);
    attention(pass->timeline, pass->layer, pass->first, pass->n, weights);
    char name[64];
    snprintf(name, sizeof name, "blk.%u.attn.weights", pass->layer);
    if (!pool_stopped(pass->backend->pool)) pass->trace->on_trace(pass->trace->ctx, name, shape, 3, weights);
    free(weights);
    return STATUS_OK;
}

/* ---- the steps ---- */

static int forward_attention(struct pass *pass, const struct layer *layer, struct err *err) {
    const struct model_view *model = pass->model;
    const struct work *work = pass->work;
    uint32_t n = pass->layer, q_width = model->n_heads * model->head_dim, kv_width = model->n_kv_heads * model->head_dim;

    /* attn.norm */
    normalise(pass, work->x, layer->attn_norm, model->n_embd, 1, work->y);
    trace(pass, model->n_embd, work->y, "blk.%u.attn.norm", n);

    /* attn.q, attn.k, attn.v: products, biases, head norms */
    prepare(pass, work->y, model->n_embd, (int)layer->attn_q.form | (int)layer->attn_k.form | (int)layer->attn_v.form);
    struct product qkv[3] = {{&layer->attn_q, work->q, layer->attn_q_bias, NULL},
                             {&layer->attn_k, work->k, layer->attn_k_bias, NULL},
                             {&layer->attn_v, work->v, layer->attn_v_bias, NULL}};
    multiply(pass, qkv, 3, false);
    if (layer->attn_q_norm) normalise(pass, work->q, layer->attn_q_norm, model->head_dim, model->n_heads, work->q);
    if (layer->attn_k_norm) normalise(pass, work->k, layer->attn_k_norm, model->head_dim, model->n_kv_heads, work->k);
    trace(pass, q_width, work->q, "blk.%u.attn.q", n);
    trace(pass, kv_width, work->k, "blk.%u.attn.k", n);
    trace(pass, kv_width, work->v, "blk.%u.attn.v", n);

    /* attn.q_rope, attn.k_rope: rotation; keys and values into the cache */
    for_positions(pass, rotate, pass);
    trace(pass, q_width, work->q, "blk.%u.attn.q_rope", n);
    trace(pass, kv_width, work->k, "blk.%u.attn.k_rope", n);

    /* attn.weights: scores, softmax, weighted values */
    if (!pass->trace)
        attention(pass->timeline, n, pass->first, pass->n, NULL);
    else if (trace_attention(pass, err))
        return STATUS_MEMORY;

    /* attn.out: product, added to the residual stream */
    prepare(pass, work->attn, q_width, layer->attn_output.form);
    multiply(pass, &(struct product){&layer->attn_output, work->y, NULL, work->x}, 1, false);
    trace(pass, model->n_embd, work->y, "blk.%u.attn.out", n);
    return STATUS_OK;
}

static void forward_ffn(struct pass *pass, const struct layer *layer) {
    const struct model_view *model = pass->model;
    const struct work *work = pass->work;
    uint32_t n = pass->layer;

    /* ffn.norm */
    normalise(pass, work->x, layer->ffn_norm, model->n_embd, 1, work->y);
    trace(pass, model->n_embd, work->y, "blk.%u.ffn.norm", n);

    /* silu(gate) * up */
    prepare(pass, work->y, model->n_embd, (int)layer->ffn_gate.form | (int)layer->ffn_up.form);
    struct product gate_up[2] = {{&layer->ffn_gate, work->gate, NULL, NULL}, {&layer->ffn_up, work->up, NULL, NULL}};
    multiply(pass, gate_up, 2, true);

    /* ffn.out: product, added to the residual stream */
    prepare(pass, work->gate, model->n_ff, layer->ffn_down.form);
    multiply(pass, &(struct product){&layer->ffn_down, work->y, NULL, work->x}, 1, false);
    trace(pass, model->n_embd, work->y, "blk.%u.ffn.out", n);

    /* out: the residual stream */
    trace(pass, model->n_embd, work->x, "blk.%u.out", n);
}

/* A chunk may take seconds on a slow machine: each layer is told as its share of the chunk's tokens. Nonzero: stop. */
static int tell_progress(const struct pass *pass, const struct step_request *request) {
    uint32_t layers = pass->layer + 1;
    if (!request || !request->progress || layers == pass->model->n_layers) return 0; /* the step tells of whole chunks */
    uint64_t done = (uint64_t)(pass->ids - request->ids) + (uint64_t)pass->n * layers / pass->model->n_layers;
    return request->progress(request->ctx, done, request->n);
}

int cpu_forward(struct timeline *timeline, const int32_t *ids, uint32_t first, uint32_t n, const struct step_request *request,
                struct err *err) {
    const struct backend *backend = timeline->backend;
    struct pass pass = {.timeline = timeline, .backend = backend, .model = backend->model, .work = &backend->work, .ids = ids,
                        .first = first, .n = n, .trace = request && request->on_trace ? request : NULL};

    /* embd: rows of the embedding */
    for_positions(&pass, embed, &pass);
    for_positions(&pass, make_angles, &pass);
    trace(&pass, pass.model->n_embd, pass.work->x, "embd");

    for (pass.layer = 0; pass.layer < pass.model->n_layers; pass.layer++) {
        const struct layer *layer = &backend->layers[pass.layer];
        int status = forward_attention(&pass, layer, err);
        if (status) return status;
        forward_ffn(&pass, layer);
        if (pool_stopped(backend->pool) || tell_progress(&pass, request)) return err_set(err, STATUS_STOPPED, "stopped");
    }

    /* norm: of all positions only where somebody wants to see it; cpu_forward_logits() does it for those it needs */
    if (pass.trace) {
        normalise(&pass, pass.work->x, backend->output_norm, pass.model->n_embd, 1, pass.work->y);
        trace(&pass, pass.model->n_embd, pass.work->y, "norm");
    }
    return STATUS_OK;
}

static void output_items(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct pass *pass = ctx;
    uint64_t last = (uint64_t)end * MATRIX_ROWS, rows = pass->backend->output->rows;
    (void)thread;
    matmul_slice(pass->backend->output, &pass->shared, pass->work->logits, pass->work->logits_stride,
                 (uint64_t)begin * MATRIX_ROWS, last < rows ? last : rows);
}

void cpu_forward_logits(struct timeline *timeline, uint32_t from, uint32_t n) {
    const struct backend *backend = timeline->backend;
    struct pass pass = {.timeline = timeline, .backend = backend, .model = backend->model, .work = &backend->work, .n = n};
    size_t width = pass.model->n_embd;

    /* norm */
    normalise(&pass, pass.work->x + from * width, backend->output_norm, (uint32_t)width, 1, pass.work->y);

    /* logits: of the real vocabulary only, in whole groups of rows */
    prepare(&pass, pass.work->y, (uint32_t)width, backend->output->form);
    uint32_t items = (pass.model->n_vocab + MATRIX_ROWS - 1) / MATRIX_ROWS;
    pool_for(backend->pool, items, pool_grain(backend->pool, items, 1), output_items, &pass);
}
