/* Matrix times one vector: where a decode step spends its time. The weights are read once, so the only thing that counts is that the
 * memory never waits: planes (layout.cuh) read in full lines, several loads of a thread in flight, few instructions a weight.
 *
 * A block first prepares the vector in shared memory, every block for itself: that costs less than another kernel between two
 * dependent steps. An RMS norm is applied on the way if wanted. For quantised weights the vector becomes 8-bit blocks of 32 with
 * an F32 scale and the sums of both halves, so that a block of weights s * q + m needs eight dp4a and no unpacking to floats:
 *     sum over e of (s q_e + m) x_e  =  s * xs * sum(q_e * xq_e)  +  m * xs * sum(xq_e)
 * For float weights it stays in F32.
 *
 * While the step before it still runs, a block pulls its first rows into the second-level cache (programmatic dependent launch). */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/layout.cuh"

namespace {

enum { THREADS = 512, WARPS = THREADS / 32, CACHED_ROUNDS = 2, MIXED = -1 };

__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/* ---- the vector in shared memory ---- */

struct quantised_vector { /* blocks of 32; the halves of all blocks lie apart so that 16-byte reads meet no bank twice */
    int4 *a, *b;          /* elements 0..15 and 16..31 */
    float *scale, *sum_a, *sum_b; /* sums are of the dequantised values */
};
struct float_vector { /* chunks of W elements, W / 4 planes of float4 */
    float4 *plane[2];
};

__device__ __forceinline__ quantised_vector quantised_at(char *memory, uint32_t blocks) {
    quantised_vector v;
    v.a = (int4 *)memory;
    v.b = v.a + blocks;
    v.scale = (float *)(v.b + blocks);
    v.sum_a = v.scale + blocks;
    v.sum_b = v.sum_a + blocks;
    return v;
}

/* Eight elements, zero beyond cols. */
__device__ __forceinline__ void load_eight(const float *x, uint32_t cols, uint32_t at, float v[8]) {
    if (at + 8 <= cols && cols % 4 == 0) {
        float4 p = __ldcg((const float4 *)(x + at)), r = __ldcg((const float4 *)(x + at + 4));
        v[0] = p.x, v[1] = p.y, v[2] = p.z, v[3] = p.w, v[4] = r.x, v[5] = r.y, v[6] = r.z, v[7] = r.w;
    } else {
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] = at + e < cols ? __ldcg(x + at + e) : 0.0f;
    }
}

/* Four neighbouring threads hold the 32 elements of a block, eight each. Whole warps call this; what lies beyond `end` is not stored. */
__device__ __forceinline__ void store_quantised(const quantised_vector &to, uint32_t at, uint32_t end, const float v[8]) {
    float largest = 0;
#pragma unroll
    for (int e = 0; e < 8; e++) largest = fmaxf(largest, fabsf(v[e]));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
    float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0;
    uint32_t word[2] = {0, 0};
    int sum = 0;
#pragma unroll
    for (int e = 0; e < 8; e++) {
        int q = __float2int_rn(v[e] * inverse);
        sum += q;
        word[e / 4] |= (uint32_t)(q & 0xFF) << (e % 4 * 8);
    }
    sum += __shfl_xor_sync(~0u, sum, 1);
    if (at >= end) return;
    uint32_t block = at / 32, part = at % 32 / 8;
    *(uint2 *)((char *)((part < 2 ? to.a : to.b) + block) + part % 2 * 8) = make_uint2(word[0], word[1]);
    if (part == 0) to.scale[block] = scale, to.sum_a[block] = scale * (float)sum;
    if (part == 2) to.sum_b[block] = scale * (float)sum;
}
template <int W> __device__ __forceinline__ void store_floats(const float_vector &to, uint32_t at, uint32_t end, const float v[8]) {
    if (at >= end) return;
    to.plane[0][at / W] = make_float4(v[0], v[1], v[2], v[3]);
    if (W == 8) to.plane[1][at / W] = make_float4(v[4], v[5], v[6], v[7]);
    else to.plane[0][at / W + 1] = make_float4(v[4], v[5], v[6], v[7]);
}

/* Read x, norm it if wanted, hand eight elements at a time to `store`, whole warps together. The first rounds are kept in registers
 * between the two passes of a norm; vectors longer than a hidden state are read again. */
