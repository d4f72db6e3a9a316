/* What a position's logits say: the best candidates, log-sum-exp, entropy, and the token a sampler chain chooses.
 * The rules are in kernels/sampling.h, the arithmetic in kernels/sampling_math.h. */
#ifndef LOGITOP_KERNELS_CPU_SAMPLE_H
#define LOGITOP_KERNELS_CPU_SAMPLE_H

#include "base/err.h"
#include "kernels/sampling.h"

#include <stdint.h>

/* Memory of one thread that samples, for vocabularies of n_vocab ids (at most 2^18). */
struct sample_scratch;
struct sample_scratch *sample_scratch_new(uint32_t n_vocab); /* NULL: n_vocab is 0 or too large */
void sample_scratch_free(struct sample_scratch *scratch);    /* NULL is fine */

struct sample_request {
    const float *logits;             /* [n_vocab], left as they are */
    const struct sampling *sampling; /* NULL: nothing is chosen, `target` is asked about */
    int32_t target;                  /* with no sampling: the id that rank, logit and prob are told of; -1 none */
    const int32_t *history;          /* [n_history] the whole timeline up to and with the token that was fed */
    uint32_t n_history;
    uint32_t position;               /* of that token */
    uint32_t top_k;                  /* candidates wanted, at most CANDIDATES_MAX */
};

/* Without sampling, `prob` is the raw probability and no candidate is cut.
 * STATUS_FAILED if a logit is not finite, with its id. */
int sample_position(struct sample_scratch *scratch, const struct sample_request *request, struct step_result *out,
                    struct err *err);

#endif
