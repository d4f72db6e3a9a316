/* Small pieces that several kernels share: sums over a warp and a block, the norm and the rotation of one head, the gate, the scale of
 * a row. */
#pragma once

#include "kernels/cuda/kernels.h"

enum { HEAD_DIM_MAX = 256 };

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(~0u, v, m);
    return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, m));
    return v;
}

/* All threads of a block (a multiple of 32, at most 1024) call these and get the same value. Two calls need no barrier between. */
__device__ __forceinline__ float block_sum(float v) {
    __shared__ float part[32];
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? part[threadIdx.x % 32] : 0);
}
__device__ __forceinline__ float block_max(float v) {
    __shared__ float part[32];
    v = warp_max(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    return warp_max(threadIdx.x % 32 < blockDim.x / 32 ? part[threadIdx.x % 32] : -INFINITY);
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

/* What a row is divided by on its way to 16 bits: its largest magnitude becomes at most 1024, far from overflow, and small values keep
 * their bits. Rows that are small already are left alone, so that nothing is lost to a scale that is not needed. */
__device__ __forceinline__ float scale_for(float largest) { return largest > 1024.0f ? exp2f(ceilf(log2f(largest / 1024.0f))) : 1.0f; }

/* One warp, a head in shared memory: x / rms(x) * weight, as qwen3 does before the rotation. weight NULL: nothing. */
__device__ __forceinline__ void head_norm(float *head, const float *weight, const rope_args &rope, uint32_t lane) {
    if (!weight) return;
    float sum = 0;
    for (uint32_t e = lane; e < rope.head_dim; e += 32) sum += head[e] * head[e];
    float scale = rsqrtf(warp_sum(sum) / (float)rope.head_dim + rope.eps);
    for (uint32_t e = lane; e < rope.head_dim; e += 32) head[e] = head[e] * scale * weight[e];
    __syncwarp();
}

/* Cosine and sine of what pair i turns by at a position (RoPE, arXiv 2104.09864). */
__device__ __forceinline__ float2 turn_of(const rope_args &rope, uint32_t position, uint32_t i) {
    float s, c;
    sincosf((float)position * rope.freq[i], &s, &c);
    return make_float2(c * rope.magnitude, s * rope.magnitude);
}

__device__ __forceinline__ void rotate_pair(float *head, const rope_args &rope, uint32_t i, float2 turn) {
    uint32_t one = rope.neighbours ? 2 * i : i, two = rope.neighbours ? 2 * i + 1 : i + rope.rope_dim / 2;
    float x = head[one], y = head[two];
    head[one] = x * turn.x - y * turn.y;
    head[two] = x * turn.y + y * turn.x;
}

/* One warp: rotate the first rope_dim elements of a head. */
__device__ __forceinline__ void head_rotate(float *head, const rope_args &rope, uint32_t position, uint32_t lane) {
    for (uint32_t i = lane; i < rope.rope_dim / 2; i += 32) rotate_pair(head, rope, i, turn_of(rope, position, i));
    __syncwarp();
}
