/* Attention of the one position that a decode step adds, fused with what stands around it: head norm, rotation, and the append to
 * the cache. A block takes one key/value head (all query heads that share it, eight at a time) and one split of the keys, so that a
 * long context fills the card; the block that finishes last for a head merges the splits ("Flash-Decoding"), so that
 * no second kernel is needed.
 *
 * Each warp runs on its own: it copies tiles of keys and values into shared memory in the background, multiplies them on the matrix
 * units with the query heads as rows, and keeps its own running softmax; the warps meet once, at the end. Query heads are scaled
 * and rounded to F16, scores and sums are F32.
 *
 * The position comes from device memory: the same launch serves every step of a captured graph. */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/mma.cuh"

namespace {

enum {
    GROUP = 8,        /* query heads a block: the upper half of a 16-row tile stays empty */
    TILE = 16,        /* keys a warp takes at a time */
    STAGES = 2,       /* tiles of a warp in shared memory */
    SPLIT_MIN = 128,  /* keys that are worth a block of their own */
    SPLITS_MAX = 256,
};
/* Warps of a block: one a query head, but fewer where their tiles would not fit into shared memory. */
template <int D> constexpr uint32_t warps = D > 128 ? 4 : 8;

template <int D> struct tile {
    __half k[TILE][D + 8], v[TILE][D + 8];
};

template <int D> struct shared_memory {
    tile<D> tiles[warps<D>][STAGES];
    float head[GROUP + 1][D]; /* query heads, then the new key */
    float factor[SPLITS_MAX][GROUP];
    float top[warps<D>][GROUP], sum[warps<D>][GROUP], total[GROUP];
};

/* Keys first.. and their values; beyond `end` the last one again, so that what is masked is at least finite. None at all: zeros. */
template <int D> __device__ __forceinline__ void fetch(tile<D> &to, const __half *k, const __half *v, uint32_t first, uint32_t end, uint32_t lane) {
    for (uint32_t c = lane; c < TILE * (D / 8); c += 32) {
        uint32_t row = c / (D / 8), col = c % (D / 8) * 8, key = min(first + row, end - 1);
        if (end == 0) {
            *(uint4 *)&to.k[row][col] = *(uint4 *)&to.v[row][col] = make_uint4(0, 0, 0, 0);
            continue;
        }
        copy_16_async(&to.k[row][col], k + (size_t)key * D + col);
        copy_16_async(&to.v[row][col], v + (size_t)key * D + col);
    }
    copies_commit();
}

/* What a warp has of the softmax of its head rows, and the weighted sums of values. */
template <int D> struct running {
    float top, sum; /* of row lane / 4; sum is of this thread's columns alone */
    float acc[D / 8][4];
};

template <int D>
__device__ __forceinline__ void take_tile(running<D> &r, const tile<D> &t, const uint32_t query[D / 16][4], uint32_t first, uint32_t end, uint32_t lane) {
    float score[TILE / 8][4] = {};
#pragma unroll
    for (int s = 0; s < D / 16; s++) {
#pragma unroll
        for (int n = 0; n < TILE / 16; n++) {
            uint32_t b[4];
            load_fragments(b, &t.k[n * 16 + lane / 16 * 8 + lane % 8][s * 16 + lane / 8 % 2 * 8]);
            multiply_add(score[2 * n], query[s], b[0], b[1]);
            multiply_add(score[2 * n + 1], query[s], b[2], b[3]);
        }
    }
    float now = r.top;
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            if (first + n * 8 + lane % 4 * 2 + e >= end) score[n][e] = -INFINITY;
            now = fmaxf(now, score[n][e]);
        }
    }
    now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
    now = fmaxf(now, __shfl_xor_sync(~0u, now, 2));
    float fade = exp2f(r.top - now);
    r.top = now;
    r.sum *= fade;
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
        for (int e = 0; e < 2; e++) r.sum += score[n][e] = exp2f(score[n][e] - now);
    }
#pragma unroll
    for (int n = 0; n < D / 8; n++) r.acc[n][0] *= fade, r.acc[n][1] *= fade;
