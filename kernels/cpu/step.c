/* Feeding tokens: a step is cut into chunks, and results are made of the positions that are wanted. */
#include "kernels/cpu/cpu.h"

#include "base/mem.h"
#include "kernels/step_ids.h"

#include <stdlib.h>
#include <string.h>

static int check_request(const struct timeline *timeline, const struct step_request *request, struct err *err) {
    if (request->n > timeline->n_ctx - timeline->length)
        return err_set(err, STATUS_CONTEXT_FULL, "%u tokens do not fit: the context of %u holds %u already", request->n,
                       timeline->n_ctx, timeline->length);
    return step_ids_check(request, timeline->backend->model->n_vocab, err);
}

struct results_job {
    struct timeline *timeline;
    const struct step_request *request;
    uint32_t first, done; /* position of the first of these results; tokens of the step before it */
    struct step_result results[OUTPUT_CHUNK];
    int status[OUTPUT_CHUNK];
    struct err errs[OUTPUT_CHUNK];
};

static void make_results(void *ctx, uint32_t begin, uint32_t end, uint32_t thread) {
    struct results_job *job = ctx;
    const struct backend *backend = job->timeline->backend;
    for (uint32_t i = begin; i < end; i++) {
        struct sample_request request = {
            .logits = backend->work.logits + i * backend->work.logits_stride,
            .target = job->request->targets ? job->request->targets[job->done + i] : -1,
            .history = job->timeline->ids,
            .n_history = job->first + i + 1,
            .position = job->first + i,
            .top_k = job->request->top_k,
        };
        job->status[i] = sample_position(backend->scratch[thread], &request, &job->results[i], &job->errs[i]);
    }
}

/* Results of n positions of the chunk, `from` on; `done` tokens of the step lie before the chunk. */
static int hand_out(struct timeline *timeline, const struct step_request *request, uint32_t done, uint32_t from, uint32_t n,
                    struct err *err) {
    const struct backend *backend = timeline->backend;
    struct results_job *job = xcalloc(1, sizeof *job);
    int status = STATUS_OK;
    for (uint32_t end = from + n; from < end && !status; from += OUTPUT_CHUNK) {
        uint32_t count = end - from < OUTPUT_CHUNK ? end - from : OUTPUT_CHUNK;
        cpu_forward_logits(timeline, from, count);
        job->timeline = timeline;
        job->request = request;
        job->first = timeline->length + from;
        job->done = done + from;
        pool_for(backend->pool, count, 1, make_results, job);
        if (pool_stopped(backend->pool)) status = err_set(err, STATUS_STOPPED, "stopped");
        for (uint32_t i = 0; i < count && !status; i++) {
            status = job->status[i];
            if (status)
                err_set(err, job->errs[i].code, "%s", job->errs[i].text);
            else if (request->on_result(request->ctx, &job->results[i],
                                        request->logits ? backend->work.logits + i * backend->work.logits_stride : NULL))
                status = err_set(err, STATUS_STOPPED, "stopped after %u results", job->done + i + 1);
        }
    }
    free(job);
    return status;
}

static int step_chunk(struct timeline *timeline, const struct step_request *request, uint32_t done, uint32_t n, struct err *err) {
    memcpy(timeline->ids + timeline->length, request->ids + done, n * sizeof *request->ids);
    int status = cpu_forward(timeline, request->ids + done, timeline->length, n, request, err);
    if (!status && request->wanted == WANT_ALL) status = hand_out(timeline, request, done, 0, n, err);
    if (!status && request->wanted == WANT_LAST && done + n == request->n)
        status = hand_out(timeline, request, done, n - 1, 1, err);
    if (!status) timeline->length += n;
    return status;
}

int cpu_step(struct timeline *timeline, const struct step_request *request, struct err *err) {
    struct backend *backend = timeline->backend;
    int status = check_request(timeline, request, err);
    if (status) return status;
    uint32_t chunk = request->on_trace ? request->n : CHUNK; /* a trace tells of the whole step */
    status = work_reserve(backend, chunk, timeline->n_ctx, err);
    if (status) return status;
    pool_watch(backend->pool, request->stop);
    for (uint32_t done = 0; done < request->n && !status;) {
        uint32_t n = request->n - done < chunk ? request->n - done : chunk;
        status = step_chunk(timeline, request, done, n, err);
        if (status) break;
        done += n;
        if (request->progress && request->progress(request->ctx, done, request->n) && done < request->n)
            status = err_set(err, STATUS_STOPPED, "stopped after %u of %u tokens", done, request->n);
    }
    pool_watch(backend->pool, NULL);
    if (chunk <= CHUNK) return status;
    uint32_t keys = backend->work.keys; /* give back what only a long trace needed */
    work_free(backend);
    int restored = work_reserve(backend, CHUNK, keys, status ? NULL : err);
    return status ? status : restored;
}

int feed_one(struct timeline *timeline, int32_t id, const atomic_bool *stop, struct err *err) {
    struct pool *pool = timeline->backend->pool;
    int status = check_request(timeline, &(struct step_request){.ids = &id, .n = 1}, err);
    if (!status) status = work_reserve(timeline->backend, CHUNK, timeline->n_ctx, err);
    if (status) return status;
    pool_watch(pool, stop);
    timeline->ids[timeline->length] = id;
    status = cpu_forward(timeline, &id, timeline->length, 1, NULL, err);
    if (!status) cpu_forward_logits(timeline, 0, 1);
    if (!status && pool_stopped(pool)) status = err_set(err, STATUS_STOPPED, "stopped");
    pool_watch(pool, NULL);
    return status;
}
