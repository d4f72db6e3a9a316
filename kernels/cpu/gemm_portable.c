#include "kernels/cpu/simd_portable.h"

#include "kernels/cpu/gemm_kernels.h"
