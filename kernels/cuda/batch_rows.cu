/* What lies between the products of a fused step of many positions (batch.c). The sums that a product made
 * are added up, scaled and gated here, by whoever reads them: nothing else passes over them. */
#include "kernels/cuda/batch.cuh"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"

namespace {

struct four {
    float v[4];
};

/* Four elements from `at`, a multiple of four, on, zero beyond cols; x lies as a row of a matrix of that many
 * columns does. Past the first-level cache, which may hold what was there before the last kernel wrote. */
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
    if (cols % 4 == 0) {
        if (at < cols) *(float4 *)(x + at) = make_float4(from.v[0], from.v[1], from.v[2], from.v[3]);
        return;
    }
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (at + e < cols) x[at + e] = from.v[e];
}
__device__ __forceinline__ void store_four(__half *x, uint32_t cols, uint32_t at, const four &from) {
    if (cols % 4 == 0) {
        alignas(8) const __half out[4] = {__float2half(from.v[0]), __float2half(from.v[1]),
                                          __float2half(from.v[2]), __float2half(from.v[3])};
        if (at < cols) *(uint2 *)(x + at) = *(const uint2 *)out;
        return;
    }
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (at + e < cols) x[at + e] = __float2half(from.v[e]);
}

/* Of `cols` rows of sums from `first` on. The parts are added in their order, so that the result is the same
 * every time. */
__device__ __forceinline__ four sum_parts(const batch_sums &from, uint32_t position, uint32_t n,
                                          uint32_t first, uint32_t cols, uint32_t at) {
    four total = {};
#pragma unroll 4
    for (uint32_t part = 0; part < from.parts; part++) {
        const four v = load_four(from.data + ((size_t)part * n + position) * from.rows + first, cols, at);
#pragma unroll
        for (int e = 0; e < 4; e++) total.v[e] += v.v[e];
    }
    return total;
}

__device__ __forceinline__ void put_vector(const batch_vectors &to, size_t at, const four &from) {
    const bool in_order = columns_in_order(to);
    const float one = from.v[1],
                two = from.v[2]; /* chosen by value: by index they would leave the registers */
    alignas(8) const __half out[4] = {__float2half(from.v[0]), __float2half(in_order ? one : two),
                                      __float2half(in_order ? two : one), __float2half(from.v[3])};
    *(uint2 *)((__half *)to.data + at) = *(const uint2 *)out;
}

/* The sum of one value and the largest of another, not negative, over a block: all its threads call this,
 * once in a kernel, and get the same. */
__device__ __forceinline__ float2 block_sum_and_max(float sum, float largest) {
    __shared__ float2 part[32];
    const uint32_t lane = threadIdx.x % 32;
    sum = warp_sum(sum);
    largest = warp_max(largest);
    if (lane == 0) part[threadIdx.x / 32] = make_float2(sum, largest);
    __syncthreads();
    const float2 mine = lane < blockDim.x / 32 ? part[lane] : make_float2(0, 0);
    return make_float2(warp_sum(mine.x), warp_max(mine.y));
}

