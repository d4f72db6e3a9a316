/* The decode loop. A step takes the id and the position from device memory. Where the card and the model allow it, it is one kernel
 * (decode_whole.cu). Otherwise it is a chain of fused kernels, captured once as a graph:
 *     embed | per layer: norm + q, k, v | head norm, rotation, cache, attention | output + residual | norm + gate, up, silu |
 *     down + residual | norm + logits | sample, feed back
 * Steps are queued a few ahead of what was asked for; records come back through a ring in pinned memory.
 * With --exact, or for shapes the fused kernels do not take, a step runs forward() for one position instead. */
#include "kernels/cuda/device.h"

#include "base/mem.h"
#include "kernels/cpu/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD = 3 /* steps that are queued before their results are taken */ };

struct decode_buffers { /* of a backend */
    struct decode_state *state;
    float2 *turn;
    struct decode_state *host_state; /* pinned: what a run begins with */
    float *partial;
    uint32_t *arrived;
    uint32_t splits;
    struct sample_order *order, *host_order;
    struct sample_scratch_device *scratch;
    struct sample_record *ring; /* pinned, mapped */
    struct sample_all_args all; /* but what a timeline has */
    /* Whole steps, where backend->whole. */
    struct whole_plan whole;
    void *tables, *exchange, *slices;
    uint32_t *epoch;
};

/* How the steps of a run are made. */
enum decode_way {
    WAY_LISTED,  /* a graph that samples from a list of the best, and feeds back by itself */
    WAY_ALL,     /* the same from the whole vocabulary: chains that nothing bounds */
    WAY_FORWARD, /* no graph: --exact, shapes the fused kernels do not take, and such chains where no block may wait for another */
};

struct decode {
    struct timeline *timeline;
    struct decode_request request;
    enum decode_way way;
    int32_t id;         /* fed by the step whose result is given next */
    uint32_t first;     /* timeline length at the beginning */
    uint32_t given;     /* results taken */
    uint32_t launched;  /* steps queued, of those with a graph */
};

/* ---- memory that does not depend on the context ---- */

static struct rope_args shape_of(const struct model_view *m) {
    return (struct rope_args){.n_heads = m->n_heads, .n_kv_heads = m->n_kv_heads, .head_dim = m->head_dim};
}

/* Splits for the longest context: the kernel uses fewer where it is short. */
enum { MANY = 1 << 20, MULTIPROCESSORS_MAX = 256, HEAD_PAIRS_MAX = 128 };

static size_t whole_memory(const struct model_view *m);

size_t decode_memory(const struct model_view *m) {
    struct rope_args shape = shape_of(m);
    return whole_memory(m) + decode_attention_partial(shape, decode_attention_splits(shape, MANY, MULTIPROCESSORS_MAX)) +
           decode_attention_blocks(shape) * sizeof(uint32_t) + sizeof(struct decode_state) + sizeof(struct sample_order) + HEAD_PAIRS_MAX * sizeof(float2) +
           sizeof(struct sample_scratch_device) + sizeof(struct sample_all_scratch) +
           m->n_vocab * (sizeof(float) + sizeof(uint32_t) + sizeof(uint8_t));
}

static int allocate(void **to, size_t size, bool host, struct err *err) {
    if (host) CUDA_TRY(cudaHostAlloc(to, size, cudaHostAllocMapped));
    else CUDA_TRY(cudaMalloc(to, size));
    if (host) memset(*to, 0, size);
    else CUDA_TRY(cudaMemset(*to, 0, size));
    return STATUS_OK;
}

/* ---- whole steps ---- */

static size_t whole_memory(const struct model_view *m) {
    struct whole_plan plan = {.args = {.n_embd = m->n_embd, .n_ff = m->n_ff, .rope = shape_of(m), .most_splits = MULTIPROCESSORS_MAX}};
    whole_exchange(&plan, NULL);
    return plan.exchange + sizeof(uint32_t);
}

static struct whole_part whole_part(const struct weight *w) { return (struct whole_part){.type = (uint32_t)w->type, .units = (uint32_t)w->rows}; }

static struct whole_product whole_product(enum whole_kind kind, const struct weight *w) {
    return (struct whole_product){.part = {whole_part(w)}, .n_parts = 1, .rows_a_unit = 1, .run = 1, .kind = kind, .cols = (uint32_t)w->cols};
}

