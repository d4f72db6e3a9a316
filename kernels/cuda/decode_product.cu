/* Matrix times one vector: where a decode step spends its time. The weights are read once, so the only thing that counts is that the
 * memory never waits: planes (layout.cuh) read in full lines, several loads of a thread in flight, few instructions a weight.
 *
 * A block first prepares the vector in shared memory, every block for itself: that costs less than another kernel between two
 * dependent steps. An RMS norm is applied on the way if wanted. For quantised weights the vector becomes 8-bit runs of 16 with
 * an F32 scale and the sums of both halves, so that a block of weights s * q + m needs eight dp4a and no unpacking to floats:
 *     sum over e of (s q_e + m) x_e  =  s * xs * sum(q_e * xq_e)  +  m * xs * sum(xq_e)
 * For float weights it stays in F32.
 *
 * A block starts while the kernel before it still runs and pulls its first rows into the second-level cache before it waits
 * for the vector (programmatic dependent launch). */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/vector.cuh"

namespace {

/* Read x, norm it if wanted, hand eight elements at a time to `store`, whole warps together. The first round, which is all there
 * is for hidden states up to 4096 or 8192, is kept in registers between the two passes of a norm; what is beyond is read again. */
template <class S> __device__ __forceinline__ void prepare(const decode_product_args &a, uint32_t cols, uint32_t padded, S store) {
    const uint32_t round = blockDim.x * 8;
    const uint32_t mine = threadIdx.x * 8, warps = threadIdx.x / 32 * 256; /* this thread's and its warp's first element of a round */
    float kept[8], weight[8], factor = 1;
    if (warps < padded) {
        if (a.norm) load_eight(a.norm, cols, mine, weight); /* depends on no kernel: before the wait */
    }
    wait_for_previous_kernel();
    if (warps < padded) load_eight(a.x, cols, mine, kept);
    if (a.norm) {
        float sum = 0;
        if (warps < padded) {
#pragma unroll
            for (int e = 0; e < 8; e++) sum += kept[e] * kept[e];
        }
        for (uint32_t first = round; first + warps < padded; first += round) {
            float v[8];
            load_eight(a.x, cols, first + mine, v);
#pragma unroll
            for (int e = 0; e < 8; e++) sum += v[e] * v[e];
        }
        factor = rsqrtf(block_sum(sum) / (float)cols + a.eps);
    }
    if (warps < padded) {
        if (a.norm) {
#pragma unroll
            for (int e = 0; e < 8; e++) kept[e] *= factor * weight[e];
        }
        store(mine, kept);
    }
    for (uint32_t first = round; first + warps < padded; first += round) {
        float v[8];
        load_eight(a.x, cols, first + mine, v);
        if (a.norm) {
            load_eight(a.norm, cols, first + mine, weight);
#pragma unroll
            for (int e = 0; e < 8; e++) v[e] *= factor * weight[e];
        }
        store(first + mine, v);
    }
    __syncthreads();
}

/* ---- rows ---- */

/* Which rows a warp computes together: R of one matrix, or R / 2 of the gate and the same of up. */
struct row_group {
    uint32_t matrix, row, count; /* count: real rows, the others are clamped to the last */
};

template <int R, bool GATE> __device__ __forceinline__ row_group group_at(const decode_product_args &a, uint32_t g) {
    constexpr uint32_t step = GATE ? R / 2 : R;
    row_group at = {0, 0, 0};
    for (uint32_t m = 0; m < (GATE ? 1 : a.n); m++) {
        uint32_t groups = (a.w[m].rows + step - 1) / step;
        if (g < groups) {
            at.matrix = m;
            at.row = g * step;
            at.count = min(step, a.w[m].rows - at.row);
            return at;
        }
        g -= groups;
    }
    return at;
}

template <int R, bool GATE> __device__ __forceinline__ uint32_t row_of(const row_group &at, int r) {
    uint32_t i = GATE ? r / 2 : r;
    return at.row + min(i, at.count - 1);
}

template <int R, bool GATE> __device__ __forceinline__ void store_rows(const decode_product_args &a, const row_group &at, float sum[R]) {
#pragma unroll
    for (int r = 0; r < R; r++) sum[r] = warp_sum(sum[r]);
    if (threadIdx.x % 32) return;
    float *y = a.y[at.matrix] + at.row;
    const float *bias = a.bias[at.matrix];
#pragma unroll
    for (int r = 0; r < R; r += GATE ? 2 : 1) {
        uint32_t i = GATE ? r / 2 : r;
        if (i >= at.count) break;
        float value = GATE ? silu(sum[r]) * sum[r + 1] : sum[r];
        if (bias) value += bias[at.row + i];
        y[i] = a.add ? y[i] + value : value;
    }
}

/* ---- the stream of a warp ---- */

/* How a step's weights are loaded and used. A step is R rows and U units of each a lane: blocks of 32 for quantised types, 16 bytes
 * for float types. */
template <int T> struct quantised_unit {
    using raw = raw_block;
    using vector = quantised_vector;
    static __device__ __forceinline__ uint32_t count(const device_matrix &w) { return w.blocks; }
    static __device__ __forceinline__ raw load(const device_matrix &w, uint32_t row, uint32_t unit) { return block_load<T>(w, row, unit); }
    static __device__ __forceinline__ float dot(const raw &r, const vector &x, uint32_t unit) { return block_dot<T>(r, x, unit); }
};
template <class E> struct float_unit {
    using raw = uint4;
    using vector = float_vector;
    static __device__ __forceinline__ uint32_t count(const device_matrix &w) { return w.blocks * (32 * sizeof(E) / 16); }
    static __device__ __forceinline__ raw load(const device_matrix &w, uint32_t row, uint32_t unit) {
        return load_16((const char *)w.data + (size_t)row * w.pitch + unit * 16);
    }
    static __device__ __forceinline__ float dot(const raw &r, const vector &x, uint32_t unit) { return dot_bits(r, x, unit, E()); }
};

/* Where a warp is: a group of rows and the first unit of its next step. */
struct cursor {
    uint32_t g, first;
    row_group at;
};

template <class F, int R, int U, bool GATE>
__device__ __forceinline__ void load_step(const decode_product_args &a, const cursor &c, uint32_t units, typename F::raw raw[R][U]) {
#pragma unroll
    for (int u = 0; u < U; u++) {
        uint32_t unit = c.first + u * 32 + threadIdx.x % 32;
        if (unit < units) {
#pragma unroll
            for (int r = 0; r < R; r++) raw[r][u] = F::load(a.w[GATE ? r % 2 : c.at.matrix], row_of<R, GATE>(c.at, r), unit);
        }
    }
}

/* All groups of a warp as one stream of steps: while a step is multiplied, the next one is on its way, across the border of groups
 * too. The first step is loaded by the constructor, which can run before the vector is there. */
template <class F, int R, int U, bool GATE> struct stream {
    const decode_product_args &a;
    const uint32_t groups, units, stride;
    cursor now;
    typename F::raw even[R][U], odd[R][U];
    float sum[R];

    __device__ __forceinline__ stream(const decode_product_args &args, uint32_t g, uint32_t end)
        : a(args), groups(end), units(F::count(args.w[0])), stride(gridDim.x * (blockDim.x / 32)), now{g, 0, {}} {
        if (g >= groups) return;
        now.at = group_at<R, GATE>(a, g);
        load_step<F, R, U, GATE>(a, now, units, even);
    }

    __device__ __forceinline__ void step(const typename F::vector &x, typename F::raw (&mine)[R][U], typename F::raw (&following)[R][U]) {
        cursor next = now;
        next.first += 32 * U;
        if (next.first >= units) {
            next.g += stride;
            next.first = 0;
            if (next.g < groups) next.at = group_at<R, GATE>(a, next.g);
        }
        if (next.g < groups) load_step<F, R, U, GATE>(a, next, units, following);
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t unit = now.first + u * 32 + threadIdx.x % 32;
            if (unit < units) {
#pragma unroll
                for (int r = 0; r < R; r++) sum[r] += F::dot(mine[r][u], x, unit);
            }
        }
        if (next.first == 0) {
            store_rows<R, GATE>(a, now.at, sum);
#pragma unroll
            for (int r = 0; r < R; r++) sum[r] = 0;
        }
        now = next;
    }

