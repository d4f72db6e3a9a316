/* A step of many positions without a trace: the steps of forward.c fused, so that what lies between two
 * products passes over their vectors once. Each kernel starts while the one before it ends:
 *     norm | q, k, v | head norm, rotation, cache | attention, to 16 bits | output | residual, norm |
 *     gate, up | silu, to 16 bits | down
 * Weights and vectors meet in F16 and are summed in F32. A step of a few positions, the usual turn of a chat,
 * has the quants themselves multiplied (small_batch.c), and the silu at the end of their product; a longer
 * one has the matrices in 16 bits (half_product.c). */
#include "kernels/cuda/device.h"

struct batch {
    struct backend *b;
    const struct forward_request *r;
    bool small; /* products of the quants themselves */
    struct batch_vectors x;
    struct batch_sums sums;
};

static bool small_takes(const struct backend *b, uint32_t n) {
    return b->small && n <= SMALL_BATCH_MOST;
}

bool batch_takes(const struct backend *b, const struct forward_request *r) {
    const struct model_view *m = b->model;
    if (r->trace || r->n < BLAS_MIN) return false;
    return small_takes(b, r->n) ||
           (b->blas && m->n_embd <= BATCH_COLS_MOST && m->n_heads * m->head_dim <= BATCH_COLS_MOST);
}

/* s->x becomes what a product with w wants. */
static void order_for(struct batch *s, const struct device_matrix *w, float *scale) {
    if (s->small)
        s->x.floats = w->type == DTYPE_F16 || w->type == DTYPE_BF16;
    else
        s->x.stride = w->blocks * 32;
    s->x.scale = scale;
}

/* b->x (with the sums added) or other rows become s->x, normed if wanted, for a product with w. */
static int vectors_of(struct batch *s, float *x, uint32_t cols, bool add, const float *norm,
                      const struct device_matrix *w, struct err *err) {
    order_for(s, w, s->b->row_scale);
    struct batch_rows_args args = {
        .x = x, .norm = norm, .eps = s->b->model->norm_eps, .cols = cols, .n = s->r->n, .to = s->x};
    if (add) args.add = s->sums;
    CUDA_TRY(launch_batch_rows(s->b->stream, &args));
    return STATUS_OK;
}

/* Of s->x, to s->sums. */
static int product(struct batch *s, const struct device_layer *l, enum layer_product which, struct err *err) {
    struct backend *b = s->b;
    if (!s->small) {
        const struct half_products products = half_products(l, which);
        s->sums = (struct batch_sums){b->gate, 1, products.rows, s->x.scale};
        return half_multiply(b, &products, s->r->n, b->gate, err);
    }
    if (which == PRODUCT_QKV)
        return small_multiply(b, &s->x, s->r->n, (const struct device_matrix[]){l->q, l->k, l->v}, 3,
                              &s->sums, err);
    return small_multiply(b, &s->x, s->r->n, which == PRODUCT_OUT ? &l->o : &l->down, 1, &s->sums, err);
}

/* The hidden vectors of the feed-forward part, for the product with down. */
static int gated(struct batch *s, const struct device_layer *l, struct err *err) {
    struct backend *b = s->b;
    if (s->small) {
        TRY(small_multiply_gated(b, &s->x, s->r->n, &l->gate, &l->up, b->h, err));
        return vectors_of(s, b->h, b->model->n_ff, false, NULL, &l->down, err);
    }
    TRY(product(s, l, PRODUCT_GATE_UP, err));
    s->x.stride = l->down.blocks * 32;
    const struct batch_gated_args args = {.sums = s->sums.data,
                                          .in_turns = gate_up_in_turns(l),
                                          .cols = l->gate.rows,
                                          .n = s->r->n,
                                          .to = s->x};
    CUDA_TRY(launch_batch_gated(b->stream, &args));
    return STATUS_OK;
}

/* Of b->q, to s->x. Where no columns are to be padded it makes the vectors itself; they are means of values
 * in F16, which need no scale. */
static int attention(struct batch *s, const struct device_layer *l, struct cache_layer cache,
                     struct err *err) {
    struct backend *b = s->b;
    const uint32_t cols = b->model->n_heads * b->model->head_dim;
    struct attention_args args = {.rope = b->rope,
                                  .cache = cache,
                                  .q = b->q,
                                  .first = s->r->first,
                                  .n = s->r->n,
                                  .scratch = b->gate, /* the sums of q, k and v have been read */
                                  .room = (size_t)(b->h - b->gate)};
    const bool pads = cols % (s->small ? SMALL_STEP_BLOCKS * 32 : 32) != 0;
    if (pads) {
        args.out = b->attn;
    } else {
        order_for(s, &l->o, NULL);
        args.to = s->x;
    }
    CUDA_TRY(launch_attention(b->stream, &args));
    return pads ? vectors_of(s, b->attn, cols, false, NULL, &l->o, err) : STATUS_OK;
}

static int layer(struct timeline *t, struct batch *s, uint32_t i, struct err *err) {
    struct backend *b = s->b;
    const struct model_view *m = b->model;
    const struct device_layer *l = &b->layers[i];
    const uint32_t first = s->r->first, n = s->r->n;
    struct rope_args rope = b->rope;
    rope.q_norm = l->q_norm;
    rope.k_norm = l->k_norm;
    const struct cache_layer cache = timeline_layer(t, i);
    /* adds what the layer before made last */
    TRY(vectors_of(s, b->x, m->n_embd, i > 0, l->attn_norm, &l->q, err));
    TRY(product(s, l, PRODUCT_QKV, err));
    const struct batch_heads_args heads = {.rope = rope,
                                           .cache = cache,
                                           .sums = s->sums,
                                           .bias = {l->q_bias, l->k_bias, l->v_bias},
                                           .first = first,
                                           .n = n,
                                           .q = b->q};
    CUDA_TRY(launch_batch_heads(b->stream, &heads));
    TRY(attention(s, l, cache, err));
    TRY(product(s, l, PRODUCT_OUT, err));
    TRY(vectors_of(s, b->x, m->n_embd, true, l->ffn_norm, &l->gate, err));
    TRY(gated(s, l, err));
    return product(s, l, PRODUCT_DOWN, err);
}

int batch_forward(struct timeline *t, const struct forward_request *r, struct err *err) {
    struct backend *b = t->backend;
    const struct model_view *m = b->model;
    struct batch s = {.b = b, .r = r, .small = small_takes(b, r->n)};
    s.x = (struct batch_vectors){.data = b->narrow, .groups = s.small ? small_groups(r->n) : 0};
    CUDA_TRY(launch_embed(b->stream, b->token_embd, b->ids, r->n, b->x));
    for (uint32_t i = 0; i < m->n_layers; i++) {
        if (r->stop && atomic_load(r->stop)) return err_set(err, STATUS_STOPPED, "stopped");
        TRY(layer(t, &s, i, err));
    }
    const struct batch_rows_args last = {.x = b->x,
                                         .add = s.sums,
                                         .norm = b->output_norm,
                                         .eps = m->norm_eps,
                                         .cols = m->n_embd,
                                         .n = r->n,
                                         .to = s.x,
                                         .normed = b->normed};
    CUDA_TRY(launch_batch_rows(b->stream, &last));
    return STATUS_OK;
}
