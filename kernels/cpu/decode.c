/* Decoding, one token a call: the CPU has nothing to gain from running ahead. */
#include "kernels/cpu/cpu.h"

#include "base/mem.h"

#include <stdlib.h>

struct decode {
    struct timeline *timeline;
    struct decode_request request;
    int32_t next; /* fed by the next call */
    uint32_t n_results;
};

int cpu_decode_begin(struct timeline *timeline, const struct decode_request *request, struct decode **out, struct err *err) {
    uint32_t n_vocab = timeline->backend->model->n_vocab;
    if (request->id < 0 || (uint32_t)request->id >= n_vocab)
        return err_set(err, STATUS_USAGE, "decoding from id %d, expected one below %u", request->id, n_vocab);
    struct decode *decode = xmalloc(sizeof *decode);
    *decode = (struct decode){.timeline = timeline, .request = *request, .next = request->id};
    *out = decode;
    return STATUS_OK;
}

int cpu_decode_next(struct decode *decode, struct step_result *out, struct err *err) {
    struct timeline *timeline = decode->timeline;
    const struct decode_request *request = &decode->request;
    if (decode->n_results == request->limit) return err_set(err, STATUS_STOPPED, "%u tokens were asked for", request->limit);
    if (timeline->length == timeline->n_ctx)
        return err_set(err, STATUS_CONTEXT_FULL, "the context of %u tokens is full", timeline->n_ctx);
    int status = feed_one(timeline, decode->next, request->stop, err);
    if (status) return status;
    struct sample_request sample = {
        .logits = timeline->backend->work.logits,
        .sampling = &request->sampling,
        .target = -1,
        .history = timeline->ids,
        .n_history = timeline->length + 1,
        .position = timeline->length,
        .top_k = request->top_k,
    };
    status = sample_position(timeline->backend->scratch[0], &sample, out, err);
    if (status) return status;
    timeline->length++;
    decode->n_results++;
    decode->next = out->id;
    return STATUS_OK;
}

void cpu_decode_end(struct decode *decode, uint32_t keep) {
    cpu_timeline_truncate(decode->timeline, keep);
    free(decode);
}
