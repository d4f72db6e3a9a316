/* Attention of the one position that a step adds, as a part of the step's kernel: head norm, rotation, and the append to the cache.
 *
 * A block takes one key/value head (all query heads that share it, eight at a time) and one split of the keys; the other blocks go
 * on to wait for the answer. A warp takes tiles of 16 keys straight from the cache into the fragments of the matrix units: which dimension
 * is which column of a fragment is free as long as both operands agree, so each thread reads 16 bytes of a row. Keys (or values) are
 * the rows of a product and query heads its columns. The first tile is on its way before the query is there. Warps keep running softmaxes
 * and meet at the end; splits of a long context are merged by one block for each query head. */
#pragma once

#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/exchange.cuh"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/weight_ring.cuh"

enum {
    WHOLE_HEADS = 8,   /* query heads of a block: columns of a product */
    WHOLE_TILE = 16,   /* keys */
    WHOLE_SPLIT = 512, /* keys that are worth a block of their own */
    WHOLE_MEET = 8,    /* warps whose sums are in shared memory at a time */
    WHOLE_MERGE = 12,  /* parts of a split that a thread has on their way at a time */
};

/* What a block has to do of attention in this step: a split of the keys for some query heads of a key/value head. */
struct attention_item {
    uint32_t unit, split, splits; /* of how many */
    uint32_t kv, first_head, n_q;
    uint32_t begin, end, busy;    /* keys; warps that have any. None: nothing to do */
    uint32_t position, append;    /* append: the newest position is in this split */
};

template <int D> struct whole_attention {
    attention_item item;
    uint32_t unused[5];
    float head[WHOLE_HEADS + 1][D]; /* query heads, then the new key */
    __half query[WHOLE_HEADS][D + 8]; /* scaled */
    __half key[D], value[D];          /* the new ones as the cache has them */
    float top[WHOLE_CONSUMERS / 32][WHOLE_HEADS], sum[WHOLE_CONSUMERS / 32][WHOLE_HEADS];
    float2 turn[D / 2];
};
/* Shares memory with the vector of the products. */
template <int D> union whole_attention_sums {
    float part[WHOLE_MEET][WHOLE_HEADS][D + 4];
    struct {
        float factor[512], total, part[WHOLE_CONSUMERS / D][D];
    } merge;
};

/* The keys of a unit's split. */
struct split_range {
    uint32_t begin, end, n;
};
__host__ __device__ __forceinline__ uint32_t whole_units(const rope_args &rope) {
    return rope.n_kv_heads * ((rope.n_heads / rope.n_kv_heads + WHOLE_HEADS - 1) / WHOLE_HEADS);
}
__device__ __forceinline__ split_range split_of(uint32_t length, uint32_t units, uint32_t most, uint32_t split) {
    uint32_t n = min(max(gridDim.x / units, 1u), min((length + WHOLE_SPLIT - 1) / WHOLE_SPLIT, most));
    uint32_t per = ((length + n - 1) / n + WHOLE_TILE - 1) / WHOLE_TILE * WHOLE_TILE;
    return {split * per, min(length, (split + 1) * per), (length + per - 1) / per};
}

/* A tile's keys and values as fragments: what a thread has of rows lane / 4 and on, and of rows 2 (lane % 4) and on. */
template <int D> struct key_tile {
    uint4 k[D / 32][2];
};
struct value_part { /* of 64 dimensions */
    uint4 v[4];
};
__device__ __forceinline__ uint32_t key_row(uint32_t i, uint32_t lane) { return lane / 4 + 8 * i; }
__device__ __forceinline__ uint32_t value_row(uint32_t i, uint32_t lane) { return lane % 4 * 2 + i % 2 + i / 2 * 8; }

