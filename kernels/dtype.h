/* Element types of GGUF tensors: names, block sizes, and the one plain conversion to F32 that everything else is
 * measured against. Ids and block layouts are those of the GGUF specification (ggml's docs/gguf.md) and of ggml's
 * reference quantizers. */
#ifndef LOGITOP_KERNELS_DTYPE_H
#define LOGITOP_KERNELS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, id in the file, elements a block, bytes a block, can be computed with */
#define DTYPE_MAP(X)                                                                                         \
    X(F32, 0, 1, 4, 1)                                                                                       \
    X(F16, 1, 1, 2, 1)                                                                                       \
    X(Q4_0, 2, 32, 18, 1)                                                                                    \
    X(Q4_1, 3, 32, 20, 1)                                                                                    \
    X(Q5_0, 6, 32, 22, 1)                                                                                    \
    X(Q5_1, 7, 32, 24, 1)                                                                                    \
    X(Q8_0, 8, 32, 34, 1)                                                                                    \
    X(Q8_1, 9, 32, 36, 0)                                                                                    \
    X(Q2_K, 10, 256, 84, 1)                                                                                  \
    X(Q3_K, 11, 256, 110, 1)                                                                                 \
    X(Q4_K, 12, 256, 144, 1)                                                                                 \
    X(Q5_K, 13, 256, 176, 1)                                                                                 \
    X(Q6_K, 14, 256, 210, 1)                                                                                 \
    X(Q8_K, 15, 256, 292, 0)                                                                                 \
    X(IQ2_XXS, 16, 256, 66, 0)                                                                               \
    X(IQ2_XS, 17, 256, 74, 0)                                                                                \
    X(IQ3_XXS, 18, 256, 98, 0)                                                                               \
    X(IQ1_S, 19, 256, 50, 0)                                                                                 \
    X(IQ4_NL, 20, 32, 18, 1)                                                                                 \
    X(IQ3_S, 21, 256, 110, 0)                                                                                \
    X(IQ2_S, 22, 256, 82, 0)                                                                                 \
    X(IQ4_XS, 23, 256, 136, 1)                                                                               \
    X(I8, 24, 1, 1, 0)                                                                                       \
    X(I16, 25, 1, 2, 0)                                                                                      \
    X(I32, 26, 1, 4, 0)                                                                                      \
    X(I64, 27, 1, 8, 0)                                                                                      \
    X(F64, 28, 1, 8, 0)                                                                                      \
    X(IQ1_M, 29, 256, 56, 0)                                                                                 \
    X(BF16, 30, 1, 2, 1)                                                                                     \
    X(TQ1_0, 34, 256, 54, 0)                                                                                 \
    X(TQ2_0, 35, 256, 66, 0)                                                                                 \
    X(MXFP4, 39, 32, 17, 0)

enum dtype {
#define X(name, id, block, bytes, computable) DTYPE_##name = id,
    DTYPE_MAP(X)
#undef X
};

struct dtype_info {
    const char *name;    /* "Q4_K" */
    uint32_t block;      /* elements a block */
    uint32_t block_size; /* bytes a block */
    bool computable;     /* a backend can multiply with it, dtype_to_f32() converts it */
};

/* NULL for an id that no format uses. */
const struct dtype_info *dtype_info(uint32_t id);

/* Convert n elements (a multiple of the block length) to F32: exactly the value the format defines, computed in
 * F32 in the order of ggml's reference code, so bit for bit what the goldens were made from. False if the type is
 * not computable. Any thread. */
bool dtype_to_f32(enum dtype type, const void *from, float *to, size_t n);

extern const int8_t dtype_iq4_values[16]; /* what the codes of IQ4_NL and IQ4_XS stand for */

float f16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value); /* nearest, ties to even */

#endif