    __device__ __forceinline__ void run(const typename F::vector &x) {
#pragma unroll
        for (int r = 0; r < R; r++) sum[r] = 0;
        while (now.g < groups) {
            step(x, even, odd);
            if (now.g >= groups) break;
            step(x, odd, even);
        }
    }
};

/* Pull the first rows of this warp into the second-level cache; weights depend on nothing that runs. */
template <int R, bool GATE> __device__ __forceinline__ void prefetch_rows(const decode_product_args &a, uint32_t g, uint32_t groups, uint32_t bytes) {
    if (g >= groups) return;
    row_group at = group_at<R, GATE>(a, g);
#pragma unroll
    for (int r = 0; r < R; r++) {
        const device_matrix &w = a.w[GATE ? r % 2 : at.matrix];
        const char *row = (const char *)w.data + (size_t)row_of<R, GATE>(at, r) * w.pitch;
        for (uint32_t b = threadIdx.x % 32 * 128; b < bytes; b += 32 * 128) asm volatile("prefetch.global.L2 [%0];" ::"l"(row + b));
    }
}

/* One block a multiprocessor: it prepares the vector once. Types whose unpacking takes many registers run fewer threads, and so do small
 * matrices: there a step waits for its barriers, not for the memory. */
enum { SMALL_THREADS = 512, SMALL_MATRIX = 16 << 20 };
template <int T> constexpr int threads = T == DTYPE_IQ4_NL || T == DTYPE_IQ4_XS ? 512 : 1024;

