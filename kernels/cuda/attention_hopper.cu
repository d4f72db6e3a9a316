/* Attention for many positions on Hopper: what flash_kernel (attention.cu) does, by warpgroups (wgmma.cuh).
 * The order of work is that of FlashAttention-3 (arXiv 2407.08608): a block has 128 queries, two warpgroups
 * of 64, and a third that fetches keys and values. While one turns scores into weights the other has the
 * matrix units, and its own next scores and last sums are under way there too.
 *
 * The queries of a block are those of all heads that share keys and values, position by position, so that a
 * few positions fill it. A long context is split among blocks where there are fewer than multiprocessors. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/mbarrier.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace {

enum {
    GROUPS = 2,
    GROUP = 128, /* threads */
    THREADS = (GROUPS + 1) * GROUP,
    QUERIES = GROUPS * 64,
    KEYS = 128,            /* of a tile */
    HALF_TILE = 128 * 128, /* bytes of 64 columns of 128 queries or keys */
    SLOTS = 2,             /* for tiles of keys, and for tiles of values */
    LEAST = 65,            /* positions, */
    LONG = 128,            /* or context; below both flash_kernel is as fast */
    SPLIT_TILES = 2,       /* that are worth a block of their own */
    SPLITS = 64,           /* at most */
    MERGED = 16,           /* of them that a thread has on their way at a time; divides 32 */
};

/* The queries of a key/value head, numbered: position by position, and of each all heads that share it. */
struct sharing {
    uint32_t heads, n_heads, first_head, n; /* that share it; of all; the first of them; queries */
    uint32_t inverse;                       /* 2^31 / heads, rounded down: */
    /* query / heads, right while query * heads < 2^30. */
    __device__ __forceinline__ uint32_t position(uint32_t query) const {
        return __umulhi(2 * query + 1, inverse);
    }
    __device__ __forceinline__ uint32_t head(uint32_t query, uint32_t position) const {
        return first_head + query - position * heads;
    }
};

/* Where there are several splits of the keys: what each has, [split][position][n_heads], sums [D] relative to
 * the largest score, then that and the sum of weights. */
struct split_parts {
    float *sums;
    float2 *tops;
    uint32_t n; /* splits */
};

/* Shared memory, by shared addresses: tiles of D columns, then barriers, of each kind one a slot. */
template <int D> struct layout {
    enum { TILE = D / 64 * HALF_TILE, BARRIERS = (1 + 2 * SLOTS) * TILE, SIZE = BARRIERS + 4 * SLOTS * 8 };
    uint32_t queries;
    __device__ __forceinline__ uint32_t keys(uint32_t slot) const { return queries + (1 + slot) * TILE; }
    __device__ __forceinline__ uint32_t values(uint32_t slot) const {
        return queries + (1 + SLOTS + slot) * TILE;
    }
    __device__ __forceinline__ uint32_t barrier(uint32_t kind, uint32_t slot) const {
        return queries + BARRIERS + (kind * SLOTS + slot) * 8;
    }
    __device__ __forceinline__ uint32_t keys_full(uint32_t slot) const { return barrier(0, slot); }
    __device__ __forceinline__ uint32_t keys_empty(uint32_t slot) const { return barrier(1, slot); }
    __device__ __forceinline__ uint32_t values_full(uint32_t slot) const { return barrier(2, slot); }
    __device__ __forceinline__ uint32_t values_empty(uint32_t slot) const { return barrier(3, slot); }
};

/* ---- the group that fetches ---- */

/* A tile of rows from the cache, zeros from `valid` on. */
template <int D> __device__ __forceinline__ void fetch_tile(uint32_t to, const __half *from, uint32_t valid) {
    constexpr uint32_t
        pieces = D / 8,
        rows = GROUP / pieces; /* at a time: a multiple of eight, so that a thread's place in a row stays */
    const uint32_t thread = threadIdx.x % GROUP, row = thread / pieces, piece = thread % pieces;
    to += piece / 8 * HALF_TILE + swizzled(row, piece % 8);
    from += row * D + piece * 8;
#pragma unroll
    for (uint32_t r = 0; r < KEYS; r += rows)
        copy_16_async_or_zero(to + r * 128, from + r * D, row + r < valid);
}

/* All tiles of `length` positions in turn, k and v being those of the first. */
template <int D>
__device__ __forceinline__ void fetch(const layout<D> &at, const __half *k, const __half *v,
                                      uint32_t length) {
    for (uint32_t tile = 0; tile * KEYS < length; tile++) {
        const uint32_t slot = tile % SLOTS, parity = tile / SLOTS % 2 ^ 1, valid = length - tile * KEYS;
        const size_t first = (size_t)tile * KEYS * D;
        barrier_wait(at.keys_empty(slot), parity);
        fetch_tile<D>(at.keys(slot), k + first, valid);
        barrier_arrive_with_copies(at.keys_full(slot));
        barrier_wait(at.values_empty(slot), parity);
        fetch_tile<D>(at.values(slot), v + first, valid);
        barrier_arrive_with_copies(at.values_full(slot));
    }
    copies_commit();
    copies_wait<0>();
}

