/* One step over many positions: chunks through forward(), and what is wanted of their logits. */
#include "kernels/cuda/device.h"

#include "kernels/cpu/sample.h"
#include "kernels/step_ids.h"

#include <math.h>
#include <string.h>

/* Logits of position i of the chunk to the host, and what they say to whoever asked. */
static int report(struct timeline *t, const struct step_request *request, uint32_t i, uint32_t index, struct err *err) {
    struct backend *b = t->backend;
    int status = forward_logits(b, i, err);
    if (status != STATUS_OK) return status;
    CUDA_TRY(cudaMemcpyAsync(b->host_logits, b->logits, b->model->n_vocab * sizeof(float), cudaMemcpyDeviceToHost, b->stream));
    CUDA_TRY(cudaStreamSynchronize(b->stream));
    struct step_result result;
    struct sample_request ask = {.logits = b->host_logits, .target = request->targets ? request->targets[index] : -1, .history = t->ids,
                                 .n_history = t->length, .position = t->length + i, .top_k = request->top_k};
    status = sample_position(b->scratch, &ask, &result, err);
    if (status != STATUS_OK) return status;
    if (request->on_result(request->ctx, &result, request->logits ? b->host_logits : NULL))
        return err_set(err, STATUS_STOPPED, "stopped");
    return STATUS_OK;
}

static int chunk(struct timeline *t, const struct step_request *request, uint32_t from, uint32_t n, struct err *err) {
    struct backend *b = t->backend;
    CUDA_TRY(cudaMemcpyAsync(b->ids, request->ids + from, n * sizeof(int32_t), cudaMemcpyHostToDevice, b->stream));
    struct forward_request f = {.first = t->length, .n = n, .trace = request->on_trace, .ctx = request->ctx, .stop = request->stop};
    int status = forward(t, &f, err);
    if (status != STATUS_OK) return status;
    for (uint32_t i = 0; i < n && request->wanted != WANT_NOTHING; i++) {
        if (request->wanted == WANT_LAST && from + i + 1 != request->n) continue;
        status = report(t, request, i, from + i, err);
        if (status != STATUS_OK) return status;
    }
    CUDA_TRY(cudaStreamSynchronize(b->stream));
    memcpy(t->ids + t->length, request->ids + from, n * sizeof(int32_t));
    t->length += n;
    return STATUS_OK;
}

int cuda_step(struct timeline *t, const struct step_request *request, struct err *err) {
    if (request->n > t->n_ctx - t->length)
        return err_set(err, STATUS_CONTEXT_FULL, "%u tokens do not fit: the context has room for %u of %u", request->n, t->n_ctx - t->length, t->n_ctx);
    int refused = step_ids_check(request, t->backend->model->n_vocab, err);
    if (refused != STATUS_OK) return refused;
    CUDA_TRY(cudaSetDevice(t->backend->device));
    warm_leave(t->backend);
    uint32_t n = 0, chunk_size = t->backend->chunk;
    for (uint32_t from = 0; from < request->n; from += n) {
        n = request->n - from < chunk_size ? request->n - from : chunk_size;
        if (request->on_trace) n = request->n; /* a trace shows whole steps */
        if (n > chunk_size) return err_set(err, STATUS_USAGE, "a trace of %u positions: expected at most %u", n, chunk_size);
        if (request->stop && atomic_load(request->stop)) return err_set(err, STATUS_STOPPED, "stopped");
        int status = chunk(t, request, from, n, err);
        if (status != STATUS_OK) {
            cudaStreamSynchronize(t->backend->stream);
            return status;
        }
        if (request->progress && request->progress(request->ctx, from + n, request->n) && from + n < request->n)
            return err_set(err, STATUS_STOPPED, "stopped");
    }
    return STATUS_OK;
}
