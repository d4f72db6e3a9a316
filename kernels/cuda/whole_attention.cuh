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
    WHOLE_SPLIT = 480, /* keys that are worth a block of their own: two tiles a warp */
    WHOLE_MEET = 8,    /* warps whose sums are in shared memory at a time */
    WHOLE_MERGE = 12,  /* parts of a split that a thread has on their way at a time */
};

/* What a block has to do of attention in this step: a split of the keys for some query heads of a key/value head. */
struct __align__(16) attention_item {
    uint32_t unit, split, splits; /* of how many */
    uint32_t kv, first_head, n_q;
    uint32_t begin, end, busy;    /* keys; warps that have any. None: nothing to do */
    uint32_t position, append;    /* append: the newest position is in this split */
    /* Of the layer at hand: */
    uint32_t epoch, layer;
    const float *q_norm, *k_norm;
};

template <int D> struct whole_attention {
    attention_item item;
    __half query[WHOLE_HEADS][D + 8]; /* scaled */
    __half key[D], value[D];          /* the new ones as the cache has them */
    float4 top[WHOLE_HEADS][5], sum[WHOLE_HEADS][5]; /* by warp; the last word of four is of none, the last four keep heads apart */
    float2 turn[D / 2];
};
/* Shares memory with the vector of the products. */
template <int D> union whole_attention_sums {
    struct {
        float head[WHOLE_HEADS + 1][D];     /* query heads, then the new key */
        float squares[WHOLE_HEADS + 1][32]; /* of their values, by lane that heard them */
    } heard;
    float part[WHOLE_MEET][WHOLE_HEADS][D + 4];
    struct {
        float factor[WHOLE_BLOCKS], sum[WHOLE_BLOCKS], total, part[WHOLE_CONSUMERS / D][D];
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
/* Bytes at an address, a multiple of 16, into the second-level cache. */
__device__ __forceinline__ void fetch_ahead(const void *from, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
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

#define NO_SCORE -1e30f /* below all scores, of warps that have none */

/* Scores become weights of the running softmax: two fragments of them as halves, and what earlier sums are to be multiplied by. `begins`: there
 * are none. */
template <bool begins, int D>
__device__ __forceinline__ void weigh(attention_sums<D> &r, float score[4], uint32_t weights[2], float fade[2]) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float own = fmaxf(lanes_max(fmaxf(score[h], score[2 + h])), NO_SCORE), now = begins ? own : fmaxf(r.top[h], own);
        fade[h] = begins ? 0 : exp2f(r.top[h] - now);
        r.top[h] = now;
        score[h] = exp2f(score[h] - now), score[2 + h] = exp2f(score[2 + h] - now);
        r.sum[h] = (begins ? 0 : r.sum[h] * fade[h]) + score[h] + score[2 + h];
    }
    weights[0] = transposed(pack_halves(score[0], score[1])), weights[1] = transposed(pack_halves(score[2], score[3]));
}

template <bool begins>
__device__ __forceinline__ void add_values(float acc[4][4], const value_part &t, const uint32_t weights[2], const float fade[2]) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
        auto word = [&](int i) { return j == 0 ? t.v[i].x : j == 1 ? t.v[i].y : j == 2 ? t.v[i].z : t.v[i].w; };
        const uint32_t a[4] = {__byte_perm(word(0), word(1), 0x5410), __byte_perm(word(0), word(1), 0x7632), __byte_perm(word(2), word(3), 0x5410),
                               __byte_perm(word(2), word(3), 0x7632)};
#pragma unroll
        for (int e = 0; e < 4; e++) acc[j][e] = begins ? 0 : acc[j][e] * fade[e % 2];
        multiply_add(acc[j], a, weights[0], weights[1]);
    }
}

template <int N> __device__ __forceinline__ void put_halves(__half *to, const float (&v)[N]) {
#pragma unroll
    for (int e = 0; e < N; e += 2) *(uint32_t *)(to + e) = pack_halves(v[e], v[e + 1]);
}

