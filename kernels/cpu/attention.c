/* Who computes which part of attention.
 *
 * A prompt: one item is a block of queries of one key/value head on all the keys they see; all query heads
 * that share it go together, so that a key is read once for all of them. A few queries (decoding): an item is
 * a run of keys, so that all threads have work at any depth.
 *
 * The results of the runs of keys are joined in their order, in both ways: how keys are cut depends on
 * positions alone, never on the number of queries or threads, and a position is computed to the same bits in
 * whatever step it comes. With `exact` keys are not cut at all. */
#include "kernels/cpu/cpu.h"

#include <math.h>

enum {
    BLOCK_ROWS = 48,  /* rows of an item, at least one query */
    FEW_QUERIES = 4,
    RUN_KEYS = 256,   /* a multiple of ATTENTION_TILE */
};

struct attention_job {
    struct timeline *timeline;
    uint32_t layer, first, n;
    uint32_t group, block; /* query heads a key head; queries an item */
    uint32_t n_blocks, n_runs;
    bool cut; /* keys into runs */
    float *weights;
};

static uint32_t block_queries(uint32_t group) { return group < BLOCK_ROWS ? BLOCK_ROWS / group : 1; }

static uint32_t most_rows(const struct backend *backend) {
    uint32_t group = backend->model->n_heads / backend->model->n_kv_heads;
    uint32_t queries = block_queries(group);
    return group * (queries > FEW_QUERIES ? queries : FEW_QUERIES);
}

static size_t row_size(const struct backend *backend) { return value_stride(backend->model) + 2; }

size_t attention_part_size(const struct backend *backend, uint32_t keys) {
    uint32_t rows = most_rows(backend);
    size_t scratch = attention_scratch(rows, backend->model->head_dim, value_stride(backend->model), keys);
    return (scratch + 2 * rows * row_size(backend) + 15) / 16 * 16; /* of all runs so far, and of one */
}

size_t attention_splits_size(const struct backend *backend, uint32_t keys) {
    size_t runs = ((size_t)keys + RUN_KEYS - 1) / RUN_KEYS;
    return runs * FEW_QUERIES * backend->model->n_heads * row_size(backend);
}

/* Where the results of a part go: rows of values, then the maxima, then the sums. */
static void put_results(struct attention_part *part, float *results) {
    size_t rows = (size_t)part->n_queries * part->group;
    part->out = results;
    part->max = results + rows * part->value_stride;
    part->sum = results + rows * (part->value_stride + 1);
}

/* A part on all keys that its queries see. */
static struct attention_part make_part(const struct attention_job *job, uint32_t head, uint32_t query, uint32_t n_queries,
                                       float *results) {
    const struct backend *backend = job->timeline->backend;
    const struct model_view *model = backend->model;
    size_t q_stride = (size_t)model->n_heads * model->head_dim;
    struct attention_part part = {
        .q = backend->work.q + query * q_stride + (size_t)head * job->group * model->head_dim,
        .q_stride = q_stride,
        .n_queries = n_queries,
        .group = job->group,
        .head_dim = model->head_dim,
        .value_stride = job->timeline->value_stride,
        .first = job->first + query,
        .end = job->first + query + n_queries,
        .k = key_plane(job->timeline, job->layer, head),
        .v = value_plane(job->timeline, job->layer, head),
        .half = !backend->exact,
        .scale = 1.0f / sqrtf((float)model->head_dim),
    };
    put_results(&part, results);
    return part;
}

static void to_run(struct attention_part *part, uint32_t run) {
    part->begin = run * RUN_KEYS;
    if (part->end > part->begin + RUN_KEYS) part->end = part->begin + RUN_KEYS;
}

static float *attn_row(const struct attention_job *job, uint32_t query, uint32_t head) {
    const struct model_view *model = job->timeline->backend->model;
    return job->timeline->backend->work.attn + ((size_t)query * model->n_heads + head) * model->head_dim;
}

