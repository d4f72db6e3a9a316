/* The arithmetic of sampling, the same bit for bit in C and on a GPU: random numbers, one exp, fixed-point weights.
 *
 * Only single IEEE operations are used (the compiler must not contract them: -ffp-contract=off in C, the _rn intrinsics on
 * the device), so every machine gets the same bits. A weight is floor(exp(l - max) * 2^44): 2^18 of them fit into 64 bits,
 * and their sum does not depend on its order. How the chain uses this, stage by stage (n is what is left, max its largest
 * logit, w its weights, S their sum, d = max - l):
 *   penalties    as llama.cpp: l > 0 ? l / repeat : l * repeat, then - (count * frequency + presence)
 *   dry          l - multiplier * base^(length - allowed), the power by repeated multiplication
 *   top-k        the k first by (l descending, id ascending)
 *   typical      by (|d - m| ascending, id ascending), m = (float)(D / S), D the sum of weighted distances: the fewest whose
 *                sum is above share(S, p)   (-log p - H = d - m: arXiv 2202.00666 without a logarithm)
 *   top-p        by (l descending, id ascending): the fewest whose sum is at least share(S, p)
 *   min-p        w >= sampling_fixed(p)
 *   xtc          acts if draw(XTC) word 0 / 2^32 < probability; of those with w >= share(S, threshold) all but the last go
 *   temperature  l becomes (l - max) / T, at least -SAMPLING_LIMIT
 *   pick         in order of ids, the first whose running sum is above mulhi(draw(NONE) words 1:0, S)
 * Random: Philox 4x32-10 (Salmon et al., SC 2011), key = seed (low, high), counter = (position of the token that was fed,
 * attempt, stage, 0). */
#ifndef LOGITOP_KERNELS_SAMPLING_MATH_H
#define LOGITOP_KERNELS_SAMPLING_MATH_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define SAMPLING_FN static __host__ __device__ __forceinline__
#else
#define SAMPLING_FN static inline __attribute__((always_inline))
#endif

#ifdef __CUDA_ARCH__
#define SAMPLING_MUL(a, b) __fmul_rn(a, b)
#define SAMPLING_ADD(a, b) __fadd_rn(a, b)
#define SAMPLING_DIV(a, b) __fdiv_rn(a, b)
#else
#define SAMPLING_MUL(a, b) ((a) * (b))
#define SAMPLING_ADD(a, b) ((a) + (b))
#define SAMPLING_DIV(a, b) ((a) / (b))
#endif

#define SAMPLING_FAR 32.0f    /* exp(-32) * 2^44 < 1: what is farther below the best weighs nothing */
#define SAMPLING_LIMIT 1e30f /* what a stage makes of logits stays within this: none makes an infinity */

struct philox {
    uint32_t word[4];
};

SAMPLING_FN struct philox philox_block(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    struct philox out = {{c0, c1, c2, c3}};
    return out;
}

SAMPLING_FN struct philox sampling_draw(uint64_t seed, uint32_t position, uint32_t attempt, uint32_t stage) {
    return philox_block(seed, position, attempt, stage, 0);
}

/* High 64 bits of the product. */
SAMPLING_FN uint64_t sampling_mulhi(uint64_t a, uint64_t b) {
#ifdef __CUDA_ARCH__
    return __umul64hi(a, b);
#else
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
#endif
}

/* floor(total * fraction), fraction in [0, 1), within one unit of the fixed point. */
SAMPLING_FN uint64_t sampling_share(uint64_t total, float fraction) {
    return sampling_mulhi(total, (uint64_t)((double)fraction * 18446744073709551616.0));
}