/* Query heads, and where the split holds the newest position its key and value. Nothing here makes lanes of a warp meet, or keys and values that
 * are on their way would have to be in memory meanwhile. */
template <int D> __device__ __forceinline__ void hear_heads(const whole_args &a, whole_attention<D> &m, whole_attention_sums<D> &sums, __half *v) {
    constexpr int N = D / 32;
    const uint32_t warp = threadIdx.x / 32, at = threadIdx.x % 32 * N, kv = m.item.kv, n_heads = a.rope.n_heads;
    if (warp >= WHOLE_HEADS ? warp > WHOLE_HEADS + 1 || !m.item.append : warp >= m.item.n_q) return;
    const uint32_t head = warp == WHOLE_HEADS ? n_heads + kv : warp > WHOLE_HEADS ? n_heads + a.rope.n_kv_heads + kv : m.item.first_head + warp;
    float mine[N];
    hear<N>(a.qkv + head * D + at, value_of(m.item.epoch), mine);
    if (warp > WHOLE_HEADS) {
        put_halves<N>(m.value + at, mine);
        put_halves<N>(v + (size_t)m.item.position * D + at, mine);
        return;
    }
    float square = 0;
#pragma unroll
    for (int e = 0; e < N; e++) sums.heard.head[warp][at + e] = mine[e], square += mine[e] * mine[e];
    sums.heard.squares[warp][threadIdx.x % 32] = square;
}

/* A pair of dimensions of a head that is turned, or two neighbours of those that are not. */
struct head_pair {
    uint32_t head, i, one, two;
};
template <int D> __device__ __forceinline__ head_pair pair_of(const rope_args &rope, uint32_t at) {
    const uint32_t i = at % (D / 2), half = rope.rope_dim / 2;
    const bool far = i < half && !rope.neighbours;
    return {at / (D / 2), i, far ? i : 2 * i, far ? i + half : 2 * i + 1};
}
/* Its weights in the norm of the heads. */
template <int D> __device__ __forceinline__ float2 weights_of(const attention_item &item, const head_pair &p) {
    const float *norm = p.head == WHOLE_HEADS ? item.k_norm : item.q_norm;
    return norm ? make_float2(__ldg(norm + p.one), __ldg(norm + p.two)) : make_float2(1, 1);
}
/* What is heard becomes queries and the key: a pair a thread. `weights`: of the thread's first. */
template <int D>
__device__ __forceinline__ void turn_heads(const whole_args &a, whole_attention<D> &m, const whole_attention_sums<D> &sums, __half *k, float2 weights) {
    const uint32_t n = m.item.append ? WHOLE_HEADS + 1 : m.item.n_q;
#pragma unroll 1
    for (uint32_t at = threadIdx.x; at < n * (D / 2); at += WHOLE_CONSUMERS) {
        const head_pair p = pair_of<D>(a.rope, at);
        if (at != threadIdx.x) weights = weights_of<D>(m.item, p);
        const float *values = sums.heard.head[p.head];
        float x = values[p.one] * weights.x, y = values[p.two] * weights.y;
        if (p.head == WHOLE_HEADS ? m.item.k_norm : m.item.q_norm) {
            float4 sum = {};
#pragma unroll
            for (int e = 0; e < 8; e++) {
                const float4 v = ((const float4 *)sums.heard.squares[p.head])[e];
                sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
            }
            const float scale = rsqrtf(((sum.x + sum.y) + (sum.z + sum.w)) / (float)D + a.rope.eps);
            x *= scale, y *= scale;
        }
        if (p.i < a.rope.rope_dim / 2) {
            const float2 turn = m.turn[p.i];
            const float turned = x * turn.x - y * turn.y;
            y = x * turn.y + y * turn.x, x = turned;
        }
        if (p.head == WHOLE_HEADS) {
            __half *const cached = k + (size_t)m.item.position * D;
            cached[p.one] = m.key[p.one] = __float2half(x), cached[p.two] = m.key[p.two] = __float2half(y);
        } else {
            const float scale = 1.44269504f / sqrtf((float)D); /* softmax in powers of two */
            m.query[p.head][p.one] = __float2half(x * scale), m.query[p.head][p.two] = __float2half(y * scale);
        }
    }
}

