#include "kernels/cpu/sample_scan.h"

#include "kernels/sampling_math.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Largest by their order as integers: a maximum of integers is a reduction that compilers vectorise as it is. */
INLINE bool blocks_body(const float *logits, uint32_t n, float *best) {
    uint32_t bad = 0;
    for (uint32_t begin = 0, i = 0; begin < n; begin += SCAN_BLOCK, i++) {
        uint32_t count = n - begin < SCAN_BLOCK ? n - begin : SCAN_BLOCK;
        int32_t bits[SCAN_BLOCK], top = INT32_MIN;
        memcpy(bits, logits + begin, count * sizeof *bits);
        for (uint32_t j = 0; j < count; j++) {
            bad |= (bits[j] & 0x7f800000) == 0x7f800000;
            int32_t key = bits[j] ^ (int32_t)((uint32_t)(bits[j] >> 31) >> 1);
            top = key > top ? key : top;
        }
        top ^= (int32_t)((uint32_t)(top >> 31) >> 1);
        memcpy(&best[i], &top, sizeof top);
    }
    return !bad;
}

/* 256 values of at most 2^22 fit into 32 bits. */
INLINE struct scan_sums sums_body(const float *logits, uint32_t n, float max) {
    struct scan_sums sums = {0, 0};
    for (uint32_t begin = 0; begin < n; begin += 256) {
        uint32_t count = n - begin < 256 ? n - begin : 256;
        int32_t high = 0, low = 0, far_high = 0, far_low = 0;
        for (uint32_t j = 0; j < count; j++) {
            float x = sampling_below(logits[begin + j], max), e = sampling_exp(x);
            int32_t a, b, c, d;
            sampling_split(e, &a, &b);
            sampling_split(e * -x, &c, &d);
            high += a;
            low += b;
            far_high += c;
            far_low += d;
        }
        sums.weights += ((uint64_t)high << 22) + (uint64_t)low;
        sums.distances += ((uint64_t)far_high << 22) + (uint64_t)far_low;
    }
    return sums;
}

INLINE void weights_body(const float *logits, uint32_t n, float max, uint64_t *out) {
    for (uint32_t begin = 0; begin < n; begin += 256) {
        uint32_t count = n - begin < 256 ? n - begin : 256;
        int32_t high[256], low[256];
        for (uint32_t j = 0; j < count; j++)
            sampling_split(sampling_exp(sampling_below(logits[begin + j], max)), &high[j], &low[j]);
        for (uint32_t j = 0; j < count; j++)
            out[begin + j] = ((uint64_t)(uint32_t)high[j] << 22) + (uint32_t)low[j];
    }
}

INLINE void count_body(const float *logits, uint32_t n, float value, uint32_t *larger, uint32_t *equal) {
    uint32_t above = 0, same = 0;
    for (uint32_t i = 0; i < n; i++) {
        above += logits[i] > value;
        same += logits[i] == value;
    }
    *larger = above;
    *equal = same;
}

INLINE void heat_body(float *logits, uint32_t n, float max, float temperature) {
    for (uint32_t i = 0; i < n; i++) logits[i] = sampling_heat(logits[i], max, temperature);
}

#define SCAN_VARIANT(isa, attribute)                                                                         \
    attribute static bool blocks_##isa(const float *logits, uint32_t n, float *best) {                       \
        return blocks_body(logits, n, best);                                                                 \
    }                                                                                                        \
    attribute static struct scan_sums sums_##isa(const float *logits, uint32_t n, float max) {               \
        return sums_body(logits, n, max);                                                                    \
    }                                                                                                        \
    attribute static void weights_##isa(const float *logits, uint32_t n, float max, uint64_t *out) {         \
        weights_body(logits, n, max, out);                                                                   \
    }                                                                                                        \
    attribute static void count_##isa(const float *logits, uint32_t n, float value, uint32_t *larger,        \
                                      uint32_t *equal) {                                                     \
        count_body(logits, n, value, larger, equal);                                                         \
    }                                                                                                        \
    attribute static void heat_##isa(float *logits, uint32_t n, float max, float temperature) {              \
        heat_body(logits, n, max, temperature);                                                              \
    }                                                                                                        \
    static const struct scan_ops scan_##isa = {blocks_##isa, sums_##isa, weights_##isa, count_##isa,         \
                                               heat_##isa};

SCAN_VARIANT(portable, )
#ifdef __x86_64__
SCAN_VARIANT(avx2, __attribute__((target("avx2"))))
SCAN_VARIANT(avx512, __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))))
#endif

const struct scan_ops *scan_named(const char *isa) {
    if (strcmp(isa, "portable") == 0) return &scan_portable;
#ifdef __x86_64__
    if (strcmp(isa, "avx2") == 0 && __builtin_cpu_supports("avx2")) return &scan_avx2;
    if (strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return &scan_avx512;
#endif
    return NULL;
}

const struct scan_ops *scan_best(void) {
    const struct scan_ops *ops = scan_named("avx512");
    if (!ops) ops = scan_named("avx2");
    return ops ? ops : &scan_portable;
}
