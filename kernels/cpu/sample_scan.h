/* The passes of sampling that look at a whole vocabulary: plain loops that the compiler turns into vector code for the
 * machine at hand (portable, AVX2, AVX-512). All give the same bits on every machine: kernels/sampling_math.h. */
#ifndef LOGITOP_KERNELS_CPU_SAMPLE_SCAN_H
#define LOGITOP_KERNELS_CPU_SAMPLE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

enum { SCAN_BLOCK = 64 }; /* logits that share one entry of the table of maxima */

struct scan_sums {
    uint64_t weights, distances; /* S and D of kernels/sampling_math.h */
};

struct scan_ops {
    /* best[i] = largest of block i of n logits; false if one of them is not finite (best is rubbish then). */
    bool (*blocks)(const float *logits, uint32_t n, float *best);
    struct scan_sums (*sums)(const float *logits, uint32_t n, float max);
    void (*weights)(const float *logits, uint32_t n, float max, uint64_t *out);
    /* How many are larger than `value`, and how many equal it. */
    void (*count)(const float *logits, uint32_t n, float value, uint32_t *larger, uint32_t *equal);
    void (*heat)(float *logits, uint32_t n, float max, float temperature);
};

const struct scan_ops *scan_best(void); /* for this machine. Any thread */
const struct scan_ops *scan_named(const char *isa); /* "portable", "avx2", "avx512"; NULL if this machine has it not */

#endif
