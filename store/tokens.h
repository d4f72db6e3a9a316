/* Token records as bytes: what a message of a model keeps of every token in the database, exact to the bit
 * and small (about 190 bytes a token with 20 candidates).
 *
 *   blob  = version:u8 (1), token...
 *   token = flags:u8 (1: ended the answer, 2: picked by a person), id:z, position:v, rank:v, end:v,
 *           ms:f, logit:f, prob:f, log_sum_exp:f, entropy:f, n:v, candidate:u64[n]
 *   v = LEB128 unsigned, z = zigzag LEB128, f = IEEE 754 binary32; f and u64 little-endian
 *
 * What is in the 64 bits of a candidate is the caller's affair (app/kept.h); another layout is another
 * version. A blob is untrusted when it is read: everything is checked, nothing is allocated that the blob
 * does not hold. */
#ifndef LOGITOP_STORE_TOKENS_H
#define LOGITOP_STORE_TOKENS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_token {
    int32_t id;
    uint32_t position, rank;
    uint32_t end; /* offset in the message's text just after this token */
    float ms, logit, prob, log_sum_exp, entropy;
    bool ended;  /* an end token: no bytes of its own */
    bool picked; /* by a person */
    uint32_t n_top;
    const uint64_t *top; /* [n_top] */
};

/* Appends these tokens to a blob, or begins one where `out` is empty. */
void tokens_encode(struct buf *out, const struct store_token *tokens, size_t n);

/* Appends the tokens of a blob to *tokens, which holds *n of *cap and is the caller's (free()); the
 * candidates are in the arena. On STATUS_FAILED those before the damage are there. */
int tokens_decode(const void *blob, size_t len, struct arena *arena, struct store_token **tokens, size_t *n,
                  size_t *cap, struct err *err);

#endif
