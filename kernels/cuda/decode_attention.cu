/* Attention of the one position that a decode step adds, fused with what stands around it: head norm, rotation, and the append to
 * the cache. The keys are cut into splits so that a long context fills the card: a block takes one key/value head (all query
 * heads that share it, eight at a time) and one split; the block that finishes last for a head merges the splits
 * ("Flash-Decoding"), so that no second kernel is needed.
 *
 * The position comes from device memory: the same launch serves every step of a captured graph. */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/head.cuh"

#include <cuda_fp16.h>

namespace {

enum {
    THREADS = 256,
    WARPS = THREADS / 32,
    GROUP = 8,           /* query heads a block */
    LANES = 8,           /* threads a key: each takes every eighth chunk of 8 elements */
    KEYS = THREADS / LANES, /* keys at once */
    TILE = 256,          /* keys between two updates of the running softmax */
    SPLIT_MIN = 64,      /* keys that are worth a block of their own */
};

/* Eight elements of a key times a query. */
__device__ __forceinline__ void dot_chunk(uint4 k, const float *q, float &sum) {
    const __half2 *h = (const __half2 *)&k;
    float4 a = *(const float4 *)q, b = *(const float4 *)(q + 4);
    float2 x = __half22float2(h[0]), y = __half22float2(h[1]), z = __half22float2(h[2]), w = __half22float2(h[3]);
    sum += x.x * a.x + x.y * a.y + y.x * a.z + y.y * a.w + z.x * b.x + z.y * b.y + w.x * b.z + w.y * b.w;
}

/* CHUNKS: chunks of 8 elements that one of the LANES threads of a key takes, ceil(head_dim / 64). */
template <int CHUNKS>
__global__ void __launch_bounds__(THREADS) decode_attention_kernel(decode_attention_args a) {
    extern __shared__ float memory[];
    const uint32_t d = a.rope.head_dim, group = a.rope.n_heads / a.rope.n_kv_heads, groups = (group + GROUP - 1) / GROUP;
    const uint32_t kv = blockIdx.y / groups, g0 = blockIdx.y % groups * GROUP, n_q = min((uint32_t)GROUP, group - g0);
    const uint32_t position = *a.position, length = position + 1, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t per = max((uint32_t)SPLIT_MIN, ((length + gridDim.x - 1) / gridDim.x + 31) / 32 * 32);
    const uint32_t splits = (length + per - 1) / per, begin = blockIdx.x * per;
    if (blockIdx.x >= splits) return;
    const uint32_t end = min(length, begin + per);
    float *query = memory;                 /* [GROUP][d] */
    float *weight = query + GROUP * d;     /* [TILE][GROUP] */
    float *part = weight + TILE * GROUP;   /* [THREADS / (d / 2)][GROUP][d], at the end */
    __half *k = (__half *)a.cache.k + (size_t)kv * a.cache.n_ctx * d, *v = (__half *)a.cache.v + (size_t)kv * a.cache.n_ctx * d;

    for (uint32_t w = warp; w < n_q; w += WARPS) {
        float *head = query + w * d;
        const float *from = a.q + ((size_t)kv * group + g0 + w) * d;
        for (uint32_t e = lane; e < d; e += 32) head[e] = from[e];
        __syncwarp();
        head_norm(head, a.rope.q_norm, a.rope, lane);
        head_rotate(head, a.rope, position, lane);
        const float scale = 1.0f / sqrtf((float)d);
        for (uint32_t e = lane; e < d; e += 32) head[e] *= scale;
    }
    /* The newest key and value: every block that needs them writes them, all the same bits, and reads what it wrote. */
    if (end == length && warp == WARPS - 1) {
        float *head = weight;
        for (uint32_t e = lane; e < d; e += 32) head[e] = a.k[(size_t)kv * d + e];
        __syncwarp();
        head_norm(head, a.rope.k_norm, a.rope, lane);
        head_rotate(head, a.rope, position, lane);
        for (uint32_t e = lane; e < d; e += 32) {
            k[(size_t)position * d + e] = __float2half(head[e]);
            v[(size_t)position * d + e] = __float2half(a.v[(size_t)kv * d + e]);
        }
    }
    for (uint32_t i = threadIdx.x; i < (GROUP - n_q) * d; i += THREADS) query[n_q * d + i] = 0;
    __syncthreads();

    const uint32_t sub = threadIdx.x % LANES, slot = threadIdx.x / LANES; /* of a key; of the keys at once */
    const uint32_t pairs = d / 2, lines = THREADS / pairs, pair = threadIdx.x % pairs, line = threadIdx.x / pairs;
    float acc[GROUP][2] = {};
    float largest = -INFINITY, sum = 0; /* of head `warp`: each warp keeps the running softmax of one head */

    for (uint32_t start = begin; start < end; start += TILE) {
        const uint32_t count = min((uint32_t)TILE, end - start);
        for (uint32_t j = 0; j < count; j += KEYS) {
            uint32_t key = j + slot;
            float s[GROUP] = {};
            if (key < count) {
#pragma unroll
                for (int c = 0; c < CHUNKS; c++) {
                    uint32_t e = (sub + c * LANES) * 8;
                    if (e >= d) break;
                    uint4 bits = *(const uint4 *)(k + (size_t)(start + key) * d + e);
#pragma unroll
                    for (int g = 0; g < GROUP; g++) dot_chunk(bits, query + g * d + e, s[g]);
                }
            }
#pragma unroll
            for (int g = 0; g < GROUP; g++) {
                s[g] += __shfl_xor_sync(~0u, s[g], 1);
                s[g] += __shfl_xor_sync(~0u, s[g], 2);
                s[g] += __shfl_xor_sync(~0u, s[g], 4);
            }
            /* Each of the key's eight threads stores one head. */
            float mine = s[0];
#pragma unroll
            for (int g = 1; g < GROUP; g++) mine = sub == g ? s[g] : mine;
            if (key < count) weight[key * GROUP + sub] = mine;
        }
        __syncthreads();
        /* Running softmax: warp g turns the scores of head g into weights; everyone needs the fade of what came before. */
        __shared__ float fades[GROUP];
        if (warp < GROUP) {
            float now = largest;
            for (uint32_t key = lane; key < count; key += 32) now = fmaxf(now, weight[key * GROUP + warp]);
            now = warp_max(now);
            float fade = __expf(largest - now), p_sum = 0;
            for (uint32_t key = lane; key < count; key += 32) {
                float p = __expf(weight[key * GROUP + warp] - now);
                weight[key * GROUP + warp] = p;
                p_sum += p;
            }
            largest = now;
            sum = sum * fade + warp_sum(p_sum);
            if (lane == 0) fades[warp] = fade;
        }
        __syncthreads();
#pragma unroll
        for (int g = 0; g < GROUP; g++) acc[g][0] *= fades[g], acc[g][1] *= fades[g];
        if (line < lines) {
#pragma unroll 4
            for (uint32_t key = line; key < count; key += lines) {
                float2 x = __half22float2(*(const __half2 *)(v + (size_t)(start + key) * d + 2 * pair));
                float4 p = *(const float4 *)(weight + key * GROUP), r = *(const float4 *)(weight + key * GROUP + 4);
                const float w[GROUP] = {p.x, p.y, p.z, p.w, r.x, r.y, r.z, r.w};
#pragma unroll
                for (int g = 0; g < GROUP; g++) acc[g][0] += w[g] * x.x, acc[g][1] += w[g] * x.y;
            }
        }
        __syncthreads();
    }

    if (line < lines) {
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            part[(line * GROUP + g) * d + 2 * pair] = acc[g][0];
            part[(line * GROUP + g) * d + 2 * pair + 1] = acc[g][1];
        }
    }
    __shared__ float total[GROUP], top[GROUP];
    if (lane == 0 && warp < GROUP) total[warp] = sum, top[warp] = largest;
    __syncthreads();
    float *out = a.out + ((size_t)kv * group + g0) * d;
    float *mine = a.partial + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * GROUP * (d + 2);
    for (uint32_t i = threadIdx.x; i < n_q * d; i += THREADS) {
        uint32_t g = i / d, e = i % d;
        float value = 0;
        for (uint32_t l = 0; l < lines; l++) value += part[(l * GROUP + g) * d + e];
        if (splits == 1) out[i] = value / total[g];
        else mine[g * (d + 2) + e] = value;
    }
    if (splits == 1) return;
    if (threadIdx.x < n_q) mine[threadIdx.x * (d + 2) + d] = top[threadIdx.x], mine[threadIdx.x * (d + 2) + d + 1] = total[threadIdx.x];