/* `joins`: the rows are of the last part's type and lie behind its rows. */
static void add_rows(struct whole_product *to, const struct weight *w, bool joins) {
    if (joins) to->part[to->n_parts - 1].units += (uint32_t)w->rows;
    else to->part[to->n_parts++] = whole_part(w);
}

/* The products of a step, 4 a layer and the head, without their data. */
static void list_products(const struct model_view *m, struct whole_product *to) {
    bool k_joins = true, v_joins = true; /* the same in all layers, as shares of blocks are */
    for (uint32_t i = 0; i < m->n_layers; i++) {
        const struct layer_view *l = &m->layers[i];
        k_joins = k_joins && l->attn_k->type == l->attn_q->type;
        v_joins = v_joins && l->attn_v->type == l->attn_k->type;
    }
    for (uint32_t i = 0; i < m->n_layers; i++, to += 4) {
        const struct layer_view *l = &m->layers[i];
        to[WHOLE_QKV] = whole_product(WHOLE_QKV, l->attn_q);
        add_rows(&to[WHOLE_QKV], l->attn_k, k_joins);
        add_rows(&to[WHOLE_QKV], l->attn_v, v_joins);
        to[WHOLE_OUTPUT] = whole_product(WHOLE_OUTPUT, l->attn_output);
        to[WHOLE_GATE] = whole_product(WHOLE_GATE, l->ffn_gate);
        to[WHOLE_GATE].rows_a_unit = 2;
        to[WHOLE_DOWN] = whole_product(WHOLE_DOWN, l->ffn_down);
    }
    *to = whole_product(WHOLE_HEAD, m->output);
    to->part[0].units = m->n_vocab; /* rows beyond are padding */
}

/* Their data, of down the rows. No: matrices that are a part together do not lie one behind the other, as weights.c loads them. */
static bool fill_products(const struct backend *b, struct whole_product *to) {
    for (uint32_t i = 0; i < b->model->n_layers; i++, to += 4) {
        const struct device_layer *l = &b->layers[i];
        const struct device_matrix *const qkv[] = {&l->q, &l->k, &l->v};
        const float *const bias[] = {l->q_bias, l->k_bias, l->v_bias};
        for (uint32_t j = 0, p = 0, units = 0; j < 3; j++) {
            struct whole_part *part = &to[WHOLE_QKV].part[p];
            if (units == 0) part->data = qkv[j]->data;
            else if (qkv[j]->data != part->data + (size_t)units * qkv[j]->pitch) return false;
            to[WHOLE_QKV].bias[j] = bias[j];
            units += qkv[j]->rows;
            if (units == part->units) p++, units = 0;
        }
        to[WHOLE_QKV].norm = l->attn_norm, to[WHOLE_QKV].q_norm = l->q_norm, to[WHOLE_QKV].k_norm = l->k_norm;
        to[WHOLE_OUTPUT].part[0].data = l->o.data;
        to[WHOLE_GATE].part[0].data = l->gate.data; /* rows of up in turns with it */
        to[WHOLE_GATE].norm = l->ffn_norm;
        to[WHOLE_DOWN].part[0].data = l->down.data;
    }
    to->part[0].data = b->output.data;
    to->norm = b->output_norm;
    return true;
}

static int upload_tables(struct backend *b, const struct whole_product *all, struct err *err) {
    struct decode_buffers *d = b->decode;
    const uint32_t first_epoch = 1;
    int status = allocate(&d->tables, d->whole.tables, false, err);
    if (status == STATUS_OK) status = allocate(&d->exchange, d->whole.exchange, false, err);
    if (status == STATUS_OK) status = allocate((void **)&d->epoch, sizeof *d->epoch, false, err);
    if (status != STATUS_OK) return status;
    void *tables = xmalloc(d->whole.tables);
    whole_tables(&d->whole, all, tables, d->tables);
    const cudaError_t code = cudaMemcpy(d->tables, tables, d->whole.tables, cudaMemcpyHostToDevice);
    free(tables);
    if (code != cudaSuccess) return cuda_failed(err, code, "copying the tables of the step");
    CUDA_TRY(cudaMemcpy(d->epoch, &first_epoch, sizeof first_epoch, cudaMemcpyHostToDevice));
    whole_exchange(&d->whole, d->exchange);
    d->whole.args.epoch = d->epoch;
    return STATUS_OK;
}

/* Can all blocks of a step run at the same time? They wait for each other. Where the card is shared in time, a kernel has all of it when
 * it runs. */
