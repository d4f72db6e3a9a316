/* The small operations of a step beside the matrix products: one table an instruction set, and one for `exact`.
 * Any thread. Sizes are in elements; nothing here allocates. */
#ifndef LOGITOP_KERNELS_CPU_OPS_H
#define LOGITOP_KERNELS_CPU_OPS_H

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keys of a head lie in blocks of 16 positions, [position / 16][head_dim][position % 16], so that a vector holds one
 * element of many keys and no sum runs across a register. Values lie as [position][value_stride]. */
enum { KEY_BLOCK = 16, VALUE_UNIT = 32, HEAD_DIM_MAX = 256 };

/* Attention of some queries on a run of keys of one key/value head. A row is one query of one of the head's query heads,
 * rows are ordered query by query. Row r sees the keys up to its own position only. */
struct attention_part {
    const float *q;  /* head h of query i is at q + i * q_stride + h * head_dim */
    size_t q_stride;
    uint32_t n_queries, group; /* rows = n_queries * group */
    uint32_t head_dim, value_stride;
    uint32_t first;            /* position of the first query */
    uint32_t begin, end;       /* keys; begin is a multiple of KEY_BLOCK */
    const void *k, *v;         /* of position 0; F32 or F16 */
    bool half;
    float scale;
    float *out;      /* [rows][value_stride]: sum of e^(score - max) * value */
    float *max, *sum; /* [rows]: largest score, sum of e^(score - max); -INFINITY and 0 where no key is seen */
    float *scratch;  /* attention_scratch() floats */
    float *weights;  /* NULL, or where to put e^(score - max) of the row: a trace, only in the exact table */
    size_t weights_row_stride, weights_head_stride;
};

struct vector_ops {
    /* out = x / sqrt(mean(x^2) + eps) * weight; out may be x */
    void (*rms_norm)(const float *x, const float *weight, float eps, uint32_t n, float *out);
    void (*silu_mul)(float *gate, const float *up, size_t n); /* gate = gate / (1 + e^-gate) * up */
    void (*to_half)(const float *from, uint16_t *to, size_t n);
    void (*attend)(const struct attention_part *part);
    /* Add what the rows got of a run of keys to what they got of the runs before it: each is relative to its
     * own maximum. NULL in the exact table: there, keys are not cut. */
    void (*join)(const struct attention_part *to, const struct attention_part *run);
};

/* Sums and exponentials in the plainest order: each output depends on its own inputs alone. */
extern const struct vector_ops vector_ops_exact;
const struct vector_ops *vector_ops_for(enum isa isa);

/* Floats of scratch for parts of so many rows whose keys end at or before `end`. */
size_t attention_scratch(uint32_t rows, uint32_t head_dim, uint32_t value_stride, uint32_t end);

/* cos and sin of the rotation of one position, [rope_dim / 2] each, then the rotation of one head. */
void rope_angles(const struct model_view *model, uint32_t position, float *cosines, float *sines);
void rope_rotate(const struct model_view *model, const float *cosines, const float *sines, const float *x, float *out);

/* ---- for this folder's own files ---- */

enum { ATTENTION_TILE = 64 }; /* keys that are scored before their values are summed; a multiple of KEY_BLOCK */
extern const struct vector_ops vector_ops_portable, vector_ops_avx2, vector_ops_avx512;

#endif