/* What the rows of a part got of all their keys becomes their attention. */
static void finish(const struct attention_job *job, uint32_t head, uint32_t query,
                   const struct attention_part *part) {
    for (uint32_t row = 0; row < part->n_queries * part->group; row++) {
        float *out = attn_row(job, query + row / part->group, head * part->group + row % part->group);
        const float *from = part->out + (size_t)row * part->value_stride, inverse = 1.0f / part->sum[row];
        for (uint32_t d = 0; d < part->head_dim; d++) out[d] = from[d] * inverse;
    }
}

/* `of_run` has room for the results of one run. */
static void attend_in_runs(const struct vector_ops *ops, const struct attention_part *part, float *of_run) {
    for (uint32_t run = 0; run * RUN_KEYS < part->end; run++) {
        struct attention_part keys = *part;
        to_run(&keys, run);
        if (run) put_results(&keys, of_run);
        ops->attend(&keys);
        if (run) ops->join(part, &keys);
    }
}

static void attend_block(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct attention_job *job = ctx;
    const struct backend *backend = job->timeline->backend;
    const struct model_view *model = backend->model;
    float *own = backend->work.parts + thread * backend->work.part_size,
          *of_run = own + most_rows(backend) * row_size(backend);
    for (uint32_t item = begin; item < end; item++) {
        uint32_t head = item % model->n_kv_heads;
        uint32_t query = (job->n_blocks - 1 - item / model->n_kv_heads) * job->block; /* the longest first */
        uint32_t n = job->n - query < job->block ? job->n - query : job->block;
        struct attention_part part = make_part(job, head, query, n, own);
        part.scratch = of_run + most_rows(backend) * row_size(backend);
        if (job->weights) {
            part.weights_row_stride = job->first + job->n;
            part.weights_head_stride = part.weights_row_stride * job->n;
            part.weights = job->weights + head * job->group * part.weights_head_stride + query * part.weights_row_stride;
        }
        if (job->cut)
            attend_in_runs(backend->ops, &part, of_run);
        else if (job->weights)
            vector_ops_exact.attend(&part);
        else
            backend->ops->attend(&part);
        finish(job, head, query, &part);
    }
}

/* All queries, on a run of keys of one head. */
static struct attention_part run_part(const struct attention_job *job, uint32_t head, uint32_t run) {
    const struct backend *backend = job->timeline->backend;
    size_t size = (size_t)job->n * job->group * row_size(backend);
    struct attention_part part =
        make_part(job, head, 0, job->n, backend->work.splits + ((size_t)head * job->n_runs + run) * size);
    to_run(&part, run);
    return part;
}

static void attend_run(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct attention_job *job = ctx;
    const struct backend *backend = job->timeline->backend;
    for (uint32_t item = begin; item < end; item++) {
        struct attention_part part = run_part(job, item / job->n_runs, item % job->n_runs);
        part.scratch = backend->work.parts + thread * backend->work.part_size;
        backend->ops->attend(&part);
    }
}

static void join_runs(const struct attention_job *job, uint32_t head) {
    struct attention_part all = run_part(job, head, 0);
    for (uint32_t run = 1; run < job->n_runs; run++) {
        struct attention_part part = run_part(job, head, run);
        job->timeline->backend->ops->join(&all, &part);
    }
    finish(job, head, 0, &all);
}

void attention(struct timeline *timeline, uint32_t layer, uint32_t first, uint32_t n, float *weights) {
    const struct backend *backend = timeline->backend;
    const struct model_view *model = backend->model;
    uint32_t group = model->n_heads / model->n_kv_heads;
    struct attention_job job = {.timeline = timeline,
                                .layer = layer,
                                .first = first,
                                .n = n,
                                .group = group,
                                .block = block_queries(group),
                                .cut = !backend->exact && !weights,
                                .weights = weights};
    if (n <= FEW_QUERIES && job.cut) {
        job.n_runs = (first + n + RUN_KEYS - 1) / RUN_KEYS;
        pool_for(backend->pool, model->n_kv_heads * job.n_runs, 1, attend_run, &job);
        if (pool_stopped(backend->pool)) return;
        for (uint32_t head = 0; head < model->n_kv_heads; head++) join_runs(&job, head);
        return;
    }
    job.n_blocks = (n + job.block - 1) / job.block;
    pool_for(backend->pool, model->n_kv_heads * job.n_blocks, 1, attend_block, &job);
}