static int whole_runs_at_once(const struct backend *b, bool *at_once, struct err *err) {
    const struct whole_plan *plan = &b->decode->whole;
    int each = 0;
    CUDA_TRY(whole_load(plan, &each));
    *at_once = (uint64_t)each * (uint32_t)b->properties.multiProcessorCount >= plan->blocks;
    return STATUS_OK;
}

/* Plan whole steps for a model on a card. NULL: they cannot be; else the products, to be freed. */
static struct whole_product *plan_whole(const struct model_view *m, const struct device_shape *card, struct whole_plan *plan) {
    const size_t n = 4 * (size_t)m->n_layers + 1;
    if (card->capability < 9) return NULL;
    for (uint32_t i = 0; i < m->n_layers; i++)
        if (m->layers[i].ffn_gate->type != m->layers[i].ffn_up->type) return NULL; /* their rows do not lie in turns */
    struct whole_product *all = xcalloc(n, sizeof *all);
    list_products(m, all);
    plan->args = (struct whole_args){.n_layers = m->n_layers, .n_embd = m->n_embd, .n_ff = m->n_ff, .rope = shape_of(m)};
    if (whole_fits(plan, all, card)) return all;
    free(all);
    return NULL;
}

static size_t layer_slices(const struct whole_plan *plan, const struct layer_view *l) {
    return plan->args.sliced ? slices_bytes(&plan->args.slices, (uint32_t)l->ffn_down->type) : 0;
}

static size_t all_slices(const struct whole_plan *plan, const struct model_view *m) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < m->n_layers; i++) bytes += layer_slices(plan, &m->layers[i]);
    return bytes;
}

size_t decode_whole_memory(const struct model_view *m, const struct device_shape *card) {
    struct whole_plan plan = {0};
    struct whole_product *all = plan_whole(m, card, &plan);
    const size_t bytes = all ? all_slices(&plan, m) + plan.tables : 0;
    free(all);
    return bytes;
}

/* The slices of down of all layers, made from its rows. */
static int make_slices(struct backend *b, struct whole_product *all, size_t bytes, struct err *err) {
    struct decode_buffers *d = b->decode;
    CUDA_TRY(cudaMalloc(&d->slices, bytes));
    CUDA_TRY(cudaMemsetAsync(d->slices, 0, bytes, b->stream)); /* what is read ahead of the last scales is nothing */
    char *at = d->slices;
    for (uint32_t i = 0; i < b->model->n_layers; i++) {
        CUDA_TRY(launch_slices(b->stream, b->layers[i].down, &d->whole.args.slices, at));
        all[4 * i + WHOLE_DOWN].part[0].data = at;
        at += layer_slices(&d->whole, &b->model->layers[i]);
    }
    CUDA_TRY(cudaStreamSynchronize(b->stream));
    return STATUS_OK;
}

int decode_whole_new(struct backend *b, const struct device_shape *card, size_t room, struct err *err) {
    struct decode_buffers *d = b->decode;
    if (b->exact || b->crowded) return STATUS_OK;
    struct whole_product *all = plan_whole(b->model, card, &d->whole);
    const size_t slices = all ? all_slices(&d->whole, b->model) : 0;
    if (!all || slices + d->whole.tables > room || !fill_products(b, all)) {
        free(all);
        return STATUS_OK;
    }
    d->whole.args.rope = b->rope;
    d->whole.args.table = b->token_embd;
    d->whole.args.state = d->state;
    d->whole.args.logits = b->logits;
    int status = whole_runs_at_once(b, &b->whole, err);
    if (status == STATUS_OK && b->whole && d->whole.args.sliced) status = make_slices(b, all, slices, err);
    if (status == STATUS_OK && b->whole) status = upload_tables(b, all, err);
    free(all);
    return status;
}

