/* ops.h for AVX2, FMA and F16C. */
#ifdef __x86_64__
#define VECTOR_AVX2
#include "kernels/cpu/vector_ops.h"

const struct vector_ops vector_ops_avx2 = {rms_norm, silu_mul, to_half, attend, join};
#endif
