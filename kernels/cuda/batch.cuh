/* The order of the vectors that products of many positions multiply (batch.h), for those who write them. */
#pragma once

#include "kernels/cuda/small_batch.h"

#include <cuda_fp16.h>

/* Where column k, a multiple of four, of a position is. It and the next three lie together; for the products
 * of quants they are 0, 2, 1, 3: a word of bytes gives up its even ones and its odd ones at once. */
__device__ __forceinline__ size_t vector_at(const batch_vectors &to, uint32_t position, uint32_t k) {
    if (to.stride) return (size_t)position * to.stride + k;
    const uint32_t step = k / (SMALL_STEP_BLOCKS * 32), in_step = k % (SMALL_STEP_BLOCKS * 32),
                   block = in_step / 32, e = in_step % 32;
    const uint32_t piece = to.floats ? block : e % 16 / 4, lane = to.floats ? e / 8 : block,
                   within = to.floats ? e % 8 : e / 16 * 4;
    return ((((size_t)step * to.groups + position / 8) * 4 + piece) * 32 + position % 8 * 4 + lane) * 8 +
           within;
}
__device__ __forceinline__ bool columns_in_order(const batch_vectors &to) {
    return to.stride || to.floats;
}
