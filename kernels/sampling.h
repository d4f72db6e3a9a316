/* What a sampler chain does, as data, and the arithmetic both backends share bit for bit.
 *
 * The chain works on the real vocabulary only. Its stages run in the order of `order`; each removes candidates or
 * changes logits, and a candidate remembers the stage that cut it. Truncating stages look at probabilities at
 * temperature 1 of what is left at that point. Ties go to the lowest id. Temperature 0 picks the largest penalised
 * logit. What is listed are always the k best by raw logit, whatever the chain does.
 *
 * Probabilities are sums of 64-bit fixed-point weights (sampling_math.h): integer sums do not depend on their order, so one
 * thread, many threads and a GPU cut and pick the same token from the same logits and seed. */
#ifndef LOGITOP_KERNELS_SAMPLING_H
#define LOGITOP_KERNELS_SAMPLING_H

#include "base/err.h"

#include <stdint.h>

/* name, word users see (`"cut":"top-p"`) */
#define STAGE_MAP(X)                                                                                         \
    X(NONE, "")                                                                                              \
    X(PENALTIES, "penalties")                                                                                \
    X(DRY, "dry")                                                                                            \
    X(TOP_K, "top-k")                                                                                        \
    X(TYPICAL, "typical")                                                                                    \
    X(TOP_P, "top-p")                                                                                        \
    X(MIN_P, "min-p")                                                                                        \
    X(XTC, "xtc")                                                                                            \
    X(TEMPERATURE, "temperature")

enum stage {
#define X(name, word) STAGE_##name,
    STAGE_MAP(X)
#undef X
    STAGE_COUNT
};

enum { CANDIDATES_MAX = 256, DRY_BREAKERS_MAX = 32 };

struct sampling {
    uint8_t order[STAGE_COUNT]; /* enum stage, ended by STAGE_NONE; the pick comes last by itself */
    float temperature;          /* 0.8; 0 is greedy */
    uint32_t top_k;             /* 40; 0 is off */
    float top_p;                /* 0.95; 1 is off */
    float min_p;                /* 0.05; 0 is off */
    float typical_p;            /* 1 is off */
    float xtc_probability;      /* 0 is off */
    float xtc_threshold;        /* 0.1 */
    float repeat_penalty;       /* 1 is off */
    float frequency_penalty;    /* 0 is off */
    float presence_penalty;     /* 0 is off */
    uint32_t penalty_last_n;    /* 64: how many of the newest tokens of the timeline the penalties look at */
    float dry_multiplier;       /* 0 is off */
    float dry_base;             /* 1.75 */
    uint32_t dry_allowed_length; /* 2 */
    uint32_t dry_last_n;         /* 0: the whole timeline */
    int32_t dry_breakers[DRY_BREAKERS_MAX]; /* ids that end a repeated run, -1 ends the list */
    uint64_t seed;
    uint32_t attempt; /* counts re-rolls of the same position: another draw from the same seed */
};

struct candidate {
    int32_t id;
    float logit; /* raw */
    float prob;  /* after the chain; 0 where cut */
    uint8_t cut; /* enum stage that removed it, STAGE_NONE if it could be picked */
};

/* What is known about one position once its logits are there. */
struct step_result {
    uint32_t position; /* of the token that was fed; the result tells what comes at position + 1 */
    int32_t id;        /* chosen, or the target that was asked about; -1 if neither */
    float logit;       /* raw, of id */
    float prob;        /* of id after the chain */
    float log_sum_exp; /* of the raw logits over the real vocabulary: logprob = logit - log_sum_exp, natural */
    float entropy;     /* nats, of the raw distribution */
    uint32_t rank;     /* of id by raw logit, 1 is the best */
    uint32_t n_top;
    struct candidate top[CANDIDATES_MAX + 1]; /* best raw logit first; the chosen one last if not among them */
};

/* What each stage of a chain made of the candidates of one position. */
struct stage_table {
    uint32_t n_stages, n_candidates;
    uint8_t stages[STAGE_COUNT]; /* [n_stages] STAGE_NONE first: raw; then those that are on, in their order */
    /* [n_stages][n_candidates] what each of step_result.top would be picked with if the chain ended there; 0: cut */
    float probs[STAGE_COUNT * (CANDIDATES_MAX + 1)];
};

/* The stages of this chain over the logits [n_vocab] of a position whose history [n_history] ends in the token that was
 * fed. `result` tells of the k best and of `target` (-1: none), with final probabilities. On the host and slowly, for
 * looking at one position: the code of the CPU's chain, and so the bits of every backend. STATUS_FAILED: a logit is not
 * finite. Any thread. */
int sampling_stages(const float *logits, uint32_t n_vocab, const struct sampling *sampling, const int32_t *history,
                    uint32_t n_history, int32_t target, uint32_t top_k, struct step_result *result,
                    struct stage_table *table, struct err *err);

#endif
