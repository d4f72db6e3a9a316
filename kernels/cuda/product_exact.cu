/* y[i] = W x[i] in F32 for any number of positions: the yardstick of the fast products, and what runs where no library of
 * matrix products is at hand. A warp computes one row for a tile of positions; lane l sums blocks l, l + 32, ... of a row and the lanes
 * are added in a fixed tree, so an output does not depend on how many positions are computed together. */
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/layout.cuh"

namespace {

enum { TILE = 8, WARPS = 4 };

template <int T>
__global__ void __launch_bounds__(WARPS * 32)
    product_exact_kernel(device_matrix w, const float *x, const float *bias, int add, uint32_t n, float *y) {
    uint32_t row = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32, first = blockIdx.y * TILE;
    if (row >= w.rows) return;
    float sum[TILE] = {};
    for (uint32_t b = lane; b < w.blocks; b += 32) {
        float values[32];
        block_floats<T>(w, row, b, values);
        uint32_t width = min(32u, w.cols - b * 32);
#pragma unroll
        for (int t = 0; t < TILE; t++) {
            if (first + t >= n) break;
            const float *at = x + (size_t)(first + t) * w.cols + b * 32;
            if (width == 32) {
#pragma unroll
                for (int e = 0; e < 32; e++) sum[t] += values[e] * at[e];
            } else {
                for (uint32_t e = 0; e < width; e++) sum[t] += values[e] * at[e];
            }
        }
    }
#pragma unroll
    for (int t = 0; t < TILE; t++) {
        float total = warp_sum(sum[t]);
        if (lane == 0 && first + t < n) {
            float *to = y + (size_t)(first + t) * w.rows + row;
            if (bias) total += bias[row];
            *to = add ? *to + total : total;
        }
    }
}

} // namespace

extern "C" cudaError_t launch_product_exact(cudaStream_t stream, struct device_matrix w, const float *x, const float *bias, int add,
                                            uint32_t n, float *y) {
    dim3 grid((w.rows + WARPS - 1) / WARPS, (n + TILE - 1) / TILE);
    FOR_TYPE(w.type, (product_exact_kernel<T><<<grid, WARPS * 32, 0, stream>>>(w, x, bias, add, n, y)));
    return cudaGetLastError();
}