#pragma unroll
    for (int s = 0; s < TILE / 16; s++) {
        uint32_t p[4] = {pack_halves(score[2 * s][0], score[2 * s][1]), 0, pack_halves(score[2 * s + 1][0], score[2 * s + 1][1]), 0};
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            uint32_t b[4];
            load_fragments_transposed(b, &t.v[s * 16 + lane % 16][n * 16 + lane / 16 * 8]);
            multiply_add(r.acc[2 * n], p, b[0], b[1]);
            multiply_add(r.acc[2 * n + 1], p, b[2], b[3]);
        }
    }
}

/* Query heads and, where this split holds the newest position, its key and value: into the cache, and into the tile that should
 * have fetched them (`k_row`, `v_row`; NULL in other splits), so that nobody waits for them to come back. */
template <int D>
__device__ __forceinline__ void prepare_heads(const decode_attention_args &a, shared_memory<D> &m, uint32_t kv, uint32_t first_head, uint32_t n_q,
                                              uint32_t position, __half *k, __half *v, __half *k_row, __half *v_row) {
    constexpr uint32_t turns = (D / 2 + 31) / 32, parts = D / 32;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, pairs = a.rope.rope_dim / 2;
    float2 turn[turns];
#pragma unroll
    for (uint32_t t = 0; t < turns; t++)
        if (t * 32 + lane < pairs) turn[t] = __ldcg(a.turn + t * 32 + lane);
    for (uint32_t i = warp; i < GROUP + 1; i += warps<D>) {
        const uint32_t w = i < n_q ? i : i == n_q ? (uint32_t)GROUP : i - 1; /* the key right after the real heads: a free warp */
        float *head = m.head[w];
        const bool is_key = w == GROUP;
        if (is_key ? !k_row : w >= n_q) {
            for (uint32_t e = lane; e < D; e += 32) head[e] = 0;
            continue;
        }
        const float *from = is_key ? a.k + (size_t)kv * D : a.q + (size_t)(first_head + w) * D;
        float value[parts];
#pragma unroll
        for (uint32_t e = 0; e < parts; e++) head[e * 32 + lane] = __ldcg(from + e * 32 + lane);
        if (is_key) {
#pragma unroll
            for (uint32_t e = 0; e < parts; e++) value[e] = __ldcg(a.v + (size_t)kv * D + e * 32 + lane);
        }
        __syncwarp();
        head_norm(head, is_key ? a.rope.k_norm : a.rope.q_norm, a.rope, lane);
#pragma unroll
        for (uint32_t t = 0; t < turns; t++)
            if (t * 32 + lane < pairs) rotate_pair(head, a.rope, t * 32 + lane, turn[t]);
        __syncwarp();
        if (!is_key) continue;
#pragma unroll
        for (uint32_t e = 0; e < parts; e++) {
            uint32_t at = e * 32 + lane;
            k[(size_t)position * D + at] = k_row[at] = __float2half(head[at]);
            v[(size_t)position * D + at] = v_row[at] = __float2half(value[e]);
        }
    }
}

/* The splits of one head into the answer, by the block that came last. */
template <int D>
__device__ __forceinline__ void merge_splits(const decode_attention_args &a, shared_memory<D> &m, uint32_t splits, uint32_t n_q, float *out) {
    const float *all = a.partial + (size_t)blockIdx.y * gridDim.x * GROUP * (D + 2);
    for (uint32_t i = threadIdx.x; i < splits * n_q; i += (warps<D> * 32))
        m.factor[i / n_q][i % n_q] = __ldcg(all + ((size_t)(i / n_q) * GROUP + i % n_q) * (D + 2) + D);
    __syncthreads();
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (uint32_t g = warp; g < n_q; g += warps<D>) {
        float top = -INFINITY, sum = 0;
        for (uint32_t s = lane; s < splits; s += 32) top = fmaxf(top, m.factor[s][g]);
        top = warp_max(top);
        for (uint32_t s = lane; s < splits; s += 32) {
            float factor = exp2f(m.factor[s][g] - top);
            m.factor[s][g] = factor;
            sum += factor * __ldcg(all + ((size_t)s * GROUP + g) * (D + 2) + D + 1);
        }
        sum = warp_sum(sum);
        if (lane == 0) m.total[g] = sum;
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n_q * D; i += (warps<D> * 32)) {
        uint32_t g = i / D, e = i % D;
        float value = 0;
#pragma unroll 8
        for (uint32_t s = 0; s < splits; s++) value += m.factor[s][g] * __ldcg(all + ((size_t)s * GROUP + g) * (D + 2) + e);
        out[i] = value / m.total[g];
    }
}