/* Keys `first`.. or their values; those from `limit` on are the last one before it, so that what is masked is at least finite. */
template <int D> __device__ __forceinline__ void fetch(key_tile<D> &t, const __half *k, uint32_t first, uint32_t limit, uint32_t lane) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const __half *row = k + (size_t)min(first + key_row(i, lane), limit - 1) * D + lane % 4 * 8;
#pragma unroll
        for (int s = 0; s < D / 32; s++) t.k[s][i] = limit ? __ldcg((const uint4 *)(row + s * 32)) : make_uint4(0, 0, 0, 0);
    }
}
template <int D> __device__ __forceinline__ void fetch(value_part &t, int part, const __half *v, uint32_t first, uint32_t limit, uint32_t lane) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        t.v[i] = limit ? __ldcg((const uint4 *)(v + (size_t)min(first + value_row(i, lane), limit - 1) * D + part * 64 + lane / 4 * 8))
                       : make_uint4(0, 0, 0, 0);
}
/* Into the second-level cache: 16 rows of each. */
template <int D> __device__ __forceinline__ void fetch_ahead(const __half *k, const __half *v, uint32_t first, uint32_t limit, uint32_t lane) {
    if (lane / 16 * 64 >= D || !limit) return;
    const size_t at = (size_t)min(first + lane % 16, limit - 1) * D + lane / 16 * 64;
    asm volatile("prefetch.global.L2 [%0];" ::"l"(k + at));
    asm volatile("prefetch.global.L2 [%0];" ::"l"(v + at));
}

/* The newest key or value in its place: the cache did not have it when the tile was read. */
template <int D>
__device__ __forceinline__ void put_newest(key_tile<D> &t, const whole_attention<D> &m, uint32_t first, uint32_t position, uint32_t lane) {
#pragma unroll
    for (int i = 0; i < 2; i++)
        if (first + key_row(i, lane) == position)
#pragma unroll
            for (int s = 0; s < D / 32; s++) t.k[s][i] = *(const uint4 *)(m.key + s * 32 + lane % 4 * 8);
}
template <int D>
__device__ __forceinline__ void put_newest(value_part &t, int part, const whole_attention<D> &m, uint32_t first, uint32_t position, uint32_t lane) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (first + value_row(i, lane) == position) t.v[i] = *(const uint4 *)(m.value + part * 64 + lane / 4 * 8);
}

/* What a thread has of the softmax of heads 2 (lane % 4) and the next one: sums are of its own keys, tops of all lanes'. */
template <int D> struct attention_sums {
    float top[2], sum[2];
    float acc[D / 64][4][4]; /* dimension 64 s + 8 (lane / 4) + 2 j + e / 2 of head e % 2 */
};

__device__ __forceinline__ uint32_t transposed(uint32_t halves) {
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(halves));
    return r;
}
__device__ __forceinline__ float lanes_max(float v) { /* of lanes with the same lane % 4 */
#pragma unroll
    for (int m = 4; m < 32; m *= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, m));
    return v;
}
__device__ __forceinline__ float lanes_sum(float v) {
#pragma unroll
    for (int m = 4; m < 32; m *= 2) v += __shfl_xor_sync(~0u, v, m);
    return v;
}

/* Scores of a tile: of keys lane / 4 and 8 + lane / 4 and heads 2 (lane % 4) and the next one. */
template <int D>
__device__ __forceinline__ void score_tile(float score[4], const key_tile<D> &t, const whole_attention<D> &m, uint32_t first, uint32_t end, uint32_t lane) {
#pragma unroll
    for (int e = 0; e < 4; e++) score[e] = 0;
#pragma unroll
    for (int s = 0; s < D / 32; s++) {
        const uint32_t a[4] = {t.k[s][0].x, t.k[s][1].x, t.k[s][0].y, t.k[s][1].y}, b[4] = {t.k[s][0].z, t.k[s][1].z, t.k[s][0].w, t.k[s][1].w};
        const uint4 query = *(const uint4 *)&m.query[lane / 4][s * 32 + lane % 4 * 8];
        multiply_add(score, a, query.x, query.y);
        multiply_add(score, b, query.z, query.w);
    }
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (first + key_row(e / 2, lane) >= end) score[e] = -INFINITY;
}

/* Scores become weights of the running softmax: two fragments of them as halves, and what earlier sums are to be multiplied by. */
template <int D> __device__ __forceinline__ void weigh(attention_sums<D> &r, float score[4], uint32_t weights[2], float fade[2]) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float now = fmaxf(r.top[h], lanes_max(fmaxf(score[h], score[2 + h])));
        fade[h] = exp2f(r.top[h] - now);
        r.top[h] = now;
        score[h] = exp2f(score[h] - now), score[2 + h] = exp2f(score[2 + h] - now);
        r.sum[h] = r.sum[h] * fade[h] + score[h] + score[2 + h];
    }
    weights[0] = transposed(pack_halves(score[0], score[1])), weights[1] = transposed(pack_halves(score[2], score[3]));
}