/* ---- the groups that multiply ---- */

/* The matrix units in turns: a group that has given them its work lets the other one. */
__device__ __forceinline__ void turn_wait(uint32_t group) {
    asm volatile("bar.sync %0, 256;" ::"r"(group + 1) : "memory");
}
__device__ __forceinline__ void turn_give(uint32_t group) {
    asm volatile("bar.arrive %0, 256;" ::"r"(group + 1) : "memory");
}
__device__ __forceinline__ void group_meet(uint32_t group) {
    asm volatile("bar.sync %0, 128;" ::"r"(group + 3) : "memory");
}

/* A thread's part of its group's 64 queries: rows lane / 4 and that + 8 of the warp's sixteen. */
template <int D> struct rows {
    float score[KEYS / 2], acc[D / 2], fade[2]; /* what acc is to be multiplied by before more is added */
    uint32_t weight[KEYS / 16][4];
    float largest[2], sum[2]; /* of all scores so far; of this thread's weights, relative to it */
};

/* The group's queries to 16 bits; beyond the last one that again, for nobody. */
template <int D>
__device__ __forceinline__ void load_queries(char *memory, const float *q, const sharing &of, uint32_t from,
                                             uint32_t group) {
#pragma unroll 8
    for (uint32_t c = threadIdx.x % GROUP; c < 64 * (D / 8); c += GROUP) {
        const uint32_t row = group * 64 + c / (D / 8), piece = c % (D / 8);
        const uint32_t query = min(from + row, of.n - 1), position = of.position(query);
        const float4 *p =
            (const float4 *)(q + ((size_t)position * of.n_heads + of.head(query, position)) * D + piece * 8);
        const float4 a = p[0], b = p[1];
        *(uint4 *)(memory + piece / 8 * HALF_TILE + swizzled(row, piece % 8)) = make_uint4(
            pack_halves(a.x, a.y), pack_halves(a.z, a.w), pack_halves(b.x, b.y), pack_halves(b.z, b.w));
    }
    publish_to_matrix_units();
    group_meet(group);
}

template <int D>
__device__ __forceinline__ void multiply_keys(const layout<D> &at, uint32_t group, uint32_t tile,
                                              rows<D> &r) {
    const uint64_t queries = operand_at(at.queries + group * 64 * 128),
                   keys = operand_at(at.keys(tile % SLOTS));
    barrier_wait(at.keys_full(tile % SLOTS), tile / SLOTS % 2);
    publish_to_matrix_units();
    products_begin();
#pragma unroll
    for (int s = 0; s < D / 16; s++) {
        const uint64_t part = (s / 4 * HALF_TILE + s % 4 * 32) >> 4;
        product(r.score, queries + part, keys + part, s > 0);
    }
    products_commit();
}

template <int D>
__device__ __forceinline__ void multiply_values(const layout<D> &at, uint32_t tile, rows<D> &r) {
    const uint64_t values = operand_at(at.values(tile % SLOTS), HALF_TILE);
    barrier_wait(at.values_full(tile % SLOTS), tile / SLOTS % 2);
    publish_to_matrix_units();
    products_begin();
#pragma unroll
    for (int s = 0; s < KEYS / 16; s++)
        product_transposed(r.acc, r.weight[s], values + s * (16 * 128 >> 4), tile > 0 || s > 0);
    products_commit();
}

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Scores become weights, largest, sum and fade those of all keys up to these. `first_key` of the tile,
 * `position` of the thread's rows; of a row that sees none yet the largest score stays infinitely small. */
template <int D>
__device__ __forceinline__ void weigh(rows<D> &r, uint32_t first_key, const uint32_t (&position)[2],
                                      float to_log2) {
    if (first_key + KEYS > position[0]) { /* the tile reaches the diagonal, of this warp or nearly */
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++)
            if (first_key + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2 > position[i / 2 % 2])
                r.score[i] = -INFINITY;
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float most[2] = {r.largest[half], r.largest[half]}, part[2] = {};
#pragma unroll
        for (int i = 0; i < KEYS / 4; i++)
            most[i % 2] = fmaxf(most[i % 2], r.score[i / 2 * 4 + half * 2 + i % 2]);
        float now = fmaxf(most[0], most[1]);
        now = fmaxf(now, __shfl_xor_sync(~0u, now, 1));
        now = fmaxf(now, __shfl_xor_sync(~0u, now, 2));
        const float base = now == -INFINITY ? 0 : now * to_log2;
        r.fade[half] = power_of_two(r.largest[half] * to_log2 - base);
        r.largest[half] = now;
#pragma unroll
        for (int i = 0; i < KEYS / 4; i++) {
            float &p = r.score[i / 2 * 4 + half * 2 + i % 2];
            part[i % 2] += p = power_of_two(p * to_log2 - base);
        }
        r.sum[half] = r.sum[half] * r.fade[half] + (part[0] + part[1]);
    }
}

