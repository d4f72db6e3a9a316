/* Choosing the next token at the end of the one kernel, by its last block. Every block tells the largest of
 * its logits; from those all know a value that as many logits reach as are needed, and each tells the chooser
 * its logits that do: two exchanges, and the few candidates are there. What the record says of all logits,
 * their weights and distances, follows while the chain runs. */
#pragma once

#include "kernels/cuda/exchange.cuh"
#include "kernels/cuda/sample.cuh"
#include "kernels/cuda/whole_memory.cuh"

/* Shared memory of the end of a step, where the ring was. */
enum { END_WARPS = WHOLE_THREADS / 32 /* all of them */, END_TOLD = 3 + LIST };
struct end_memory {
    choice_memory choice;
    float largest[WHOLE_BLOCKS * END_WARPS], of_warps[END_WARPS], lows[END_WARPS], highs[END_WARPS];
    uint32_t counts[2][END_WARPS];
    float threshold, max;
    uint32_t wanted, bad; /* of the block's logits: candidates; first id of one that is not finite */
    unsigned long long weights, distances; /* the same */
    float logits[1];                       /* of the block's rows */
};
__device__ __forceinline__ end_memory &the_end() {
    return *(end_memory *)(memory + args.ring_at);
}
__device__ __forceinline__ bool chooses() {
    return blockIdx.x == gridDim.x - 1;
}

/* Before the logits are made. A barrier must follow. */
__device__ __forceinline__ void begin_choice() {
    end_memory &end = the_end();
    choice_memory &c = end.choice;
    static_assert(sizeof c.order / 4 <= WHOLE_THREADS, "a thread a word");
    if (args.sample && threadIdx.x < sizeof c.order / 4)
        ((uint32_t *)&c.order)[threadIdx.x] = __ldcg((const uint32_t *)args.choice.order + threadIdx.x);
    if (threadIdx.x) return;
    end.wanted = 0, end.bad = UINT32_MAX, end.weights = end.distances = 0;
    c.n = 0, c.bad = UINT32_MAX, c.weights = c.distances = 0;
}

/* What a block tells of its logits to the one that chooses: how many candidates and its `bad`, weights,
 * distances, and the candidates. */
__device__ __forceinline__ told_number *told_of(uint32_t block) {
    return (told_number *)args.candidates + (size_t)block * END_TOLD;
}

/* A value that at least `need` of n reach, and hardly more, and their largest, to the_end(). By one warp, or
 * where `wide` by all. */
enum { REACHED_EACH = 6 /* values a thread */ };
__device__ __forceinline__ void find_reached(const float *values, uint32_t n, uint32_t need, bool wide) {
    enum { ROUNDS = 8 };
    end_memory &end = the_end();
    const uint32_t warp = threadIdx.x / 32, step = wide ? WHOLE_THREADS : 32;
    float own[REACHED_EACH], low = INFINITY, high = -INFINITY;
#pragma unroll
    for (uint32_t k = 0; k < REACHED_EACH; k++) {
        const bool is = threadIdx.x + k * step < n;
        own[k] = is ? values[threadIdx.x + k * step] : NAN;
        if (is) low = fminf(low, own[k]), high = fmaxf(high, own[k]);
    }
    low = -warp_max(-low), high = warp_max(high);
    if (wide) {
        if (threadIdx.x % 32 == 0) end.lows[warp] = low, end.highs[warp] = high;
        __syncthreads();
        low = -warp_max(-end.lows[threadIdx.x % END_WARPS]),
        high = warp_max(end.highs[threadIdx.x % END_WARPS]);
    }
    if (threadIdx.x == 0) end.max = high;
#pragma unroll 1
    for (int round = 0; round < ROUNDS; round++) {
        const float probe = 0.5f * low + 0.5f * high;
        uint32_t count = 0;
#pragma unroll
        for (uint32_t k = 0; k < REACHED_EACH; k++) count += own[k] >= probe;
#if __CUDA_ARCH__ >= 800
        count = __reduce_add_sync(~0u, count);
        if (wide) {
            if (threadIdx.x % 32 == 0) end.counts[round % 2][warp] = count;
            __syncthreads();
            count = __reduce_add_sync(
                ~0u, threadIdx.x % 32 < END_WARPS ? end.counts[round % 2][threadIdx.x % 32] : 0);
        }
#endif
        if (count >= need)
            low = probe;
        else
            high = probe;
    }
    if (threadIdx.x == 0) end.threshold = need > n ? -INFINITY : low;
}

/* The largest logit of all, and a value that at least `need` logits reach, and hardly more. Every block tells
 * the largest of its logits, or every warp where many are needed; what the need-th largest of these reaches,
 * that many logits reach. */
