/* What is kept of a token once it was said, in as few bytes as do: a conversation of 100,000 tokens with 20
 * candidates each takes 25 MB. */
#ifndef LOGITOP_APP_KEPT_H
#define LOGITOP_APP_KEPT_H

#include "infer/engine.h"

#include <stdbool.h>
#include <stdint.h>

/* A candidate in 64 bits, from the lowest: id (20), stage that cut it (4), log-probability below 0 in 2^-16
 * nats (22: up to 64 nats), square root of the probability after the chain (18: so that small ones keep their
 * digits). The same on every machine: it may be stored. */
typedef uint64_t kept_candidate;

kept_candidate kept_candidate_pack(const struct candidate *candidate, float log_sum_exp);
struct candidate kept_candidate_unpack(kept_candidate kept, float log_sum_exp);

/* A token record without its unused room. The chosen token's own numbers are exact. */
struct kept_token {
    int32_t id;
    uint32_t position, rank, n_top; /* rank 0, n_top 0: nothing is known but the id */
    float ms, logit, prob, log_sum_exp, entropy;
    bool end;                  /* ended the answer: no bytes of its own */
    bool picked;               /* put there by a person, not drawn */
    const kept_candidate *top; /* [n_top] */
};

static inline struct candidate kept_token_candidate(const struct kept_token *token, uint32_t i) {
    return kept_candidate_unpack(token->top[i], token->log_sum_exp);
}

#endif
