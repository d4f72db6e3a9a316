/* ops.h for AVX-512. */
#ifdef __x86_64__
#define VECTOR_AVX512
#include "kernels/cpu/vector_ops.h"

const struct vector_ops vector_ops_avx512 = {rms_norm, silu_mul, to_half, attend, join};
#endif
