/* Matrices of random numbers in every type, the same each time. */
#ifndef LOGITOP_TESTS_UNIT_RANDOM_BLOCKS_H
#define LOGITOP_TESTS_UNIT_RANDOM_BLOCKS_H

#include "kernels/dtype.h"

#include <string.h>

static const enum dtype types[] = {DTYPE_F32,  DTYPE_F16,  DTYPE_BF16, DTYPE_Q4_0,   DTYPE_Q4_1,
                                   DTYPE_Q5_0, DTYPE_Q5_1, DTYPE_Q8_0, DTYPE_Q2_K,   DTYPE_Q3_K,
                                   DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_IQ4_NL, DTYPE_IQ4_XS};
#define N_TYPES (int)(sizeof types / sizeof *types)

static uint64_t seed;

static inline uint32_t random_u32(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) ^ (uint32_t)(seed >> 11);
}

static inline float random_normal(void) { /* near enough: the sum of twelve uniforms */
    float sum = -6;
    for (int i = 0; i < 12; i++) sum += (float)(random_u32() & 0xffffff) * 0x1p-24f;
    return sum;
}

static inline void put_half(uint8_t *to, float value) {
    uint16_t half = f32_to_f16(value);
    memcpy(to, &half, sizeof half);
}

/* Random bits, with scales that keep values of a usual size; some are negative or zero. */
static inline void random_block(enum dtype type, uint8_t *b, size_t size) {
    float d = 0.02f * random_normal();
    for (size_t i = 0; i < size; i++) b[i] = (uint8_t)random_u32();
    switch (type) {
    case DTYPE_F32: memcpy(b, &d, 4); break;
    case DTYPE_F16: put_half(b, d); break;
    case DTYPE_BF16: memcpy(b, (char *)&d + 2, 2); break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1: put_half(b + 2, 4 * d); break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K: put_half(b + 2, 0.01f * random_normal()); break;
    case DTYPE_Q2_K: put_half(b + 82, 0.01f * random_normal()); break;
    default: break;
    }
    if (size > 4)
        put_half(b + (type == DTYPE_Q2_K ? 80 : type == DTYPE_Q3_K ? 108 : type == DTYPE_Q6_K ? 208 : 0), d);
}

#endif