__device__ __forceinline__ void add_values(float acc[4][4], const value_part &t, const uint32_t weights[2], const float fade[2]) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
        auto word = [&](int i) { return j == 0 ? t.v[i].x : j == 1 ? t.v[i].y : j == 2 ? t.v[i].z : t.v[i].w; };
        const uint32_t a[4] = {__byte_perm(word(0), word(1), 0x5410), __byte_perm(word(0), word(1), 0x7632), __byte_perm(word(2), word(3), 0x5410),
                               __byte_perm(word(2), word(3), 0x7632)};
#pragma unroll
        for (int e = 0; e < 4; e++) acc[j][e] *= fade[e % 2];
        multiply_add(acc[j], a, weights[0], weights[1]);
    }
}

/* Query heads, and where the split holds the newest position its key and value. A warp a head. */
template <int D>
__device__ __noinline__ void prepare_heads(const whole_args &a, const float *q_norm, const float *k_norm, whole_attention<D> &m, __half *k, __half *v,
                                           uint32_t epoch) {
    const uint32_t kv = m.item.kv, first_head = m.item.first_head, n_q = m.item.n_q, position = m.item.position;
    const bool append = m.item.append;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint64_t *keys = a.qkv + (size_t)a.rope.n_heads * D, *values = keys + (size_t)a.rope.n_kv_heads * D;
    constexpr int N = D / 32;
    float mine[N];
    if (warp < WHOLE_HEADS || (warp == WHOLE_HEADS && append)) {
        float *head = m.head[warp];
        const bool is_key = warp == WHOLE_HEADS;
        if (!is_key && warp >= n_q) {
            for (uint32_t e = lane; e < D; e += 32) m.query[warp][e] = __half(0);
            return;
        }
        hear<N>((is_key ? keys + (size_t)kv * D : a.qkv + (size_t)(first_head + warp) * D) + lane * N, value_of(epoch), mine);
        __syncwarp();
#pragma unroll
        for (int e = 0; e < N; e++) head[lane * N + e] = mine[e];
        __syncwarp();
        head_norm(head, is_key ? k_norm : q_norm, a.rope, lane);
        for (uint32_t i = lane; i < a.rope.rope_dim / 2; i += 32) rotate_pair(head, a.rope, i, m.turn[i]);
        __syncwarp();
        const float scale = 1.44269504f / sqrtf((float)D); /* softmax in powers of two */
        if (!is_key)
            for (uint32_t e = lane; e < D; e += 32) m.query[warp][e] = __float2half(head[e] * scale);
        else
            for (uint32_t e = lane; e < D; e += 32) k[(size_t)position * D + e] = m.key[e] = __float2half(head[e]);
    } else if (warp == WHOLE_HEADS + 1 && append) {
        hear<N>(values + (size_t)kv * D + lane * N, value_of(epoch), mine);
#pragma unroll
        for (int e = 0; e < N; e++) v[(size_t)position * D + lane * N + e] = m.value[lane * N + e] = __float2half(mine[e]);
    }
}