template <class S> __device__ __forceinline__ void prepare(const decode_product_args &a, uint32_t cols, uint32_t padded, S store) {
    constexpr uint32_t round = THREADS * 8;
    const uint32_t mine = threadIdx.x * 8, warps = threadIdx.x / 32 * 256; /* this thread's and its warp's first element of a round */
    float kept[CACHED_ROUNDS][8];
    float factor = 1;
#pragma unroll
    for (int r = 0; r < CACHED_ROUNDS; r++)
        if (r * round + warps < padded) load_eight(a.x, cols, r * round + mine, kept[r]);
    if (a.norm) {
        float sum = 0;
#pragma unroll
        for (int r = 0; r < CACHED_ROUNDS; r++) {
            if (r * round + warps < padded) {
#pragma unroll
                for (int e = 0; e < 8; e++) sum += kept[r][e] * kept[r][e];
            }
        }
        for (uint32_t first = CACHED_ROUNDS * round; first + warps < padded; first += round) {
            float v[8];
            load_eight(a.x, cols, first + mine, v);
            for (int e = 0; e < 8; e++) sum += v[e] * v[e];
        }
        factor = rsqrtf(block_sum(sum) / (float)cols + a.eps);
    }
    auto finish = [&](uint32_t at, float v[8]) {
        if (a.norm) {
            float w[8];
            load_eight(a.norm, cols, at, w);
#pragma unroll
            for (int e = 0; e < 8; e++) v[e] = v[e] * factor * w[e];
        }
        store(at, v);
    };
#pragma unroll
    for (int r = 0; r < CACHED_ROUNDS; r++)
        if (r * round + warps < padded) finish(r * round + mine, kept[r]);
    for (uint32_t first = CACHED_ROUNDS * round; first + warps < padded; first += round) {
        float v[8];
        load_eight(a.x, cols, first + mine, v);
        finish(first + mine, v);
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

/* The two with scales a half, and those with a minimum (or an offset that acts as one). */
template <int T> constexpr bool two_scales = T == DTYPE_Q2_K || T == DTYPE_Q3_K || T == DTYPE_Q6_K;
template <int T> constexpr bool has_minimum = T != DTYPE_Q8_0 && T != DTYPE_IQ4_NL && T != DTYPE_IQ4_XS;

template <int T> __device__ __forceinline__ float block_dot(const raw_block &raw, const quantised_vector &x, uint32_t b) {
    quants q = block_quants<T>(raw);
    int4 xa = x.a[b], xb = x.b[b];
    int ia = __dp4a(q.a[0], xa.x, 0), ib = __dp4a(q.b[0], xb.x, 0);
    ia = __dp4a(q.a[1], xa.y, ia), ib = __dp4a(q.b[1], xb.y, ib);
    ia = __dp4a(q.a[2], xa.z, ia), ib = __dp4a(q.b[2], xb.z, ib);
    ia = __dp4a(q.a[3], xa.w, ia), ib = __dp4a(q.b[3], xb.w, ib);
    float sum = two_scales<T> ? (q.s0 * (float)ia + q.s1 * (float)ib) * x.scale[b] : q.s0 * (float)(ia + ib) * x.scale[b];
    if (two_scales<T>) sum += q.m0 * x.sum_a[b] + q.m1 * x.sum_b[b];
    else if (has_minimum<T>) sum += q.m0 * (x.sum_a[b] + x.sum_b[b]);
    return sum;
}

/* R rows times x: lane l takes blocks l, l + 32, ...; U of them and all R rows are loaded before any is used. */
template <int T, int R, int U, bool GATE>
__device__ __forceinline__ void quantised_rows(const decode_product_args &a, const row_group &at, const quantised_vector &x, float sum[R]) {
    uint32_t lane = threadIdx.x % 32, blocks = a.w[0].blocks;
    for (uint32_t first = 0; first < blocks; first += 32 * U) {
        raw_block raw[R][U];
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t b = first + u * 32 + lane;
            if (b < blocks) {
#pragma unroll
                for (int r = 0; r < R; r++)
                    raw[r][u] = block_load<T>(a.w[GATE ? r % 2 : at.matrix], row_of<R, GATE>(at, r), b);
            }
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t b = first + u * 32 + lane;
            if (b < blocks) {
#pragma unroll
                for (int r = 0; r < R; r++) sum[r] += block_dot<T>(raw[r][u], x, b);
            }
        }
    }
}

__device__ __forceinline__ float dot_bits(uint4 w, const float_vector &x, uint32_t c, __half) {
    const __half2 *h = (const __half2 *)&w;
    float2 p = __half22float2(h[0]), q = __half22float2(h[1]), r = __half22float2(h[2]), s = __half22float2(h[3]);
    float4 y = x.plane[0][c], z = x.plane[1][c];
    return p.x * y.x + p.y * y.y + q.x * y.z + q.y * y.w + r.x * z.x + r.y * z.y + s.x * z.z + s.y * z.w;
}
__device__ __forceinline__ float dot_bits(uint4 w, const float_vector &x, uint32_t c, __nv_bfloat16) {
    float4 y = x.plane[0][c], z = x.plane[1][c];
    auto low = [](uint32_t v) { return __uint_as_float(v << 16); };
    auto high = [](uint32_t v) { return __uint_as_float(v & 0xFFFF0000u); };
    return low(w.x) * y.x + high(w.x) * y.y + low(w.y) * y.z + high(w.y) * y.w + low(w.z) * z.x + high(w.z) * z.y + low(w.w) * z.z +
           high(w.w) * z.w;
}
__device__ __forceinline__ float dot_bits(uint4 w, const float_vector &x, uint32_t c, float) {
    float4 y = x.plane[0][c];
    return __uint_as_float(w.x) * y.x + __uint_as_float(w.y) * y.y + __uint_as_float(w.z) * y.z + __uint_as_float(w.w) * y.w;
}

template <class E, int R, int U, bool GATE>
__device__ __forceinline__ void float_rows(const decode_product_args &a, const row_group &at, const float_vector &x, float sum[R]) {
    constexpr uint32_t W = 16 / sizeof(E);
    uint32_t lane = threadIdx.x % 32, chunks = a.w[0].blocks * (32 / W);
    for (uint32_t first = 0; first < chunks; first += 32 * U) {
        uint4 raw[R][U];
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t c = first + u * 32 + lane;
            if (c < chunks) {
#pragma unroll
                for (int r = 0; r < R; r++) {
                    const device_matrix &w = a.w[GATE ? r % 2 : at.matrix];
                    raw[r][u] = load_16((const uint4 *)w.low + (size_t)row_of<R, GATE>(at, r) * chunks + c);
                }
            }
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t c = first + u * 32 + lane;
            if (c < chunks) {
#pragma unroll
                for (int r = 0; r < R; r++) sum[r] += dot_bits(raw[r][u], x, c, E());
            }
        }
    }
}

