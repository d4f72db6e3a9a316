/* ops.h in plain C with 4-wide vectors, for any machine. */
#include "kernels/cpu/vector_ops.h"

const struct vector_ops vector_ops_portable = {rms_norm, silu_mul, to_half, attend, join};