/* Matrices of type FIRST, then from group `border` on those of type REST (where they differ: v beside q and k). */
template <int FIRST, int REST, int R, int U, bool GATE>
__global__ void __launch_bounds__(threads<FIRST>, 1) quantised_kernel(decode_product_args a, uint32_t border, uint32_t groups, uint32_t row_size) {
    extern __shared__ __align__(16) char memory[];
    uint32_t g = blockIdx.x + threadIdx.x / 32 * gridDim.x; /* neighbouring groups go to different multiprocessors */
    let_next_kernel_start();
    prefetch_rows<R, GATE>(a, g, border, row_size);
    stream<quantised_unit<FIRST>, R, U, GATE> rows(a, g, border);
    quantised_vector x = quantised_at(memory, a.w[0].blocks);
    prepare(a, a.w[0].cols, a.w[0].blocks * 32, [&](uint32_t i, const float v[8]) { store_quantised(x, i, a.w[0].blocks * 32, v); });
    rows.run(x);
    if constexpr (FIRST != REST) stream<quantised_unit<REST>, R, U, GATE>(a, rows.now.g, groups).run(x);
}

template <class E, int R, int U, bool GATE>
__global__ void __launch_bounds__(1024, 1) float_kernel(decode_product_args a, uint32_t groups, uint32_t row_size) {
    extern __shared__ __align__(16) char memory[];
    constexpr uint32_t W = 16 / sizeof(E);
    uint32_t g = blockIdx.x + threadIdx.x / 32 * gridDim.x;
    let_next_kernel_start();
    prefetch_rows<R, GATE>(a, g, groups, row_size);
    float_vector x;
    x.plane[0] = (float4 *)memory;
    x.plane[1] = x.plane[0] + a.w[0].blocks * (32 / W);
    stream<float_unit<E>, R, U, GATE> rows(a, g, groups);
    prepare(a, a.w[0].cols, a.w[0].blocks * 32, [&](uint32_t i, const float v[8]) { store_floats<W>(x, i, a.w[0].blocks * 32, v); });
    rows.run(x);
}

template <int T>
__global__ void decode_embed_kernel(device_matrix table, const decode_state *state, float *x, rope_args rope, float2 *turn) {
    let_next_kernel_start();
    wait_for_previous_kernel();
    uint32_t b = blockIdx.x * blockDim.x + threadIdx.x;
    if (b < rope.rope_dim / 2) turn[b] = turn_of(rope, state->position, b);
    if (b >= table.blocks) return;
    float values[32];
    block_floats<T>(table, (uint32_t)state->id, b, values);
    for (uint32_t e = 0; e < 32 && b * 32 + e < table.cols; e++) x[b * 32 + e] = values[e];
}

/* ---- launching ---- */

template <int R, bool GATE> uint32_t count_groups(const decode_product_args &a, uint32_t n) {
    constexpr uint32_t step = GATE ? R / 2 : R;
    uint32_t groups = 0;
    for (uint32_t m = 0; m < (GATE ? 1 : n); m++) groups += (a.w[m].rows + step - 1) / step;
    return groups;
}