__device__ __forceinline__ float largest_of(const float4 (&of)[5]) {
    const float4 a = of[0], b = of[1], c = of[2], d = of[3];
    return fmaxf(fmaxf(fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w)), fmaxf(fmaxf(b.x, b.y), fmaxf(b.z, b.w))),
                 fmaxf(fmaxf(fmaxf(c.x, c.y), fmaxf(c.z, c.w)), fmaxf(d.x, fmaxf(d.y, d.z))));
}
__device__ __forceinline__ float sum_of_all(const float4 (&of)[5]) {
    const float4 a = of[0], b = of[1], c = of[2], d = of[3];
    return (((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w))) + (((c.x + c.y) + (c.z + c.w)) + (d.x + d.y + d.z));
}

/* The warps of a block meet; what they have together is the answer, or a part of it where there are several splits. */
template <int D>
__device__ __forceinline__ void meet(const whole_args &a, whole_attention<D> &m, whole_attention_sums<D> &sums, attention_sums<D> &r, uint32_t epoch) {
    const uint32_t busy = m.item.busy;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4, col = lane % 4;
#pragma unroll
    for (int h = 0; h < 2; h++)
        if (row == 0) ((float *)m.top[2 * col + h])[warp] = r.top[h];
    consumers_meet();
    float fade[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        fade[h] = exp2f(r.top[h] - largest_of(m.top[2 * col + h]));
        const float sum = lanes_sum(r.sum[h]) * fade[h];
        if (row == 0) ((float *)m.sum[2 * col + h])[warp] = sum;
    }
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
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < n_q * D; i += WHOLE_CONSUMERS) {
        const uint32_t g = i / D, e = i % D;
        const float sum = sum_of_all(m.sum[g]);
        float value = 0;
#pragma unroll
        for (uint32_t w = 0; w < WHOLE_MEET; w++)
            if (w < busy) value += sums.part[w][g][e];
        if (splits == 1) {
            tell(a.attn + place_of(first_head * D + i, a.rope.n_heads * D), value / sum, epoch);
            continue;
        }
        tell(part + g * (D + 2) + e, value, epoch);
        if (e == 0) tell(part + g * (D + 2) + D, largest_of(m.top[g]), epoch), tell(part + g * (D + 2) + D + 1, sum, epoch);
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
            hear<2>(part + s * stride + D, value_of(epoch), both, 2, false, true);
            sums.merge.factor[s] = both[0], sums.merge.sum[s] = both[1];
            top = fmaxf(top, both[0]);
        }
        top = warp_max(top);
        for (uint32_t s = lane; s < splits; s += 32) {
            float factor = exp2f(sums.merge.factor[s] - top);
            sums.merge.factor[s] = factor;
            sum += factor * sums.merge.sum[s];
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

/* The query head whose splits the block merges, if there is such a head: blocks without a split come first. */
__device__ __forceinline__ uint32_t merged_head() { return gridDim.x - 1 - blockIdx.x; }

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
    return split < range.n || (range.n > 1 && merged_head() < a.rope.n_heads);
}

/* Queries of heads that are none are zero in all layers. All threads that multiply. */
template <int D> __device__ __forceinline__ void prepare_attention(whole_attention<D> &m) {
    for (uint32_t i = threadIdx.x; i < sizeof m.query / 4; i += WHOLE_CONSUMERS) ((uint32_t *)m.query)[i] = 0;
}