template <int D> __device__ __forceinline__ void pack_weights(rows<D> &r) {
#pragma unroll
    for (int i = 0; i < KEYS / 4; i++)
        r.weight[i / 4][i % 4] = pack_halves(r.score[2 * i], r.score[2 * i + 1]);
}

template <int D>
__device__ __forceinline__ void attend(const layout<D> &at, uint32_t group, uint32_t first_key,
                                       uint32_t n_tiles, const uint32_t (&position)[2], rows<D> &r) {
    const bool arrives = threadIdx.x % 32 == 0;
    const float to_log2 = 1.44269504f / sqrtf((float)D); /* softmax in powers of two */
    r.largest[0] = r.largest[1] = -INFINITY;
    r.sum[0] = r.sum[1] = 0;
    multiply_keys(at, group, 0, r);
    products_wait<0>();
    if (arrives) barrier_arrive(at.keys_empty(0), 1);
    if (group == 1 && n_tiles > 1) turn_give(0);
    weigh(r, first_key, position, to_log2);
    pack_weights(r);
    for (uint32_t tile = 1; tile < n_tiles; tile++) {
        turn_wait(group);
        multiply_keys(at, group, tile, r);
        multiply_values(at, tile - 1, r);
        if (group == 0 || tile + 1 < n_tiles) turn_give(group ^ 1);
        products_wait<1>();
        if (arrives) barrier_arrive(at.keys_empty(tile % SLOTS), 1);
        weigh(r, first_key + tile * KEYS, position, to_log2);
        products_wait<0>();
        if (arrives) barrier_arrive(at.values_empty((tile - 1) % SLOTS), 1);
#pragma unroll
        for (int i = 0; i < D / 2; i++) r.acc[i] *= r.fade[i / 2 % 2];
        pack_weights(r);
    }
    multiply_values(at, n_tiles - 1, r);
    products_wait<0>();
}

/* The answers of queries `query` and that + 8, or the part that this split has of them. */
template <int D>
__device__ __forceinline__ void store(const rows<D> &r, const attention_args &a, const sharing &of,
                                      uint32_t query, const split_parts &parts) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = r.sum[half];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        const bool real = query + half * 8 < of.n;
        const uint32_t position = of.position(query + half * 8), head = of.head(query + half * 8, position);
        if (parts.n == 1) {
            const float inverse = 1 / sum;
            put_columns<D / 8>(a, real, position, head * D, [&](int t) {
                return make_float2(r.acc[4 * t + 2 * half] * inverse, r.acc[4 * t + 2 * half + 1] * inverse);
            });
            continue;
        }
        const size_t place = ((size_t)blockIdx.z * a.n + position) * of.n_heads + head;
        if (real && threadIdx.x % 4 == 0) parts.tops[place] = make_float2(r.largest[half], sum);
        put_words<D / 8>(
            real, (float2 *)(parts.sums + place * D + threadIdx.x % 4 * 2), [](int t) { return t * 4; },
            [&](int t) { return make_float2(r.acc[4 * t + 2 * half], r.acc[4 * t + 2 * half + 1]); });
    }
}

/* ---- both ---- */

/* Grid: key/value heads, blocks of queries, splits. Who fetches needs few registers, who multiplies gets
 * them. */
template <int D>
__global__ void __launch_bounds__(THREADS, 1)
    hopper_attention_kernel(attention_args a, split_parts parts, uint32_t inverse) {
    extern __shared__ __align__(1024) char memory[];
    const layout<D> at = {shared_address(memory)};
    const uint32_t group = threadIdx.x / GROUP, kv = blockIdx.x, shares = a.rope.n_heads / a.rope.n_kv_heads;
    const sharing of = {shares, a.rope.n_heads, kv * shares, a.n * shares, inverse};
    const uint32_t from = (gridDim.y - 1 - blockIdx.y) * QUERIES; /* the longest first */
    const uint32_t length = a.first + of.position(min(from + (uint32_t)QUERIES, of.n) - 1) + 1;
    const uint32_t all_tiles = (length + KEYS - 1) / KEYS, first_tile = blockIdx.z * all_tiles / parts.n,
                   end_tile = (blockIdx.z + 1) * all_tiles / parts.n;
    if (threadIdx.x < SLOTS) {
        barrier_init(at.keys_full(threadIdx.x), GROUP);
        barrier_init(at.values_full(threadIdx.x), GROUP);
        barrier_init(at.keys_empty(threadIdx.x), GROUPS * GROUP / 32);
        barrier_init(at.values_empty(threadIdx.x), GROUPS * GROUP / 32);
    }
    let_next_kernel_start();
    wait_for_previous_kernel();
    __syncthreads();
    if (group == GROUPS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        const size_t before = ((size_t)kv * a.cache.n_ctx + first_tile * KEYS) * D;
        fetch(at, (const __half *)a.cache.k + before, (const __half *)a.cache.v + before,
              min(length, end_tile * KEYS) - first_tile * KEYS);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        const uint32_t query = from + group * 64 + threadIdx.x % GROUP / 32 * 16 + threadIdx.x % 32 / 4;
        const uint32_t position[2] = {a.first + of.position(query), a.first + of.position(query + 8)};
        rows<D> r;
        load_queries<D>(memory, a.q, of, from, group);
        attend(at, group, first_tile * KEYS, end_tile - first_tile, position, r);
        store(r, a, of, query, parts);
    }
}