template <int FIRST, int REST, int R, int U, bool GATE>
cudaError_t launch_rows(cudaStream_t stream, const decode_product_args &a, uint32_t multiprocessors) {
    const uint32_t groups = count_groups<R, GATE>(a, a.n);
    const dim3 grid(groups < multiprocessors ? groups : multiprocessors);
    const uint32_t row_size = (uint32_t)row_bytes(FIRST, a.w[0].blocks);
    const size_t size = (size_t)groups * R * row_size;
    const unsigned many = size < SMALL_MATRIX ? SMALL_THREADS : threads<FIRST>;
    const size_t shared = decode_product_shared(&a.w[0]);
    if constexpr (FIRST == DTYPE_F32) return launch_dependent(stream, grid, many, shared, float_kernel<float, R, U, GATE>, a, groups, row_size);
    else if constexpr (FIRST == DTYPE_F16) return launch_dependent(stream, grid, many, shared, float_kernel<__half, R, U, GATE>, a, groups, row_size);
    else if constexpr (FIRST == DTYPE_BF16)
        return launch_dependent(stream, grid, many, shared, float_kernel<__nv_bfloat16, R, U, GATE>, a, groups, row_size);
    else {
        const uint32_t border = FIRST == REST ? groups : count_groups<R, GATE>(a, a.n - 1);
        return launch_dependent(stream, grid, many, shared, quantised_kernel<FIRST, REST, R, U, GATE>, a, border, groups, row_size);
    }
}

/* A step is two loads of a lane: both of one row, or of two rows where rows are short and there are enough to keep every warp busy. Four
 * for float types: their loads carry few weights. */
template <int T> cudaError_t launch_type(cudaStream_t stream, const decode_product_args &a, uint32_t multiprocessors) {
    if constexpr (T == DTYPE_F16 || T == DTYPE_BF16 || T == DTYPE_F32) {
        if (a.gate) return launch_rows<T, T, 2, 2, true>(stream, a, multiprocessors);
        return launch_rows<T, T, 1, 4, false>(stream, a, multiprocessors);
    } else {
        uint32_t rows = 0;
        for (uint32_t m = 0; m < a.n; m++) rows += a.w[m].rows;
        if (a.gate) return launch_rows<T, T, 2, 1, true>(stream, a, multiprocessors);
        if (a.w[0].blocks <= 32 && rows >= multiprocessors * 64) return launch_rows<T, T, 2, 1, false>(stream, a, multiprocessors);
        return launch_rows<T, T, 1, 2, false>(stream, a, multiprocessors);
    }
}

/* Pairs of types that stand side by side in common mixes: q and k of the first, v of the second. */
#define MIXES(X) X(DTYPE_Q4_K, DTYPE_Q6_K) X(DTYPE_Q5_K, DTYPE_Q6_K) X(DTYPE_Q4_K, DTYPE_Q5_K) X(DTYPE_Q5_0, DTYPE_Q8_0)

} // namespace

extern "C" size_t decode_product_shared(const struct device_matrix *w) {
    bool floats = w->type == DTYPE_F32 || w->type == DTYPE_F16 || w->type == DTYPE_BF16;
    return (size_t)w->blocks * (floats ? 128 : 32 + 16);
}

extern "C" int decode_product_fits(const struct decode_product_args *a) {
    int last = a->w[a->n - 1].type;
    for (uint32_t m = 1; m + 1 < a->n; m++)
        if (a->w[m].type != a->w[0].type) return 0;
    if (last == a->w[0].type) return 1;
    if (a->gate) return 0;
#define X(first, rest)                                                                                       \
    if (a->w[0].type == first && last == rest) return 1;
    MIXES(X)
#undef X
    return 0;
}

extern "C" cudaError_t launch_decode_product(cudaStream_t stream, struct decode_product_args a, uint32_t multiprocessors) {
    int last = a.w[a.n - 1].type;
    if (last != a.w[0].type) {
#define X(first, rest)                                                                                       \
    if (a.w[0].type == first && last == rest) return launch_rows<first, rest, 1, 2, false>(stream, a, multiprocessors);
        MIXES(X)
#undef X
        return cudaErrorInvalidValue;
    }
    cudaError_t e = cudaErrorInvalidValue;
    FOR_TYPE(a.w[0].type, (e = launch_type<T>(stream, a, multiprocessors)));
    return e;
}

extern "C" cudaError_t launch_decode_embed(cudaStream_t stream, struct device_matrix table, const struct decode_state *state, float *x,
                                           struct rope_args rope, float2 *turn) {
    uint32_t threads = table.blocks > rope.rope_dim / 2 ? table.blocks : rope.rope_dim / 2;
    dim3 grid((threads + 31) / 32);
    cudaError_t e = cudaErrorInvalidValue;
    FOR_TYPE(table.type, (e = launch_dependent(stream, grid, 32, 0, decode_embed_kernel<T>, table, state, x, rope, turn)));
    return e;
}