__device__ __forceinline__ void find_threshold(float mine, uint32_t epoch) {
    end_memory &end = the_end();
    const uint32_t need = min(wanted_count(end.choice.order), args.choice.n_vocab);
    const bool wide = 2 * need > gridDim.x;
    const uint32_t each = wide ? END_WARPS : 1, all = gridDim.x * each;
    if (!wide) mine = warp_max(mine);
    if (threadIdx.x < each) tell(args.largest + blockIdx.x * each + threadIdx.x, mine, epoch);
#pragma unroll 1
    for (uint32_t at = threadIdx.x; at < all; at += WHOLE_THREADS)
        end.largest[at] = hear_one(args.largest + at, epoch);
    __syncthreads();
    if (wide || threadIdx.x < 32) find_reached(end.largest, all, need, wide);
    __syncthreads();
}

/* The block's candidates, to the block that chooses. */
__device__ __forceinline__ void tell_candidates(uint32_t first, uint32_t units, uint32_t epoch) {
    end_memory &end = the_end();
    told_number *const to = told_of(blockIdx.x);
#pragma unroll 1
    for (uint32_t u = threadIdx.x; u < units; u += WHOLE_THREADS) {
        const float l = end.logits[u];
        if (!(l >= end.threshold)) continue;
        const uint32_t at = atomicAdd(&end.wanted, 1);
        if (at < LIST)
            tell(to + 3 + at, {(uint64_t)sampling_key(l) << 32 | (uint32_t) ~(first + u), 0, epoch});
    }
    __syncthreads();
    if (threadIdx.x == 0) tell(to, {end.wanted, end.bad, epoch});
}
/* Weights and distances of the block's logits, by thread `t` of n, added to `weights` and `distances`. */
__device__ __forceinline__ void sum_logits(uint32_t units, uint32_t t, uint32_t n,
                                           unsigned long long &weights, unsigned long long &distances) {
    const end_memory &end = the_end();
    uint64_t own_weights = 0, own_distances = 0;
#pragma unroll 1
    for (uint32_t u = t; u < units; u += n) {
        own_weights += sampling_weight(end.logits[u], end.max);
        own_distances += sampling_distance(end.logits[u], end.max);
    }
    add_up(weights, distances, own_weights, own_distances);
}
__device__ __forceinline__ void tell_sums(uint32_t units, uint32_t epoch) {
    end_memory &end = the_end();
    sum_logits(units, threadIdx.x, WHOLE_THREADS, end.weights, end.distances);
    __syncthreads();
    if (threadIdx.x == 0) tell(told_of(blockIdx.x) + 1, {end.weights, 0, epoch});
    if (threadIdx.x == 1) tell(told_of(blockIdx.x) + 2, {end.distances, 0, epoch});
}

/* All blocks' candidates, by the block that chooses. */
__device__ __forceinline__ void hear_candidates(uint32_t epoch) {
    choice_memory &c = the_end().choice;
#pragma unroll 1
    for (uint32_t b = threadIdx.x; b < gridDim.x; b += WHOLE_THREADS) {
        const told_number *const from = told_of(b);
        told_number word = listen(from + 3); /* there often is just one */
        const told_number head = hear(from, epoch, listen(from));
        if (head.other != UINT32_MAX) atomicMin(&c.bad, head.other);
        if (!head.number) continue;
        const uint32_t at = atomicAdd(&c.n, (uint32_t)head.number),
                       end = min(at + (uint32_t)head.number, (uint32_t)LIST);
#pragma unroll 1
        for (uint32_t i = at; i < end; i++) {
            c.keys[i] = hear(from + 3 + i - at, epoch, word).number;
            word = {};
        }
    }
}
/* Their weights and distances, by thread `t` of n; the block's own too, which it has not told. */
__device__ __forceinline__ void hear_sums(uint32_t units, uint32_t epoch, uint32_t t, uint32_t n) {
    choice_memory &c = the_end().choice;
    uint64_t weights = 0, distances = 0;
    sum_logits(units, t, n, c.weights, c.distances);
#pragma unroll 1
    for (uint32_t b = t; b + 1 < gridDim.x; b += n) {
        const told_number *const from = told_of(b);
        const told_number first = listen(from + 1), second = listen(from + 2);
        weights += hear(from + 1, epoch, first).number;
        distances += hear(from + 2, epoch, second).number;
    }
    __syncwarp();
    add_up(c.weights, c.distances, weights, distances);
}

/* All threads of all blocks, once the_end() has the logits of the block's `units` rows from `first` on;
 * `mine`: the largest of the thread's. */
__device__ __forceinline__ void choose_next(float mine, uint32_t first, uint32_t units, uint32_t epoch) {
    end_memory &end = the_end();
    mine = warp_max(mine);
    if (threadIdx.x % 32 == 0) end.of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    if (chooses() && threadIdx.x / 32 == END_WARPS - 1) warm_chain(end.choice);
    find_threshold(end.of_warps[threadIdx.x % END_WARPS], epoch);
    tell_candidates(first, units, epoch);
    if (!chooses()) {
        tell_sums(units, epoch);
        return;
    }
    hear_candidates(epoch);
    __syncthreads();
    choose(args.choice, end.choice, the_position, the_step, end.max,
           [&](uint32_t t, uint32_t n) { hear_sums(units, epoch, t, n); });
}