/* Pull the first rows of this warp into the second-level cache; weights depend on nothing that runs. */
template <int R, bool GATE> __device__ __forceinline__ void prefetch_rows(const decode_product_args &a, uint32_t g, uint32_t groups, uint32_t low_bytes) {
    if (g >= groups) return;
    row_group at = group_at<R, GATE>(a, g);
    uint32_t line = a.w[0].blocks * low_bytes;
#pragma unroll
    for (int r = 0; r < R; r++) {
        const char *p = (const char *)a.w[GATE ? r % 2 : at.matrix].low + (size_t)row_of<R, GATE>(at, r) * line;
        for (uint32_t i = threadIdx.x % 32 * 128; i < line; i += 32 * 128) asm volatile("prefetch.global.L2 [%0];" ::"l"(p + i));
    }
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

template <int TYPE, int R, int U, bool GATE>
__global__ void __launch_bounds__(THREADS, 1) quantised_kernel(decode_product_args a, uint32_t groups) {
    extern __shared__ __align__(16) char memory[];
    uint32_t g = blockIdx.x + threadIdx.x / 32 * gridDim.x; /* neighbouring groups go to different multiprocessors */
    let_next_kernel_start();
    if (TYPE != MIXED) prefetch_rows<R, GATE>(a, g, groups, planes<TYPE>::low);
    wait_for_previous_kernel();
    quantised_vector x = quantised_at(memory, a.w[0].blocks);
    prepare(a, a.w[0].cols, a.w[0].blocks * 32, [&](uint32_t at, const float v[8]) { store_quantised(x, at, a.w[0].blocks * 32, v); });
    for (; g < groups; g += gridDim.x * WARPS) {
        row_group at = group_at<R, GATE>(a, g);
        float sum[R] = {};
        if (TYPE == MIXED) {
            FOR_QUANT_TYPE(a.w[at.matrix].type, (quantised_rows<T, R, U, GATE>(a, at, x, sum)));
        } else {
            quantised_rows<TYPE, R, U, GATE>(a, at, x, sum);
        }
        store_rows<R, GATE>(a, at, sum);
    }
}

template <class E, int R, int U, bool GATE>
__global__ void __launch_bounds__(THREADS, 1) float_kernel(decode_product_args a, uint32_t groups) {
    extern __shared__ __align__(16) char memory[];
    constexpr uint32_t W = 16 / sizeof(E);
    uint32_t g = blockIdx.x + threadIdx.x / 32 * gridDim.x;
    let_next_kernel_start();
    prefetch_rows<R, GATE>(a, g, groups, 32 * sizeof(E));
    wait_for_previous_kernel();
    float_vector x;
    x.plane[0] = (float4 *)memory;
    x.plane[1] = x.plane[0] + a.w[0].blocks * (32 / W);
    prepare(a, a.w[0].cols, a.w[0].blocks * 32, [&](uint32_t at, const float v[8]) { store_floats<W>(x, at, a.w[0].blocks * 32, v); });
    for (; g < groups; g += gridDim.x * WARPS) {
        row_group at = group_at<R, GATE>(a, g);
        float sum[R] = {};
        float_rows<E, R, U, GATE>(a, at, x, sum);
        store_rows<R, GATE>(a, at, sum);
    }
}

template <int T> __global__ void decode_embed_kernel(device_matrix table, const int32_t *id, float *x) {
    let_next_kernel_start();
    wait_for_previous_kernel();
    uint32_t b = blockIdx.x * blockDim.x + threadIdx.x;
    if (b >= table.blocks) return;
    float values[32];
    block_floats<T>(table, (uint32_t)*id, b, values);
    for (uint32_t e = 0; e < 32 && b * 32 + e < table.cols; e++) x[b * 32 + e] = values[e];
}

/* ---- launching ---- */

template <class... P> cudaError_t launch(cudaStream_t stream, dim3 grid, unsigned threads, size_t shared, void (*kernel)(P...), P... args) {
    if (shared > 48 * 1024) {
        cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
        if (e != cudaSuccess) return e;
    }
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, kernel, args...);
}