/* exp(x) for x in [-SAMPLING_FAR, 0], relative error below 2e-7; exactly 1 at 0. Cephes' expf: x = n ln 2 + r, polynomial. */
SAMPLING_FN float sampling_exp(float x) {
    const float round_it = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits */
    float t = SAMPLING_ADD(SAMPLING_MUL(x, 1.44269504f), round_it);
    float n = SAMPLING_ADD(t, -round_it);
    float r = SAMPLING_ADD(x, SAMPLING_MUL(n, -0.693359375f)); /* exact: 10 bits times a small integer */
    r = SAMPLING_ADD(r, SAMPLING_MUL(n, 2.12194440e-4f));
    float p = 1.9875691500e-4f;
    p = SAMPLING_ADD(SAMPLING_MUL(p, r), 1.3981999507e-3f);
    p = SAMPLING_ADD(SAMPLING_MUL(p, r), 8.3334519073e-3f);
    p = SAMPLING_ADD(SAMPLING_MUL(p, r), 4.1665795894e-2f);
    p = SAMPLING_ADD(SAMPLING_MUL(p, r), 1.6666665459e-1f);
    p = SAMPLING_ADD(SAMPLING_MUL(p, r), 5.0000001201e-1f);
    p = SAMPLING_ADD(SAMPLING_MUL(p, SAMPLING_MUL(r, r)), SAMPLING_ADD(r, 1.0f));
    uint32_t bits;
    memcpy(&bits, &p, 4);
    bits += (uint32_t)(int32_t)n << 23;
    memcpy(&p, &bits, 4);
    return p;
}

/* floor(v * 2^44) = high * 2^22 + low for v in [0, 1], by 32-bit conversions that every vector unit has. */
SAMPLING_FN void sampling_split(float v, int32_t *high, int32_t *low) {
    float scaled = SAMPLING_MUL(v, 4194304.0f);
    int32_t whole = (int32_t)scaled;
    *high = whole;
    *low = (int32_t)SAMPLING_MUL(SAMPLING_ADD(scaled, -(float)whole), 4194304.0f);
}

SAMPLING_FN uint64_t sampling_fixed(float v) {
    int32_t high, low;
    sampling_split(v, &high, &low);
    return ((uint64_t)(uint32_t)high << 22) + (uint32_t)low;
}

/* l - max (l <= max), not below -SAMPLING_FAR. Negative floats grow as their bits do: an integer minimum, which compilers
 * vectorise where they leave a comparison of floats alone. */
SAMPLING_FN float sampling_below(float l, float max) {
    float x = SAMPLING_ADD(l, -max), far = -SAMPLING_FAR;
    uint32_t bits, limit;
    memcpy(&bits, &x, 4);
    memcpy(&limit, &far, 4);
    bits = bits < limit ? bits : limit;
    memcpy(&x, &bits, 4);
    return x;
}

SAMPLING_FN uint64_t sampling_weight(float l, float max) { return sampling_fixed(sampling_exp(sampling_below(l, max))); }

/* The weighted distance that the entropy is made of: floor(exp(-d) * d * 2^44). */
SAMPLING_FN uint64_t sampling_distance(float l, float max) {
    float x = sampling_below(l, max);
    return sampling_fixed(SAMPLING_MUL(sampling_exp(x), -x));
}

/* Mean of d over what is left, m above. */
SAMPLING_FN float sampling_mean(uint64_t distances, uint64_t total) { return (float)((double)distances / (double)total); }

/* Order of floats as unsigned integers, ascending; -0 equals 0. Not for NaN. */
SAMPLING_FN uint32_t sampling_key(float l) {
    uint32_t bits;
    l = SAMPLING_ADD(l, 0.0f);
    memcpy(&bits, &l, 4);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

SAMPLING_FN float sampling_clamp(float l) {
    return l > SAMPLING_LIMIT ? SAMPLING_LIMIT : l < -SAMPLING_LIMIT ? -SAMPLING_LIMIT : l;
}

/* A logit after the penalties; count: how often the id stands in the newest penalty_last_n tokens, above 0. */
SAMPLING_FN float sampling_penalise(float l, uint32_t count, float repeat, float frequency, float presence) {
    l = l > 0 ? SAMPLING_DIV(l, repeat) : SAMPLING_MUL(l, repeat);
    l = sampling_clamp(l);
    return sampling_clamp(SAMPLING_ADD(l, -SAMPLING_ADD(SAMPLING_MUL((float)count, frequency), presence)));
}

/* A logit after DRY; length: tokens of the repetition that the id would continue, >= allowed. */
SAMPLING_FN float sampling_dry(float l, uint32_t length, uint32_t allowed, float multiplier, float base) {
    float penalty = multiplier;
    for (uint32_t i = allowed; i < length && penalty < SAMPLING_LIMIT; i++) penalty = SAMPLING_MUL(penalty, base);
    return sampling_clamp(SAMPLING_ADD(l, -penalty));
}

SAMPLING_FN float sampling_heat(float l, float max, float temperature) {
    return sampling_clamp(SAMPLING_DIV(SAMPLING_ADD(l, -max), temperature));
}

#endif