/* The warps of a block meet; what they have together is the answer, or a part of it where there are several splits. */
template <int D>
__device__ __forceinline__ void meet(const whole_args &a, whole_attention<D> &m, whole_attention_sums<D> &sums, attention_sums<D> &r, uint32_t epoch) {
    const uint32_t busy = m.item.busy;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4, col = lane % 4;
#pragma unroll
    for (int h = 0; h < 2; h++) { /* warps without keys too: nothing */
        float sum = lanes_sum(r.sum[h]);
        if (row == 0) m.top[warp][2 * col + h] = r.top[h], m.sum[warp][2 * col + h] = sum;
    }
    consumers_meet();
    float fade[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (uint32_t w = 0; w < WHOLE_WARPS; w++)
#pragma unroll
        for (int h = 0; h < 2; h++) fade[h] = fmaxf(fade[h], m.top[w][2 * col + h]);
#pragma unroll
    for (int h = 0; h < 2; h++) fade[h] = exp2f(r.top[h] - fade[h]);
    /* This thread's eight neighbouring dimensions of a head, from or to shared memory. */
    auto all = [&](float(*part)[D + 4], bool add) {
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int s = 0; s < D / 64; s++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    float4 *to = (float4 *)&part[2 * col + h][s * 64 + row * 8 + half * 4];
                    float(*c)[4] = &r.acc[s][half * 2];
                    float4 own = make_float4(c[0][h] * fade[h], c[0][2 + h] * fade[h], c[1][h] * fade[h], c[1][2 + h] * fade[h]);
                    if (add) own.x += to->x, own.y += to->y, own.z += to->z, own.w += to->w;
                    *to = own;
                }
    };
    if (warp >= WHOLE_MEET && warp < busy) all(sums.part[warp - WHOLE_MEET], false);
    if (busy > WHOLE_MEET) consumers_meet();
    if (warp < WHOLE_MEET && warp < busy) all(sums.part[warp], warp + WHOLE_MEET < busy);
    consumers_meet();
    const uint32_t n_q = m.item.n_q, first_head = m.item.first_head, splits = m.item.splits;
    uint64_t *part = a.partial + (size_t)(m.item.unit * a.most_splits + m.item.split) * WHOLE_HEADS * (D + 2);
    for (uint32_t i = threadIdx.x; i < n_q * D; i += WHOLE_CONSUMERS) {
        const uint32_t g = i / D, e = i % D;
        float value = 0, sum = 0, top = -INFINITY;
#pragma unroll
        for (uint32_t w = 0; w < WHOLE_WARPS; w++) top = fmaxf(top, m.top[w][g]);
#pragma unroll
        for (uint32_t w = 0; w < WHOLE_WARPS; w++) sum += m.sum[w][g] * exp2f(m.top[w][g] - top);
#pragma unroll
        for (uint32_t w = 0; w < WHOLE_MEET; w++)
            if (w < busy) value += sums.part[w][g][e];
        if (splits == 1) {
            tell(a.attn + place_of(first_head * D + i, a.rope.n_heads * D), value / sum, epoch);
            continue;
        }
        tell(part + g * (D + 2) + e, value, epoch);
        if (e == 0) tell(part + g * (D + 2) + D, top, epoch), tell(part + g * (D + 2) + D + 1, sum, epoch);
    }
}

/* The splits of one query head into its answer. */
template <int D>
__device__ __noinline__ void merge_splits(const whole_args &a, whole_attention_sums<D> &sums, uint32_t head, uint32_t splits, uint32_t epoch) {
    constexpr uint32_t groups = WHOLE_CONSUMERS / D;
    const uint32_t group = a.rope.n_heads / a.rope.n_kv_heads, each = (group + WHOLE_HEADS - 1) / WHOLE_HEADS;
    const uint32_t unit = head / group * each + head % group / WHOLE_HEADS, g = head % group % WHOLE_HEADS;
    const size_t stride = (size_t)WHOLE_HEADS * (D + 2);
    const uint64_t *part = a.partial + unit * a.most_splits * stride + g * (D + 2);
    const uint32_t e = threadIdx.x % D, mine = threadIdx.x / D, lane = threadIdx.x % 32;
    if (threadIdx.x < 32) {
        float top = -INFINITY, sum = 0;
        for (uint32_t s = lane; s < splits; s += 32) {
            float both[2];
            hear<2>(part + s * stride + D, value_of(epoch), both);
            sums.merge.factor[s] = both[0];
            top = fmaxf(top, both[0]);
        }
        top = warp_max(top);
        for (uint32_t s = lane; s < splits; s += 32) {
            float factor = exp2f(sums.merge.factor[s] - top);
            sums.merge.factor[s] = factor;
            sum += factor * hear_one(part + s * stride + D + 1, epoch);
        }
        sum = warp_sum(sum);
        if (lane == 0) sums.merge.total = sum;
    }
    const bool works = mine < groups && mine < splits;
    float value = 0;
    for (uint32_t first = mine; works && first < splits; first += groups * WHOLE_MERGE) {
        float got[WHOLE_MERGE];
        bool there = false;
        for (patience p; !there; p.look()) {
            there = true;
#pragma unroll
            for (int i = 0; i < WHOLE_MERGE; i++) {
                const uint32_t s = first + i * groups;
                uint64_t word = (uint64_t)epoch << 32;
                if (s < splits) asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(part + s * stride + e) : "memory");
                got[i] = __uint_as_float((uint32_t)word);
                there = there && (uint32_t)(word >> 32) == epoch;
            }
        }
        if (first == mine) consumers_meet(); /* factors */
#pragma unroll
        for (int i = 0; i < WHOLE_MERGE; i++)
            if (first + i * groups < splits) value += got[i] * sums.merge.factor[first + i * groups];
    }
    if (!works) consumers_meet();
    if (mine < groups) sums.merge.part[mine][e] = value;
    consumers_meet();
    if (mine == 0) {
        for (uint32_t i = 1; i < groups; i++) value += sums.merge.part[i][e];
        tell(a.attn + place_of(head * D + e, a.rope.n_heads * D), value / sums.merge.total, epoch);
    }
    consumers_meet();
}