template <int D> __global__ void __launch_bounds__(warps<D> * 32) decode_attention_kernel(decode_attention_args a) {
    extern __shared__ __align__(16) char memory[];
    shared_memory<D> &m = *(shared_memory<D> *)memory;
    const uint32_t group = a.rope.n_heads / a.rope.n_kv_heads, groups = (group + GROUP - 1) / GROUP;
    const uint32_t kv = blockIdx.y / groups, g0 = blockIdx.y % groups * GROUP, n_q = min((uint32_t)GROUP, group - g0);
    const uint32_t position = *a.position, length = position + 1, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t per = max((uint32_t)SPLIT_MIN, ((length + gridDim.x - 1) / gridDim.x + TILE - 1) / TILE * TILE);
    const uint32_t splits = (length + per - 1) / per, begin = blockIdx.x * per, end = min(length, begin + per);
    if (blockIdx.x >= splits) return;
    let_next_kernel_start();
    __half *k = (__half *)a.cache.k + (size_t)kv * a.cache.n_ctx * D, *v = (__half *)a.cache.v + (size_t)kv * a.cache.n_ctx * D;

    /* The position stays as it is during a step, and all but the newest key are there since the step before. What a tile fetches in the
     * place of that one is overwritten; only a warp's first tile can be fetched before the heads are ready, so a newest key that lies in
     * a later one goes through the cache. */
    uint32_t first = begin + warp * TILE;
    if (first < end) fetch<D>(m.tiles[warp][0], k, v, first, min(end, position), lane);
    wait_for_previous_kernel();
    copies_wait<0>();
    __syncthreads();
    const uint32_t newest_tile = (position - begin) / TILE;
    const bool append = end == length, in_first_tile = append && newest_tile < warps<D>;
    tile<D> &newest = m.tiles[in_first_tile ? newest_tile : 0][in_first_tile ? 0 : STAGES - 1];
    const uint32_t newest_row = (position - begin) % TILE;
    prepare_heads<D>(a, m, kv, kv * group + g0, n_q, position, k, v, append ? newest.k[newest_row] : NULL, append ? newest.v[newest_row] : NULL);
    __syncthreads();

    running<D> r = {-INFINITY, 0, {}};
    if (first < end) {
        uint32_t query[D / 16][4];
        const float scale = 1.44269504f / sqrtf((float)D); /* softmax in powers of two */
        const float *head = m.head[lane / 4];
#pragma unroll
        for (int s = 0; s < D / 16; s++) {
            uint32_t e = s * 16 + lane % 4 * 2;
            query[s][0] = pack_halves(head[e] * scale, head[e + 1] * scale);
            query[s][2] = pack_halves(head[e + 8] * scale, head[e + 9] * scale);
            query[s][1] = query[s][3] = 0;
        }
        for (uint32_t stage = 0; first < end; first += warps<D> * TILE, stage ^= 1) {
            uint32_t next = first + warps<D> * TILE;
            if (next < end) {
                fetch<D>(m.tiles[warp][stage ^ 1], k, v, next, end, lane);
                copies_wait<1>();
            } else {
                copies_wait<0>();
            }
            __syncwarp();
            take_tile<D>(r, m.tiles[warp][stage], query, first, end, lane);
            __syncwarp();
        }
    }

    /* The warps meet: each row's top and sum, then weighted sums of values in what were the tiles. */
    r.sum += __shfl_xor_sync(~0u, r.sum, 1);
    r.sum += __shfl_xor_sync(~0u, r.sum, 2);
    if (lane % 4 == 0) m.top[warp][lane / 4] = r.top, m.sum[warp][lane / 4] = r.sum;
    __syncthreads();
    float(*part)[GROUP][D] = (float(*)[GROUP][D])m.tiles; /* [warps<D>] */
    float top = -INFINITY;
#pragma unroll
    for (int w = 0; w < warps<D>; w++) top = fmaxf(top, m.top[w][lane / 4]);
    const float fade = exp2f(r.top - top);
#pragma unroll
    for (int n = 0; n < D / 8; n++)
        *(float2 *)&part[warp][lane / 4][n * 8 + lane % 4 * 2] = make_float2(r.acc[n][0] * fade, r.acc[n][1] * fade);
    __syncthreads();
    float *out = a.out + (size_t)(kv * group + g0) * D;
    float *mine = a.partial + ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * GROUP * (D + 2);
    for (uint32_t i = threadIdx.x; i < n_q * D; i += (warps<D> * 32)) {
        uint32_t g = i / D, e = i % D;
        float value = 0, sum = 0, best = -INFINITY;
#pragma unroll
        for (int w = 0; w < warps<D>; w++) best = fmaxf(best, m.top[w][g]);
#pragma unroll
        for (int w = 0; w < warps<D>; w++) value += part[w][g][e], sum += m.sum[w][g] * exp2f(m.top[w][g] - best);
        if (splits == 1) out[i] = value / sum;
        else mine[g * (D + 2) + e] = value;
        if (splits > 1 && e == 0) mine[g * (D + 2) + D] = best, mine[g * (D + 2) + D + 1] = sum;
    }
    if (splits == 1) return;

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
    merge_splits<D>(a, m, splits, n_q, out);
}