    /* The last block of this head merges. */
    __shared__ bool is_last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        is_last = atomicAdd(a.arrived + blockIdx.y, 1) == splits - 1;
        if (is_last) a.arrived[blockIdx.y] = 0;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    const float *all = a.partial + (size_t)blockIdx.y * gridDim.x * GROUP * (d + 2);
    for (uint32_t i = threadIdx.x; i < splits * n_q; i += THREADS) { /* factor of each split and head into shared memory */
        uint32_t s = i / n_q, g = i % n_q;
        weight[s * GROUP + g] = __ldcg(all + ((size_t)s * GROUP + g) * (d + 2) + d);
    }
    __syncthreads();
    if (warp < n_q) {
        float now = -INFINITY, l = 0;
        for (uint32_t s = lane; s < splits; s += 32) now = fmaxf(now, weight[s * GROUP + warp]);
        now = warp_max(now);
        for (uint32_t s = lane; s < splits; s += 32) {
            float factor = __expf(weight[s * GROUP + warp] - now);
            weight[s * GROUP + warp] = factor;
            l += factor * __ldcg(all + ((size_t)s * GROUP + warp) * (d + 2) + d + 1);
        }
        l = warp_sum(l);
        if (lane == 0) total[warp] = l;
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n_q * d; i += THREADS) {
        uint32_t g = i / d, e = i % d;
        float value = 0;
#pragma unroll 8
        for (uint32_t s = 0; s < splits; s++) value += weight[s * GROUP + g] * __ldcg(all + ((size_t)s * GROUP + g) * (d + 2) + e);
        out[i] = value / total[g];
    }
}