template <int D> __device__ __forceinline__ __half *keys_of(const whole_args &a, uint32_t layer, uint32_t kv) {
    return (__half *)a.cache + ((size_t)2 * layer * a.rope.n_kv_heads + kv) * a.n_ctx * D;
}
template <int D> __device__ __forceinline__ size_t values_after_keys(const whole_args &a) { return (size_t)a.rope.n_kv_heads * a.n_ctx * D; }

/* Asks for what the block will read of the cache in a layer. One thread. */
template <int D> __device__ __forceinline__ void fetch_ahead(const whole_args &a, const attention_item &item, uint32_t layer) {
    const uint32_t limit = min(item.end, item.position);
    if (limit <= item.begin) return;
    const __half *k = keys_of<D>(a, layer, item.kv) + (size_t)item.begin * D;
    fetch_ahead(k, (limit - item.begin) * D * 2);
    fetch_ahead(k + values_after_keys<D>(a), (limit - item.begin) * D * 2);
}

/* All threads that multiply. The vector's memory, `sums`, is free. */
template <int D>
__device__ __forceinline__ void attend(const whole_args &a, whole_attention<D> &m, whole_attention_sums<D> &sums) {
    const attention_item &item = m.item;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (item.busy) {
        __half *const k = keys_of<D>(a, item.layer, item.kv), *const v = k + values_after_keys<D>(a);
        const uint32_t end = item.end, limit = min(end, item.position);
        uint32_t first = item.begin + warp * WHOLE_TILE;
        auto is_newest = [&]() { return item.append && item.position - first < WHOLE_TILE; };
        key_tile<D> keys;
        value_part values[D / 64];
        float score[4], fade[2];
        uint32_t weights[2];
        /* While the heads are not there. Warps without keys go along, with the last one, which does not count: under a condition the
         * compiler would have keys and values in memory. */
        fetch<D>(keys, k, first, limit, lane);
#pragma unroll
        for (int s = 0; s < D / 64; s++) fetch<D>(values[s], s, v, first, limit, lane);
        const float2 norm_weights = weights_of<D>(item, pair_of<D>(a.rope, threadIdx.x));
        hear_heads<D>(a, m, sums, v);
        consumers_meet();
        turn_heads<D>(a, m, sums, k, norm_weights);
        consumers_meet();
        attention_sums<D> r;
        if (is_newest()) {
            put_newest<D>(keys, m, first, item.position, lane);
#pragma unroll
            for (int s = 0; s < D / 64; s++) put_newest<D>(values[s], s, m, first, item.position, lane);
        }
        score_tile<D>(score, keys, m, first, end, lane);
        weigh<true, D>(r, score, weights, fade);
#pragma unroll
        for (int s = 0; s < D / 64; s++) add_values<true>(r.acc[s], values[s], weights, fade);
#pragma unroll 1
        for (first += WHOLE_CONSUMERS / 32 * WHOLE_TILE; first < end; first += WHOLE_CONSUMERS / 32 * WHOLE_TILE) {
            fetch<D>(keys, k, first, limit, lane);
            fetch<D>(values[0], 0, v, first, limit, lane);
            if (is_newest()) put_newest<D>(keys, m, first, item.position, lane);
            score_tile<D>(score, keys, m, first, end, lane);
            if (D > 64) fetch<D>(values[D / 64 - 1], 1, v, first, limit, lane);
            weigh<false, D>(r, score, weights, fade);
#pragma unroll
            for (int s = 0; s < D / 64; s++) {
                if (is_newest()) put_newest<D>(values[s], s, m, first, item.position, lane);
                add_values<false>(r.acc[s], values[s], weights, fade);
            }
        }
        meet<D>(a, m, sums, r, item.epoch);
        consumers_meet();
    }
    if (item.splits > 1 && merged_head() < a.rope.n_heads) merge_splits<D>(a, sums, merged_head(), item.splits, item.epoch);
}
