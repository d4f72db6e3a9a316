/* Attention over the cache, for many positions.
 *
 * Two kernels: flash_kernel on the matrix units for an F16 cache and heads of 64 or 128 (FlashAttention-2, arXiv 2307.08691: a tile of
 * queries stays in registers, tiles of keys and values pass by, softmax is kept running), of which Hopper has one of its own
 * (attention_hopper.cu), and plain_kernel for everything else: any head dimension, F32 cache, F32 arithmetic. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/mma.cuh"

namespace {

/* ---- one block a query and head, F32 ---- */

enum { PLAIN_THREADS = 128, PLAIN_TILE = 128 };

template <class E> __global__ void __launch_bounds__(PLAIN_THREADS) plain_kernel(attention_args a) {
    __shared__ float query[HEAD_DIM_MAX], score[PLAIN_TILE];
    const uint32_t h = blockIdx.x, i = blockIdx.y, d = a.rope.head_dim, length = a.first + i + 1;
    const uint32_t kv = h / (a.rope.n_heads / a.rope.n_kv_heads);
    const E *k = (const E *)a.cache.k + (size_t)kv * a.cache.n_ctx * d, *v = (const E *)a.cache.v + (size_t)kv * a.cache.n_ctx * d;
    const float scale = 1.0f / sqrtf((float)d), *q = a.q + ((size_t)i * a.rope.n_heads + h) * d;
    for (uint32_t e = threadIdx.x; e < d; e += PLAIN_THREADS) query[e] = q[e] * scale;
    __syncthreads();
    float largest = -INFINITY, sum = 0, acc[HEAD_DIM_MAX / PLAIN_THREADS] = {};
    for (uint32_t start = 0; start < length; start += PLAIN_TILE) {
        uint32_t key = start + threadIdx.x, count = min((uint32_t)PLAIN_TILE, length - start);
        float s = -INFINITY;
        if (key < length) {
            s = 0;
            for (uint32_t e = 0; e < d; e++) s += query[e] * float(k[(size_t)key * d + e]);
        }
        float now = fmaxf(largest, block_max(s)), fade = expf(largest - now);
        float p = key < length ? expf(s - now) : 0;
        score[threadIdx.x] = p;
        sum = sum * fade + block_sum(p); /* its barriers also publish score */
        largest = now;
        for (uint32_t j = 0, e = threadIdx.x; e < d; e += PLAIN_THREADS, j++) {
            float value = acc[j] * fade;
            for (uint32_t t = 0; t < count; t++) value += score[t] * float(v[(size_t)(start + t) * d + e]);
            acc[j] = value;
        }
        __syncthreads();
    }
    for (uint32_t j = 0, e = threadIdx.x; e < d; e += PLAIN_THREADS, j++) put_one(a, i, h * d + e, acc[j] / sum);
}

/* The weights themselves, for traces: [n_heads][n][first + n], zero where a query may not look. */
template <class E> __global__ void __launch_bounds__(PLAIN_THREADS) weights_kernel(attention_args a) {
    const uint32_t h = blockIdx.x, i = blockIdx.y, d = a.rope.head_dim, length = a.first + i + 1, width = a.first + a.n;
    const E *k = (const E *)a.cache.k + (size_t)(h / (a.rope.n_heads / a.rope.n_kv_heads)) * a.cache.n_ctx * d;
    const float *query = a.q + ((size_t)i * a.rope.n_heads + h) * d;
    float *row = a.weights + ((size_t)h * a.n + i) * width, scale = 1.0f / sqrtf((float)d), largest = -INFINITY, sum = 0;
    for (uint32_t key = threadIdx.x; key < length; key += PLAIN_THREADS) {
        float s = 0;
        for (uint32_t e = 0; e < d; e++) s += query[e] * scale * float(k[(size_t)key * d + e]);
        row[key] = s;
        largest = fmaxf(largest, s);
    }
    largest = block_max(largest);
    for (uint32_t key = threadIdx.x; key < length; key += PLAIN_THREADS) sum += expf(row[key] - largest);
    sum = block_sum(sum);
    for (uint32_t key = threadIdx.x; key < width; key += PLAIN_THREADS) row[key] = key < length ? expf(row[key] - largest) / sum : 0;
}