uint32_t lines_of(uint32_t d) { return THREADS / (d / 2); }

} // namespace

extern "C" uint32_t decode_attention_blocks(struct rope_args rope) {
    uint32_t group = rope.n_heads / rope.n_kv_heads;
    return rope.n_kv_heads * ((group + GROUP - 1) / GROUP);
}

extern "C" uint32_t decode_attention_splits(struct rope_args rope, uint32_t n_ctx, uint32_t multiprocessors) {
    uint32_t blocks = decode_attention_blocks(rope), splits = (multiprocessors + blocks - 1) / blocks, most = (n_ctx + SPLIT_MIN - 1) / SPLIT_MIN;
    if (splits > most) splits = most;
    return splits < 1 ? 1 : splits > TILE ? TILE : splits;
}

extern "C" size_t decode_attention_partial(struct rope_args rope, uint32_t splits) {
    return (size_t)decode_attention_blocks(rope) * splits * GROUP * (rope.head_dim + 2) * sizeof(float);
}

extern "C" cudaError_t launch_decode_attention(cudaStream_t stream, struct decode_attention_args args) {
    uint32_t d = args.rope.head_dim;
    size_t bytes = (GROUP * d + TILE * GROUP + (size_t)lines_of(d) * GROUP * d) * sizeof(float);
    dim3 grid(args.splits, decode_attention_blocks(args.rope));
    if (d <= 64) decode_attention_kernel<1><<<grid, THREADS, bytes, stream>>>(args);
    else if (d <= 128) decode_attention_kernel<2><<<grid, THREADS, bytes, stream>>>(args);
    else decode_attention_kernel<4><<<grid, THREADS, bytes, stream>>>(args);
    return cudaGetLastError();
}