template <int T, int R, int U, bool GATE> cudaError_t launch_rows(cudaStream_t stream, const decode_product_args &a, uint32_t multiprocessors) {
    constexpr uint32_t step = GATE ? R / 2 : R;
    uint32_t groups = 0, blocks = a.w[0].blocks;
    for (uint32_t m = 0; m < (GATE ? 1 : a.n); m++) groups += (a.w[m].rows + step - 1) / step;
    dim3 grid(groups < multiprocessors ? groups : multiprocessors);
    if constexpr (T == DTYPE_F32) return launch(stream, grid, THREADS, blocks * 128, float_kernel<float, R, U, GATE>, a, groups);
    else if constexpr (T == DTYPE_F16) return launch(stream, grid, THREADS, blocks * 128, float_kernel<__half, R, U, GATE>, a, groups);
    else if constexpr (T == DTYPE_BF16)
        return launch(stream, grid, THREADS, blocks * 128, float_kernel<__nv_bfloat16, R, U, GATE>, a, groups);
    else return launch(stream, grid, THREADS, blocks * (32 + 12), quantised_kernel<T, R, U, GATE>, a, groups);
}

/* How many rows and blocks of a row a warp has in flight: four loads in any case; several rows only where a row is short and there
 * are enough of them to keep every warp busy. */
template <int T> cudaError_t launch_type(cudaStream_t stream, const decode_product_args &a, uint32_t multiprocessors) {
    uint32_t rows = 0, lanes = a.w[0].blocks;
    if (T == DTYPE_F16 || T == DTYPE_BF16) lanes *= 4;
    if (T == DTYPE_F32) lanes *= 8;
    for (uint32_t m = 0; m < a.n; m++) rows += a.w[m].rows;
    bool many = rows >= multiprocessors * WARPS * 4;
    if (a.gate) {
        if (lanes <= 32 && many) return launch_rows<T, 4, 1, true>(stream, a, multiprocessors);
        return launch_rows<T, 2, 2, true>(stream, a, multiprocessors);
    }
    if (lanes <= 32 && many) return launch_rows<T, 4, 1, false>(stream, a, multiprocessors);
    if (lanes <= 64 && rows >= multiprocessors * WARPS * 2) return launch_rows<T, 2, 2, false>(stream, a, multiprocessors);
    return launch_rows<T, 1, 4, false>(stream, a, multiprocessors);
}

} // namespace

extern "C" int decode_product_fits(const struct decode_product_args *a) {
    bool floats = a->w[0].type == DTYPE_F32 || a->w[0].type == DTYPE_F16 || a->w[0].type == DTYPE_BF16;
    for (uint32_t m = 1; m < a->n; m++) {
        if (a->w[m].type == a->w[0].type) continue;
        bool other = a->w[m].type == DTYPE_F32 || a->w[m].type == DTYPE_F16 || a->w[m].type == DTYPE_BF16;
        if (floats || other || a->gate) return 0;
    }
    return 1;
}

extern "C" cudaError_t launch_decode_product(cudaStream_t stream, struct decode_product_args a, uint32_t multiprocessors) {
    for (uint32_t m = 1; m < a.n; m++)
        if (a.w[m].type != a.w[0].type) return launch_type<MIXED>(stream, a, multiprocessors);
    cudaError_t e = cudaErrorInvalidValue;
    FOR_TYPE(a.w[0].type, (e = launch_type<T>(stream, a, multiprocessors)));
    return e;
}

extern "C" cudaError_t launch_decode_embed(cudaStream_t stream, struct device_matrix table, const int32_t *id, float *x) {
    dim3 grid((table.blocks + 31) / 32);
    cudaError_t e = cudaErrorInvalidValue;
    FOR_TYPE(table.type, (e = launch(stream, grid, 32, 0, decode_embed_kernel<T>, table, id, x)));
    return e;
}
