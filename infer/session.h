/* One conversation's timeline: given the whole prompt as ids, it keeps what the KV cache has of it and
 * computes the rest. Nobody above counts positions.
 *
 *     prompt(ids)   longest common prefix stays, the rest is cut; all but the last id is computed
 *     decode()      feeds the last id, which yields the first result, and goes on from what was sampled
 *
 * After every call, stopped or failed ones too, the timeline holds exactly the ids that were accepted (all
 * but the newest, which was sampled and is not fed yet), and the next prompt() starts from there. One thread
 * (the engine's worker). */
#ifndef LOGITOP_INFER_SESSION_H
#define LOGITOP_INFER_SESSION_H

#include "kernels/backend.h"

struct session;

int session_new(const struct backend_ops *ops, struct backend *backend, uint32_t n_ctx, struct session **out,
                struct err *err);
void session_free(struct session *session); /* before the backend; NULL is fine */

uint32_t session_size(const struct session *session); /* n_ctx */
uint32_t session_used(const struct session *session); /* positions in the KV cache */

/* Called now and then with the tokens computed of those that had to be. Nonzero: STATUS_STOPPED. */
struct session_watch {
    progress_fn progress; /* may be NULL */
    void *ctx;
    const atomic_bool *stop; /* may be NULL */
};

/* *cached: how many of the n ids were in the cache (never the last). STATUS_CONTEXT_FULL if n ids do not fit,
 * before anything is cut. STATUS_STOPPED: may be given again, nothing is lost. */
int session_prompt(struct session *session, const int32_t *ids, uint32_t n, const struct session_watch *watch,
                   uint32_t *cached, struct err *err);

/* Nonzero ends the run after this token. */
typedef int (*session_token_fn)(void *ctx, const struct step_result *result);

/* Sample up to `limit` tokens and hand each to `on_token`. STATUS_OK: on_token ended it, or the limit did.
 * STATUS_CONTEXT_FULL, STATUS_STOPPED (both keep what was said), or a failure. May be called again: it goes
 * on after the newest token. After on_token ended the run that token counts as said. */
int session_decode(struct session *session, const struct sampling *sampling, uint32_t top_k, uint32_t limit,
                   const atomic_bool *stop, session_token_fn on_token, void *ctx, struct err *err);

/* What could have come at the positions [from, to) of these n ids, to <= n: position 0 has no result. Each
 * result's id is the one that stands there. It works on a timeline of its own, which takes from the session's
 * what both have, so that nothing of that is cut or changed; it lives until the next prompt(). `on_result`
 * gets the whole logits [n_vocab] too if they are wanted. STATUS_CONTEXT_FULL if `to` does not fit,
 * STATUS_STOPPED, STATUS_MEMORY. */
int session_score(struct session *session, const int32_t *ids, uint32_t from, uint32_t to, uint32_t top_k,
                  bool logits, const struct session_watch *watch, result_fn on_result, void *ctx,
                  struct err *err);

#endif
