#include "infer/session.h"

#include "base/mem.h"

#include <stdlib.h>

struct session {
    const struct backend_ops *ops;
    struct backend *backend;
    struct timeline *timeline;
    struct timeline *aside; /* where old positions are looked at; NULL: nothing is */
    uint32_t n_aside;       /* its size */
    uint32_t n_ctx;
    int32_t newest;             /* not fed yet; -1: no prompt was given */
    struct step_result *result; /* of decode(): too large for a stack that nobody measured */
};

int session_new(const struct backend_ops *ops, struct backend *backend, uint32_t n_ctx, struct session **out,
                struct err *err) {
    struct timeline *timeline;
    int status = ops->timeline_new(backend, n_ctx, &timeline, err);
    if (status < 0) return status;
    struct session *session = xcalloc(1, sizeof *session);
    *session =
        (struct session){.ops = ops, .backend = backend, .timeline = timeline, .n_ctx = n_ctx, .newest = -1};
    session->result = xcalloc(1, sizeof *session->result);
    *out = session;
    return STATUS_OK;
}

/* Give its memory back. */
static void leave_aside(struct session *session) {
    if (session->aside) session->ops->timeline_free(session->aside);
    session->aside = NULL;
    session->n_aside = 0;
}

void session_free(struct session *session) {
    if (!session) return;
    session->ops->timeline_free(session->timeline);
    leave_aside(session);
    free(session->result);
    free(session);
}

uint32_t session_size(const struct session *session) {
    return session->n_ctx;
}
uint32_t session_used(const struct session *session) {
    return session->ops->timeline_length(session->timeline);
}

static uint32_t common_prefix(const struct session *session, const struct timeline *timeline,
                              const int32_t *ids, uint32_t n) {
    uint32_t length = session->ops->timeline_length(timeline), i = 0;
    const int32_t *known = session->ops->timeline_ids(timeline);
    while (i < n && i < length && known[i] == ids[i]) i++;
    return i;
}

int session_prompt(struct session *session, const int32_t *ids, uint32_t n, const struct session_watch *watch,
                   uint32_t *cached, struct err *err) {
    if (n == 0) return err_set(err, STATUS_USAGE, "an empty prompt, expected at least one token");
    if (n > session->n_ctx)
        return err_set(err, STATUS_CONTEXT_FULL, "the prompt takes %u tokens, the context holds %u", n,
                       session->n_ctx);
    leave_aside(session);
    /* the last one is fed by decode(): its result is wanted */
    uint32_t kept = common_prefix(session, session->timeline, ids, n - 1);
    session->ops->timeline_truncate(session->timeline, kept);
    session->newest = ids[n - 1];
    *cached = kept;
    if (kept == n - 1) return STATUS_OK;
    struct step_request request = {
        .ids = ids + kept,
        .n = n - 1 - kept,
        .wanted = WANT_NOTHING,
        .progress = watch->progress,
        .ctx = watch->ctx,
        .stop = watch->stop,
    };
    if (watch->progress && watch->progress(watch->ctx, 0, request.n))
        return err_set(err, STATUS_STOPPED, "stopped before the prompt was read");
    return session->ops->step(session->timeline, &request, err);
}

int session_decode(struct session *session, const struct sampling *sampling, uint32_t top_k, uint32_t limit,
                   const atomic_bool *stop, session_token_fn on_token, void *ctx, struct err *err) {
    const struct backend_ops *ops = session->ops;
    if (session->newest < 0) return err_set(err, STATUS_USAGE, "no prompt was given");
    struct decode_request request = {
        .id = session->newest, .sampling = *sampling, .top_k = top_k, .limit = limit, .stop = stop};
    struct decode *decode;
    uint32_t begin = session_used(session), n = 0;
    int status = ops->decode_begin(session->timeline, &request, &decode, err);
    if (status < 0) return status;
    while (n < limit) {
        status = ops->decode_next(decode, session->result, err);
        if (status < 0) break;
        n++;
        session->newest = session->result->id;
        if (on_token(ctx, session->result)) break;
    }
    ops->decode_end(decode, begin + n); /* what was fed for n results */
    return status;
}

/* ---- looking at old positions ---- */

/* A timeline aside that holds the longest prefix of ids[0..n) that is known, with room for `room` positions.
 */
static int go_aside(struct session *session, const int32_t *ids, uint32_t n, uint32_t room, struct err *err) {
    enum { ROOM_UNIT = 1024 };
    const struct backend_ops *ops = session->ops;
    if (session->aside && session->n_aside < room) leave_aside(session);
    if (!session->aside) {
        uint32_t size = room < session->n_ctx - session->n_ctx % ROOM_UNIT
                            ? room / ROOM_UNIT * ROOM_UNIT + ROOM_UNIT
                            : session->n_ctx;
        int status = ops->timeline_new(session->backend, size, &session->aside, err);
        if (status < 0) return status;
        session->n_aside = size;
    }
    uint32_t here = common_prefix(session, session->aside, ids, n);
    uint32_t there = common_prefix(session, session->timeline, ids, n);
    ops->timeline_truncate(session->aside, here);
    return there > here ? ops->timeline_copy(session->aside, session->timeline, there, err) : STATUS_OK;
}

static int score_aside(struct session *session, const int32_t *ids, uint32_t from, uint32_t to,
                       uint32_t top_k, bool logits, const struct session_watch *watch, result_fn on_result,
                       void *ctx, struct err *err) {
    const struct backend_ops *ops = session->ops;
    int status = go_aside(session, ids, from - 1, to - 1, err);
    if (status < 0) return status;
    uint32_t known = ops->timeline_length(session->aside);
    struct step_request read = {.ids = ids + known,
                                .n = from - 1 - known,
                                .wanted = WANT_NOTHING,
                                .progress = watch->progress,
                                .ctx = watch->ctx,
                                .stop = watch->stop};
    if (read.n) status = ops->step(session->aside, &read, err);
    if (status < 0) return status;
    struct step_request ask = {.ids = ids + from - 1,
                               .n = to - from,
                               .wanted = WANT_ALL,
                               .top_k = top_k,
                               .logits = logits,
                               .targets = ids + from,
                               .on_result = on_result,
                               .ctx = ctx,
                               .stop = watch->stop};
    return ops->step(session->aside, &ask, err);
}

int session_score(struct session *session, const int32_t *ids, uint32_t from, uint32_t to, uint32_t top_k,
                  bool logits, const struct session_watch *watch, result_fn on_result, void *ctx,
                  struct err *err) {
    if (from == 0) from = 1;
    if (from >= to) return STATUS_OK;
    if (to - 1 > session->n_ctx)
        return err_set(err, STATUS_CONTEXT_FULL, "%u tokens to be looked at, the context holds %u", to,
                       session->n_ctx);
    return score_aside(session, ids, from, to, top_k, logits, watch, on_result, ctx, err);
}