/* This block's item. Does it have anything to do? */
__device__ __forceinline__ bool find_item(const whole_args &a, uint32_t position, attention_item &to) {
    const uint32_t group = a.rope.n_heads / a.rope.n_kv_heads, each = (group + WHOLE_HEADS - 1) / WHOLE_HEADS, units = whole_units(a.rope);
    const uint32_t unit = blockIdx.x % units, split = blockIdx.x / units;
    const split_range range = split_of(position + 1, units, a.most_splits, split);
    to = {};
    to.position = position, to.splits = range.n;
    if (split < range.n) {
        to.unit = unit, to.split = split;
        to.kv = unit / each, to.first_head = to.kv * group + unit % each * WHOLE_HEADS;
        to.n_q = min((uint32_t)WHOLE_HEADS, group - unit % each * WHOLE_HEADS);
        to.begin = range.begin, to.end = range.end, to.append = range.end == position + 1;
        to.busy = min((uint32_t)WHOLE_CONSUMERS / 32, (range.end - range.begin + WHOLE_TILE - 1) / WHOLE_TILE);
    }
    return split < range.n || (range.n > 1 && blockIdx.x < a.rope.n_heads);
}

/* All threads that multiply. The vector's memory, `sums`, is free. */
template <int D>
__device__ __forceinline__ void attend(const whole_args &a, const float *q_norm, const float *k_norm, uint32_t layer, whole_attention<D> &m,
                                       whole_attention_sums<D> &sums, uint32_t epoch) {
    const attention_item &item = m.item;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (item.busy) {
        const size_t side = (size_t)a.rope.n_kv_heads * a.n_ctx * D;
        __half *k = (__half *)a.cache + 2 * side * layer + (size_t)item.kv * a.n_ctx * D, *v = k + side;
        const uint32_t end = item.end, limit = min(end, item.position);
        uint32_t first = item.begin + warp * WHOLE_TILE;
        if (first < end) fetch_ahead<D>(k, v, first, limit, lane); /* while the heads are prepared */
        prepare_heads<D>(a, q_norm, k_norm, m, k, v, epoch);
        consumers_meet();
        attention_sums<D> r = {{-INFINITY, -INFINITY}, {0, 0}, {}};
        while (first < end) {
            const bool newest = item.append && item.position - first < WHOLE_TILE;
            const uint32_t next = first + WHOLE_CONSUMERS / 32 * WHOLE_TILE;
            key_tile<D> keys;
            value_part values[2];
            fetch<D>(keys, k, first, limit, lane);
            fetch<D>(values[0], 0, v, first, limit, lane);
            if (next < end) fetch_ahead<D>(k, v, next, limit, lane);
            float score[4], fade[2];
            uint32_t weights[2];
            if (newest) put_newest<D>(keys, m, first, item.position, lane);
            score_tile<D>(score, keys, m, first, end, lane);
            if (D > 64) fetch<D>(values[1], 1, v, first, limit, lane);
            weigh<D>(r, score, weights, fade);
            if (newest) put_newest<D>(values[0], 0, m, first, item.position, lane);
            add_values(r.acc[0], values[0], weights, fade);
            if (D > 64) {
                if (newest) put_newest<D>(values[1], 1, m, first, item.position, lane);
                add_values(r.acc[D / 64 - 1], values[1], weights, fade);
            }
            first = next;
        }
        meet<D>(a, m, sums, r, epoch);
        consumers_meet();
    }
    if (item.splits > 1 && blockIdx.x < a.rope.n_heads) merge_splits<D>(a, sums, blockIdx.x, item.splits, epoch);
}