/* A block's threads hold the row in registers, four columns each a round. */
template <int ROUNDS> __global__ void __launch_bounds__(1024) batch_rows_kernel(batch_rows_args a) {
    const uint32_t position = blockIdx.x, round = blockDim.x * 4;
    const uint32_t padded = a.to.stride ? a.to.stride
                                        : (a.cols + SMALL_STEP_BLOCKS * 32 - 1) / (SMALL_STEP_BLOCKS * 32) *
                                              (SMALL_STEP_BLOCKS * 32);
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
        const float scale = a.add.scale ? __ldcg(a.add.scale + position) : 1;
#pragma unroll
        for (int r = 0; r < ROUNDS; r++) {
            const uint32_t k = r * round + threadIdx.x * 4;
            const four sum = sum_parts(a.add, position, a.n, 0, a.cols, k);
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
    const float2 of_row = block_sum_and_max(squares, largest);
    const float factor = a.norm ? rsqrtf(of_row.x / (float)a.cols + a.eps) : 1;
    float shrink = factor;
    if (!a.normed) {
        const float scale = scale_for(of_row.y * factor);
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

/* ---- gate and up ---- */

enum { GATED_THREADS = 512, GATED_LOADS = 4 };

/* Gate and up of column k, an even one, and of the next, zero beyond cols: gate, up, gate, up. */
__device__ __forceinline__ float4 load_gate_up(const float *row, bool in_turns, uint32_t cols, uint32_t k) {
    if (k >= cols) return make_float4(0, 0, 0, 0);
    const uint32_t step = in_turns ? 2 : 1, up = in_turns ? 1 : cols;
    if (cols % 2 == 0) {
        if (in_turns) return __ldcg((const float4 *)(row + 2 * k));
        const float2 g = __ldcg((const float2 *)(row + k)), u = __ldcg((const float2 *)(row + up + k));
        return make_float4(g.x, u.x, g.y, u.y);
    }
    float4 both = make_float4(__ldcg(row + step * k), __ldcg(row + step * k + up), 0, 0);
    if (k + 1 < cols) both.z = __ldcg(row + step * (k + 1)), both.w = __ldcg(row + step * (k + 1) + up);
    return both;
}

/* A row passes by once, for nearly every one is small enough to need no scale; where it turns out that one
 * does, it passes by again. So a row of any length goes through few registers, and the memory never waits for
 * a barrier. */
__global__ void __launch_bounds__(GATED_THREADS) batch_gated_kernel(batch_gated_args a) {
    constexpr uint32_t round = GATED_THREADS * 2;
    const uint32_t position = blockIdx.x;
    const float *row = a.sums + (size_t)position * 2 * a.cols;
    __half *to = (__half *)a.to.data + (size_t)position * a.to.stride;
    let_next_kernel_start();
    wait_for_previous_kernel();
    const float in_scale = __ldcg(a.to.scale + position);
    float scale, wanted = 1;
    do {
        const float shrink = 1 / (scale = wanted); /* a power of two */
        float largest = 0;
        for (uint32_t start = threadIdx.x * 2; start < a.to.stride; start += GATED_LOADS * round) {
            float4 both[GATED_LOADS];
#pragma unroll
            for (int r = 0; r < GATED_LOADS; r++)
                both[r] = load_gate_up(row, a.in_turns, a.cols, start + r * round);
#pragma unroll
            for (int r = 0; r < GATED_LOADS; r++) {
                const float one = silu(both[r].x * in_scale) * (both[r].y * in_scale),
                            two = silu(both[r].z * in_scale) * (both[r].w * in_scale);
                largest = fmaxf(largest, fmaxf(fabsf(one), fabsf(two)));
                alignas(4) const __half out[2] = {__float2half(one * shrink), __float2half(two * shrink)};
                if (start + r * round < a.to.stride)
                    *(uint32_t *)(to + start + r * round) = *(const uint32_t *)out;
            }
        }
        wanted = scale_for(block_max(largest));
    } while (wanted != scale);
    if (threadIdx.x == 0) a.to.scale[position] = scale; /* all have read it before a barrier */
}

/* ---- heads ---- */

enum { HEADS_WARPS = 12, HEAD_ROUNDS = HEAD_DIM_MAX / 128 };

/* A warp a head of q, k or v, a block some of those of a position, whose turns they share: grid (blocks, n).
 */
__global__ void __launch_bounds__(HEADS_WARPS * 32, 4) batch_heads_kernel(batch_heads_args a) {
    __shared__ __align__(16) float heads[HEADS_WARPS][HEAD_DIM_MAX];
    __shared__ float2 turns[HEAD_DIM_MAX / 2];
    const rope_args &rope = a.rope;
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, d = rope.head_dim, i = blockIdx.y,
                   position = a.first + i, which = blockIdx.x * (blockDim.x / 32) + warp;
    const bool is_q = which < rope.n_heads, is_k = !is_q && which < rope.n_heads + rope.n_kv_heads,
               real = which < rope.n_heads + 2 * rope.n_kv_heads;
    const uint32_t h = is_q ? which : is_k ? which - rope.n_heads : which - rope.n_heads - rope.n_kv_heads;
    const float *bias = a.bias[is_q ? 0 : is_k ? 1 : 2];
    float *head = heads[warp];
    four offset[HEAD_ROUNDS] = {};
    let_next_kernel_start();
    /* what depends on no kernel */
    for (uint32_t pair = threadIdx.x; pair < rope.rope_dim / 2; pair += blockDim.x)
        turns[pair] = turn_of(rope, position, pair);
#pragma unroll
    for (int r = 0; r < HEAD_ROUNDS; r++)
        if (real && bias) offset[r] = load_four(bias + h * d, d, r * 128 + lane * 4);
    wait_for_previous_kernel();
    if (real) {
        const float scale = __ldcg(a.sums.scale + i);
#pragma unroll
        for (int r = 0; r < HEAD_ROUNDS; r++) {
            const uint32_t at = r * 128 + lane * 4;
            four v = sum_parts(a.sums, i, a.n, which * d, d, at);
#pragma unroll
            for (int e = 0; e < 4; e++) v.v[e] = v.v[e] * scale + offset[r].v[e];
            *(float4 *)(head + at) = make_float4(v.v[0], v.v[1], v.v[2], v.v[3]);
        }
    }
    __syncthreads();
    if (!real) return;
    if (is_q || is_k) {
        head_norm(head, is_q ? rope.q_norm : rope.k_norm, rope, lane);
        for (uint32_t pair = lane; pair < rope.rope_dim / 2; pair += 32)
            rotate_pair(head, rope, pair, turns[pair]);
        __syncwarp();
    }
    const size_t cached = ((size_t)h * a.cache.n_ctx + position) * d;
#pragma unroll
    for (int r = 0; r < HEAD_ROUNDS; r++) {
        const uint32_t at = r * 128 + lane * 4;
        const float4 p = *(const float4 *)(head + at);
        const four v = {p.x, p.y, p.z, p.w};
        if (is_q)
            store_four(a.q + ((size_t)i * rope.n_heads + h) * d, d, at, v);
        else
            store_four((__half *)(is_k ? a.cache.k : a.cache.v) + cached, d, at, v);
    }
}

uint32_t divide_up(uint32_t a, uint32_t b) {
    return (a + b - 1) / b;
}

} // namespace

/* Where there are few positions, all of a multiprocessor's threads are there for one; where there are many,
 * smaller blocks, some of which load while others store. */
extern "C" cudaError_t launch_batch_rows(cudaStream_t stream, const struct batch_rows_args *args) {
    const uint32_t pieces = divide_up(args->cols, 128), few = args->n <= SMALL_BATCH_MOST ? 1 : 4;
    const uint32_t rounds = pieces > few * 32 ? divide_up(pieces, 32) : few;
    const unsigned threads = divide_up(pieces, rounds) * 32;
    const dim3 grid(args->normed || args->to.stride ? args->n : args->to.groups * 8);
    if (rounds <= 1) return launch_dependent(stream, grid, threads, 0, batch_rows_kernel<1>, *args);
    if (rounds <= 2) return launch_dependent(stream, grid, threads, 0, batch_rows_kernel<2>, *args);
    if (rounds <= 4) return launch_dependent(stream, grid, threads, 0, batch_rows_kernel<4>, *args);
    if (rounds <= 5) return launch_dependent(stream, grid, threads, 0, batch_rows_kernel<5>, *args);
    if (rounds <= 8) return launch_dependent(stream, grid, threads, 0, batch_rows_kernel<8>, *args);
    return cudaErrorInvalidValue;
}

extern "C" cudaError_t launch_batch_gated(cudaStream_t stream, const struct batch_gated_args *args) {
    return launch_dependent(stream, dim3(args->n), GATED_THREADS, 0, batch_gated_kernel, *args);
}

extern "C" cudaError_t launch_batch_heads(cudaStream_t stream, const struct batch_heads_args *args) {
    const uint32_t heads = args->rope.n_heads + 2 * args->rope.n_kv_heads,
                   blocks = divide_up(heads, HEADS_WARPS);
    return launch_dependent(stream, dim3(blocks, args->n), divide_up(heads, blocks) * 32, 0,
                            batch_heads_kernel, *args);
}
