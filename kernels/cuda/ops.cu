/* Steps over many positions that are neither matrix products nor attention: embedding, norm, rotation and cache, gate, residual.
 * One block a row; plain and in F32: traces and --exact run these, fast prefill has them fused (batch_rows.cu), and
 * so has a decode step. */
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/layout.cuh"

namespace {

template <int T> __global__ void embed_kernel(device_matrix table, const int32_t *ids, float *out) {
    uint32_t row = (uint32_t)ids[blockIdx.x];
    for (uint32_t b = threadIdx.x; b < table.blocks; b += blockDim.x) {
        float values[32];
        block_floats<T>(table, row, b, values);
        for (uint32_t e = 0; e < 32 && b * 32 + e < table.cols; e++) out[(size_t)blockIdx.x * table.cols + b * 32 + e] = values[e];
    }
}

__global__ void norm_kernel(const float *x, const float *weight, float eps, uint32_t cols, float *out) {
    const float *row = x + (size_t)blockIdx.x * cols;
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < cols; i += blockDim.x) sum += row[i] * row[i];
    float scale = rsqrtf(block_sum(sum) / (float)cols + eps);
    for (uint32_t i = threadIdx.x; i < cols; i += blockDim.x) out[(size_t)blockIdx.x * cols + i] = row[i] * scale * weight[i];
}

/* One warp a head of q, k or v: grid (n_heads + 2 n_kv_heads, n). */
template <class E>
__global__ void rope_append_kernel(rope_args rope, cache_layer cache, float *q, float *k, const float *v, uint32_t first,
                                   float *normed_q, float *normed_k) {
    __shared__ float head[HEAD_DIM_MAX];
    uint32_t which = blockIdx.x, i = blockIdx.y, position = first + i, d = rope.head_dim;
    bool is_q = which < rope.n_heads, is_k = !is_q && which < rope.n_heads + rope.n_kv_heads;
    uint32_t h = is_q ? which : is_k ? which - rope.n_heads : which - rope.n_heads - rope.n_kv_heads;
    uint32_t width = (is_q ? rope.n_heads : rope.n_kv_heads) * d;
    size_t at = (size_t)i * width + h * d;
    size_t cached = ((size_t)h * cache.n_ctx + position) * d;
    if (!is_q && !is_k) {
        for (uint32_t e = threadIdx.x; e < d; e += 32) ((E *)cache.v)[cached + e] = E(v[at + e]);
        return;
    }
    float *values = is_q ? q : k, *normed = is_q ? normed_q : normed_k;
    for (uint32_t e = threadIdx.x; e < d; e += 32) head[e] = values[at + e];
    __syncwarp();
    head_norm(head, is_q ? rope.q_norm : rope.k_norm, rope, threadIdx.x);
    if (normed)
        for (uint32_t e = threadIdx.x; e < d; e += 32) normed[at + e] = head[e];
    head_rotate(head, rope, position, threadIdx.x);
    for (uint32_t e = threadIdx.x; e < d; e += 32) {
        values[at + e] = head[e];
        if (is_k) ((E *)cache.k)[cached + e] = E(head[e]);
    }
}

__global__ void silu_mul_kernel(const float *gate, const float *up, size_t n, float *out) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = silu(gate[i]) * up[i];
}

__global__ void add_rows_kernel(const float *from, const float *row_scale, const float *bias, uint32_t cols, size_t n, int add, float *to) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float value = from[i];
    if (row_scale) value *= row_scale[i / cols];
    if (bias) value += bias[i % cols];
    to[i] = add ? to[i] + value : value;
}

__global__ void rows_to_16bit_kernel(const float *x, uint32_t cols, uint32_t stride, __half *to, float *row_scale) {
    const float *row = x + (size_t)blockIdx.x * cols;
    float largest = 0;
    for (uint32_t i = threadIdx.x; i < cols; i += blockDim.x) largest = fmaxf(largest, fabsf(row[i]));
    float scale = scale_for(block_max(largest));
    if (threadIdx.x == 0) row_scale[blockIdx.x] = scale;
    for (uint32_t i = threadIdx.x; i < stride; i += blockDim.x)
        to[(size_t)blockIdx.x * stride + i] = __float2half(i < cols ? row[i] / scale : 0.0f);
}

__global__ void read_kernel(const uint4 *from, size_t n, float *sink) {
    uint32_t mix = 0;
    size_t step = (size_t)gridDim.x * blockDim.x, i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + 3 * step < n; i += 4 * step) {
        uint4 a = load_16(from + i), b = load_16(from + i + step), c = load_16(from + i + 2 * step), d = load_16(from + i + 3 * step);
        mix ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
    }
    if (mix == 0x9E3779B9u && n == 0) *sink = 0; /* so that the loads are not dropped */
}

unsigned grid_for(size_t work, unsigned block) { return (unsigned)((work + block - 1) / block); }

} // namespace

extern "C" cudaError_t launch_embed(cudaStream_t stream, struct device_matrix table, const int32_t *ids, uint32_t n, float *out) {
    FOR_TYPE(table.type, (embed_kernel<T><<<n, 128, 0, stream>>>(table, ids, out)));
    return cudaGetLastError();
}

extern "C" cudaError_t launch_norm(cudaStream_t stream, const float *x, const float *weight, float eps, uint32_t cols, uint32_t n,
                                   float *out) {
    norm_kernel<<<n, 256, 0, stream>>>(x, weight, eps, cols, out);
    return cudaGetLastError();
}

extern "C" cudaError_t launch_rope_append(cudaStream_t stream, struct rope_args rope, struct cache_layer cache, float *q, float *k,
                                          const float *v, uint32_t first, uint32_t n, float *normed_q, float *normed_k) {
    dim3 grid(rope.n_heads + 2 * rope.n_kv_heads, n);
    if (cache.wide) rope_append_kernel<float><<<grid, 32, 0, stream>>>(rope, cache, q, k, v, first, normed_q, normed_k);
    else rope_append_kernel<__half><<<grid, 32, 0, stream>>>(rope, cache, q, k, v, first, normed_q, normed_k);
    return cudaGetLastError();
}

extern "C" cudaError_t launch_silu_mul(cudaStream_t stream, const float *gate, const float *up, size_t n, float *out) {
    silu_mul_kernel<<<grid_for(n, 256), 256, 0, stream>>>(gate, up, n, out);
    return cudaGetLastError();
}

extern "C" cudaError_t launch_add_rows(cudaStream_t stream, const float *from, const float *row_scale, const float *bias,
                                       uint32_t cols, uint32_t n, int add, float *to) {
    size_t total = (size_t)cols * n;
    add_rows_kernel<<<grid_for(total, 256), 256, 0, stream>>>(from, row_scale, bias, cols, total, add, to);
    return cudaGetLastError();
}

extern "C" cudaError_t launch_rows_to_16bit(cudaStream_t stream, const float *x, uint32_t cols, uint32_t stride, uint32_t n,
                                            void *to, float *row_scale) {
    rows_to_16bit_kernel<<<n, 256, 0, stream>>>(x, cols, stride, (__half *)to, row_scale);
    return cudaGetLastError();
}

extern "C" cudaError_t launch_read(cudaStream_t stream, const void *from, size_t n, float *sink, uint32_t multiprocessors) {
    read_kernel<<<multiprocessors * 4, 512, 0, stream>>>((const uint4 *)from, n, sink);
    return cudaGetLastError();
}
