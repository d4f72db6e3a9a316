/* Who computes which part of attention.
 *
 * A prompt: one item is a block of queries of one key/value head on all the keys they see; all query heads that share
 * it go together, so that a key is read once for all of them. A few queries (decoding): the keys are also cut into runs, so
 * that all threads have work at any depth; their results are joined in the order of the runs. How keys are cut depends
 * on positions alone, never on the number of threads, and with `exact` they are not cut at all. */
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
    return (scratch + rows * row_size(backend) + 15) / 16 * 16;
}

size_t attention_splits_size(const struct backend *backend, uint32_t keys) {
    size_t runs = ((size_t)keys + RUN_KEYS - 1) / RUN_KEYS;
    return runs * FEW_QUERIES * backend->model->n_heads * row_size(backend);
}

/* A part on the keys [begin, end), with results at `results`: rows of values, then the maxima, then the sums. */
static struct attention_part make_part(const struct attention_job *job, uint32_t head, uint32_t query, uint32_t n_queries,
                                       float *results) {
    const struct backend *backend = job->timeline->backend;
    const struct model_view *model = backend->model;
    uint32_t rows = n_queries * job->group, stride = job->timeline->value_stride;
    size_t q_stride = (size_t)model->n_heads * model->head_dim;
    return (struct attention_part){
        .q = backend->work.q + query * q_stride + (size_t)head * job->group * model->head_dim,
        .q_stride = q_stride,
        .n_queries = n_queries,
        .group = job->group,
        .head_dim = model->head_dim,
        .value_stride = stride,
        .first = job->first + query,
        .end = job->first + query + n_queries,
        .k = key_plane(job->timeline, job->layer, head),
        .v = value_plane(job->timeline, job->layer, head),
        .half = !backend->exact,
        .scale = 1.0f / sqrtf((float)model->head_dim),
        .out = results,
        .max = results + (size_t)rows * stride,
        .sum = results + (size_t)rows * (stride + 1),
    };
}

static float *attn_row(const struct attention_job *job, uint32_t query, uint32_t head) {
    const struct model_view *model = job->timeline->backend->model;
    return job->timeline->backend->work.attn + ((size_t)query * model->n_heads + head) * model->head_dim;
}

static void attend_block(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct attention_job *job = ctx;
    const struct backend *backend = job->timeline->backend;
    const struct model_view *model = backend->model;
    const struct vector_ops *ops = job->weights ? &vector_ops_exact : backend->ops;
    float *own = backend->work.parts + thread * backend->work.part_size;
    for (uint32_t item = begin; item < end; item++) {
        uint32_t head = item % model->n_kv_heads;
        uint32_t query = (job->n_blocks - 1 - item / model->n_kv_heads) * job->block; /* the longest first */
        uint32_t n = job->n - query < job->block ? job->n - query : job->block;
        struct attention_part part = make_part(job, head, query, n, own);
        part.scratch = own + most_rows(backend) * row_size(backend);
        if (job->weights) {
            part.weights_row_stride = job->first + job->n;
            part.weights_head_stride = part.weights_row_stride * job->n;
            part.weights = job->weights + head * job->group * part.weights_head_stride + query * part.weights_row_stride;
        }
        ops->attend(&part);
        for (uint32_t row = 0; row < n * job->group; row++) {
            float *out = attn_row(job, query + row / job->group, head * job->group + row % job->group);
            const float *from = part.out + (size_t)row * part.value_stride, inverse = 1.0f / part.sum[row];
            for (uint32_t d = 0; d < model->head_dim; d++) out[d] = from[d] * inverse;
        }
    }
}

static float *run_results(const struct attention_job *job, uint32_t head, uint32_t run) {
    const struct backend *backend = job->timeline->backend;
    size_t rows = (size_t)job->n * job->group;
    return backend->work.splits + ((size_t)head * job->n_runs + run) * rows * row_size(backend);
}

static void attend_run(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    const struct attention_job *job = ctx;
    const struct backend *backend = job->timeline->backend;
    for (uint32_t item = begin; item < end; item++) {
        uint32_t head = item / job->n_runs, run = item % job->n_runs;
        struct attention_part part = make_part(job, head, 0, job->n, run_results(job, head, run));
        part.begin = run * RUN_KEYS;
        if (part.end > part.begin + RUN_KEYS) part.end = part.begin + RUN_KEYS;
        part.scratch = backend->work.parts + thread * backend->work.part_size;
        backend->ops->attend(&part);
    }
}

/* Join the runs of one row: each was weighted relative to its own maximum. */
static void join_runs(const struct attention_job *job, uint32_t head, uint32_t row) {
    uint32_t dim = job->timeline->backend->model->head_dim, stride = job->timeline->value_stride;
    size_t rows = (size_t)job->n * job->group;
    float *out = attn_row(job, row / job->group, head * job->group + row % job->group), max = -INFINITY, sum = 0;
    for (uint32_t run = 0; run < job->n_runs; run++) {
        float run_max = run_results(job, head, run)[rows * stride + row];
        if (run_max > max) max = run_max;
    }
    for (uint32_t d = 0; d < dim; d++) out[d] = 0;
    for (uint32_t run = 0; run < job->n_runs; run++) {
        const float *results = run_results(job, head, run);
        float run_sum = results[rows * (stride + 1) + row];
        if (run_sum == 0) continue; /* no key of the run is seen by this row */
        float factor = expf(results[rows * stride + row] - max);
        sum += factor * run_sum;
        for (uint32_t d = 0; d < dim; d++) out[d] += factor * results[row * stride + d];
    }
    for (uint32_t d = 0; d < dim; d++) out[d] /= sum;
}

void attention(struct timeline *timeline, uint32_t layer, uint32_t first, uint32_t n, float *weights) {
    const struct backend *backend = timeline->backend;
    const struct model_view *model = backend->model;
    uint32_t group = model->n_heads / model->n_kv_heads;
    struct attention_job job = {timeline, layer, first, n, group, block_queries(group), 0, 0, weights};
    if (n <= FEW_QUERIES && !backend->exact && !weights) {
        job.n_runs = (first + n + RUN_KEYS - 1) / RUN_KEYS;
        pool_for(backend->pool, model->n_kv_heads * job.n_runs, 1, attend_run, &job);
        if (pool_stopped(backend->pool)) return;
        for (uint32_t head = 0; head < model->n_kv_heads; head++)
            for (uint32_t row = 0; row < n * group; row++) join_runs(&job, head, row);
        return;
    }
    job.n_blocks = (n + job.block - 1) / job.block;
    pool_for(backend->pool, model->n_kv_heads * job.n_blocks, 1, attend_block, &job);
}
