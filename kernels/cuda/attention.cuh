/* Attention for many positions: where its kernels put the answers, and Hopper's own (attention_hopper.cu),
 * which is there where LOGITOP_HOPPER is defined: what it needs is compiled for sm_90a alone. */
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/batch.cuh"
#include "kernels/cuda/mma.cuh"

/* One column of a position's answer. */
__device__ __forceinline__ void put_one(const attention_args &a, uint32_t position, uint32_t column,
                                        float v) {
    const uint32_t within = column % 4;
    if (a.out)
        a.out[(size_t)position * a.rope.n_heads * a.rope.head_dim + column] = v;
    else
        ((__half *)a.to.data)[vector_at(a.to, position, column - within) +
                              (columns_in_order(a.to) ? within : within % 2 * 2 + within / 2)] =
            __float2half(v);
}

/* to[at(t)] = word(t) for t < N, of threads that are `real`; all make their words. */
template <int N, class W, class A, class V>
__device__ __forceinline__ void put_words(bool real, W *to, A at, V word) {
#pragma unroll
    for (int t = 0; t < N; t++) {
        const W w = word(t);
        if (real) to[at(t)] = w;
    }
}

/* A position's columns from `first`, a multiple of 64, on, as the matrix units leave them: pair(t) are those
 * at 8 t + 2 (lane % 4) and the next, t < N. All lanes of a warp call this; `real`: those of lane / 4 with a
 * position. */
template <int N, class P>
__device__ __forceinline__ void put_columns(const attention_args &a, bool real, uint32_t position,
                                            uint32_t first, P pair) {
    const uint32_t mine = threadIdx.x % 4 * 2;
    const size_t row = (size_t)position * a.rope.n_heads * a.rope.head_dim + first + mine;
    auto halves = [&](int t) { return pack_halves(pair(t).x, pair(t).y); };
    if (a.out) {
        put_words<N>(
            real, (float2 *)(a.out + row), [](int t) { return t * 4; }, pair);
        return;
    }
    if (a.to.stride) {
        put_words<N>(
            real, (uint32_t *)((__half *)a.to.data + row), [](int t) { return t * 4; }, halves);
        return;
    }
    /* what vector_at() adds for 8 t columns */
    uint32_t *four =
        (uint32_t *)((__half *)a.to.data + vector_at(a.to, position, first + mine / 4 * 4)) + mine / 2 % 2;
    if (a.to.floats) {
        put_words<N>(
            real, four, [](int t) { return t % 4 * 4 + t / 4 * 128; }, halves);
        return;
    }
    const bool even = mine % 4 == 0; /* has columns 0 and 1 of four, is to store 0 and 2 */
    put_words<N>(
        real, four, [](int t) { return t % 2 * 256 + t / 2 % 2 * 2 + t / 4 * 4; },
        [&](int t) {
            const float2 v = pair(t);
            const float others = __shfl_xor_sync(~0u, even ? v.y : v.x, 1);
            return even ? pack_halves(v.x, others) : pack_halves(others, v.y);
        });
}

/* Is it for this device, these heads and positions? */
bool hopper_attention_takes(const attention_args &args);

/* What launch_attention() does, of a cache of F16. */
cudaError_t launch_hopper_attention(cudaStream_t stream, const attention_args &args);