/* The splits of a head of a position into its answer: grid (n_heads, n), a thread a column. A lane knows two
 * of the splits' factors. */
template <int D> __global__ void __launch_bounds__(D) merge_kernel(attention_args a, split_parts parts) {
    const uint32_t head = blockIdx.x, position = blockIdx.y, lane = threadIdx.x % 32;
    const size_t place = (size_t)position * a.rope.n_heads + head, all = (size_t)a.n * a.rope.n_heads;
    const float to_log2 = 1.44269504f / sqrtf((float)D);
    float factor[2], sum = 0, value = 0;
    float2 top[2];
    let_next_kernel_start();
    wait_for_previous_kernel();
#pragma unroll
    for (int i = 0; i < 2; i++)
        top[i] = lane + 32 * i < parts.n ? __ldcg(&parts.tops[(lane + 32 * i) * all + place])
                                         : make_float2(-INFINITY, 0);
    const float largest = warp_max(fmaxf(top[0].x, top[1].x));
#pragma unroll
    for (int i = 0; i < 2; i++) {
        factor[i] = power_of_two((top[i].x - largest) * to_log2);
        sum += top[i].y * factor[i];
    }
    const float inverse = 1 / warp_sum(sum);
    for (uint32_t first = 0; first < parts.n; first += MERGED) {
        float part[MERGED];
#pragma unroll
        for (uint32_t i = 0; i < MERGED; i++)
            part[i] =
                first + i < parts.n ? __ldcg(parts.sums + ((first + i) * all + place) * D + threadIdx.x) : 0;
#pragma unroll
        for (uint32_t i = 0; i < MERGED; i++)
            value += part[i] * __shfl_sync(~0u, first < 32 ? factor[0] : factor[1], first % 32 + i);
    }
    put_one(a, position, head * D + threadIdx.x, value * inverse);
}

/* As many as there is room for, multiprocessors for, and tiles for, of the shortest block. */
uint32_t count_splits(const attention_args &a, uint32_t blocks) {
    const size_t part = (size_t)a.n * a.rope.n_heads * (a.rope.head_dim + 2);
    const uint32_t processors = (uint32_t)device_attribute(cudaDevAttrMultiProcessorCount),
                   tiles = (a.first + KEYS) / KEYS;
    const uint32_t wanted = min(min(processors / blocks, tiles / SPLIT_TILES), (uint32_t)SPLITS);
    return (uint32_t)max(min((size_t)wanted, a.room / part), (size_t)1);
}

template <int D> cudaError_t launch(cudaStream_t stream, const attention_args &a) {
    const uint32_t shares = a.rope.n_heads / a.rope.n_kv_heads,
                   blocks = (a.n * shares + QUERIES - 1) / QUERIES;
    const uint32_t splits = count_splits(a, a.rope.n_kv_heads * blocks);
    const split_parts parts = {a.scratch, (float2 *)(a.scratch + (size_t)splits * a.n * a.rope.n_heads * D),
                               splits};
    const cudaError_t code =
        launch_dependent(stream, dim3(a.rope.n_kv_heads, blocks, splits), THREADS, layout<D>::SIZE,
                         hopper_attention_kernel<D>, a, parts, (1u << 31) / shares);
    if (code != cudaSuccess || splits == 1) return code;
    return launch_dependent(stream, dim3(a.rope.n_heads, a.n), D, 0, merge_kernel<D>, a, parts);
}

} // namespace

bool hopper_attention_takes(const attention_args &args) {
    return (args.n >= LEAST || args.first >= LONG) &&
           (args.rope.head_dim == 64 || args.rope.head_dim == 128) && device_capability() == 9;
}

cudaError_t launch_hopper_attention(cudaStream_t stream, const attention_args &args) {
    return args.rope.head_dim == 64 ? launch<64>(stream, args) : launch<128>(stream, args);
}