/* ---- matrix units ---- */

enum { FLASH_QUERIES = 64, FLASH_KEYS = 64, FLASH_THREADS = 128 };

/* A tile of rows [rows][D] from global to shared memory, rows from `valid` on are zero. */
template <int D> __device__ __forceinline__ void load_tile(__half (*tile)[D + 8], const __half *from, uint32_t rows, uint32_t valid) {
    for (uint32_t c = threadIdx.x; c < rows * (D / 8); c += FLASH_THREADS) {
        uint32_t row = c / (D / 8), col = c % (D / 8) * 8;
        *(uint4 *)&tile[row][col] = row < valid ? *(const uint4 *)(from + (size_t)row * D + col) : make_uint4(0, 0, 0, 0);
    }
}

/* Three blocks of the larger heads a multiprocessor: one register more would cost one, in long prompts. */
template <int D> __global__ void __launch_bounds__(FLASH_THREADS, D == 128 ? 3 : 4) flash_kernel(attention_args a) {
    extern __shared__ __align__(16) char memory[];
    __half(*k_tile)[D + 8] = (__half(*)[D + 8])memory;
    __half(*v_tile)[D + 8] = k_tile + FLASH_KEYS;
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, h = blockIdx.x, first = a.first, n = a.n;
    const uint32_t from = (gridDim.y - 1 - blockIdx.y) * FLASH_QUERIES; /* the longest rows first */
    const uint32_t kv = h / (a.rope.n_heads / a.rope.n_kv_heads);
    const __half *k = (const __half *)a.cache.k + (size_t)kv * a.cache.n_ctx * D, *v = (const __half *)a.cache.v + (size_t)kv * a.cache.n_ctx * D;
    const float to_log2 = 1.44269504f / sqrtf((float)D); /* softmax in powers of two */

    let_next_kernel_start();
    wait_for_previous_kernel();
#pragma unroll 8
    for (uint32_t c = threadIdx.x * 4; c < FLASH_QUERIES * D; c += FLASH_THREADS * 4) { /* many loads at once */
        uint32_t row = c / D, col = c % D;
        const float4 v = from + row < n ? *(const float4 *)(a.q + ((size_t)(from + row) * a.rope.n_heads + h) * D + col) : make_float4(0, 0, 0, 0);
        *(uint2 *)&k_tile[row][col] = make_uint2(pack_halves(v.x, v.y), pack_halves(v.z, v.w));
    }
    __syncthreads();
    uint32_t query[D / 16][4];
#pragma unroll
    for (int s = 0; s < D / 16; s++) load_fragments(query[s], &k_tile[warp * 16 + lane % 16][s * 16 + lane / 16 * 8]);
    __syncthreads();

    float acc[D / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    uint32_t my_row = from + warp * 16 + lane / 4; /* and my_row + 8 */
    uint32_t last = min(from + FLASH_QUERIES, n), end = first + last;
    for (uint32_t start = 0; start < end; start += FLASH_KEYS) {
        load_tile<D>(k_tile, k + (size_t)start * D, FLASH_KEYS, end - start);
        load_tile<D>(v_tile, v + (size_t)start * D, FLASH_KEYS, end - start);
        __syncthreads();
        float score[FLASH_KEYS / 8][4] = {};
#pragma unroll
        for (int s = 0; s < D / 16; s++) {
#pragma unroll
            for (int t = 0; t < FLASH_KEYS / 16; t++) {
                uint32_t b[4];
                load_fragments(b, &k_tile[t * 16 + lane / 16 * 8 + lane % 8][s * 16 + lane / 8 % 2 * 8]);
                multiply_add(score[2 * t], query[s], b[0], b[1]);
                multiply_add(score[2 * t + 1], query[s], b[2], b[3]);
            }
        }
        if (start + FLASH_KEYS > first + from + warp * 16) { /* the tile reaches the diagonal */
#pragma unroll
            for (int t = 0; t < FLASH_KEYS / 8; t++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    uint32_t key = start + t * 8 + lane % 4 * 2 + e % 2, row = first + my_row + e / 2 * 8;
                    if (key > row) score[t][e] = -INFINITY;
                }
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float now = largest[half];
#pragma unroll
            for (int t = 0; t < FLASH_KEYS / 8; t++) now = fmaxf(now, fmaxf(score[t][2 * half], score[t][2 * half + 1]));
            now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
            now = fmaxf(now, __shfl_xor_sync(~0u, now, 2));
            float base = now == -INFINITY ? 0 : now * to_log2, fade = exp2f(largest[half] * to_log2 - base), part = 0;
            largest[half] = now;
#pragma unroll
            for (int t = 0; t < FLASH_KEYS / 8; t++) {
#pragma unroll
                for (int e = 0; e < 2; e++) part += score[t][2 * half + e] = exp2f(score[t][2 * half + e] * to_log2 - base);
            }
            sum[half] = sum[half] * fade + part;
#pragma unroll
            for (int t = 0; t < D / 8; t++) acc[t][2 * half] *= fade, acc[t][2 * half + 1] *= fade;
        }
#pragma unroll
        for (int s = 0; s < FLASH_KEYS / 16; s++) {
            uint32_t p[4] = {pack_halves(score[2 * s][0], score[2 * s][1]), pack_halves(score[2 * s][2], score[2 * s][3]),
                             pack_halves(score[2 * s + 1][0], score[2 * s + 1][1]), pack_halves(score[2 * s + 1][2], score[2 * s + 1][3])};
#pragma unroll
            for (int t = 0; t < D / 16; t++) {
                uint32_t b[4];
                load_fragments_transposed(b, &v_tile[s * 16 + lane % 16][t * 16 + lane / 16 * 8]);
                multiply_add(acc[2 * t], p, b[0], b[1]);
                multiply_add(acc[2 * t + 1], p, b[2], b[3]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sum[half] += __shfl_xor_sync(~0u, sum[half], 1);
        sum[half] += __shfl_xor_sync(~0u, sum[half], 2);
        const uint32_t row = my_row + half * 8;
        const float inverse = 1 / sum[half];
        put_columns<D / 8>(a, row < n, row, h * D, [&](int t) { return make_float2(acc[t][2 * half] * inverse, acc[t][2 * half + 1] * inverse); });
    }
}

template <int D> cudaError_t launch_flash(cudaStream_t stream, const attention_args &args) {
    const size_t bytes = 2 * FLASH_KEYS * (D + 8) * sizeof(__half);
    const dim3 grid(args.rope.n_heads, (args.n + FLASH_QUERIES - 1) / FLASH_QUERIES);
    return launch_dependent(stream, grid, FLASH_THREADS, bytes, flash_kernel<D>, args);
}

} // namespace

extern "C" cudaError_t launch_attention(cudaStream_t stream, const struct attention_args *args) {
    const attention_args &a = *args;
    const dim3 grid(a.rope.n_heads, a.n);
    if (a.weights) {
        if (a.cache.wide) weights_kernel<float><<<grid, PLAIN_THREADS, 0, stream>>>(a);
        else weights_kernel<__half><<<grid, PLAIN_THREADS, 0, stream>>>(a);
    }
#ifdef LOGITOP_HOPPER
    if (!a.cache.wide && hopper_attention_takes(a)) return launch_hopper_attention(stream, a);
#endif
    if (!a.cache.wide && a.rope.head_dim == 64) return launch_flash<64>(stream, a);
    if (!a.cache.wide && a.rope.head_dim == 128) return launch_flash<128>(stream, a);
    if (a.cache.wide) plain_kernel<float><<<grid, PLAIN_THREADS, 0, stream>>>(a);
    else plain_kernel<__half><<<grid, PLAIN_THREADS, 0, stream>>>(a);
    return cudaGetLastError();
}