template <int D> cudaError_t launch_size(cudaStream_t stream, const decode_attention_args &a) {
    dim3 grid(a.splits, decode_attention_blocks(a.rope));
    return launch_dependent(stream, grid, warps<D> * 32, sizeof(shared_memory<D>), decode_attention_kernel<D>, a);
}

} // namespace

extern "C" size_t decode_attention_shared(struct rope_args rope) {
    switch (rope.head_dim) {
    case 32: return sizeof(shared_memory<32>);
    case 64: return sizeof(shared_memory<64>);
    case 96: return sizeof(shared_memory<96>);
    case 128: return sizeof(shared_memory<128>);
    case 256: return sizeof(shared_memory<256>);
    default: return 0;
    }
}

extern "C" uint32_t decode_attention_blocks(struct rope_args rope) {
    uint32_t group = rope.n_heads / rope.n_kv_heads;
    return rope.n_kv_heads * ((group + GROUP - 1) / GROUP);
}

extern "C" uint32_t decode_attention_splits(struct rope_args rope, uint32_t n_ctx, uint32_t multiprocessors) {
    uint32_t blocks = decode_attention_blocks(rope), splits = (multiprocessors + blocks - 1) / blocks, most = (n_ctx + SPLIT_MIN - 1) / SPLIT_MIN;
    if (splits > most) splits = most;
    return splits < 1 ? 1 : splits > SPLITS_MAX ? SPLITS_MAX : splits;
}

extern "C" size_t decode_attention_partial(struct rope_args rope, uint32_t splits) {
    return (size_t)decode_attention_blocks(rope) * splits * GROUP * (rope.head_dim + 2) * sizeof(float);
}

extern "C" cudaError_t launch_decode_attention(cudaStream_t stream, struct decode_attention_args args) {
    switch (args.rope.head_dim) {
    case 32: return launch_size<32>(stream, args);
    case 64: return launch_size<64>(stream, args);
    case 96: return launch_size<96>(stream, args);
    case 128: return launch_size<128>(stream, args);
    case 256: return launch_size<256>(stream, args);
    default: return cudaErrorInvalidValue;
    }
}