int decode_memory_new(struct backend *b, struct err *err) {
    struct decode_buffers *d = b->decode = xcalloc(1, sizeof *d);
    struct rope_args shape = shape_of(b->model);
    size_t n_vocab = b->model->n_vocab;
    d->splits = decode_attention_splits(shape, MANY, (uint32_t)b->properties.multiProcessorCount);
    b->scratch = sample_scratch_new(b->model->n_vocab);
    if (!b->scratch) return err_set(err, STATUS_UNSUPPORTED, "vocabulary: found %u ids, expected at most 262144", b->model->n_vocab);
    const struct {
        void **to;
        size_t size;
        bool host;
    } all[] = {
        {(void **)&d->state, sizeof *d->state, false},
        {(void **)&d->turn, HEAD_PAIRS_MAX * sizeof *d->turn, false},
        {(void **)&d->host_state, sizeof *d->host_state, true},
        {(void **)&d->partial, decode_attention_partial(shape, d->splits), false},
        {(void **)&d->arrived, decode_attention_blocks(shape) * sizeof(uint32_t), false},
        {(void **)&d->order, sizeof *d->order, false},
        {(void **)&d->host_order, sizeof *d->host_order, true},
        {(void **)&d->scratch, sizeof *d->scratch, false},
        {(void **)&d->ring, SAMPLE_RING * sizeof *d->ring, true},
        {(void **)&d->all.logits, n_vocab * sizeof *d->all.logits, false},
        {(void **)&d->all.counts, n_vocab * sizeof *d->all.counts, false},
        {(void **)&d->all.marks, n_vocab * sizeof *d->all.marks, false},
        {(void **)&d->all.scratch, sizeof *d->all.scratch, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int status = allocate(all[i].to, all[i].size, all[i].host, err);
        if (status != STATUS_OK) return status;
    }
    CUDA_TRY(cudaMemset(&d->scratch->bad, 0xFF, sizeof d->scratch->bad));
    return STATUS_OK;
}

void decode_memory_free(struct backend *b) {
    struct decode_buffers *d = b->decode;
    sample_scratch_free(b->scratch);
    if (!d) return;
    cudaFree(d->state);
    cudaFree(d->turn);
    cudaFree(d->partial);
    cudaFree(d->arrived);
    cudaFree(d->order);
    cudaFree(d->scratch);
    cudaFree(d->all.logits);
    cudaFree(d->all.counts);
    cudaFree(d->all.marks);
    cudaFree(d->all.scratch);
    cudaFree(d->tables);
    cudaFree(d->exchange);
    cudaFree(d->slices);
    cudaFree(d->epoch);
    cudaFreeHost(d->host_state);
    cudaFreeHost(d->host_order);
    cudaFreeHost(d->ring);
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

/* The logits of a step as a chain of kernels. */
static int enqueue_chain(struct timeline *t, struct err *err) {
    struct backend *b = t->backend;
    const struct model_view *m = b->model;
    struct decode_buffers *d = b->decode;
    CUDA_TRY(launch_decode_embed(b->stream, b->token_embd, d->state, b->x, b->rope, d->turn));
    for (uint32_t i = 0; i < m->n_layers; i++) {
        const struct device_layer *l = &b->layers[i];
        int status = launch_all(b, qkv_of(b, l), err);
        if (status != STATUS_OK) return status;
        struct decode_attention_args attention = {.rope = b->rope, .cache = timeline_layer(t, i), .q = b->q, .k = b->k, .v = b->v,
                                                  .position = &d->state->position, .turn = d->turn, .out = b->attn, .partial = d->partial,
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

static int enqueue_step(struct timeline *t, enum decode_way way, struct err *err) {
    struct backend *b = t->backend;
    struct decode_buffers *d = b->decode;
    const uint32_t multiprocessors = (uint32_t)b->properties.multiProcessorCount;
    struct sample_args args = {.logits = b->logits, .n_vocab = b->model->n_vocab, .order = d->order, .history = t->device_ids,
                               .state = d->state, .scratch = d->scratch, .ring = d->ring};
    if (b->whole) {
        struct whole_plan plan = d->whole;
        plan.args.cache = t->cache;
        plan.args.n_ctx = t->n_ctx;
        plan.args.sample = way == WAY_LISTED;
        plan.args.choice = args;
        CUDA_TRY(launch_whole_step(b->stream, &plan));
    } else {
        int status = enqueue_chain(t, err);
        if (status != STATUS_OK) return status;
        if (way == WAY_LISTED) CUDA_TRY(launch_sample(b->stream, args, multiprocessors));
    }
    if (way == WAY_LISTED) return STATUS_OK;
    struct sample_all_args all = d->all;
    all.sample = args;
    CUDA_TRY(launch_sample_all(b->stream, all, multiprocessors));
    return STATUS_OK;
}

static int capture(struct timeline *t, enum decode_way way, cudaGraphExec_t *out, struct err *err) {
    cudaStream_t stream = t->backend->stream;
    cudaGraph_t graph = NULL;
    CUDA_TRY(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    int status = enqueue_step(t, way, err);
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

/* What the next step finds on the device: id to feed, its position, number of the step. Only while nothing is queued. */
static int put_state(struct decode *d, struct err *err) {
    struct timeline *t = d->timeline;
    struct backend *b = t->backend;
    struct decode_buffers *buffers = b->decode;
    for (int i = 0; i < SAMPLE_RING; i++) buffers->ring[i].ready = 0;
    *buffers->host_state = (struct decode_state){d->id, t->length, d->given};
    t->ids[t->length] = d->id; /* has room for one beyond the context */
    CUDA_TRY(cudaMemcpyAsync(buffers->state, buffers->host_state, sizeof *buffers->state, cudaMemcpyHostToDevice, b->stream));
    CUDA_TRY(cudaMemcpyAsync(t->device_ids + t->length, t->ids + t->length, sizeof *t->ids, cudaMemcpyHostToDevice, b->stream));
    CUDA_TRY(cudaStreamSynchronize(b->stream));
    d->launched = d->given;
    return STATUS_OK;
}

static int begin_on_device(struct decode *d, struct err *err) {
    struct timeline *t = d->timeline;
    struct backend *b = t->backend;
    struct decode_buffers *buffers = b->decode;
    *buffers->host_order = (struct sample_order){d->request.sampling, d->request.top_k};
    CUDA_TRY(cudaMemcpyAsync(buffers->order, buffers->host_order, sizeof *buffers->order, cudaMemcpyHostToDevice, b->stream));
    CUDA_TRY(cudaMemcpyAsync(t->device_ids, t->ids, t->length * sizeof *t->ids, cudaMemcpyHostToDevice, b->stream));
    return put_state(d, err);
}

/* Older cards have less shared memory than the fused kernels may want. */
static bool fused_fits(const struct backend *b) {
    const struct device_layer *l = &b->layers[0];
    size_t attention = decode_attention_shared(b->rope), limit = b->properties.sharedMemPerBlockOptin;
    return attention && attention <= limit && decode_product_shared(&l->gate) <= limit && decode_product_shared(&l->down) <= limit &&
           decode_product_shared(&b->output) <= limit;
}

int decode_prepare(struct timeline *t, struct err *err) {
    if (t->backend->exact || t->backend->whole || !fused_fits(t->backend)) return STATUS_OK;
    int status = capture(t, WAY_LISTED, &t->graphs[WAY_LISTED], err);
    return status == STATUS_OK ? capture(t, WAY_ALL, &t->graphs[WAY_ALL], err) : status;
}

int cuda_decode_begin(struct timeline *t, const struct decode_request *request, struct decode **out, struct err *err) {
    struct backend *b = t->backend;
    if (request->id < 0 || (uint32_t)request->id >= b->model->n_vocab)
        return err_set(err, STATUS_USAGE, "decoding from id %d, expected one below %u", request->id, b->model->n_vocab);
    CUDA_TRY(cudaSetDevice(b->device));
    warm_leave(b);
    struct decode *d = xcalloc(1, sizeof *d);
    *d = (struct decode){.timeline = t, .request = *request, .id = request->id, .first = t->length};
    int status = STATUS_OK;
    bool listed = sample_fits(&request->sampling, request->top_k, b->model->n_vocab);
    if ((!b->whole && !t->graphs[WAY_LISTED]) || (!listed && b->crowded)) d->way = WAY_FORWARD;
    else d->way = listed ? WAY_LISTED : WAY_ALL;
    if (d->way != WAY_FORWARD && t->length < t->n_ctx) status = begin_on_device(d, err);
    if (status != STATUS_OK) {
        free(d);
        return status;
    }
    *out = d;
    return STATUS_OK;
}

/* Logits of what follows d->id, unfused. */
static int step_unfused(struct decode *d, struct err *err) {
    struct timeline *t = d->timeline;
    struct backend *b = t->backend;
    CUDA_TRY(cudaMemcpyAsync(b->ids, &d->id, sizeof d->id, cudaMemcpyHostToDevice, b->stream));
    struct forward_request f = {.first = t->length, .n = 1, .stop = d->request.stop};
    int status = forward(t, &f, err);
    return status == STATUS_OK ? forward_logits(b, 0, err) : status;
}

/* Sample from backend->logits on the host; d->id was fed at timeline length. */
static int sample_on_host(struct decode *d, struct step_result *out, struct err *err) {
    struct timeline *t = d->timeline;
    struct backend *b = t->backend;
    CUDA_TRY(cudaMemcpyAsync(b->host_logits, b->logits, b->model->n_vocab * sizeof(float), cudaMemcpyDeviceToHost, b->stream));
    CUDA_TRY(cudaStreamSynchronize(b->stream));
    t->ids[t->length] = d->id;
    struct sample_request ask = {.logits = b->host_logits, .sampling = &d->request.sampling, .target = -1, .history = t->ids,
                                 .n_history = t->length + 1, .position = t->length, .top_k = d->request.top_k};
    return sample_position(b->scratch, &ask, out, err);
}

/* Queue steps as far ahead as the run may go. */
static int launch_ahead(struct decode *d, struct err *err) {
    struct timeline *t = d->timeline;
    while (d->launched < d->given + AHEAD && d->launched < d->request.limit && d->first + d->launched < t->n_ctx) {
        if (t->backend->whole) {
            int status = enqueue_step(t, d->way, err);
            if (status != STATUS_OK) return status;
        } else {
            CUDA_TRY(cudaGraphLaunch(t->graphs[d->way], t->backend->stream));
        }
        d->launched++;
    }
    return STATUS_OK;
}

/* The record of step d->given. The device writes `ready` last, over the bus; a device that died never does. */
static int wait_for_record(struct decode *d, const struct sample_record **out, struct err *err) {
    enum { LOOKS = 20000 };
    struct backend *b = d->timeline->backend;
    const struct sample_record *record = &b->decode->ring[d->given % SAMPLE_RING];
    for (uint32_t look = 1;; look++) {
        if (__atomic_load_n(&record->ready, __ATOMIC_ACQUIRE) == d->given + 1) break;
        if (look % LOOKS == 0) {
            cudaError_t code = cudaStreamQuery(b->stream);
            if (code == cudaErrorNotReady) continue;
            CUDA_TRY(code);
            if (__atomic_load_n(&record->ready, __ATOMIC_ACQUIRE) == d->given + 1) break;
            return err_set(err, STATUS_DEVICE, "the GPU ended a decode step without a result");
        }
    }
    *out = record;
    return STATUS_OK;
}

static void tell_record(const struct sample_record *record, struct step_result *out) {
    const double one = (double)(1ull << 44); /* of the fixed point, kernels/sampling_math.h */
    double log_total = log((double)record->weights / one);
    out->position = record->position;
    out->id = record->id;
    out->logit = record->logit;
    out->prob = record->prob;
    out->rank = record->rank;
    out->log_sum_exp = (float)(record->max + log_total);
    out->entropy = (float)(log_total + (double)record->distances / (double)record->weights);
    out->n_top = record->n_top;
    memcpy(out->top, record->top, record->n_top * sizeof *out->top);
}

static int next_from_device(struct decode *d, struct step_result *out, struct err *err) {
    const struct sample_record *record = NULL;
    int status = launch_ahead(d, err);
    if (status == STATUS_OK) status = wait_for_record(d, &record, err);
    if (status != STATUS_OK) return status;
    if (record->bad != UINT32_MAX)
        return err_set(err, STATUS_FAILED, "position %u: the logit of token %u is not a finite number", record->position, record->bad);
    if (!record->overflow) {
        tell_record(record, out);
        return STATUS_OK;
    }
    /* More candidates than the list holds: the steps behind ran this position again, so its logits are still there. */
    CUDA_TRY(cudaStreamSynchronize(d->timeline->backend->stream));
    d->launched = d->given; /* what was queued told nothing */
    return sample_on_host(d, out, err);
}

int cuda_decode_next(struct decode *d, struct step_result *out, struct err *err) {
    struct timeline *t = d->timeline;
    if (d->given == d->request.limit || (d->request.stop && atomic_load(d->request.stop))) return err_set(err, STATUS_STOPPED, "stopped");
    if (t->length == t->n_ctx) return err_set(err, STATUS_CONTEXT_FULL, "the context of %u tokens is full", t->n_ctx);
    int status;
    if (d->way != WAY_FORWARD) {
        status = next_from_device(d, out, err);
    } else {
        status = step_unfused(d, err);
        if (status == STATUS_OK) status = sample_on_host(d, out, err);
    }
    if (status != STATUS_OK) return status;
    t->ids[t->length++] = d->id;
    d->id = out->id;
    d->given++;
    if (d->way != WAY_FORWARD && d->launched < d->given && t->length < t->n_ctx) return put_state(d, err); /* after an overflow */
    return STATUS_OK;
}

void cuda_decode_end(struct decode *d, uint32_t keep) {
    if (!d) return;
    cudaStreamSynchronize(d->timeline->backend->stream);
    cuda_timeline_truncate(d->timeline, keep);
    free(d);
}
