/* What lies between the products of a step of a few positions (small_product.cu): their sums are added up
 * here, by whoever reads them. */
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/layout.cuh"
#include "kernels/cuda/small_batch.h"

namespace {

struct four {
    float v[4];
};

/* Four elements from `at` on, zero beyond cols. Past the first-level cache, which may hold what was there
 * before the last kernel wrote. */
__device__ __forceinline__ four load_four(const float *x, uint32_t cols, uint32_t at) {
    if (cols % 4 == 0) {
        const float4 p = at < cols ? __ldcg((const float4 *)(x + at)) : make_float4(0, 0, 0, 0);
        return {p.x, p.y, p.z, p.w};
    }
    four r;
#pragma unroll
    for (int e = 0; e < 4; e++) r.v[e] = at + e < cols ? __ldcg(x + at + e) : 0;
    return r;
}
__device__ __forceinline__ void store_four(float *x, uint32_t cols, uint32_t at, const four &from) {
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (at + e < cols) x[at + e] = from.v[e];
}

/* The parts of a sum in their order, so that the result is the same every time. */
__device__ __forceinline__ four sum_parts(const small_sums &from, uint32_t position, uint32_t n,
                                          uint32_t at) {
    four total = {};
#pragma unroll 4
    for (uint32_t part = 0; part < from.parts; part++) {
        const four v = load_four(from.data + ((size_t)part * n + position) * from.rows, from.rows, at);
#pragma unroll
        for (int e = 0; e < 4; e++) total.v[e] += v.v[e];
    }
    return total;
}

/* Where column k, a multiple of four, of a position is in small_vectors. It and the next three lie together;
 * for quants they are 0, 2, 1, 3: a word of bytes gives up its even ones and its odd ones at once. */
__device__ __forceinline__ size_t vector_at(const small_vectors &to, uint32_t position, uint32_t k) {
    const uint32_t step = k / (SMALL_STEP_BLOCKS * 32), in_step = k % (SMALL_STEP_BLOCKS * 32),
                   block = in_step / 32, e = in_step % 32;
    const uint32_t piece = to.floats ? block : e % 16 / 4, lane = to.floats ? e / 8 : block,
                   within = to.floats ? e % 8 : e / 16 * 4;
    return ((((size_t)step * to.groups + position / 8) * 4 + piece) * 32 + position % 8 * 4 + lane) * 8 +
           within;
}

template <class E>
__device__ __forceinline__ void put_four(const small_vectors &to, size_t at, const four &from) {
    alignas(8)
        E out[4] = {E(from.v[0]), E(from.v[to.floats ? 1 : 2]), E(from.v[to.floats ? 2 : 1]), E(from.v[3])};
    *(uint2 *)((E *)to.data + at) = *(uint2 *)out;
}
__device__ __forceinline__ void put_vector(const small_vectors &to, size_t at, const four &from) {
    if (to.bf16)
        put_four<__nv_bfloat16>(to, at, from);
    else
        put_four<__half>(to, at, from);
}

/* A block's threads hold the row in registers, four columns each a round. */
template <int ROUNDS> __global__ void __launch_bounds__(1024) small_rows_kernel(small_rows_args a) {
    const uint32_t position = blockIdx.x, round = blockDim.x * 4;
    const uint32_t padded =
        (a.cols + SMALL_STEP_BLOCKS * 32 - 1) / (SMALL_STEP_BLOCKS * 32) * (SMALL_STEP_BLOCKS * 32);
    float *x = a.x + (size_t)position * a.cols;
    constexpr bool early = ROUNDS <= 2; /* weights of the norm depend on no kernel, but take registers */
    four v[ROUNDS], weight[ROUNDS];
    float squares = 0, largest = 0;
    let_next_kernel_start();
    auto load_weight = [&](int r) {
        if (a.norm) weight[r] = load_four(a.norm, a.cols, r * round + threadIdx.x * 4);
    };
#pragma unroll
    for (int r = 0; r < ROUNDS; r++)
        if (early) load_weight(r);
    wait_for_previous_kernel();
    const bool real = position < a.n; /* else of the last group: zeros */
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) v[r] = load_four(x, real ? a.cols : 0, r * round + threadIdx.x * 4);
    if (a.add.data && real) {
        const float scale = __ldcg(a.to.scale + position);
#pragma unroll
        for (int r = 0; r < ROUNDS; r++) {
            const uint32_t k = r * round + threadIdx.x * 4;
            const four sum = sum_parts(a.add, position, a.n, k);
#pragma unroll
            for (int e = 0; e < 4; e++) v[r].v[e] += sum.v[e] * scale;
            store_four(x, a.cols, k, v[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        if (!early) load_weight(r);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            squares += v[r].v[e] * v[r].v[e];
            if (a.norm) v[r].v[e] *= weight[r].v[e];
            largest = fmaxf(largest, fabsf(v[r].v[e]));
        }
    }
    const float factor = a.norm ? rsqrtf(block_sum(squares) / (float)a.cols + a.eps) : 1;
    float shrink = factor;
    if (!a.normed) {
        const float scale = scale_for(block_max(largest) * factor);
        if (threadIdx.x == 0 && real) a.to.scale[position] = scale; /* all have read it before a barrier */
        shrink = factor / scale;                                    /* of a power of two */
    }
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const uint32_t k = r * round + threadIdx.x * 4;
#pragma unroll
        for (int e = 0; e < 4; e++) v[r].v[e] *= shrink;
        if (a.normed)
            store_four(a.normed + (size_t)position * a.cols, a.cols, k, v[r]);
        else if (k < padded)
            put_vector(a.to, vector_at(a.to, position, k), v[r]);
    }
}

/* A warp a head of q, k or v: grid (n_heads + 2 n_kv_heads, n). */
__global__ void __launch_bounds__(32) small_heads_kernel(small_heads_args a) {
    __shared__ float head[HEAD_DIM_MAX];
    const rope_args &rope = a.rope;
    const uint32_t which = blockIdx.x, i = blockIdx.y, position = a.first + i, d = rope.head_dim,
                   lane = threadIdx.x;
    const bool is_q = which < rope.n_heads, is_k = !is_q && which < rope.n_heads + rope.n_kv_heads;
    const uint32_t h = is_q ? which : is_k ? which - rope.n_heads : which - rope.n_heads - rope.n_kv_heads;
    const float *bias = a.bias[is_q ? 0 : is_k ? 1 : 2];
    let_next_kernel_start();
    wait_for_previous_kernel();
    const float scale = __ldcg(a.scale + i);
    for (uint32_t e = lane; e < d; e += 32) {
        float total = 0;
#pragma unroll 4
        for (uint32_t part = 0; part < a.sums.parts; part++)
            total += __ldcg(a.sums.data + ((size_t)part * a.n + i) * a.sums.rows + which * d + e);
        head[e] = total * scale + (bias ? bias[h * d + e] : 0);
    }
    __syncwarp();
    if (is_q || is_k) {
        head_norm(head, is_q ? rope.q_norm : rope.k_norm, rope, lane);
        head_rotate(head, rope, position, lane);
    }
    const size_t cached = ((size_t)h * a.cache.n_ctx + position) * d;
    for (uint32_t e = lane; e < d; e += 32) {
        if (is_q)
            a.q[((size_t)i * rope.n_heads + h) * d + e] = head[e];
        else
            ((__half *)(is_k ? a.cache.k : a.cache.v))[cached + e] = __float2half(head[e]);
    }
}

} // namespace

extern "C" cudaError_t launch_small_rows(cudaStream_t stream, const struct small_rows_args *args) {
    const uint32_t rounds = (args->cols + 4095) / 4096; /* of 1024 threads */
    const unsigned threads = rounds > 1 ? 1024 : (args->cols + 127) / 128 * 32;
    const dim3 grid(args->normed ? args->n : args->to.groups * 8);
    if (rounds <= 1) return launch_dependent(stream, grid, threads, 0, small_rows_kernel<1>, *args);
    if (rounds <= 2) return launch_dependent(stream, grid, threads, 0, small_rows_kernel<2>, *args);
    if (rounds <= 5) return launch_dependent(stream, grid, threads, 0, small_rows_kernel<5>, *args);
    if (rounds <= 8) return launch_dependent(stream, grid, threads, 0, small_rows_kernel<8>, *args);
    return cudaErrorInvalidValue;
}

extern "C" cudaError_t launch_small_heads(cudaStream_t stream, const struct small_heads_args *args) {
    const dim3 grid(args->rope.n_heads + 2 * args->rope.n_kv_heads, args->n);
    return launch_dependent(stream, grid, 32, 0, small_heads_kernel, *args);
}
