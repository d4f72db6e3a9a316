/* Attention on Hopper's own matrix units (attention_hopper.cu), for attention.cu. There where LOGITOP_HOPPER
 * is defined: what it needs is compiled for sm_90a alone. */
#pragma once

#include "kernels/cuda/kernels.h"

/* Is it for this device, heads of this size and n positions after `first`? */
bool hopper_attention_takes(const rope_args &rope, uint32_t first, uint32_t n);

/* What launch_attention() does, of a cache of F16. */
cudaError_t launch_hopper_attention(cudaStream_t stream, rope_args rope, cache_layer cache, const float *q,
                                    uint32_t first, uint32_t n, float *out);
